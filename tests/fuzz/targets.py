"""Every target by its name."""

from __future__ import annotations

from tests.fuzz import of_adapter, of_capture, of_declared, of_json, of_unpacking, of_wire
from tests.fuzz.target import Target


def _planted(raw: bytes) -> None:
    """Fails for four bytes that only a guided search finds in a short time: it shows that the others are searched."""
    if raw[:1] == b"t" and raw[1:2] == b"i" and raw[2:3] == b"d" and raw[3:4] == b"e":
        raise ZeroDivisionError("planted")


PLANTED = Target("planted-fault", _planted, [b"gate"])
_MODULES = (of_json, of_wire, of_adapter, of_declared, of_capture, of_unpacking)
TARGETS = {target.name: target for module in _MODULES for target in module.TARGETS}
