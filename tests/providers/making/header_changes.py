"""Signatures as nobody with the secret sends them."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.providers.making.signer import Case, Encoding, Signer

LISTED = 1000


def header_changes(signer: Signer) -> Iterator[Case]:
    """Give requests whose signature's header is missing, doubled, cut, foreign or no signature at all."""
    proof = signer.proof
    assert proof is not None
    good, other = signer.signed(), signer.signed(signer.bodies[1])
    value = good.value(proof.header)
    before, right, behind = proof.cut(value)
    foreign = signer.signed(secret=signer.other_secret)
    wrong = proof.cut(foreign.value(proof.header))[1]

    def header(said: str, *values: str) -> Case:
        return Case(said, good.with_header(proof.header, *values))

    def signature(said: str, text: str) -> Case:
        return header(said, before + text + behind)

    yield header("no signature")
    yield header("an empty signature header", "")
    yield header("the signature header twice", value, value)
    yield header("the signature header twice, the second one foreign", value, before + wrong + behind)
    yield Case("signed with another secret", foreign)
    yield signature("the signature of another body", proof.cut(other.value(proof.header))[1])
    yield signature("no signature where one should be", "")
    yield signature("the signature without its end", right[:-4])
    yield signature("one character of the signature is another", ("1" if right[0] != "1" else "2") + right[1:])
    yield signature("more behind the signature", right + "00")
    yield signature("a space within the signature", f"{right[:8]} {right[8:]}")
    yield signature(f"the signature not in {proof.encoding}", recoded(right, proof.encoding))
    yield signature("letters outside ASCII for a signature", "é" * len(right))
    yield signature("letters outside latin-1 for a signature", "подпись")
    yield signature("a control character in the signature", right[:-1] + "\x01")
    yield signature("a NUL at the end of the signature", right + "\x00")
    if proof.mark:
        yield header("nothing before the signature", value.replace(proof.mark, "", 1))
        yield header("something else before the signature", value.replace(proof.mark, another(proof.mark), 1))
    else:
        yield header("something before the signature", f"sha256={value}")
    listed = f"{proof.mark}00{proof.separator or ','}" * LISTED
    yield header("a thousand signatures, none of them right", before.removesuffix(proof.mark) + listed)


def recoded(signature: str, encoding: Encoding) -> str:
    """Return hexadecimal digits as base64, and base64 as hexadecimal digits."""
    if encoding == "hex":
        return base64.b64encode(bytes.fromhex(signature)).decode()
    return base64.urlsafe_b64decode(signature.replace("+", "-").replace("/", "_") + "==").hex()


def another(mark: str) -> str:
    """Return what may stand before signatures of another kind."""
    return "sha1=" if mark == "sha256=" else f"v9{mark[-1]}" if mark != f"v9{mark[-1]}" else f"v8{mark[-1]}"
