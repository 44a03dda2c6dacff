"""Bodies that changed on their way, under the signature of what they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.providers.making.bodies import compact, pretty, spaced
from tests.providers.making.signer import Case, Signer


def body_changes(signer: Signer) -> Iterator[Case]:
    """Give requests whose body is another one than was signed, by a byte or only in how it is written."""
    good = signer.signed()
    body = good.body
    yield Case("a newline more at the end of the body", good.with_body(body + b"\n"))
    yield Case("the last byte of the body is missing", good.with_body(body[:-1]))
    yield Case("the body is empty", good.with_body(b""))
    yield Case("a byte order mark before the body", good.with_body(b"\xef\xbb\xbf" + body))
    yield Case("a NUL behind the body", good.with_body(body + b"\x00"))
    yield Case("a byte in the body that is no UTF-8", good.with_body(body[:-1] + b"\xff" + body[-1:]))
    yield Case("one letter of the body is another", good.with_body(_one_letter_changed(body)))
    for said, write in _WRITTEN.items():
        yield from _written_anew(signer, said, write)


def _written_anew(signer: Signer, said: str, write: Callable[[object], bytes]) -> Iterator[Case]:
    """Give the first body that is JSON and becomes another one."""
    for body in signer.bodies:
        signed = signer.signed(body)
        try:
            anew = write(json.loads(signed.body))
        except ValueError:
            continue
        if anew != signed.body:
            yield Case(said, signed.with_body(anew))
            return


def _reversed(value: object) -> bytes:
    return spaced(dict(reversed(value.items()))) if isinstance(value, dict) else spaced(value)


def _one_letter_changed(body: bytes) -> bytes:
    at = next(at for at in range(len(body) // 2, len(body)) if body[at : at + 1].isalnum())
    return body[:at] + (b"7" if body[at : at + 1] != b"7" else b"8") + body[at + 1 :]


_WRITTEN: dict[str, Callable[[object], bytes]] = {
    "the body without the spaces it was signed with": compact,
    "the body parsed and written anew": spaced,
    "the body made readable": pretty,
    "the members of the body in another order": _reversed,
}


def url_changes(signer: Signer) -> Iterator[Case]:
    """Give requests that were signed for another URL."""
    good = signer.signed()
    bare = signer.url.partition("?")[0]
    yield Case("another path than was signed", replace(good, url=good.url.replace(bare, f"{bare}/other")))
    yield Case("a query that was not signed", replace(good, url=f"{good.url}{'&' if '?' in good.url else '?'}a=1"))
    yield Case("http where https was signed", replace(good, url=good.url.replace("https://", "http://", 1)))
    yield Case("another host than was signed", replace(good, url=good.url.replace("hooks.", "evil.", 1)))
