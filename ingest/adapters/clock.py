"""Times in requests: the signed one against our clock, and the providers' own as Unix milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ingest.adapters.base import RefusedError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS_MAX = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: later moments do not fit a datetime and would fail in the worker."""
_ISO_MAX = 64
_DIGITS_MAX = 16
_WRONG_UNIT_SECONDS = 10 * 365 * 86_400
"""Seconds read as milliseconds are half a century away, milliseconds read as seconds fifty thousand years: no clock is."""


def signed_time(text: str, header: str) -> int:
    """Return the integer in a timestamp header; raise RefusedError(malformed_signature) otherwise.

    ASCII digits only: ``int`` and ``float`` also read signs, underscores, ``NaN``, fractions and other scripts' digits,
    and then what is checked for age is not the text that was signed.
    """
    number = digits(text)
    if number is None:
        raise RefusedError("malformed_signature", f"{header} is not an integer: digits alone are expected")
    return number


def digits(text: str) -> int | None:
    """Return the integer that ``text`` is in ASCII digits alone, None where it is none.

    No zero stands before others: where a time is signed right behind an id or a URL, theirs could be moved over, and the time
    would be the same.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS_MAX or (text[0] == "0" and len(text) > 1):
        return None
    return int(text)


def check_fresh(
    signed_at_seconds: float, now_seconds: float, tolerance_seconds: float, ahead_seconds: float | None = None
) -> None:
    """Raise RefusedError(stale | future) when the two are further apart than the tolerance; at the tolerance is fine.

    ``ahead_seconds`` is the tolerance for a time that is ahead of our clock, where it is another.
    """
    age = now_seconds - signed_at_seconds
    ahead = tolerance_seconds if ahead_seconds is None else ahead_seconds
    if -ahead <= age <= tolerance_seconds:
        return
    allowed = tolerance_seconds if age > 0 else ahead
    advice = f"{allowed} s are allowed: check the clock here and at the provider, or raise tolerance_seconds"
    if age > tolerance_seconds:
        if age > _WRONG_UNIT_SECONDS:
            advice = "is it seconds where milliseconds are due?"
        raise RefusedError("stale", f"signed {age:.0f} s ago, {advice}", clock_seconds=age)
    if age < -_WRONG_UNIT_SECONDS:
        advice = "is it milliseconds where seconds are due?"
    raise RefusedError("future", f"signed {-age:.0f} s ahead of our clock, {advice}", clock_seconds=age)


def difference(given: Sequence[str], now_seconds: float, *, per_second: int = 1) -> float | None:
    """Return how far the time in a timestamp header's values is behind ours, in seconds; None unless it is one integer."""
    number = digits(given[0]) if len(given) == 1 else None
    return None if number is None else now_seconds - number / per_second


def epoch_ms(value: object) -> int | None:
    """Return ``value`` where it is an integer that can be Unix milliseconds, else None."""
    return value if type(value) is int and 0 <= value <= _MS_MAX else None


def iso_ms(value: object) -> int | None:
    """Return the Unix milliseconds of an ISO 8601 text (UTC where it names no offset), None when it is none."""
    if not isinstance(value, str) or len(value) > _ISO_MAX:
        return None
    try:
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return epoch_ms((aware - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, OverflowError):
        return None
