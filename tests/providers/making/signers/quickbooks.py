"""QuickBooks Online: base64 of an HMAC over the body, an array of CloudEvents. Its SDKs do not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(kind: str, number: int = 0, **data: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"88cd52aa-33b6-4351-9aa4-47572edbd0{number:02}",
        "source": "intuit.dsnBgbseACLLRZNxo2dfc4evmEJdxde58xeeYcZliOU=",
        "type": kind,
        "datacontenttype": "application/json",
        "time": "2026-09-21T14:13:18.179851517Z",
        "intuitentityid": "1234",
        "intuitaccountid": "310687",
        "data": data,
    }


_OLDER = {
    "eventNotifications": [
        {
            "realmId": "310687",
            "dataChangeEvent": {
                "entities": [
                    {"id": "1234", "operation": "Create", "name": "Account", "lastUpdated": "2026-04-08T20:52:31.657Z"}
                ]
            },
        }
    ]
}

SIGNER = hmac_signer(
    header="intuit-signature",
    encoding="base64",
    secret="2d2a4b1c-7f0e-4c55-9d3b-6a8e1f00b7c4",
    other_secret="00000000-0000-0000-0000-000000000000",
    bodies=[
        Body("an account is created", compact([_event("qbo.account.created.v1")])),
        Body("two events", compact([_event("qbo.invoice.updated.v1", 1), _event("qbo.customer.merged.v1", 2)])),
        Body("over several lines", pretty([_event("qbo.payment.deleted.v1", 3)])),
        Body("escaped, with unicode", spaced([_event("qbo.item.created.v1", 4, name="Käse 🧀")])),
        Body("a type that nobody knows", compact([_event("qbo.moon.waned.v1", 5)])),
        Body("the form of before May 2026", compact(_OLDER)),
    ],
)
