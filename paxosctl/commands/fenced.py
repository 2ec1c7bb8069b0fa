"""The options --fence and --prev of a write, and the value before in its answer."""

from collections.abc import Callable
from typing import Any

import click

from paxosctl.cli.app import raw
from paxosctl.cli.render import View, as_cell, as_json
from paxosctl.client.guarded import Fence
from paxosd.core.commands import KeyValue


class FenceType(click.ParamType[Fence]):
    """NAME:TOKEN."""

    name = "NAME:TOKEN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fence:
        """The name of the lock, and its token."""
        if isinstance(value, tuple):
            return value
        name, _, token = str(value).rpartition(":")
        if not name or not token.isascii() or not token.isdigit() or len(token) > 18:
            self.fail(f"{value!r} is no NAME:TOKEN, such as jobs:17", param, ctx)
        return raw(name), int(token)


def fenced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --fence and --prev, as ``fence`` and ``prev``."""
    function = click.option(
        "--fence",
        type=FenceType(),
        help="Write only while the lock NAME is held with this TOKEN: while a key that begins with "
        "NAME/ and was created in revision TOKEN is there; if not, exit code 76.",
    )(function)
    return click.option("--prev", is_flag=True, help="Show the value before as well.")(function)


def with_prev(view: View, before: KeyValue | None, *, asked: bool) -> View:
    """The answer to a write with what was there before, if that was asked for."""
    if not asked:
        return view
    known = None if before is None else before._asdict()
    if known is not None and before is not None:
        known |= {"key": as_json(before.key), "value": as_json(before.value)}
    words = "no such key before" if before is None else f"before: {as_cell(before.value)}"
    plain = b"" if before is None else before.value
    text = f"{view.text}; {words}"
    return View(data={**view.data, "prev": known}, plain=plain, text=text)
