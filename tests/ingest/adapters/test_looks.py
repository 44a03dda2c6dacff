"""What an adapter says of a request without judging it: a person must not be sent looking in the wrong place."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest

from ingest.adapters import PROVIDERS, build, catalogue
from ingest.adapters.base import RefusedError
from ingest.adapters.samples import filled
from tests.documents.secrets import usable
from tests.ingest.adapters.requests import NOW, request, signed
from tests.ingest.adapters.secrets_of import secret_for

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


SECRETS = {name: secret_for(name, catalogue.declaration(name)) for name in PROVIDERS}
"""None where it is a public key, which need not be masked."""


V3, V1, VERSION = "X-HubSpot-Signature-v3", "X-HubSpot-Signature", "X-HubSpot-Signature-Version"


@pytest.mark.parametrize(
    ("provider", "headers", "body", "scheme"),
    [
        ("hubspot", [], b"", "none"),
        ("hubspot", [(VERSION, "v1")], b"", "none"),
        ("hubspot", [(V3, "x")], b"", "v3"),
        ("hubspot", [(V3, "")], b"", "v3"),
        ("hubspot", [(V1, "x"), (VERSION, "v1")], b"", "v1"),
        ("hubspot", [(V1, "x"), (VERSION, "v2")], b"", "v2"),
        ("hubspot", [(V3, "x"), (V1, "x"), (VERSION, "v1")], b"", "v3+v1"),
        ("hubspot", [(V1, "x"), (VERSION, "v9 <b>")], b"", "unknown"),
        ("hubspot", [(V1, "x"), (VERSION, "v1"), (VERSION, "v2")], b"", "unknown"),
        ("hubspot", [(V3, "x"), (V1, "x")], b"", "v3+unknown"),
        ("lemlist", [], b'{"a": 1, "secret": "x"}', "body secret"),
        ("lemlist", [], b'{"a": 1}', "none"),
        ("standard-webhooks", [], b"", "none"),
        ("standard-webhooks", [("webhook-signature", "v1,x")], b"", "v1"),
        ("standard-webhooks", [("webhook-signature", "v9,x v1a,x v1,x")], b"", "v1,v1a"),
        ("standard-webhooks", [("webhook-signature", "v1a,x"), ("webhook-signature", "v1,x")], b"", "v1,v1a"),
        ("standard-webhooks", [("webhook-signature", "<b>")], b"", "unknown"),
        ("standard-webhooks", [("svix-signature", "v1,x")], b"", "none"),
        ("svix", [("svix-signature", "v1,x")], b"", "v1"),
        ("svix", [("webhook-signature", "v1a,x")], b"", "v1a"),
    ],
)
def test_the_scheme_is_told_in_our_words(
    provider: str, headers: list[tuple[str, str]], body: bytes, scheme: str
) -> None:
    assert build(provider, [SECRET]).scheme(request(body, headers)) == scheme


@pytest.mark.parametrize(
    ("provider", "header", "unit"),
    [
        ("hubspot", "X-HubSpot-Request-Timestamp", 1000),
        ("standard-webhooks", "webhook-timestamp", 1),
        ("svix", "svix-timestamp", 1),
        ("svix", "webhook-timestamp", 1),
    ],
)
def test_the_clock_difference_is_told_whether_or_not_the_signature_is_good(
    provider: str, header: str, unit: int
) -> None:
    adapter = build(provider, [SECRET])

    def behind(*values: str) -> float | None:
        return adapter.clock_difference(request(b"", [(header, value) for value in values]), NOW)

    assert behind(str(int((NOW - 720) * unit))) == 720
    assert behind(str(int((NOW + 5) * unit))) == -5
    for odd in ((), ("",), ("x",), ("-1",), ("1", "1"), ("9" * 17,), ("1e9",)):
        assert behind(*odd) is None


@pytest.mark.parametrize("provider", ["linear", "pusher", "mailgun"])
def test_a_large_body_of_a_stranger_is_not_parsed_to_tell_the_time(provider: str) -> None:
    """Every refusal tells the clock difference: 2 MiB of JSON for it would stop the gate for a tenth of a second."""
    adapter = build(provider, [SECRET])
    words = catalogue.declaration(provider)
    sample = signed(adapter, filled(words.samples[0].body, words.samples[0].type, NOW).encode())
    assert adapter.clock_difference(sample, NOW + 7) == pytest.approx(7, abs=1)
    large = replace(sample, body=sample.body.rstrip()[:-1] + b',"a":"' + b"a" * 65_536 + b'"}')
    assert adapter.clock_difference(large, NOW + 7) is None


def test_lemlist_signs_no_time() -> None:
    adapter = build("lemlist", [SECRET])
    assert adapter.clock_difference(signed(adapter, b"{}"), NOW) is None


@pytest.mark.parametrize("provider", ["hubspot", "standard-webhooks", "svix"])
@pytest.mark.parametrize(("off", "reason"), [(301, "stale"), (-301, "future")])
def test_a_refusal_for_the_clock_says_by_how_much_and_what_to_do(provider: str, off: int, reason: str) -> None:
    adapter = build(provider, [SECRET])
    with pytest.raises(RefusedError) as caught:
        adapter.verify(signed(adapter, b"{}", now=NOW - off), NOW)
    assert (caught.value.reason, caught.value.clock_seconds) == (reason, off)
    assert "301 s" in caught.value.detail
    assert "raise tolerance_seconds" in caught.value.detail


@pytest.mark.parametrize(
    ("provider", "factor", "said"),
    [("hubspot", 0.001, "seconds where milliseconds"), ("svix", 1000, "milliseconds where seconds")],
)
def test_a_time_in_the_wrong_unit_is_recognised(provider: str, factor: float, said: str) -> None:
    adapter = build(provider, [SECRET])
    with pytest.raises(RefusedError, match=f"is it {said} are due"):
        adapter.verify(signed(adapter, b"{}", now=NOW * factor), NOW)


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "cloudevents"])  # takes data of any type
def test_what_a_provider_sends_is_taken_and_nothing_else(provider: str) -> None:
    adapter = build(provider, [usable(provider, catalogue.declaration(provider))])
    for sent in adapter.content_types - {"+json"}:
        assert adapter.takes(sent)
    assert adapter.takes("application/cloudevents+json") is ("+json" in adapter.content_types)
    for other in ("", "+", "json", "text/html", "multipart/form-data", "application/json+xml", "a+b"):
        assert not adapter.takes(other)


@pytest.mark.parametrize(("provider", "secret"), [(name, secret) for name, secret in SECRETS.items() if secret])
def test_a_secret_is_masked_wherever_it_stands(provider: str, secret: str) -> None:
    adapter = build(provider, [secret])
    for spelled in (secret, secret.upper(), quote(secret, safe="")):
        assert adapter.masked(f"/a/{spelled}?b") == "/a/***?b"
    assert adapter.masked("nothing of ours") == "nothing of ours"


def test_each_secret_is_masked_without_what_marks_it_too() -> None:
    adapter = build("standard-webhooks", ["b2xkIG9sZCBvbGQgb2xk", SECRET])
    for spelled in (SECRET[6:], SECRET.replace("+", "%2B"), "b2xkIG9sZCBvbGQgb2xk"):
        assert adapter.masked(f"/a/{spelled}?b") == "/a/***?b"


@pytest.mark.parametrize("provider", ["hubspot", "lemlist"])
def test_what_is_left_of_a_short_secret_masks_no_words(provider: str) -> None:
    assert build(provider, ["whk_a"]).masked("a whk_a") == "a ***"


@pytest.mark.parametrize(("provider", "held"), [("hubspot", "s \n"), ("lemlist", "\ts"), ("hubspot", "s")])
def test_a_secret_with_space_around_it_can_be_tried_without(provider: str, held: str) -> None:
    adapter, bare = build(provider, [held]), build(provider, ["s"])
    trimmed = adapter.trimmed()
    assert (trimmed is None) == (held == "s")
    if trimmed is not None:
        trimmed.verify(signed(bare, b"{}"), NOW)
    assert build("svix", [SECRET]).trimmed() is None


@pytest.mark.parametrize(
    ("secrets", "signature", "said"),
    [
        (["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="], "v1,AAAA", "whsec_"),
        ([SECRET], "v1a,AAAA", "whpk_"),
        ([SECRET], "v2,AAAA", "no version that we know"),
    ],
)
def test_a_scheme_that_no_secret_is_for_names_the_secret_that_is_missing(
    secrets: list[str], signature: str, said: str
) -> None:
    headers = [("webhook-id", "m"), ("webhook-timestamp", str(int(NOW))), ("webhook-signature", signature)]
    with pytest.raises(RefusedError, match=said) as caught:
        build("standard-webhooks", secrets).verify(request(b"{}", headers), NOW)
    assert caught.value.reason == "wrong_scheme"
