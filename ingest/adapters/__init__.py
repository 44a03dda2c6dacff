"""Provider adapters by name: a declaration makes one, or Python where words do not suffice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, cast, get_args

from ingest.adapters import catalogue
from ingest.adapters.base import Adapter
from ingest.adapters.cloudevents import CloudEventsAdapter
from ingest.adapters.declared import DeclaredAdapter
from ingest.adapters.hubspot import HubSpotAdapter, Version, WorkflowFields
from ingest.adapters.salesforce import SalesforceOutboundAdapter
from tidegate.errors import UsageError

__all__ = ["PROVIDERS", "build"]

_Options = Mapping[str, object]
PROVIDERS = catalogue.names()
"""Those that Tidegate brings."""
_ORGANIZATION_ID = re.compile(r"00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?")


def build(
    provider: str,
    secrets: Sequence[str],
    *,
    tolerance_seconds: int | None = None,
    handshake_secret: str | None = None,
    options: Mapping[str, Any] | None = None,
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> Adapter:
    """Return the adapter of ``provider`` (`_` may stand for `-`) for these secrets.

    ``own`` are the declarations of `[providers.NAME]` in the settings. ``options`` are words that this source says
    otherwise than the declaration; of hubspot: ``require_v3`` (bool), ``sign`` ("v1", "v2" or "v3") and ``workflow``, a
    table of the paths in WorkflowFields; of cloudevents: ``allowed_origins``, a list of DNS names; of
    salesforce-outbound: ``organization_id``, a text or a list. Raises UsageError for an unknown provider, a secret that
    cannot be one, and an option that would be ignored.
    """
    declared = own or {}
    name = catalogue.proper_name(provider, declared)
    make = _CODE.get(name) if name not in declared else None
    if make is not None:
        return make(secrets, tolerance_seconds, options or {})
    words = catalogue.find(name, declared, options or {})
    if words.code is not None:
        raise UsageError(f"provider {name}: there is no adapter {words.code!r} in Python")
    return DeclaredAdapter(name, words, secrets, tolerance_seconds=tolerance_seconds, handshake_secret=handshake_secret)


def _hubspot(secrets: Sequence[str], tolerance_seconds: int | None, options: _Options) -> Adapter:
    _check_names("hubspot", options, ("require_v3", "sign", "workflow"))
    require_v3 = options.get("require_v3", False)
    if not isinstance(require_v3, bool):
        raise UsageError("hubspot option require_v3 is true or false")
    sign_as = options.get("sign", "v3")
    if sign_as not in get_args(Version):
        raise UsageError(f"hubspot option sign is one of {', '.join(get_args(Version))}")
    return HubSpotAdapter(
        secrets,
        tolerance_seconds=tolerance_seconds or 300,
        workflow=_workflow(options.get("workflow", {})),
        require_v3=require_v3,
        sign_as=cast(Version, sign_as),
    )


def _workflow(paths: object) -> WorkflowFields:
    if not isinstance(paths, Mapping) or not all(isinstance(path, str) and path for path in paths.values()):
        raise UsageError("hubspot option workflow is a table of paths")
    _check_names("hubspot workflow", paths, [field.name for field in fields(WorkflowFields)])
    return WorkflowFields(**paths)


def _cloudevents(secrets: Sequence[str], tolerance_seconds: int | None, options: _Options) -> Adapter:
    _check_names("cloudevents", options, ("allowed_origins",))
    origins = options.get("allowed_origins")
    if origins is not None and not (isinstance(origins, list) and all(isinstance(name, str) for name in origins)):
        raise UsageError("cloudevents option allowed_origins is a list of DNS names")
    return CloudEventsAdapter(secrets, allowed_origins=origins)


def _salesforce(secrets: Sequence[str], tolerance_seconds: int | None, options: _Options) -> Adapter:
    _check_names("salesforce-outbound", options, ("organization_id",))
    given = options.get("organization_id", [])
    listed = [str(name) for name in (given if isinstance(given, list) else [given])]
    if not all(map(_ORGANIZATION_ID.fullmatch, listed)):
        raise UsageError(
            "salesforce-outbound option organization_id is an id of 15 or 18 characters, 00D..., or a list"
        )
    return SalesforceOutboundAdapter(secrets, organization_ids=listed)


_CODE: dict[str, Callable[[Sequence[str], int | None, _Options], Adapter]] = {
    "cloudevents": _cloudevents,
    "hubspot": _hubspot,
    "salesforce-outbound": _salesforce,
}


def _check_names(owner: str, given: Mapping[str, object], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise UsageError(f"{owner} has no option {name!r}{_nearest(str(name), known)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, cutoff=0.5)
    return f": did you mean {' or '.join(near)}?" if near else ""
