"""Globs over sources and types: what they match, and when one leaves nothing to another."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.pattern import Pattern, covers


@pytest.mark.parametrize(
    ("source", "event_type", "matched"),
    [
        ("lemlist", "emails*", True),
        ("shop-*", "*", True),
        ("*", "emails[SO]ent", True),
        ("Lemlist", "*", False),
        ("*", "Emails*", False),
        ("lem", "*", False),
        ("hubspot", "emails*", False),
    ],
)
def test_an_event_is_matched_by_source_or_provider_and_by_type(source: str, event_type: str, matched: bool) -> None:
    assert Pattern.of(source, event_type).matches("shop-eu", "lemlist", "emailsSent") is matched


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("*", "*"), ("*", ""), ("*", "a[bc]?*"), ("a*", "ab*"), ("a*", "a"), ("a*c", "a?c"), ("?", "?"), ("[ab]c", "ac")],
)
def test_a_wider_glob_is_seen_to_be_wider(wide: str, narrow: str) -> None:
    assert covers(wide, narrow)


globs = st.text("ab*?[]!", max_size=6)


@given(globs, globs, st.text("ab[]!*", max_size=5))
@example("*a*", "[abc]", "b")
@example("?", "*", "")
@example("*a]", "[a]", "a")
@example("*b*", "[]b]", "]")
@example("*b*", "[!b]", "a")
def test_a_rule_that_could_still_match_is_never_called_hidden(wide: str, narrow: str, text: str) -> None:
    if covers(wide, narrow) and fnmatch.fnmatchcase(text, narrow):
        assert fnmatch.fnmatchcase(text, wide)
