"""docs/API.md, made from the signatures and docstrings of ``paxosctl.client``.

    python -m tests.api_reference

``tests/ctl/client/test_reference.py`` compares the two, and runs every example.
"""

import inspect
import re
import textwrap
from pathlib import Path

import paxosctl.client as package
from paxosctl.client.base import ClientBase
from paxosctl.client.operations import Queues

PAGE = Path(__file__).parents[1] / "docs" / "API.md"

HEAD = """# The Python clients

Made by `python -m tests.api_reference` from `paxosctl.client`; each example is run by a test. In
the examples `client` is a `Client` of a cluster; with an `AsyncClient` the same call is awaited
(`await client.put(…)`), and an iterator is gone through by `async for`.

A call that does not give a result raises a `ClientError`: see the errors below. `timeout_s` bounds
a call, without it the time that the client was given; a call ends then, truly.
"""

PARTS = [
    ("The clients", ["Client", "AsyncClient"]),
    ("What they hand out", ["Pipeline", "Future", "Watcher", "AsyncWatcher"]),
    ("What calls return", []),
    ("Errors", []),
    ("Functions", []),
]
ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+(?:\.\w+)?)`")
METHOD = re.compile(r":meth:`~?(?:[a-z_]\w*\.)*([\w.]+)`")
MODULES = re.compile(r"\b(?:\w+\.)+(?=[A-Z]\w)|\btyping\.|~(?=T\b)|<class '|'>")


def page():
    """The whole text."""
    found = {name: getattr(package, name) for name in package.__all__}
    named = {name for _, names in PARTS for name in names}
    rest = {name: each for name, each in found.items() if name not in named}
    errors = [n for n, each in rest.items() if _is_class(each) and issubclass(each, Exception)]
    values = [n for n, each in rest.items() if _is_class(each) and n not in errors]
    functions = [n for n, each in rest.items() if inspect.isfunction(each)]
    parts = [HEAD.rstrip()]
    for title, names in PARTS:
        chosen = {"What calls return": values, "Errors": errors, "Functions": functions}
        parts.append(f"## {title}")
        parts += [_entry(name, found[name]) for name in chosen.get(title, names)]
    return "\n\n".join(parts) + "\n"


def _is_class(each):
    return inspect.isclass(each)


def _entry(name, each):
    if not _is_class(each):
        return f"### {name}\n\n{_code(name, each)}\n\n{prose(inspect.getdoc(each))}"
    text = [f"### {name}"]
    if name in {"Client", "AsyncClient"}:
        text.append(_code(name, each))
    text.append(prose(inspect.getdoc(each) or ""))
    if name == "Client":
        text.append(prose(inspect.getdoc(ClientBase)))
    fields = getattr(each, "_fields", ())
    if fields:
        text.append("Fields: " + ", ".join(f"`{field}`" for field in fields) + ".")
    text += _members(name, each)
    return "\n\n".join(part for part in text if part)


def _members(name, each):
    is_other = name == "AsyncClient"
    if issubclass(each, Exception | tuple):
        return []
    same = []
    for member in sorted(dir(each)):
        found = inspect.getattr_static(each, member)
        if member.startswith("_") or not (callable(found) or isinstance(found, property)):
            continue
        doc = inspect.getdoc(getattr(each, member))
        if not doc or (member in _INSIDE and issubclass(each, _PARTS)):
            continue
        of_client = inspect.getdoc(getattr(package.Client, member, None))
        if (is_other and of_client == doc) or (issubclass(each, Queues) and of_client):
            same.append(f"`{member}`")
        elif isinstance(found, property):
            yield f"#### {member}\n\n{prose(doc)}"
        else:
            yield f"#### {member}\n\n{_code(member, getattr(each, member))}\n\n{prose(doc)}"
    if same:
        yield _fill(f"As `Client` has them: {', '.join(same)}.")


_INSIDE = {"begin", "wait", "alone", "owner", "news", "end", "failure_of"}
_PARTS = (ClientBase, Queues)
"""What the classes of the package need of one another, and of which of them."""


def _code(name, each):
    signature = inspect.signature(each)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    text = str(signature.replace(parameters=parameters))
    text = MODULES.sub("", text)
    prefix = "async " if inspect.iscoroutinefunction(each) else ""
    line = f"{prefix}{name}{text}"
    if len(line) > 100:
        head, _, tail = line.partition("(")
        inner, _, after = tail.rpartition(")")
        parts = _split(inner)
        line = f"{head}(\n    " + ",\n    ".join(parts) + f",\n){after}"
    return f"```python\n{line}\n```"


def _split(inner):
    """The parameters, at the commas that are in no bracket."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(inner):
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append(inner[start:at].strip())
            start = at + 1
    return [*parts, inner[start:].strip()]


def prose(doc):
    """A docstring as Markdown: examples in blocks, names in code."""
    doc = ROLE.sub(r"`\1`", METHOD.sub(r"`\1`", doc)).replace("``", "`")
    parts = []
    for block in doc.split("\n\n"):
        if block.startswith(">>>"):
            parts.append(f"```python\n{block}\n```")
        elif block.startswith((" ", "committed ")):
            parts.append(f"```\n{textwrap.dedent(block)}\n```")
        else:
            parts.append(_fill(block))
    return "\n\n".join(parts)


def _fill(text):
    return "\n".join(textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
