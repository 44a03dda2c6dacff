"""Shopify: base64 of an HMAC over the body. Its library for Python verifies only what comes in a query."""

from __future__ import annotations

from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Case, Signer

HEADER = "X-Shopify-Hmac-Sha256"


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    newer = good.headers
    renamed = tuple((name.removeprefix("X-"), value) for name, value in newer)
    bare = type(good)(good.method, good.url, renamed, good.body)
    yield Case("the newer names of headers, without X-", bare, valid=True)
    yield Case("the newer header with the signature of another secret", bare.with_header("Shopify-Hmac-Sha256", "AAAA"))


def _headers(topic: str, number: int) -> tuple[tuple[str, str], ...]:
    return (
        ("X-Shopify-Topic", topic),
        ("X-Shopify-Webhook-Id", f"b54557e4-bdd9-4b37-8a5f-bf7d70bcd0{number:02}"),
        ("X-Shopify-Shop-Domain", "sample.myshopify.com"),
        ("X-Shopify-Triggered-At", "2026-09-21T14:13:19.000000001Z"),
    )


def _order(**held: object) -> dict[str, object]:
    return {"id": 820982911946154508, "admin_graphql_api_id": "gid://shopify/Order/820982911946154508", **held}


SIGNER = hmac_signer(
    header=HEADER,
    encoding="base64",
    secret="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",
    other_secret="shpss_00000000000000000000000000000000",
    bodies=[
        Body("orders/create", compact(_order(total_price="403.00")), _headers("orders/create", 1)),
        Body(
            "customers/update, with unicode",
            compact({"id": 7, "first_name": "Søren 東京"}),
            _headers("customers/update", 2),
        ),
        Body(
            "products/update, over several lines", pretty({"id": 8, "title": "Shirt"}), _headers("products/update", 3)
        ),
        Body("app/uninstalled, escaped", spaced({"id": 9, "name": "Café"}), _headers("app/uninstalled", 4)),
        Body("a topic that nobody knows", compact({"id": 10}), _headers("moons/eclipsed", 5)),
    ],
    more=more,
)
