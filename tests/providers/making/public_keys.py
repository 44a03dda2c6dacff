"""Providers whose requests anybody can verify and nobody else can sign. The private keys here were made for this alone."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding as Written
from cryptography.hazmat.primitives.serialization import PublicFormat

from tests.providers.making.bodies import Body
from tests.providers.making.hmacs import Content, encoded, usual
from tests.providers.making.request import Request
from tests.providers.making.signer import Encoding, Proof, Signer, Stamp


def ed25519_key(seed: str) -> Ed25519PrivateKey:
    """Return the private key whose 32 bytes are ``seed`` in hexadecimal."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


def ecdsa_key(number: int) -> ec.EllipticCurvePrivateKey:
    """Return the private key on P-256 that is ``number``."""
    return ec.derive_private_key(number, ec.SECP256R1())


Private = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
KeyForm = Literal["base64", "hex", "pem"]


def public_text(private: Private, form: KeyForm = "base64") -> str:
    """Return the public key as providers show it: PEM, or base64 or hex of 32 bytes (Ed25519) or of SPKI (ECDSA)."""
    public = private.public_key()
    if form == "pem":
        return public.public_bytes(Written.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    if isinstance(private, Ed25519PrivateKey):
        raw = public.public_bytes(Written.Raw, PublicFormat.Raw)
    else:
        raw = public.public_bytes(Written.DER, PublicFormat.SubjectPublicKeyInfo)
    return raw.hex() if form == "hex" else base64.b64encode(raw).decode()


def signature(private: Private, content: bytes) -> bytes:
    """Return the signature of ``content``, the same each time."""
    if isinstance(private, Ed25519PrivateKey):
        return private.sign(content)
    return private.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def public_key_signer(
    *,
    header: str,
    bodies: Sequence[Body],
    private: Private,
    other: Private,
    mark: str = "",
    encoding: Encoding = "base64",
    content: Content = lambda request, stamp: request.body,
    shown: Callable[[Private], str] = public_text,
    stamp: Stamp | None = None,
    separator: str = "",
    signs_url: bool = False,
    **more: Any,
) -> Signer:
    """Return the signer of a provider with a signature by ``private`` in ``header``; ``shown`` writes the public key."""
    keys = {shown(private): private, shown(other): other}

    def sign(request: Request, secret: str, time: str) -> Request:
        made = encoded(signature(keys[secret], content(request, time)), encoding)
        value = f"{mark}{made}"
        if stamp is not None and stamp.pair:
            value = f"{stamp.pair}={time}{separator}{value}"
        elif stamp is not None and stamp.header:
            request = request.with_header(stamp.header, time)
        return request.with_header(header, value)

    return Signer(
        secret=shown(private),
        other_secret=shown(other),
        bodies=bodies,
        sign=more.pop("sign", sign),
        proof=Proof(header, mark, separator, encoding),
        stamp=stamp,
        hostile=[*usual(stamp, signs_url=signs_url), *more.pop("hostile", ())],
        **more,
    )
