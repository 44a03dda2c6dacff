"""The words in which a provider's contract is declared: a file in `ingest/providers`, or `[providers.NAME]` in the settings.

A *value* is a short text that says where something is found in a request:

- a path into the JSON of the event, names and list positions joined by dots: `data.object.id`, `messages.0.id`;
- `$.` and a path, into the whole body where a request brings several events; `header:NAME`; `query:NAME`; `signed-time`,
  the time that the request says it was signed at; `content`, a hash of the event's bytes; `arrival`, a text that is new each
  time, for events that nothing in them tells apart; `=text`, that text;
- several of these with ` | ` between them: the first that is there.

Where several values make one (a list), all are joined; a `?` at the end of one says that it may be absent.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Names = Annotated[list[str], Field(min_length=1)]
Values = str | Annotated[list[str], Field(min_length=1)]


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Signature(_Words):
    """How a request proves who sent it."""

    kind: Literal["hmac", "digest", "ecdsa-p256", "ed25519", "token", "basic", "standard-webhooks", "twilio", "mailgun"]
    """hmac: keyed hash. digest: plain hash of a text that holds the secret. token: the secret itself. basic: HTTP basic
    authentication, the secret is `user:password`. The others are schemes by name, or public keys."""
    header: str | Names | None = None
    """The header with the signature or token. Of several each that is there counts, as with a list of signatures."""
    query: str | None = None
    """token: the query parameter that holds it."""
    body: str | None = None
    """token: the member of the JSON body that holds it, cut out before anything is stored."""
    hash: Literal["md5", "sha1", "sha256", "sha512"] = "sha256"
    """hmac and digest: which hash."""
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    """How the signature is written. base64url is without padding."""
    signed: str = "{body}"
    """What is signed: {body}, {timestamp} (the text as received), {url}, {method}, {path}, {secret}, {header:NAME}."""
    prefix: str = ""
    """What stands before the signature, or before each of a list: `sha256=`, `v1,`, `Bearer `."""
    layout: Literal["one", "list", "pairs"] = "one"
    """one: prefix and signature. list: several of them. pairs: `name=value`, one of which is the timestamp."""
    separator: str = ","
    """Between the members of a list or of pairs."""
    pair: str | None = None
    """pairs: the name that the signature has. It may occur several times, while a secret is rolled."""
    key: Literal["text", "base64", "hex", "pem"] = "text"
    """How the secret is written. Public keys: base64 (SPKI for ECDSA, the 32 bytes for Ed25519), hex or PEM."""
    key_prefix: str = ""
    """What stands before the key's base64 or hex and is no part of it."""
    prefixes: Names = ["webhook"]
    """standard-webhooks: what the names of its headers begin with; the first that is there counts, header by header."""
    spaces: bool = True
    """Whether space around the members of a list or of pairs is passed over."""

    @model_validator(mode="after")
    def _is_whole(self) -> Signature:
        if self.kind in ("hmac", "digest", "ecdsa-p256", "ed25519") and self.header is None:
            raise ValueError(f"kind {self.kind!r} needs header: the name of the header with the signature")
        if self.kind == "token" and sum(place is not None for place in (self.header, self.query, self.body)) != 1:
            raise ValueError("kind 'token' needs one of header, query and body: where the token is")
        if (self.layout == "pairs") != (self.pair is not None):
            raise ValueError("layout 'pairs' and pair, the signature's name among them, come together")
        if self.kind == "digest" and "{secret}" not in self.signed:
            raise ValueError("kind 'digest' needs {secret} in signed: else anybody can make it")
        return self


class Timestamp(_Words):
    """When a request says it was signed; what is too old, or ahead of our clock, is refused."""

    header: str | Names | None = None
    """The header that it is in. Of several, the first that is there."""
    pair: str | None = None
    """Its name among the signature's pairs."""
    body: str | None = None
    """The path of a member of the body."""
    unit: Literal["s", "ms", "iso"] = "s"
    """s: Unix seconds. ms: Unix milliseconds. iso: ISO 8601."""
    tolerance_seconds: Annotated[int, Field(ge=1)] = 300
    """How old it may be; a source's own tolerance_seconds goes before it."""
    ahead_seconds: Annotated[int, Field(ge=1)] = 300
    """How far ahead it may be; never more than how old."""
    required: bool = True
    """Whether a request without it is refused. False only where the provider signs none in some of its requests."""

    @model_validator(mode="after")
    def _is_one(self) -> Timestamp:
        if sum(place is not None for place in (self.header, self.pair, self.body)) != 1:
            raise ValueError("timestamp needs one of header, pair and body: where it is")
        return self


class Events(_Words):
    """How a request is cut into events, and where each has its fields."""

    body: Literal["json", "form"] = "json"
    """form: url-encoded; it becomes a JSON object of texts, lists where a name occurs twice. JSON is taken as well."""
    form_field: str | None = None
    """form: the field that holds the JSON, which is then all there is."""
    batch: Literal["one", "array", "either"] = "one"
    """array: the body is a list of events; either: a list or one object."""
    items: str | None = None
    """The member of the body that is the list of events; two names joined by a dot: a list in an object, or lists in the
    elements of a list."""
    id: Values = "content"
    """What tells this event from every other and is the same when it is sent again."""
    type: Values = "type"
    """What kind of event it is: handlers are registered for it. Where there is none it is `unknown`."""
    type_separator: str = "."
    """Between the values of a type that is made of several."""
    occurred_at: str | None = None
    """When it happened, as the provider says. Numbers are Unix seconds or milliseconds, whichever is a date; texts are ISO
    8601."""
    key: str | Names = []
    """What an event is about: `customer:data.object.customer`, noun and value; of several the first that is there.
    `*` stands for the type up to its first dot."""


