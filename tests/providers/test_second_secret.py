"""Of every provider the secret that verifies is told from the others: what is retired is the one that is not needed."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ingest import adapters
from ingest.adapters.base import Adapter, RefusedError
from tests.providers.reading import Vector, provided, vectors
from tidegate.errors import UsageError

FIRST = [next(vector for vector in vectors(name) if vector.valid) for name in provided()]


def others(vector: Vector) -> Iterator[str]:
    """Give texts that may be another secret of the same provider: of its other vectors, or nearly the same."""
    secret: str = vector.source["secrets"][0]
    yield from {other.source["secrets"][0] for other in vectors(vector.provider)} - {secret}
    at = len(secret) // 2
    yield from (secret[:at] + char + secret[at + 1 :] for char in "AbC7" if secret[at] != char)
    edwards = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    yield from (edwards.hex(), f"whpk_{base64.b64encode(edwards).decode()}")
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    yield base64.b64encode(curve.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def build(vector: Vector, *secrets: str) -> Adapter:
    more = {name: value for name, value in vector.source.items() if name not in ("provider", "secrets", "public_url")}
    return adapters.build(vector.provider, list(secrets), **more)


def another(vector: Vector) -> str:
    """Return a secret that this provider could have and that does not verify ``vector``."""
    for text in others(vector):
        try:
            build(vector, text).verify(vector.request, vector.at)
        except UsageError:
            continue
        except RefusedError:
            return text
    raise AssertionError(f"no other secret of {vector.provider} was found")


@pytest.mark.parametrize("vector", FIRST, ids=lambda vector: vector.provider)
def test_the_one_that_verified_is_named_wherever_it_stands(vector: Vector) -> None:
    right, wrong = vector.source["secrets"][0], another(vector)
    assert build(vector, wrong, right).verify(vector.request, vector.at) == 1
    assert build(vector, right, wrong).verify(vector.request, vector.at) == 0
