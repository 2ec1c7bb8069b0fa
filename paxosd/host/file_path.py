"""What a command line names a file or a directory by."""

from typing import Any

import click


class FilePath(click.Path):
    """click's path, but not an empty one: that is mostly a variable of a shell which is not set,
    and would stand for the current directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click does it."""
        if not str(value):
            self.fail("an empty path is not allowed", param, ctx)
        return super().convert(value, param, ctx)
