"""Times at which a request says it was signed: too far from ours, or none. Most are signed rightly for all that."""

from __future__ import annotations

from collections.abc import Iterator

from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Signer, Stamp

YEAR = 365 * 86_400


def stamp_changes(signer: Signer) -> Iterator[Case]:
    """Give requests with times that are refused although they are signed, and with times that were put there afterwards."""
    stamp = signer.stamp
    assert stamp is not None
    for said, at in (
        (f"signed {stamp.old_seconds + 1} s ago", AT - stamp.old_seconds - 1),
        ("signed a year ago", AT - YEAR),
        (f"signed {stamp.ahead_seconds + 1} s ahead", AT + stamp.ahead_seconds + 1),
        ("signed a year ahead", AT + YEAR),
    ):
        yield Case(said, signer.signed(at=at))
    for said, text in _texts(stamp):
        yield Case(f"{said} for a time, signed", signer.signed(stamp=text))
    good = signer.signed()
    yield Case("a time that is not the one signed", _with(signer, good, stamp.text(AT + 1)))
    if stamp.header or stamp.pair:
        yield Case("no time", _with(signer, good))
        yield Case("the time twice", _with(signer, good, stamp.text(AT), stamp.text(AT)))
        yield Case("two times, the second one another", _with(signer, good, stamp.text(AT), stamp.text(AT + 1)))


def _texts(stamp: Stamp) -> Iterator[tuple[str, str]]:
    now = stamp.text(AT)
    yield "letters", "yesterday"
    yield "NaN", "NaN"
    yield "nothing", ""
    yield "four hundred digits", "9" * 400
    yield "digits of full width", now.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    if stamp.unit == "iso":
        yield "a date alone", now[:4] + "-13-45"
        return
    yield "a fraction", f"{now}.0"
    yield "a number below zero", f"-{now}"
    yield "a number with a plus", f"+{now}"
    yield "a number with underscores", f"{now[0]}_{now[1:]}"
    yield "a power of ten", f"{now[0]}.{now[1:]}e{len(now) - 1}"
    wrong = now[:-3] if stamp.unit == "ms" else f"{now}000"
    yield ("seconds instead of milliseconds" if stamp.unit == "ms" else "milliseconds instead of seconds"), wrong


def _with(signer: Signer, good: Request, *texts: str) -> Request:
    """Return ``good`` with these times, and with the signature that it has."""
    stamp, proof = signer.stamp, signer.proof
    assert stamp is not None
    if stamp.header:
        return good.with_header(stamp.header, *texts)
    if not stamp.pair:
        return good.with_body(good.body.replace(stamp.text(AT).encode(), texts[0].encode()))
    assert proof is not None
    value = good.value(proof.header)
    own = f"{stamp.pair}={stamp.text(AT)}{proof.separator}"
    assert own in value
    times = "".join(f"{stamp.pair}={text}{proof.separator}" for text in texts)
    return good.with_header(proof.header, value.replace(own, times, 1))
