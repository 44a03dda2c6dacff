"""How one request is judged, step by step, for the operator who asks why it fails.

No secret, no whole signature and of the body no more than its ends is in any step: a report may be pasted into a ticket.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ingest import diagnosis, explaining_tokens
from ingest.adapters import shapes, templates
from ingest.adapters.base import Adapter, RefusedError, Request, same
from ingest.adapters.declared import DeclaredAdapter
from ingest.adapters.hashes import HashVerifier
from ingest.adapters.header_layout import Layout
from ingest.adapters.in_words import InWords, Worded
from ingest.adapters.stamps import Stamp
from ingest.steps import NAMES_MAX, Step, ends, headers, near, of_secret, shown_name, start, times
from tidegate.errors import UsageError
from tidegate.telemetry import redaction

_GIVEN_MAX = 4
_PUBLIC = ("ecdsa-p256", "ed25519")


def steps(adapter: Adapter, request: Request, now_seconds: float, *, labels: Sequence[str] = ()) -> list[Step]:
    """Return how ``adapter`` judges ``request`` at ``now_seconds``, up to where it can go no further. Never raises.

    ``labels`` are what its secrets are called, where they are called anything.
    """
    judged = adapter.in_words(request) if isinstance(adapter, Worded) else None
    if judged is None:
        found = list(_outside(adapter, request, now_seconds))
    else:
        found = list(_Telling(adapter, judged, now_seconds).all())
    return [_labelled(step, labels) for step in found]


def _labelled(step: Step, labels: Sequence[str]) -> Step:
    if step.secret is None or step.secret >= len(labels) or labels[step.secret] == f"secret {step.secret + 1}":
        return step
    return replace(step, told=f"{labels[step.secret]}: {step.told}")


def _outside(adapter: Adapter, request: Request, now_seconds: float, secrets: Sequence[str] = ()) -> Iterator[Step]:
    """Tell what can be seen of a scheme that no words describe."""
    scheme = adapter.scheme(request)
    yield Step("scheme", scheme if scheme != "none" else f"none{near(request, ())}", scheme != "none")
    if request.url:
        yield Step("url", diagnosis.shown_url(request.url, adapter.masked))
    behind = adapter.clock_difference(request, now_seconds)
    if behind is not None:
        yield Step("time", _clock(behind))
    for index in range(len(secrets)):
        yield _alone(adapter, request, now_seconds, secrets, index, "")


def _alone(
    adapter: Adapter, request: Request, now_seconds: float, secrets: Sequence[str], index: int, what: str
) -> Step:
    """Tell whether one of several secrets, alone, verifies ``request``. Words have those with `otherwise` only."""
    assert isinstance(adapter, DeclaredAdapter)
    try:
        adapter.otherwise(secrets=[secrets[index]]).verify(request, now_seconds)
    except UsageError as error:
        return of_secret(index, len(secrets), str(error), good=False)
    except RefusedError as refused:
        return of_secret(index, len(secrets), f"{what}does not verify it ({refused.reason})", good=False)
    return of_secret(index, len(secrets), f"{what}verifies it", good=True)


class _Telling:
    def __init__(self, adapter: Adapter, judged: InWords, now_seconds: float) -> None:
        self._adapter = adapter
        self._judged = judged
        self._words = judged.signature
        self._request = judged.request
        self._now_seconds = now_seconds
        self._stamp = Stamp(judged.timestamp, judged.tolerance_seconds) if judged.timestamp is not None else None

    def all(self) -> Iterator[Step]:
        words = self._words
        if words.kind in ("hmac", "digest", *_PUBLIC):
            yield from self._signed()
        elif words.kind in ("token", "basic"):
            yield from explaining_tokens.steps(self._judged)
        else:
            yield from _outside(self._adapter, self._request, self._now_seconds, self._judged.secrets)

    def _signed(self) -> Iterator[Step]:
        words, request = self._words, self._request
        there = self._headers()
        yield there
        layout = Layout(words, self._stamp)
        try:
            given, pairs = layout.read(request)
        except RefusedError as refused:
            if there.good:  # else it is said
                yield Step("signature", refused.detail, good=False)
            return
        yield self._read(given, list(pairs))
        timestamp = ""
        if self._stamp is not None:
            try:
                text = self._stamp.text(request, pairs)
            except RefusedError as refused:
                yield Step("time", refused.detail, good=False)
                return
            yield self._time(text)
            timestamp = text or ""
        try:
            yield from self._content(timestamp)
            yield from self._secrets(given, timestamp)
        except RefusedError as refused:
            yield Step("signed", refused.detail, good=False)

    def _headers(self) -> Step:
        """Tell which headers there are that the scheme wants."""
        words, timestamp = self._words, self._judged.timestamp
        wanted = [_listed(words.header), *([name] for name in templates.header_names(words.signed))]
        if timestamp is not None and timestamp.header is not None:
            wanted.append(_listed(timestamp.header))
        return headers(self._request, wanted)

    def _read(self, given: Sequence[str], pairs: Sequence[str]) -> Step:
        """Tell what the header was found to hold."""
        words = self._words
        told = []
        if words.layout == "pairs":
            named = ", ".join(shown_name(name) for name in pairs[:NAMES_MAX])
            told.append(f"pairs {named}; {words.pair} is")
        elif words.layout == "list":
            told.append(
                f"{times(len(given), 'signature')} after {words.prefix!r}" if words.prefix else f"{len(given)} listed"
            )
        elif words.prefix:
            told.append(f"after {words.prefix!r}")
        told.append(" and ".join(shapes.letters(text) for text in given[:_GIVEN_MAX]))
        said = (" " if words.layout == "pairs" else ": ").join(told)
        if words.kind in _PUBLIC:
            return Step("signature", said)
        due = (words.hash, words.encoding)
        good = any(len(text) == shapes.length(*due) for text in given)
        if not good:
            likely = [shapes.said(*found) for text in given[:_GIVEN_MAX] for found in shapes.fits(text)]
            looks = f"; it looks like {' or '.join(dict.fromkeys(likely))}" if likely else ""
            said += f", and {shapes.said(*due)} has {shapes.length(*due)}{looks}"
        return Step("signature", said, good)

    def _time(self, text: str | None) -> Step:
        assert self._stamp is not None
        if text is None:
            return Step("time", "none, which this provider may leave out")
        seconds = self._stamp.seconds(text)
        if seconds is None:
            return Step("time", f"{ends(text, self._masked)} is no time", good=False)
        told = f"{text}, {_clock(self._now_seconds - seconds)}"
        try:
            self._stamp.check(text, self._now_seconds)
        except RefusedError as refused:
            return Step("time", f"{told}: {_without_advice(refused.detail)}", good=False)
        return Step("time", told, good=True)

    def _content(self, timestamp: str) -> Iterator[Step]:
        """Tell what is signed, and of each part of it its length and its ends."""
        told, size = [], 0
        for label, made in templates.parts(self._words.signed):
            if label == "{secret}":
                told.append(Step(label, "not shown"))
                continue
            raw = made(self._request, timestamp, b"")
            size += len(raw)
            if label in ("{url}", "{path}"):
                url = diagnosis.shown_url(raw.decode("latin-1"), self._adapter.masked)
                told.append(Step(label, f"{times(len(raw), 'byte')}: {url}"))
            elif label.startswith("{"):
                told.append(Step(label, f"{times(len(raw), 'byte')}: {ends(raw.decode('latin-1'), self._masked)}"))
        yield Step("signed", f"{self._words.signed}, {times(size, 'byte')}")
        yield from told

    def _secrets(self, given: Sequence[str], timestamp: str) -> Iterator[Step]:
        """Tell of each secret what it makes of it."""
        secrets = self._judged.secrets
        for index, secret in enumerate(secrets):
            if self._words.kind in _PUBLIC or secret.startswith("whpk_"):
                yield _alone(self._adapter, self._request, self._now_seconds, secrets, index, "a public key, which ")
                continue
            try:
                (expected,) = HashVerifier(self._words, None, [secret]).expected(self._request, timestamp)
            except UsageError as error:
                yield of_secret(index, len(secrets), str(error), good=False)
                continue
            good = any(same(expected, text) for text in given)
            seen = " and ".join(f"{start(text)} ({len(text)})" for text in given[:_GIVEN_MAX])
            told = f"makes {start(expected)} ({len(expected)} characters), "
            yield of_secret(index, len(secrets), told + ("as given" if good else f"given is {seen}"), good=good)

    def _masked(self, text: str) -> str:
        return redaction.text(self._adapter.masked(text))


def _clock(behind: float) -> str:
    if abs(behind) < 0.5:
        return "now"
    return f"{abs(behind):,.0f} s {'old' if behind > 0 else 'ahead of the clock'}"


def _without_advice(detail: str) -> str:
    """Return of `signed 900 s ago, 300 s are allowed: check the clock ...` what is not said yet; advice is the cause's."""
    said, comma, rest = detail.partition(", ")
    return rest.partition(": check")[0] if comma else said


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
