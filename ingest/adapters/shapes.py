"""What a signature looks like: its length and letters say which hash it can be, and how written."""

from __future__ import annotations

import re

_HASHES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""By their names in declarations, with the bytes of each."""
_LETTERS = {
    "hex": re.compile(r"[0-9A-Fa-f]+"),
    "base64": re.compile(r"[A-Za-z0-9+/]+={0,2}"),
    "base64url": re.compile(r"[A-Za-z0-9_-]+"),
}
_SPOKEN = {"hex": "hexadecimal", "base64": "base64", "base64url": "base64 for URLs"}


def fits(text: str) -> list[tuple[str, str]]:
    """Return each hash and encoding that ``text`` can be a signature of, by their words in declarations."""
    return [
        (name, encoding)
        for name, size in _HASHES.items()
        for encoding in _LETTERS
        if len(text) == length(name, encoding) and _LETTERS[encoding].fullmatch(text)
    ]


def length(name: str, encoding: str) -> int:
    """Return how many characters a signature has."""
    size = _HASHES[name]
    if encoding == "hex":
        return 2 * size
    return -(-size * 4 // 3) if encoding == "base64url" else 4 * -(-size // 3)


def said(name: str, encoding: str) -> str:
    """Return e.g. `SHA-256 in hexadecimal`."""
    spelled = "MD5" if name == "md5" else f"SHA-{name.removeprefix('sha')}"
    return f"{spelled} in {_SPOKEN[encoding]}"


def letters(text: str) -> str:
    """Return what ``text`` is made of, without a character of it: `64 characters in hexadecimal`."""
    if not text:
        return "nothing"
    made_of = next((_SPOKEN[encoding] for encoding, found in _LETTERS.items() if found.fullmatch(text)), "no encoding")
    return f"{len(text)} characters in {made_of}"
