"""The gate's own description, as OpenAPI: `GET /openapi.json`."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tidegate import __version__


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document, with the version of this process."""
    found: dict[str, Any] = json.loads(resources.files("ingest").joinpath("openapi.json").read_text(encoding="utf-8"))
    found["info"]["version"] = __version__
    return found


async def _answer(_request: Request) -> Response:
    return JSONResponse(document())


route = Route("/openapi.json", _answer)
"""What serves it, for the application that answers whatever is not a webhook."""
