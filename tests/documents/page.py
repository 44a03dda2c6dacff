"""A page a provider, made of its declaration."""

from __future__ import annotations

from ingest.adapters.declaration import Declaration
from tests.documents import sentences
from tests.documents.templates import TEMPLATES
from tidegate.cli import wording
from tidegate.cli.providers import snippet

_NOT_SENT = ("ecdsa-p256", "ed25519")


def page(name: str, words: Declaration) -> str:
    """Return the Markdown of the provider called ``name``."""
    title = words.title or name
    schemes = [sentences.signature(found) for found in words.signatures] or [_of_code(words)]
    time = sentences.timestamp(words) if words.code is None else []
    commands = _commands(_source(name), words)
    text = TEMPLATES.get_template("page.md.j2").render(
        name=name,
        title=title,
        summary=_summary(words),
        url=_url(name, words),
        example=words.samples[0].type if words.samples else "",
        source=_source(name),
        setup=[sentences.prose(step) for step in words.setup],
        secret=sentences.prose(words.secret).rstrip("."),
        snippet=_snippet(name, words),
        schemes=[[*rows, *time] for rows in schemes],
        event=sentences.event(words.events) if words.code is None else [],
        answers=sentences.answers(words.answers, of_code=words.code is not None),
        retries=sentences.prose(words.retries),
        handshakes=[sentences.handshake(found) for found in words.handshakes],
        caveats=[sentences.prose(caveat) for caveat in words.caveats],
        samples=", ".join(dict.fromkeys(sentences.code(found.type) for found in words.samples)),
        sends=_sends(words),
        commands=commands,
        width=_width(commands),
        evidence=words.evidence,
        evidence_means=wording.EVIDENCE[words.evidence],
        sources=[sentences.prose(source) for source in words.sources],
    )
    return text.rstrip("\n") + "\n"


def _of_code(words: Declaration) -> sentences.Rows:
    return [("scheme", sentences.in_python(words.code or ""))]


def _snippet(name: str, words: Declaration) -> str:
    """Return the settings without the line on the secret: the step above says the same."""
    lines = snippet(name, words).splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines) if not (number == 2 and line.startswith("#")))


def _sends(words: Declaration) -> bool:
    return words.code is not None or words.signatures[0].kind not in _NOT_SENT


def _commands(source: str, words: Declaration) -> list[tuple[str, str]]:
    sends = [
        (f"tidegate send {source}", "a sample, signed as the provider does"),
        (f"tidegate sources test {source}", "the same, followed to its outcome"),
    ]
    looks = [
        ("tidegate rejects", "what was refused, and why"),
        (f"tidegate verify {source} --requests captured.jsonl", "the same of requests that you captured"),
    ]
    return (sends if _sends(words) else []) + looks


def _width(commands: list[tuple[str, str]]) -> int:
    return max(len(command) for command, _ in commands)


def _summary(words: Declaration) -> str:
    parts = [
        f"[The provider's documentation]({words.homepage})" if words.homepage else "",
        f"verified by {wording.verified(words)}",
        sentences.sent(words),
        f"evidence: [{words.evidence}](README.md#evidence)",
    ]
    return " · ".join(filter(None, parts))


def _url(name: str, words: Declaration) -> str:
    token = words.signatures[0].query if words.signatures else None
    return f"https://your-host/webhooks/{_source(name)}" + (f"?{token}=SECRET" if token else "")


def _source(name: str) -> str:
    return name.replace(".", "-").lower()
