"""A secret for every provider: in the form that its declaration wants, and of no other use."""

from __future__ import annotations

import base64
import hashlib

from ingest.adapters.declaration import Declaration

PUBLIC = ("ecdsa-p256", "ed25519")
"""Kinds that nobody but the provider signs."""


def secret_for(name: str, words: Declaration) -> str | None:
    """Return a secret of ``name``; None where it is a public key."""
    raw = hashlib.sha256(name.encode()).digest()
    if not words.signatures:
        return f"secret-of-{name}"
    first = words.signatures[0]
    if any(found.kind in PUBLIC for found in words.signatures):
        return None
    if first.kind == "basic":
        return f"ada:secret-of-{name}"
    if first.kind == "standard-webhooks":
        return "whsec_" + base64.b64encode(raw).decode()
    if first.key == "base64":
        return first.key_prefix + base64.b64encode(raw).decode()
    if first.key == "hex":
        return first.key_prefix + raw.hex()
    return f"secret-of-{name}"
