"""The public handler API: what is matched, what is refused at import, and how a reference is loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tidegate import Batch, Event, Handlers, release
from tidegate.errors import UsageError
from tidegate.loading import load_handlers


async def single(event: Event, tx: Any) -> None: ...


async def batch(events: Batch, tx: Any) -> None: ...


def names(handlers: Handlers, source: str, provider: str, event_type: str) -> list[str]:
    return [handler.name.rsplit(".", 1)[1] for handler in handlers.match(source, provider, event_type)]


def test_sources_providers_and_types_are_matched_with_globs() -> None:
    handlers = Handlers()
    handlers.on("crm", "contact.*")(single)
    handlers.batch("lemlist", "emails*")(batch)
    assert names(handlers, "crm", "standard-webhooks", "contact.updated") == ["single"]
    assert names(handlers, "lemlist-eu", "lemlist", "emailsSent") == ["batch"]
    assert names(handlers, "crm", "standard-webhooks", "deal.updated") == []
    assert names(handlers, "other", "other", "contact.updated") == []
    handlers.on("*", "*")(single)
    assert names(handlers, "crm", "x", "contact.updated") == ["single"]
    assert names(handlers, "other", "other", "anything") == ["single"]


def test_a_function_registered_twice_is_one_handler() -> None:
    handlers = Handlers()
    handlers.batch("a")(batch)
    handlers.batch("b")(batch)
    assert len(handlers) == 1
    assert names(handlers, "b", "x", "t") == ["batch"]


def test_a_blocking_or_ill_shaped_handler_is_refused_when_it_is_registered() -> None:
    def blocking(event: Event, tx: Any) -> None: ...

    async def one(event: Event) -> None: ...

    handlers = Handlers()
    with pytest.raises(TypeError, match="async def"):
        handlers.on("crm")(blocking)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="two arguments"):
        handlers.on("crm")(one)


def test_release_outside_a_handler_is_an_error_not_a_silence() -> None:
    with pytest.raises(RuntimeError, match="while it runs"):
        release("enrollment:1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("hooks", "broken", "missing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "hooks.py").write_text(
        "from tidegate import Handlers\n"
        "handlers, empty, text = Handlers(), Handlers(), 'x'\n"
        "@handlers.on('crm')\nasync def f(event, tx): ...\n"
    )
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "missing.py").write_text("import not_installed_anywhere\n")
    return tmp_path


def test_handlers_are_loaded_from_where_the_user_stands(here: Path) -> None:
    assert len(load_handlers("hooks:handlers")) == 1


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("hooks", "is not MODULE:HANDLERS"),
        ("hocks:handlers", "no module 'hocks'"),
        ("hooks:handler", "did you mean 'handlers'?"),
        ("hooks:text", "is a str, not tidegate.Handlers"),
        ("hooks:empty", "has no handlers"),
        ("broken:handlers", "ZeroDivisionError"),
        ("missing:handlers", "imports 'not_installed_anywhere', which is not installed"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_fix(here: Path, reference: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        load_handlers(reference)
    assert said in str(error.value)
