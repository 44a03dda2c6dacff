"""Provider adapters by name. To add one, write what `base.Adapter` asks for and give it a line here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import cast, get_args

from ingest.adapters.base import Adapter
from ingest.adapters.hubspot import HubSpotAdapter, Version, WorkflowFields
from ingest.adapters.lemlist import LemlistAdapter
from ingest.adapters.standard_webhooks import StandardWebhooksAdapter, SvixAdapter
from tidegate.errors import UsageError

__all__ = ["PROVIDERS", "build"]

_Options = Mapping[str, object]


def build(
    provider: str,
    secrets: Sequence[str],
    *,
    tolerance_seconds: int = 300,
    options: Mapping[str, object] | None = None,
) -> Adapter:
    """Return the adapter called ``provider`` (`_` may stand for `-`) for these secrets.

    ``options`` of hubspot: ``require_v3`` (bool), ``sign`` ("v1", "v2" or "v3") and ``workflow``, a table of the paths
    in WorkflowFields. The others have none. Raises UsageError for an unknown provider, a secret that cannot be one,
    and an option that would be ignored.
    """
    make = _ADAPTERS.get(provider.lower().replace("_", "-"))
    if make is None:
        raise UsageError(
            f"unknown provider {provider!r}{_nearest(provider, PROVIDERS)}; there are {', '.join(PROVIDERS)}"
        )
    return make(secrets, tolerance_seconds, options or {})


def _hubspot(secrets: Sequence[str], tolerance_seconds: int, options: _Options) -> Adapter:
    _check_names("hubspot", options, ("require_v3", "sign", "workflow"))
    require_v3 = options.get("require_v3", False)
    if not isinstance(require_v3, bool):
        raise UsageError("hubspot option require_v3 is true or false")
    sign_as = options.get("sign", "v3")
    if sign_as not in get_args(Version):
        raise UsageError(f"hubspot option sign is one of {', '.join(get_args(Version))}")
    return HubSpotAdapter(
        secrets,
        tolerance_seconds=tolerance_seconds,
        workflow=_workflow(options.get("workflow", {})),
        require_v3=require_v3,
        sign_as=cast(Version, sign_as),
    )


def _workflow(paths: object) -> WorkflowFields:
    if not isinstance(paths, Mapping) or not all(isinstance(path, str) and path for path in paths.values()):
        raise UsageError("hubspot option workflow is a table of paths")
    _check_names("hubspot workflow", paths, [field.name for field in fields(WorkflowFields)])
    return WorkflowFields(**paths)


def _lemlist(secrets: Sequence[str], tolerance_seconds: int, options: _Options) -> Adapter:
    _check_names("lemlist", options, ())
    return LemlistAdapter(secrets)  # signs no time: there is nothing to tolerate


def _standard_webhooks(secrets: Sequence[str], tolerance_seconds: int, options: _Options) -> Adapter:
    _check_names("standard-webhooks", options, ())
    return StandardWebhooksAdapter(secrets, tolerance_seconds=tolerance_seconds)


def _svix(secrets: Sequence[str], tolerance_seconds: int, options: _Options) -> Adapter:
    _check_names("svix", options, ())
    return SvixAdapter(secrets, tolerance_seconds=tolerance_seconds)


_ADAPTERS: dict[str, Callable[[Sequence[str], int, _Options], Adapter]] = {
    "hubspot": _hubspot,
    "lemlist": _lemlist,
    "standard-webhooks": _standard_webhooks,
    "svix": _svix,
}

PROVIDERS = tuple(_ADAPTERS)


def _check_names(owner: str, given: Mapping[str, object], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise UsageError(f"{owner} has no option {name!r}{_nearest(str(name), known)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, cutoff=0.5)
    return f": did you mean {' or '.join(near)}?" if near else ""
