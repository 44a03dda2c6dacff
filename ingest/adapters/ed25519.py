"""Ed25519 as a function of signature and content. A module of its own, loaded only where a source needs it."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verifying(raw: bytes) -> Callable[[bytes, bytes], bool]:
    """Return what tells whether a signature of some content is good; raise ValueError unless ``raw`` is a public key."""
    return checked(Ed25519PublicKey.from_public_bytes(raw))


def checked(public: Ed25519PublicKey) -> Callable[[bytes, bytes], bool]:
    """Return the same for a key that is read already."""

    def verifies(signature: bytes, content: bytes) -> bool:
        try:
            public.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    return verifies
