"""A mistake in a source's settings ends the start with a line that says what to change."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from ingest.adapters import PROVIDERS, build, catalogue
from ingest.adapters.hubspot import HubSpotAdapter
from tests.ingest.adapters.requests import refusal, request, signed
from tidegate.errors import UsageError

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def test_an_underscore_is_as_good_as_a_dash() -> None:
    assert build("standard_webhooks", [SECRET]).provider == "standard-webhooks"


@pytest.mark.parametrize(
    ("provider", "near"), [("hubsport", "hubspot"), ("standard_webhook", "standard-webhooks"), ("Lemlst", "lemlist")]
)
def test_an_unknown_provider_names_its_neighbour(provider: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {near}"):
        build(provider, ["x"])


def test_a_provider_like_no_other_names_all() -> None:
    with pytest.raises(UsageError, match="`tidegate providers` lists all"):
        build("zzz", ["x"])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("secrets", [[], [""], [" "], ["\n\t"], ["c2VjcmV0c2VjcmV0", ""], ["\udc80"]])
def test_a_source_without_a_usable_secret_does_not_start(provider: str, secrets: list[str]) -> None:
    with pytest.raises(UsageError):
        build(provider, secrets)


@pytest.mark.parametrize("secret", ["", " "])
def test_a_handshake_secret_that_everybody_can_present_does_not_start(secret: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        build("meta", [SECRET], handshake_secret=secret)


@pytest.mark.parametrize("secret", [":", "user:", "user: ", "user"])
def test_a_user_without_a_password_does_not_start(secret: str) -> None:
    with pytest.raises(UsageError, match="user:password"):
        build("postmark", [secret])


@pytest.mark.parametrize("provider", ["github", "stripe", "cloudinary", "whop"])
@pytest.mark.parametrize("secret", ["-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n", "whpk_c2VjcmV0"])
def test_a_public_key_is_no_key_to_sign_with(provider: str, secret: str) -> None:
    """Everybody has it, so everybody could."""
    with pytest.raises(UsageError, match="is a public key"):
        build(provider, [secret])


@pytest.mark.parametrize(
    ("signature", "timestamp", "is_good"),
    [
        ({"kind": "hmac", "signed": "{timestamp}.{body}"}, {"header": "X-Time"}, True),
        ({"kind": "hmac", "signed": "{header:X-Time}.{body}"}, {"header": "x-time"}, True),
        ({"kind": "hmac"}, {"body": "at"}, True),
        ({"kind": "standard-webhooks"}, {"header": "webhook-timestamp"}, True),
        ({"kind": "hmac"}, {"header": "X-Time"}, False),
        ({"kind": "hmac", "signed": "{url}"}, {"body": "at"}, False),
        ({"kind": "token"}, {"header": "X-Time"}, False),
        ({"kind": "token"}, {"body": "at"}, False),
    ],
)
def test_a_time_that_nothing_signs_is_not_taken_for_a_guard_against_repetition(
    signature: dict[str, Any], timestamp: dict[str, Any], is_good: bool
) -> None:
    words = {"signature": signature | {"header": "X-Acme"}, "timestamp": timestamp}
    with nullcontext() if is_good else pytest.raises(UsageError, match="could send it again"):
        build("acme", [SECRET], own={"acme": words})


@pytest.mark.parametrize(
    ("provider", "options", "said"),
    [
        ("hubspot", {"require-v3": True}, "did you mean require_v3"),
        ("hubspot", {"require_v3": "yes"}, "true or false"),
        ("hubspot", {"sign": "v4"}, "v1, v2, v3"),
        ("hubspot", {"sign": ["v1"]}, "v1, v2, v3"),
        ("hubspot", {"workflow": "id"}, "table"),
        ("hubspot", {"workflow": {"id": 5}}, "table"),
        ("hubspot", {"workflow": {"occured_at": "x"}}, "did you mean occurred_at"),
        ("lemlist", {"sign": "v1"}, "providers.lemlist.sign: there is no such word"),
        ("svix", {"prefix": "acme"}, "no such word: did you mean 'prefix"),
        ("standard-webhooks", {"x": 1}, "standard-webhooks.x: there is no such word"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(provider: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(provider, [SECRET], options=options)


def test_options_and_tolerance_reach_the_adapter() -> None:
    adapter = build(
        "hubspot",
        ["s"],
        tolerance_seconds=10,
        options={"require_v3": True, "sign": "v2", "workflow": {"id": "execution.id"}},
    )
    assert isinstance(adapter, HubSpotAdapter)
    assert refusal(adapter, signed(adapter, b"{}")) == "missing_header"
    [event] = adapter.split(request(b'{"execution":{"id":"x-1"}}'))
    assert event.provider_event_id == "x-1"
    sender = build("hubspot", ["s"])
    assert refusal(adapter, signed(sender, b"{}", now=100), 110) is None
    assert refusal(adapter, signed(sender, b"{}", now=100), 111) == "stale"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {"signature": {"knd": "hmac", "header": "X-A"}},
            [
                "signature.kind: it is needed, and not there",
                "signature.knd: there is no such word: did you mean 'kind'?",
            ],
        ),
        ({"signature": "hmac"}, ['signature: it is a table: { word = "value" }']),
        (
            {"signature": [{"kind": "hmac", "headr": "X-A"}]},
            ["signature.0.headr: there is no such word: did you mean 'header'?"],
        ),
        (
            {"signature": {"kind": "hmac", "header": "X-A", "hash": "SHA265"}},
            ["signature.hash: it is 'md5', 'sha1', 'sha256' or 'sha512'; did you mean 'sha256'?"],
        ),
        ({"signature": {"kind": "token", "header": "X-A"}, "methods": "POST"}, ["methods: it is a list: [...]"]),
    ],
)
def test_a_wrong_declaration_is_told_a_line_a_mistake_and_nothing_of_what_nobody_wrote(
    words: dict[str, object], said: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        catalogue.read("acme", words)
    assert str(error.value).splitlines() == [f"providers.acme.{line}" for line in said]
