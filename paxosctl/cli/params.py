"""What the global options take, as click checks it."""

from typing import Any

import click

from paxosd.net.endpoints import checked_endpoints


class EndpointList(click.ParamType[str]):
    """Endpoints with commas between them, each one checked."""

    name = "endpoints"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text without blanks."""
        names = [name.strip() for name in value.split(",") if name.strip()]
        try:
            return ",".join(checked_endpoints(names))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ContextName(click.ParamType[str]):
    """The name of a context; whether there is one is looked up where a cluster is asked."""

    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """The names that there are."""
        from paxosctl.cli.complete import contexts  # noqa: PLC0415 -- only for a shell that asks

        return contexts(ctx, param, incomplete)


class ClientName(click.ParamType[str]):
    """What a client calls itself; "" is no name."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text."""
        from paxosctl.client.own_name import name_fault  # noqa: PLC0415 -- not for --help

        if fault := name_fault(str(value)):
            self.fail(fault, param, ctx)
        return str(value)
