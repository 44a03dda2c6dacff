"""Providers that sign as Standard Webhooks do: `v1,` and base64 over `{id}.{timestamp}.{body}`, several with a space between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.signer import Case, Signer, Stamp


def listing_signer(
    name: str,
    *,
    secret: str,
    other_secret: str,
    key: Callable[[str], bytes],
    header: str = "Webhook-Signature",
    id_header: str = "Webhook-Id",
    timestamp: str = "Webhook-Timestamp",
    **more: Any,
) -> Signer:
    """Return the signer of ``name``. ``key`` is what a secret is used as."""

    def lists(signer: Signer) -> Iterator[Case]:
        good, foreign = signer.signed(), signer.signed(secret=signer.other_secret).value(header)
        value = good.value(header)

        def listed(said: str, text: str, *, valid: bool = False) -> Case:
            return Case(said, good.with_header(header, text), valid=valid)

        yield listed("while a secret is rolled: another signature first", f"{foreign} {value}", valid=True)
        yield listed("while a secret is rolled: another signature behind", f"{value} {foreign}", valid=True)
        yield listed("a signature of a version that nobody knows before it", f"v7,{'A' * 43}= {value}", valid=True)
        yield listed("two signatures, both foreign", f"{foreign} {foreign}")
        yield listed("a comma between signatures", f"{foreign},{value}")
        yield listed("a version that nobody knows alone", value.replace("v1,", "v7,"))
        yield Case("no message id", good.with_header(id_header))
        yield Case("an empty message id", good.with_header(id_header, ""))
        yield Case("another message id", good.with_header(id_header, "msg_other"))
        yield Case("the message id twice", good.with_header(id_header, "msg_1", "msg_1"))

    return hmac_signer(
        header=header,
        mark="v1,",
        separator=" ",
        encoding="base64",
        key=key,
        content=lambda request, stamp: f"{request.value(id_header)}.{stamp}.".encode() + request.body,
        stamp=Stamp(header=timestamp),
        secret=secret,
        other_secret=other_secret,
        bodies=payloads(name, headers=lambda number: ((id_header, f"msg_2KWPBgLlAfxdpx2AI54pPJ85f{number:02}"),)),
        more=lists,
        **more,
    )
