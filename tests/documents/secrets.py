"""A secret for each provider, public keys among them: sources of the pages' settings are built with it."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ingest.adapters.declaration import Declaration, Signature
from tests.ingest.adapters.secrets_of import PUBLIC, secret_for


def usable(name: str, words: Declaration) -> str:
    """Return a secret that a source of this provider can have."""
    found = secret_for(name, words)
    if found is not None:
        return found
    return _public_key(next(scheme for scheme in words.signatures if scheme.kind in PUBLIC))


def _public_key(words: Signature) -> str:
    ecdsa = words.kind == "ecdsa-p256"
    key = ec.generate_private_key(ec.SECP256R1()).public_key() if ecdsa else Ed25519PrivateKey.generate().public_key()
    if words.key == "pem":
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if ecdsa else (Encoding.Raw, PublicFormat.Raw)
    raw = key.public_bytes(*form)
    return words.key_prefix + (raw.hex() if words.key == "hex" else base64.b64encode(raw).decode())
