"""`tidegate verify` tells step by step how a request was judged, and shows nothing that must not leave the machine."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build, catalogue, samples
from ingest.adapters.base import Adapter, Request
from ingest.explaining import steps
from ingest.steps import Step
from tests.ingest.adapters.requests import NOW, any_text, header_text, request, signed, with_header
from tests.ingest.adapters.secrets_of import secret_for
from tidegate.errors import UsageError

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"id": "evt_1", "note": "a body longer than its ends", "type": "a"}\n'
SIGNED = {
    name: secret for name in catalogue.names() if (secret := secret_for(name, catalogue.declaration(name))) is not None
}
PUBLIC = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
ED25519 = {"acme": {"signature": {"kind": "ed25519", "header": "X-Sig", "key": "hex"}}}


def told(adapter: Adapter, seen: Request, now: float = NOW) -> dict[str, Step]:
    return {step.name: step for step in steps(adapter, seen, now)}


def failing(adapter: Adapter, seen: Request, now: float = NOW) -> list[str]:
    return [step.name for step in steps(adapter, seen, now) if step.good is False]


def made(provider: str, body: bytes = BODY, **more: Any) -> tuple[Adapter, Request]:
    adapter = build(provider, [SIGNED[provider]])
    return adapter, signed(adapter, body, **more)


def sampled(provider: str) -> bytes:
    return samples.sample(catalogue.declaration(provider), now_seconds=NOW).body


@pytest.mark.parametrize("provider", SIGNED)
def test_of_an_authentic_request_every_step_passes_and_of_one_without_headers_the_first_fails(provider: str) -> None:
    adapter, seen = made(provider, sampled(provider))
    seen = replace(seen, url=adapter.called(seen.url))
    adapter.verify(seen, NOW)
    assert failing(adapter, seen) == []
    bare = Request("POST", "https://hooks.example.com/x", [], b"{}")
    assert [step.good for step in steps(adapter, bare, NOW)][:1] == [False]


def test_the_parts_of_what_is_signed_are_named_with_their_lengths_and_ends() -> None:
    adapter, seen = made("slack")
    found = told(adapter, seen)
    assert found["headers"].told == "X-Slack-Signature, X-Slack-Request-Timestamp"
    assert found["signature"].told == "after 'v0=': 64 characters in hexadecimal"
    assert found["time"].told == f"{NOW:.0f}, now"
    assert found["signed"].told == f"v0:{{timestamp}}:{{body}}, {len(BODY) + 14} bytes"
    assert found["{timestamp}"].told == f"10 bytes: '{NOW:.0f}'"
    assert found["{body}"].told == f'{len(BODY)} bytes: \'{{"id": "evt_\' ... \'type": "a"}}\\n\''
    adapter, seen = made("svix")
    assert told(adapter, seen)["{header:svix-id}"].told == "5 bytes: 'msg_1'"
    adapter, seen = made("stripe")
    assert told(adapter, seen)["signature"].told == "pairs t, v1; v1 is 64 characters in hexadecimal"
    adapter, seen = made("hubspot", url="https://ada:pw@hooks.example.com/a%40?token=hunter2")
    assert told(adapter, seen)["{url}"].told == "49 bytes: https://***@hooks.example.com/a@"


def test_the_step_that_fails_is_the_one_that_is_wrong() -> None:
    adapter, seen = made("stripe")
    assert failing(adapter, seen, NOW + 900) == ["time"]
    assert told(adapter, seen, NOW + 900)["time"].told == f"{NOW:.0f}, 900 s old: 300 s are allowed"
    assert told(adapter, seen, NOW - 900)["time"].told == f"{NOW:.0f}, 900 s ahead of the clock: 300 s are allowed"
    assert failing(adapter, replace(seen, body=b"{}")) == ["secret"]
    assert failing(adapter, with_header(seen, "stripe-signature", "t=x,v1=00")) == ["signature", "time", "secret"]
    assert failing(adapter, with_header(seen, "stripe-signature", "nothing")) == ["signature"]
    twice = replace(seen, headers=[*seen.headers, *seen.headers])
    assert told(adapter, twice)["headers"] == Step(
        "headers", "Stripe-Signature 2 times; there are 4 headers, and none like it", good=False
    )


def test_headers_that_another_scheme_may_use_are_named() -> None:
    adapter, seen = made("github")
    older = replace(seen, headers=[("x-hub-signature", "sha1=00"), ("x-github-event", "a"), ("accept", "*/*")])
    (step,) = steps(adapter, older, NOW)
    assert step.told == "X-Hub-Signature-256 missing; there is x-hub-signature, x-github-event"


def test_of_a_signature_of_another_length_it_is_said_what_it_looks_like() -> None:
    adapter, seen = made("github")
    value = "sha256=" + base64.b64encode(b"x" * 32).decode()
    step = told(adapter, with_header(seen, "x-hub-signature-256", value))["signature"]
    assert (step.good, "it looks like SHA-256 in base64" in step.told) == (False, True)


def test_each_secret_is_told_apart() -> None:
    seen = signed(build("stripe", ["new"]), BODY)
    found = told(build("stripe", ["old", "new"]), seen)
    assert (found["secret 1"].good, found["secret 2"].good) == (False, True)
    named = steps(build("stripe", ["old", "new"]), seen, NOW, labels=["env:OLD", "secret 2"])
    assert [step.told.partition(" ")[0] for step in named if step.secret is not None] == ["env:OLD:", "makes"]
    assert failing(build("svix", ["b2xk" * 8, SECRET]), signed(build("svix", [SECRET]), BODY)) == ["secret 1"]


@pytest.mark.parametrize(
    ("sent", "configured", "said"),
    [
        ("secret", "Secret", "the same but for capitals"),
        ("secret", "secret ", "the same but for space"),
        ("secret", "another", "6 characters, where 7 are configured"),
    ],
)
def test_secrets_sent_as_they_are_are_compared_and_not_shown(sent: str, configured: str, said: str) -> None:
    own: dict[str, Any] = {
        place: {"signature": {"kind": "token", place: "X-Token" if place == "header" else "token"}}
        for place in ("header", "query", "body")
    }
    for place in own:
        sender = build(place, [sent], own=own)
        seen = signed(sender, b'{"a": 1}')
        seen = replace(seen, url=sender.called(seen.url))
        step = told(build(place, [configured], own=own), seen)["secret"]
        assert (step.good, said in step.told) == (False, True)
        assert sent not in step.told
        assert told(sender, seen)["secret"].good
    seen = signed(build("postmark", ["ada:secret"]), b"{}")
    assert "the same user" in told(build("postmark", [f"ada:{configured}"]), seen)["secret"].told
    assert told(build("postmark", ["eve:secret"]), seen)["secret"].told == "another user"


def test_of_a_scheme_that_no_words_describe_scheme_url_and_each_secret_are_told() -> None:
    words = {"AccountSid": "AC1", "MessageSid": "SM1", "MessageStatus": "sent"}
    body = urlencode(words).encode()
    seen = signed(build("twilio", ["new"]), body, url="https://hooks.example.com/twilio?key=hunter2")
    found = told(build("twilio", ["old", "new"]), seen)
    assert (found["secret 1"].good, found["secret 2"].good) == (False, True)
    assert found["url"].told == "https://hooks.example.com/twilio"
    assert found["scheme"].good
    none = told(build("twilio", ["new"]), request(body, [("x-signature", "a")]))
    assert none["scheme"] == Step("scheme", "none; there is x-signature", good=False)


def test_public_keys_are_told_apart_from_what_they_do_not_verify() -> None:
    adapter = build("acme", [PUBLIC], own=ED25519)
    found = told(adapter, request(BODY, [("X-Sig", "00" * 64)]))
    assert found["secret"].told == "a public key, which does not verify it (bad_signature)"
    assert found["signature"].told == "128 characters in hexadecimal"


NAMES = sorted(
    {
        header.lower()
        for name in SIGNED
        for words in catalogue.declaration(name).signatures
        for header in ([words.header] if isinstance(words.header, str) else words.header or [])
    }
    | {"svix-id", "svix-timestamp", "svix-signature", "authorization", "x-hubspot-signature-v3", "x-hubspot-signature"}
)
ADAPTERS = [*(build(name, [secret]) for name, secret in SIGNED.items()), build("acme", [PUBLIC], own=ED25519)]


@settings(deadline=None, max_examples=60)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), header_text), max_size=6),
    st.binary(max_size=60) | st.sampled_from([b'{"secret":"x"}', b'{"a":' * 500, b'{"secret":1}', b'["\\ud800"]']),
    any_text | any_text.map(lambda text: f"https://{text}"),
)
def test_no_request_breaks_it_and_no_secret_is_told(headers: list[tuple[str, str]], body: bytes, url: str) -> None:
    for adapter in ADAPTERS:
        for step in steps(adapter, request(body, headers, url=url), NOW):
            assert len(step.told) < 3000
            for secret in (*SIGNED.values(), PUBLIC):
                assert secret not in step.told


@pytest.mark.parametrize("provider", SIGNED)
def test_neither_secret_nor_signature_is_told_whatever_holds_it(provider: str) -> None:
    secret = SIGNED[provider]
    body = b'{"' + secret.encode() + b'": "' + secret.encode() + b'"}'
    try:
        adapter, seen = made(provider, body, url=f"https://hooks.example.com/{secret}")
    except UsageError:  # a body that this provider cannot send
        body = sampled(provider)
        adapter, seen = made(provider, body, url=f"https://hooks.example.com/{secret}")
    for checked in (seen, replace(seen, body=body + b" ")):
        text = " ".join(step.told for step in steps(adapter, checked, NOW))
        assert secret not in text
        assert secret.removeprefix("whsec_")[:20] not in text
        signatures = [value for name, value in seen.headers if name not in ("content-type", "user-agent")]
        for part in " ".join(signatures).replace(",", " ").replace("=", " ").split():
            assert len(part) < 28 or part[:8] not in text


def test_secrets_are_masked_before_ends_are_cut() -> None:
    adapter, seen = made("slack", f"{SIGNED['slack']} and much else {SIGNED['slack']}".encode())
    assert told(adapter, seen)["{body}"].told.endswith(": '*** and much' ... 'uch else ***'")
