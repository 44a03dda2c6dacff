"""The sources of `tidegate up` and the demo: a CRM, Lemlist and HubSpot, with secrets made on the spot."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass, field


def _webhook_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(24)).decode()


@dataclass(frozen=True, slots=True)
class DemoSources:
    """Secrets for the three sources; ``toml`` makes their settings."""

    crm: str = field(default_factory=_webhook_secret)
    lemlist: str = field(default_factory=lambda: f"whk_{secrets.token_hex(12)}")
    hubspot: str = field(default_factory=lambda: secrets.token_hex(18))

    def toml(self, gate_url: str) -> str:
        """Return the [sources] part of tidegate.toml for a gate at ``gate_url``."""
        return f"""\
[sources.crm]
provider = "standard-webhooks"
secrets = ["{self.crm}"]

[sources.lemlist]
provider = "lemlist"
secrets = ["{self.lemlist}"]

[sources.hubspot]
provider = "hubspot"
secrets = ["{self.hubspot}"]
public_url = "{gate_url}/webhooks/hubspot"
"""
