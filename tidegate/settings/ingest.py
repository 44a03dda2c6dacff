"""The sections `ingest` and `sources`: the gate, and what it listens for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator

from tidegate.settings.base import Count, Seconds, Section
from tidegate.settings.secret import LabelledSecret, labelled, reveal


class SourceSettings(Section):
    provider: str
    """Who sends: a name that `tidegate providers` lists, or one of your own in [providers.NAME]."""
    secrets: Annotated[list[LabelledSecret], Field(min_length=1)]
    """Any of them verifies, so that one can be rotated without losing an event. Each is a text, or a table with a label."""
    public_url: str | None = None
    """The URL the provider was given, for those that sign it. The query that a request is called with goes before one in it.
    Without it the URL is rebuilt from the Host header."""
    handshake_secret: SecretStr | None = None
    """What a provider presents when it asks whether the URL is ours, where that is another secret (Meta's verify token)."""
    tolerance_seconds: Annotated[int | None, Field(ge=1)] = None
    """How far a signed timestamp may be from our clock, either way. None: what suits the provider, mostly 300."""
    rate_per_second: Annotated[float | None, Field(gt=0)] = None
    """Authentic requests a second of this source that one gate process takes; above it, 429. None: no limit."""
    burst: Count = 100
    """So many requests may come at once before ``rate_per_second`` holds."""
    retire_seconds: Count = 345_600
    """So long a secret must not have verified, while another one did, before it is called safe to retire. Longer than the
    provider repeats an event: of those that say how long, hardly one does for more than 75 hours."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What this source says otherwise than its provider's declaration, in the same words."""

    @field_validator("public_url")
    @classmethod
    def _is_whole(cls, given: str | None) -> str | None:
        """Refuse part of a URL: every signature over it would fail, and nobody would know why."""
        if given is not None and not re.match(r"https?://[^/?#\s]", given):
            raise ValueError("it is the whole URL that the provider was given: https://hooks.example.com/webhooks/...")
        if given is not None and "#" in given:
            raise ValueError("it is the URL that is called: what follows a # is never sent")
        return given

    @field_validator("secrets", mode="before")
    @classmethod
    def _are_texts_or_tables(cls, given: Any) -> Any:
        """Refuse anything else in our own words: pydantic's would name a type of ours."""
        if isinstance(given, (list, tuple)):
            for number, entry in enumerate(given, 1):
                if not isinstance(entry, (str, SecretStr, Mapping, LabelledSecret)):
                    raise ValueError(
                        f'entry {number} is neither a text nor a table {{ value = "env:NAME", label = "..." }}'
                    )
        return given

    @field_validator("secrets", mode="after")
    @classmethod
    def _are_told_apart(cls, given: list[LabelledSecret]) -> list[LabelledSecret]:
        return labelled(given)

    def read_secrets(self, name: str) -> list[str]:
        """Return the secrets of the source called ``name``; raise UsageError for one that is not where it should be."""
        return [reveal(secret.value, f"sources.{name}.secrets") for secret in self.secrets]

    @property
    def labels(self) -> list[str]:
        """What the secrets are called, in the same order."""
        return [secret.label for secret in self.secrets]

    def read_handshake_secret(self, name: str) -> str | None:
        """Return the handshake_secret of the source called ``name``, likewise."""
        if self.handshake_secret is None:
            return None
        return reveal(self.handshake_secret, f"sources.{name}.handshake_secret")


class IngestSettings(Section):
    host: str = "0.0.0.0"  # noqa: S104 - a gate that listens on loopback only receives nothing
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes sharing the port. Limits below count for each of them."""

    # Where a 202 is durable.
    append_seconds: Seconds = 1.5
    """How long one append to Redis may take, repeats included, and an event wait for its turn. When an append takes longer the
    inbox takes the events, and Redis is left alone until it answers a probe. Together with ``inbox_seconds`` keep it below what
    the quickest provider waits (3 s)."""
    wait_replicas: Annotated[int, Field(ge=0, le=10)] = 0
    """So many replicas of Redis must have an event before it counts as taken (WAITAOF, else WAIT). 0: the primary alone."""
    wait_replicas_ms: Annotated[int, Field(ge=1, le=60_000)] = 500
    """How long an append waits for them; what is not there by then goes to the inbox. Keep it below ``append_seconds``."""
    breaker_seconds_max: Seconds = 5.0
    """The longest wait between two probes of a Redis that is away; the first comes after a quarter of a second."""
    inbox_rows_max: Annotated[int, Field(ge=0)] = 100_000
    """Events that Postgres keeps while Redis is away, of all gates together; above it, 503. 0: no inbox."""
    inbox_bytes_max: Annotated[int, Field(ge=1)] = 268_435_456
    """Bytes of their payloads and headers, likewise."""
    inbox_seconds: Seconds = 1.5
    """How long writing to the inbox may take; above it, 503."""

    # When there is too much.
    append_events_max: Count = 256
    """Events in one append."""
    pending_max: Count = 10_000
    """Events of this process waiting to be durable; above it, 503."""
    pending_bytes_max: Annotated[int, Field(ge=65_536)] = 8_388_608
    """Bytes of their payloads, likewise: what a process may grow by while Redis is slow."""
    memory_share_max: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of Redis' maxmemory in use above which the gate answers 503: retries need room too. Without a maxmemory nothing."""
    memory_bytes_max: Annotated[int, Field(ge=0)] = 0
    """The same as bytes in use, for a Redis that has no maxmemory. 0: no limit."""
    oldest_seconds_max: Annotated[float, Field(ge=0)] = 0.0
    """Age of the oldest waiting event above which the gate answers 503: the workers do not keep up. 0: no limit."""
    retry_after_seconds: Count = 5
    """The least that a 503 asks the provider to wait; longer when the backlog takes longer to drain, and spread at random."""
    retry_after_seconds_max: Count = 300
    """The most."""

    # What one request may bring.
    body_bytes_max: Annotated[int, Field(ge=1024)] = 2_097_152
    """Larger bodies are answered 413 before they are read to the end; a compressed body counts unpacked."""
    json_depth_max: Annotated[int, Field(ge=1, le=500)] = 256
    """Deeper nested bodies are answered 400."""
    events_max: Count = 1000
    """Events in one request."""
    header_bytes_max: Annotated[int, Field(ge=1024, le=1_048_576)] = 16_384
    """Request line and headers together; above it, 431."""

    # What one client may do.
    requests_max: Count = 1000
    """Requests of this process under way at once; above it the slowest sender is cut off with 408, and where nobody is still
    sending, 503."""
    received_bytes_max: Annotated[int, Field(ge=65_536)] = 8_388_608
    """Bytes of half-received bodies in this process; above it the slowest sender is cut off with 408."""
    header_seconds: Seconds = 10.0
    """How long a client may take to send a request's headers; above it the connection is closed with 408."""
    body_seconds: Seconds = 20.0
    """How long it may take to send the body; above it, 408."""
    keep_alive_seconds: Seconds = 30.0
    """How long a connection may wait for its next request."""
    keep_alive_requests_max: Count = 10_000
    """Requests on one connection before it is closed in order."""
    connections_max: Count = 10_000
    """Connections of this process; above it the one that has kept us waiting longest makes room. Needs as many open files."""
    address_rate_per_second: Annotated[float, Field(ge=0)] = 0.0
    """Requests a second from one client address; above it, 429. 0: no limit. Behind a proxy name it in ``trusted_proxies``
    first, or all clients share one address."""
    address_burst: Count = 100
    """So many requests may come at once before ``address_rate_per_second`` holds."""

    # HTTP.
    trusted_proxies: list[str] = Field(default_factory=list)
    """Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and -Proto are believed. Others' are ignored."""
    require_https: bool = False
    """Answer what reached us, or a trusted proxy, in plain HTTP with a redirect (308) to https://."""
    hsts_seconds: Annotated[int, Field(ge=0)] = 0
    """Strict-Transport-Security for that long on what came by HTTPS. 0: not sent."""

    # Stopping, and what was refused.
    notice_seconds: Annotated[float, Field(ge=0)] = 1.0
    """How long a stopping gate goes on serving after /readyz has turned false, closing each connection it answers. Longer
    than your load balancer takes to notice."""
    drain_seconds: Seconds = 20.0
    """How long after that it lets requests finish."""
    rejects_max: Annotated[int, Field(ge=0)] = 2000
    """Records of refused requests kept for `tidegate rejects`. 0: none."""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, given: list[str]) -> list[str]:
        for text in given:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"{text!r} is neither an address nor a network: {error}") from None
        return given
