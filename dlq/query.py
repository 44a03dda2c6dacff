"""Which letters a request asks for: its query read strictly, and the cursor that turns the page."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dlq.desk import Place
from dlq.letters import REASONS, Filter, Status
from tidegate.jsontext import is_storable

LIMIT_MAX = 200

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LOST_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")


class UnacceptableError(Exception):
    """A request asks for what there cannot be; ``errors`` names each part and what is wrong with it."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{error['name']}: {error['problem']}" for error in errors))
        self.errors = errors

    @classmethod
    def of(cls, error: ValidationError) -> UnacceptableError:
        """Return the same without pydantic's words for programmers, and without the values."""
        return cls(
            [
                {
                    "name": ".".join(str(part) for part in item["loc"]) or "body",
                    "problem": item["msg"].removeprefix("Value error, "),
                }
                for item in error.errors(include_input=False, include_url=False)
            ]
        )


def moment(text: str, now: datetime) -> datetime:
    """Return the time meant by `15m`, `2h`, `3d` (ago) or ISO 8601 (UTC unless it says otherwise); raise ValueError."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        # The + of an offset reads as a space in a query whose writer did not escape it.
        found = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text))
    except (ValueError, OverflowError):
        raise ValueError("no time: give 15m, 2h, 3d or 2026-01-31T12:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def encode_cursor(place: Place) -> str:
    """Return ``place`` as one opaque word."""
    created_at, letter_id = place
    return base64.urlsafe_b64encode(f"{created_at.isoformat()} {letter_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Place:
    """Return the place in a cursor of ours; raise ValueError for anything else."""
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created, _, letter_id = raw.decode().partition(" ")
        created_at = datetime.fromisoformat(created)
        place = created_at, UUID(letter_id)
    except (ValueError, binascii.Error):
        raise ValueError("not a cursor of this API") from None
    if created_at.tzinfo is None:
        raise ValueError("not a cursor of this API")
    return place


def _moment(value: Any) -> Any:
    return moment(value, datetime.now(UTC)) if isinstance(value, str) else value


def _cursor(value: Any) -> Any:
    return decode_cursor(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    if not is_storable(value):
        raise ValueError("no letter holds such a character")
    return value


def _reason(value: str) -> str:
    if value not in REASONS:
        raise ValueError(f"one of {', '.join(REASONS)}")
    return value


_Text = Annotated[str, Field(max_length=1000), AfterValidator(_text)]
_Moment = Annotated[datetime, BeforeValidator(_moment)]


class Query(BaseModel):
    """The parameters of a list of letters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: _Text | None = None
    type: _Text | None = None
    reason: Annotated[str, AfterValidator(_reason)] | None = None
    status: Status | None = None
    since: _Moment | None = None
    until: _Moment | None = None
    cursor: Annotated[Place, BeforeValidator(_cursor)] | None = None
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = 50

    def filter(self) -> Filter:
        """Return the letters meant, whatever the page."""
        return Filter(self.source, self.type, self.reason, self.status, self.since, self.until)


def read(parameters: Iterable[tuple[str, str]]) -> Query:
    """Return the query in ``parameters``, empty ones left out as forms send them; raise UnacceptableError."""
    given: dict[str, str] = {}
    for name, value in parameters:
        if name in given:
            raise UnacceptableError([{"name": name, "problem": "given twice"}])
        if value:
            given[name] = value
    try:
        return Query.model_validate(given)
    except ValidationError as error:
        raise UnacceptableError.of(error) from None
