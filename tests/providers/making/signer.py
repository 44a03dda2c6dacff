"""What is known of one provider: how it signs, and where the proof stands in its requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from tests.providers.making.bodies import STAMP, Body
from tests.providers.making.request import Request

AT = 1_790_000_000
"""When all requests are received, unless a vector is about time: 2026-09-21T14:13:20Z."""
Encoding = Literal["hex", "base64", "base64url"]


@dataclass(frozen=True)
class Stamp:
    """Where a request says when it was signed, and how far from the receiver's clock that may be."""

    header: str = ""
    pair: str = ""
    """Its name among the pairs of the signature's header: `t`."""
    unit: Literal["s", "ms", "iso"] = "s"
    old_seconds: int = 300
    ahead_seconds: int = 300

    def text(self, at: float) -> str:
        """Return ``at``, Unix seconds, as the provider writes it."""
        if self.unit == "iso":
            return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return str(int(at * (1000 if self.unit == "ms" else 1)))


@dataclass(frozen=True)
class Proof:
    """A header that holds a signature."""

    header: str
    mark: str = ""
    """What stands right before the signature: `sha256=`, `v1,`."""
    separator: str = ""
    """What ends it where something may follow: `,` or a space in lists."""
    encoding: Encoding = "hex"

    def cut(self, value: str) -> tuple[str, str, str]:
        """Return what is before the signature in the header's ``value``, the signature, and what is behind."""
        before, mark, rest = value.partition(self.mark) if self.mark else ("", "", value)
        signature, separator, behind = rest.partition(self.separator) if self.separator else (rest, "", "")
        return before + mark, signature, separator + behind


@dataclass(frozen=True)
class Case:
    """A request, and whether it is one of the provider's. ``said`` is what is special about it."""

    said: str
    request: Request
    valid: bool = False
    at: float = AT
    secret: str | None = None
    """None: the signer's."""
    made_by: str | None = None
    """None: as the signer says."""
    is_asked: bool = True
    """Whether the provider's SDK is asked; False for what its interface cannot be given."""
    may_differ: bool = False
    """Of a valid one: whether the SDK may refuse it all the same, as those do whose tolerance is smaller."""
    also: dict[str, Any] = field(default_factory=dict)
    """Of the source: `options`, `handshake_secret`, `tolerance_seconds`."""


Sign = Callable[[Request, str, str], Request]
"""Of a request, a secret and the timestamp's text (empty where none is signed): the request as the provider sends it."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """``secret`` is what stands in a source's secrets; it is the public key where only that is known to us.

    ``made_by`` and ``asked`` are names of distributions on PyPI. ``accepts`` asks that SDK, by the clock of the vector: it
    returns False, or raises, for a request that the SDK refuses.
    """

    secret: str
    other_secret: str
    bodies: Sequence[Body]
    sign: Sign
    proof: Proof | None = None
    stamp: Stamp | None = None
    hostile: Sequence[Callable[[Signer], Iterable[Case]]] = ()
    """What makes good requests bad: see `header_changes`, `body_changes`, `stamp_changes`, `token_changes`, `url_changes`."""
    more: Callable[[Signer], Iterable[Case]] | None = None
    """Cases that only this provider has, valid and hostile."""
    leaves_out: frozenset[str] = frozenset()
    """What of the hostile ones is none here, by what it says."""
    made_by: str = "independent"
    asked: str = ""
    accepts: Callable[[Request, str], bool] | None = None
    url: str = "https://hooks.example.com/webhooks/source"
    also: dict[str, Any] = field(default_factory=dict)

    def signed(
        self,
        body: Body | None = None,
        *,
        secret: str | None = None,
        at: float = AT,
        stamp: str | None = None,
        url: str | None = None,
    ) -> Request:
        """Return ``body``, by default the first one, as the provider sends it. ``stamp`` is its timestamp's text."""
        body = body or self.bodies[0]
        if stamp is None:
            stamp = self.stamp.text(at) if self.stamp is not None else ""
        kind = (("Content-Type", body.content_type),) if body.content_type is not None else ()
        content = body.content.replace(STAMP, stamp.encode("utf-8", "surrogatepass"))
        draft = Request(body.method, url or self.url, (*kind, *body.headers), content)
        return self.sign(draft, self.secret if secret is None else secret, stamp)

    def cases(self) -> Iterator[Case]:
        """Give all cases, valid ones first."""
        more = list(self.more(self)) if self.more is not None else []
        yield from self._valid()
        yield from (case for case in more if case.valid)
        yield from (case for case in more if not case.valid)
        made = [case for family in self.hostile for case in family(self)]
        unknown = self.leaves_out - {case.said for case in made}
        if unknown:
            raise ValueError(f"leaves_out names what is not there: {sorted(unknown)}")
        yield from (case for case in made if case.said not in self.leaves_out)

    def _valid(self) -> Iterator[Case]:
        for body in self.bodies:
            yield Case(body.said, self.signed(body), valid=True)
        good = self.signed()
        lower = replace(good, headers=tuple((name.lower(), value) for name, value in good.headers))
        yield Case("names of headers in lower case", lower, valid=True, is_asked=False)
        if self.stamp is not None:
            old, ahead = self.stamp.old_seconds - 1, self.stamp.ahead_seconds - 1
            yield Case(
                f"signed {old} s ago, just within tolerance", self.signed(at=AT - old), valid=True, may_differ=True
            )
            yield Case(
                f"signed {ahead} s ahead, just within tolerance",
                self.signed(at=AT + ahead),
                valid=True,
                may_differ=True,
            )
