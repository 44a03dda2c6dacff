"""The declarations that a command line works with: those that Tidegate brings, and the user's own."""

from __future__ import annotations

from ingest.adapters import catalogue
from ingest.adapters.declaration import Declaration
from tidegate.settings import Settings

_URL_SIGNED = ("{url}", "{path}")
_CODE_SIGNS_URL = frozenset({"hubspot"})
"""Adapters in Python whose providers sign the URL: what they sign is no template that could be read."""


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


def signs_url(words: Declaration) -> bool:
    """Tell whether the URL is part of what is signed."""
    if words.code is not None:
        return words.code in _CODE_SIGNS_URL
    return any(
        any(field in found.signed for field in _URL_SIGNED) or found.kind == "twilio" for found in words.signatures
    )


def signs_time(words: Declaration) -> bool:
    """Tell whether a time is part of what is signed; of an adapter in Python it is not known, so yes."""
    if words.code is not None or words.timestamp is not None:
        return True
    return any(found.kind == "standard-webhooks" for found in words.signatures)


def names(settings: Settings) -> list[str]:
    """Return all names in order, the user's own ones first."""
    return [*sorted(settings.providers), *(name for name in catalogue.names() if name not in settings.providers)]
