"""The declarations that a command line works with: those that Tidegate brings, and the user's own."""

from __future__ import annotations

from ingest.adapters import catalogue
from ingest.adapters.declaration import Declaration
from tidegate.settings import Settings


def of_provider(name: str, settings: Settings) -> tuple[str, Declaration]:
    """Return the provider's name as it is declared, and its declaration. Raises UsageError."""
    proper = catalogue.proper_name(name, settings.providers)
    return proper, catalogue.find(proper, settings.providers, {})


def of_source(name: str, settings: Settings) -> Declaration:
    """Return the declaration that the source called ``name`` works by, its own changes included. Raises UsageError."""
    source = settings.sources[name]
    _, words = of_provider(source.provider, settings)
    if words.code is not None or not source.options:  # the options of an adapter in Python are no words
        return words
    return catalogue.find(source.provider, settings.providers, source.options)


def names(settings: Settings) -> list[str]:
    """Return all names in order, the user's own ones first."""
    return [*sorted(settings.providers), *(name for name in catalogue.names() if name not in settings.providers)]