class Answers(_Words):
    """What this provider has to be answered."""

    success: Annotated[int, Field(ge=200, le=299)] = 202
    """When its events are durable."""
    text: str | None = None
    """The body of the answer, where the provider wants a certain one; empty, where it wants none."""
    content_type: str = "text/plain"
    """Of that body."""
    refused: Annotated[int, Field(ge=400, le=499)] | None = None
    """Instead of 400: an authentic request that can never be read, so that the provider gives it up."""
    busy: Annotated[int, Field(ge=400, le=599)] | None = None
    """Instead of 503, and of 429: come again."""


class Handshake(_Words):
    """A request that brings no event but wants to know whether somebody is there."""

    method: Literal["POST", "GET", "HEAD", "OPTIONS"] = "POST"
    """How it comes."""
    when: dict[str, str] = {}
    """Values and what each must be for this to be one, numbers as their digits; an empty text: whatever it is, but there."""
    signed: bool = True
    """Whether it has to be authentic. A GET never is signed as events are."""
    secret: str | None = None
    """The value that must equal the source's handshake_secret."""
    status: Annotated[int, Field(ge=200, le=299)] = 200
    """What it is answered."""
    text: str | None = None
    """The value that is answered as it is."""
    content_type: str = "text/plain; charset=utf-8"
    """What ``text`` is."""
    json_: Annotated[dict[str, str], Field(alias="json")] = {}
    """Names and values of the JSON object that is answered. `hmac-hex:` and `hmac-base64:` before a value answer its
    HMAC-SHA-256 under the secret; text may stand around such a hash in braces: `sha256={hmac-base64:query:crc_token}`."""
    headers: dict[str, str] = {}
    """Headers of the answer, and their values."""

    @model_validator(mode="after")
    def _is_whole(self) -> Handshake:
        if self.method == "POST" and not self.when:
            raise ValueError("a handshake by POST needs when: else every event would be one")
        if self.text is not None and self.json_:
            raise ValueError("a handshake is answered with text or with json")
        return self


class Sample(_Words):
    """A payload of one event type. `<id>` (a new one each time), `<number>`, `<seconds>`, `<ms>`, `<iso>` stand in for what
    changes, in the body and in the headers."""

    type: str
    """What `tidegate send --type` calls it."""
    body: str
    """The whole body, as the provider sends it but for what changes."""
    headers: dict[str, str] = {}
    """Beside those of the signature."""
    content_type: str | None = None
    """Where it is another one than the first of content_types."""


class Declaration(_Words):
    """One provider."""

    title: str = ""
    """Its name as it writes it."""
    homepage: str = ""
    """The page of the provider's own documentation."""
    evidence: Literal["sdk", "published", "documented", "own"] = "own"
    """sdk: our vectors are made or accepted by the provider's own library. published: the provider publishes one that
    agrees. documented: only described. own: declared by the user of Tidegate."""
    sources: list[str] = []
    """What the declaration rests on: documents, and libraries with their versions."""
    setup: list[str] = []
    """What to do at the provider, a step each."""
    secret: str = ""
    """What has to stand in a source's secrets."""
    retries: str = ""
    """What the provider does when it is not answered 2xx, and how long it waits."""
    caveats: list[str] = []
    """What surprises people, a sentence or two each."""
    code: str | None = None
    """The adapter written in Python where these words do not suffice: all but texts, answers and samples is its own."""
    content_types: Names = ["application/json"]
    """The media types of its requests; any other is answered 415. `+json` stands for all that end so."""
    methods: Names = ["POST"]
    """The methods that it sends events with."""
    signature: Signature | Annotated[list[Signature], Field(min_length=1)] | None = None
    """Of several, the first whose header, parameter or member is there decides alone."""
    timestamp: Timestamp | None = None
    """Where it says when it signed."""
    events: Events = Events()
    """How its requests are cut into events."""
    answers: Answers = Answers()
    """What it has to be answered."""
    handshakes: list[Handshake] = []
    """Its requests that bring no event."""
    samples: list[Sample] = []
    """What `tidegate send` and `tidegate sources test` send."""

    @model_validator(mode="after")
    def _is_whole(self) -> Declaration:
        if (self.signature is None) == (self.code is None):
            raise ValueError(
                "a provider has a signature: [providers.NAME.signature] says how its requests prove themselves"
            )
        uses_time = any("{timestamp}" in found.signed for found in self.signatures)
        if uses_time and self.timestamp is None:
            raise ValueError("{timestamp} is signed, and no timestamp says where it is")
        if self.timestamp is not None and not any(map(self._is_timed, self.signatures)):
            raise ValueError(
                "timestamp: signed holds no {timestamp}, so whoever has seen a request could send it again with a new one"
            )
        return self

    def _is_timed(self, signature: Signature) -> bool:
        """Tell whether ``signature`` covers the timestamp."""
        if signature.kind in ("standard-webhooks", "mailgun"):
            return True
        held = self.timestamp
        if held is None or signature.kind in ("token", "basic", "twilio"):
            return False
        names = [held.header] if isinstance(held.header, str) else held.header or []
        fields = ["{timestamp}", *(f"{{header:{name.lower()}}}" for name in names), *(["{body}"] if held.body else [])]
        return any(field in signature.signed.lower() for field in fields)

    @property
    def signatures(self) -> list[Signature]:
        """The signature as a list; empty where the adapter is written in Python."""
        if self.signature is None:
            return []
        return self.signature if isinstance(self.signature, list) else [self.signature]
