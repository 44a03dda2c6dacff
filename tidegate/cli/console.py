"""`tidegate console`"""

from __future__ import annotations

import click

from dlq import service
from tidegate.cli.context import Context, given
from tidegate.serving import listen


@click.command("console")
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: any free one. [default: 8081]")
@click.pass_obj
def command(context: Context, host: str | None, port: int | None) -> None:
    """Run the admin API (/api, documented at /api/openapi.json) and the web console, for who has TIDEGATE_ADMIN_TOKEN.

    Beyond this machine put it behind a proxy that ends TLS: the token travels with every request.
    """
    settings = context.settings()
    changed = settings.console.model_copy(update=given(host=host, port=port))
    settings = settings.model_copy(update={"console": changed})
    service.admin_token(settings)  # settings errors before the port is taken
    context.run(service.serve(settings, listen(changed.host, changed.port)))
