"""Discord interactions: signed as Discord's events are."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.signer import Stamp
from tests.providers.making.signers.discord import TIMESTAMP, discord_signer


def _interaction(number: int, kind: int, **data: object) -> dict[str, object]:
    return {
        "id": f"84563897548926{number}",
        "application_id": "1234560123453231555",
        "type": kind,
        "version": 1,
        "token": "A_UNIQUE_TOKEN",
        "channel_id": "645027906669510667",
        "member": {"user": {"id": "53908232506183680", "username": "Mason"}},
        "data": data,
    }


SIGNER = discord_signer(
    [
        Body("a command", compact(_interaction(1, 2, id="771825006014889984", name="cardsearch"))),
        Body("a command with unicode", compact(_interaction(2, 2, name="poisson", options=[{"value": "🐟 ñ"}]))),
        Body("a button, over several lines", pretty(_interaction(3, 3, custom_id="click_one", component_type=2))),
        Body("a form, escaped", spaced(_interaction(4, 5, custom_id="form", note="ça va"))),
        Body("a kind that nobody knows", compact(_interaction(5, 99))),
        Body("the ping (no event)", compact({"id": "1", "application_id": "2", "type": 1, "token": "t", "version": 1})),
    ],
    Stamp(header=TIMESTAMP),
)
