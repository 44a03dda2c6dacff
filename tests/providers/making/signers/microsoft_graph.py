"""Microsoft Graph: a token of ours in the query of the notification URL, which every notification repeats."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.tokens import query_token_signer


def _notification(change: str, number: int, **held: object) -> dict[str, object]:
    return {
        "id": f"lsgTZMr9KwAA{number}",
        "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07",
        "subscriptionExpirationDateTime": "2026-09-22T14:13:18.952Z",
        "clientState": "sample",
        "changeType": change,
        "resource": "users/1/messages/2",
        "tenantId": "84bd8158-6d4d-4958-8b9f-9d6445542f95",
        **held,
    }


SIGNER = query_token_signer(
    parameter="token",
    secret="grZk3Vq8YtR2nXw7Lp",
    other_secret="gr0000000000000000",
    bodies=[
        Body("created", compact({"value": [_notification("created", 1, resourceData={"id": "2"})]})),
        Body("two notifications", compact({"value": [_notification("updated", 2), _notification("deleted", 3)]})),
        Body("over several lines", pretty({"value": [_notification("updated", 4)]})),
        Body("escaped, with unicode", spaced({"value": [_notification("updated", 5, note="né 🗝")]})),
        Body(
            "of the subscription itself",
            compact({"value": [{"subscriptionId": "7f10", "lifecycleEvent": "reauthorizationRequired"}]}),
        ),
        Body(
            "of a drive, without an id",
            compact({"value": [{"subscriptionId": "38031b7d", "resource": "/me/drive/root", "changeType": "updated"}]}),
        ),
        Body("a change that nobody knows", compact({"value": [_notification("eclipsed", 6)]})),
    ],
)
