"""A signed request as text: a command line for curl, or the line that `tidegate verify` reads."""

from __future__ import annotations

import base64
import json
import shlex

from tidegate.cli.posting import Signed

ARGUMENT_BYTES_MAX = 65_536
"""Linux ends an argument at 128 KiB; a larger body goes through a pipe."""


def curl(signed: Signed) -> str:
    """Return a command that sends ``signed``, byte for byte."""
    body = signed.request.body
    words = [f"curl -i -X {signed.request.method} {shlex.quote(signed.url)}"]
    words += [f"-H {shlex.quote(f'{name}: {value}' if value else f'{name};')}" for name, value in signed.headers]
    text = _as_argument(body)
    if text is not None:
        words.append(f"--data-raw {shlex.quote(text)}")
        return " \\\n  ".join(words)
    words.append("--data-binary @-")
    encoded = base64.encodebytes(body).decode()
    return f"base64 -d <<'BODY' |\n{encoded}BODY\n" + " \\\n  ".join(words)


def _as_argument(body: bytes) -> str | None:
    """Return ``body`` as an argument of a command, None where it cannot be one."""
    if len(body) > ARGUMENT_BYTES_MAX:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    # What a terminal acts on, or pastes as something else, is not fit to be copied from one.
    return text if all(char.isprintable() or char == "\n" for char in text) else None


def captured(signed: Signed, provider: str, now_seconds: float) -> str:
    """Return ``signed`` as a line of captured requests, to be checked as of ``now_seconds``."""
    body = signed.request.body
    line: dict[str, object] = {
        "provider": provider,
        "method": signed.request.method,
        "url": signed.request.url,
        "headers": [list(pair) for pair in signed.headers],
    }
    try:
        line["body"] = body.decode()
    except UnicodeDecodeError:
        line["body_base64"] = base64.b64encode(body).decode()
    return json.dumps({**line, "at": int(now_seconds)})
