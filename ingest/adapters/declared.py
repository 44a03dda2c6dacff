"""An adapter made of a declaration: compiled once, at start, so that no word is interpreted while a request waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from ingest.adapters.base import JsonSender, Parsed, Reply, Request, usable
from ingest.adapters.body_secret import BodySecret
from ingest.adapters.declaration import Declaration, Signature, Timestamp
from ingest.adapters.greetings import Greeting
from ingest.adapters.hashes import HashVerifier
from ingest.adapters.in_words import InWords, standard
from ingest.adapters.mailgun import MailgunVerifier
from ingest.adapters.public_keys import PublicKeyVerifier
from ingest.adapters.samples import filled
from ingest.adapters.splitting import Splitter
from ingest.adapters.stamps import Stamp
from ingest.adapters.standard_signatures import StandardSignatures
from ingest.adapters.tokens import HeaderToken, QueryToken
from ingest.adapters.twilio import TwilioVerifier
from ingest.adapters.values import WrongWordError
from ingest.adapters.verifier import Draft, Verifier
from tidegate.errors import UsageError


class DeclaredAdapter(JsonSender):
    """The provider that ``words`` declare, for one source.

    ``tolerance_seconds`` and ``handshake_secret`` are the source's own, where it has them. Raises UsageError for secrets
    that cannot be this provider's, and for words that mean nothing.
    """

    def __init__(
        self,
        provider: str,
        words: Declaration,
        secrets: Sequence[str],
        *,
        tolerance_seconds: int | None = None,
        handshake_secret: str | None = None,
    ) -> None:
        given = usable(secrets)
        if handshake_secret is not None and not handshake_secret.strip():
            raise UsageError("handshake_secret is empty, which anybody can present: give one, or leave it out")
        super().__init__([*given, *([handshake_secret] if handshake_secret else [])])
        self.provider = provider
        self.content_types = frozenset(words.content_types)
        self.methods = frozenset(words.methods)
        self.statuses = _statuses(words)
        self.success = _success(words)
        self._words = words
        self._secrets = given
        self._tolerance_seconds = tolerance_seconds
        self._handshake_secret = handshake_secret
        try:
            stamp = Stamp(words.timestamp, tolerance_seconds) if words.timestamp is not None else None
            self._verifiers = [
                _verifier(found, stamp or _standard(found, tolerance_seconds), given) for found in words.signatures
            ]
            self._splitter = Splitter(words.events)
            self._greetings = [Greeting(found, handshake_secret) for found in words.handshakes]
        except WrongWordError as error:
            raise UsageError(f"provider {provider}: {error}") from None
        self.secret_headers = frozenset().union(*(found.secret_headers for found in self._verifiers))
        self.greets = frozenset(greeting.method for greeting in self._greetings)

    def trimmed(self) -> Self | None:
        """Return the same with the space around its secrets taken off; None when there is none, or they are none then."""
        bare = [secret.strip() for secret in self._secrets]
        if bare == list(self._secrets) or not all(bare):
            return None
        return self.otherwise(secrets=bare)

    def otherwise(self, *, words: Declaration | None = None, secrets: Sequence[str] | None = None) -> Self:
        """Return the same by other words or with other secrets, for whoever looks for a mistake. Raises UsageError."""
        return type(self)(
            self.provider,
            words or self._words,
            secrets or self._secrets,
            tolerance_seconds=self._tolerance_seconds,
            handshake_secret=self._handshake_secret,
        )

    def in_words(self, request: Request) -> InWords | None:
        """Return the scheme that decides over ``request``, and what it is bound to."""
        signature = self._words.signatures[self._verifiers.index(self._deciding(request))]
        timestamp = self._words.timestamp
        if signature.kind == "standard-webhooks":
            signature, declared = standard(signature.prefixes, request)
            timestamp = timestamp or declared
        return InWords(self.provider, signature, timestamp, request, self._secrets, self._tolerance_seconds)

    def scheme(self, request: Request) -> str:
        """Return what ``request`` bears in the words of the scheme that decides, `none` where it bears nothing."""
        return self._deciding(request).scheme(request)

    def clock_difference(self, request: Request, now_seconds: float) -> float | None:
        """Return how far the time that ``request`` says is behind ours."""
        seconds = self._deciding(request).signed_seconds(request)
        return None if seconds is None else now_seconds - seconds

    def greeting(self, request: Request, now_seconds: float) -> Reply | None:
        """Return the answer where ``request`` is one of the handshakes."""
        for greeting in self._greetings:
            context = greeting.is_meant(request)
            if context is None:
                continue
            # What is hashed in the answer is hashed with the secret that the question was signed with.
            index = self.verify(request, now_seconds) if greeting.signed else 0
            return greeting.reply(context, self._secrets[index].encode())
        return None

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret verifies ``request``, by the first scheme that it bears: no other saves it then."""
        return self._deciding(request).verify(request, now_seconds)

    def split(self, request: Request) -> list[Parsed]:
        """Return the events of a verified request."""
        deciding = self._deciding(request)
        return self._splitter.split(
            request, deciding.without_secret(request.body), lambda: deciding.signed_time(request)
        )

    def sign(
        self,
        body: bytes,
        *,
        url: str,
        now_seconds: float,
        message_id: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Return what the provider would send. Of the headers beside the signature's those of the first sample are sent
        where ``headers`` brings none of that name.
        """
        sample = self._words.samples[0] if self._words.samples else None
        given = {name.lower() for name, _ in headers}
        draft = Draft(url, body, now_seconds, message_id, list(headers))
        if "content-type" not in given:
            kind = sample.content_type if sample is not None and sample.content_type else self._words.content_types[0]
            draft.headers.insert(0, ("Content-Type", "application/json" if kind == "+json" else kind))
        if sample is not None:
            draft.headers += [
                (name, filled(value, sample.type, now_seconds))
                for name, value in sample.headers.items()
                if name.lower() not in given
            ]
        self._verifiers[0].sign(draft)
        return draft.headers, draft.body

    def called(self, url: str) -> str:
        """Return the URL that the provider calls: with the token, where the query holds it."""
        verifier = self._verifiers[0]
        if not isinstance(verifier, QueryToken):
            return url
        draft = Draft(url, b"", 0, "")
        verifier.sign(draft)
        return draft.url

    def _deciding(self, request: Request) -> Verifier:
        if len(self._verifiers) == 1:
            return self._verifiers[0]
        return next((found for found in self._verifiers if found.is_borne(request)), self._verifiers[0])


def _verifier(words: Signature, stamp: Stamp | None, secrets: Sequence[str]) -> Verifier:
    if words.kind in ("hmac", "digest"):
        return HashVerifier(words, stamp, secrets)
    if words.kind in ("ecdsa-p256", "ed25519"):
        return PublicKeyVerifier(words, stamp, secrets)
    if words.kind == "standard-webhooks" and stamp is not None:
        return StandardSignatures(secrets, words.prefixes, stamp)
    if words.kind == "twilio":
        return TwilioVerifier(secrets)
    if words.kind == "mailgun" and stamp is not None:
        return MailgunVerifier(stamp, secrets)
    if words.body is not None:
        return BodySecret(words.body, secrets)
    if words.query is not None:
        return QueryToken(words, secrets)
    if words.kind in ("basic", "token"):
        return HeaderToken(words, secrets)
    raise WrongWordError(f"there is no kind {words.kind!r}")


def _standard(words: Signature, tolerance_seconds: int | None) -> Stamp | None:
    """Return where the scheme by that name has its time, None for any other scheme."""
    if words.kind != "standard-webhooks":
        return None
    return Stamp(Timestamp(header=[f"{prefix}-timestamp" for prefix in words.prefixes]), tolerance_seconds)


def _statuses(words: Declaration) -> Mapping[int, int]:
    answers = words.answers
    found: dict[int, int] = {}
    if answers.refused is not None:
        found[400] = answers.refused
    if answers.busy is not None:
        found |= {503: answers.busy, 429: answers.busy}
    return found


def _success(words: Declaration) -> Reply | None:
    answers = words.answers
    if answers.text is not None:
        return Reply(answers.success, answers.content_type if answers.text else "", answers.text.encode())
    return None if answers.success == 202 else Reply(answers.success, "application/json")
