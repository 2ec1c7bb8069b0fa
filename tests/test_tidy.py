"""The rules of the house, checked on every file, in the spirit of TigerBeetle's ``src/tidy.zig``.

What breaks a rule for a good reason is listed in ``tidy_exceptions.toml`` with that reason; an
entry that is not needed any more fails, too.
"""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PRODUCT = ("paxosd", "paxosctl")
CORE_MAY_IMPORT = frozenset(
    {
        "__future__", "abc", "array", "bisect", "collections", "contextlib", "dataclasses", "enum",
        "functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "random", "re",
        "statistics", "struct", "types", "typing", "weakref", "zlib",
    }
)  # fmt: skip
"""Pure parts of the standard library: no files, sockets, threads, clocks or processes.
``random`` is for the type of a seeded generator that is handed in: see the test of its use."""
BANNED = {
    r"\btell(s|ing)?\b|\btold\b": "log, report, return, ask, answer, say, name, send",
    r"\bhow-manieth\b": "number, index",
    r"\bcounts not\b": "does not count",
    r"\bneeds no leave\b": "may … without permission",
    r"\blots\b(?! of)": "random bits, or: draw",
    r"(?<![\"'/`])\bincarnations?\b(?![\"'`])": "boot_count, run_id",
    r"\bwhosoever\b|\bwhomever\b": "use a plain clause",
    r"\bunbeknown\w*": "unknown to",
    r"\bhitherto\b|\bthereof\b|\bwhereof\b|\bwherefrom\b|\bheretofore\b": "plain words",
}
"""Words of the former dialect, and what to say in their place."""


LINT_EXCEPTION = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w, -]+\])"
)
"""Without its reason, which follows on the same line."""


@cache
def files(*tops):
    """All Python files below these folders."""
    found = [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]
    assert found
    return found


@cache
def tree_of(path):
    return ast.parse(path.read_text())


@cache
def exceptions():
    """Rule → {what: reason}."""
    return tomllib.loads((HERE / "tidy_exceptions.toml").read_text())


def check(rule, broken, advice):
    """Whether nothing breaks the rule but what is listed for it, and all of that does."""
    listed = exceptions().get(rule, {})
    assert all(isinstance(why, str) and len(why) > 20 for why in listed.values()), "give a reason"
    news = {what: how for what, how in broken.items() if what not in listed}
    assert not news, f"{advice}: " + "; ".join(f"{what} ({how})" for what, how in news.items())
    assert not listed.keys() - broken.keys(), "these exceptions are not needed any more"


def place_of(path):
    return str(path.relative_to(ROOT))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports():
    """Module → the modules of ours that it imports, also for type checking alone."""
    modules = {module_of(path): path for path in files(*PRODUCT)}
    found = {}
    for name, path in modules.items():
        arrows = set()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                arrows |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    arrows.add(inner if inner in modules else node.module)
        found[name] = {each for each in arrows if each in modules and each != name}
    return found


def circles(graph):
    """Groups of nodes that reach each other (Tarjan, "Depth-first search", 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        for node in sorted(graph):
            if node not in index:
                visit(node)
    finally:
        sys.setrecursionlimit(limit)
    return found


def long_functions(paths):
    found = {}
    for path in paths:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found[f"{place_of(path)}::{node.name}"] = f"{lines} lines"
    return found


def long_files(paths):
    counts = {place_of(path): path.read_text().count("\n") for path in paths}
    return {name: f"{lines} lines" for name, lines in counts.items() if lines > FILE_LINES_MAX}


def banned_words(text):
    """(line, word) of each."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in BANNED:
            for hit in re.finditer(pattern, line, re.IGNORECASE):
                yield number, hit.group()


def texts():
    """Everything that a person reads: the product, its documents and its configuration."""
    yield from files(*PRODUCT)
    yield ROOT / "README.md"
    for folder, kinds in (("docs", ("*.md",)), ("conf", ("*.toml", "*.service", "*.target"))):
        for kind in kinds:
            yield from sorted((ROOT / folder).rglob(kind))


def test_a_file_has_one_purpose():
    broken = long_files(files(*PRODUCT, "tests"))
    check("file_lines", broken, f"divide what has more than {FILE_LINES_MAX} lines by its purposes")


def test_a_function_fits_a_screen():
    broken = long_functions(files(*PRODUCT, "tests"))
    check("function_lines", broken, f"a function has at most {FUNCTION_LINES_MAX} lines")


def test_no_circle_of_files():
    assert circles(imports()) == []


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"f"}, "f": {"e"}}
    assert sorted(circles(graph)) == [["a", "b", "c"], ["e", "f"]]


def test_every_module_stands_in_a_contract():
    """The layers are exhaustive, so import-linter complains of a module that they do not name;
    here, that each package and each module beside a package is below such a contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [each for each in contracts["contracts"] if each["type"] == "layers"]
    assert all(each.get("exhaustive") for each in layers)
    named = {
        f"{container}.{name.strip()}"
        for each in layers
        for container in each["containers"]
        for layer in each["layers"]
        for name in re.split(r"[:|]", layer)
    }
    for path in files(*PRODUCT):
        module = module_of(path)
        if module in PRODUCT:
            continue
        above = {module.rsplit(".", cut)[0] for cut in range(module.count("."))} | {module}
        assert above & named, f"{module} is in no contract of pyproject.toml"


def test_the_core_imports_pure_modules_alone():
    broken = {}
    for path in files("paxosd/core"):
        for node in ast.walk(tree_of(path)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                if not name.startswith("paxosd.core") and name.split(".")[0] not in CORE_MAY_IMPORT:
                    broken[place_of(path)] = name
    check("core_imports", broken, "the core does no I/O, reads no clock and starts no thread")


def test_the_core_uses_no_global_randomness():
    for path in files("paxosd/core"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                drawn = node.value.id == "random" and node.attr != "Random"
                assert not drawn, f"{place_of(path)} line {node.lineno}: random.{node.attr}"


def test_every_package_says_what_lives_there():
    broken = {}
    for path in files(*PRODUCT):
        if path.name != "__init__.py":
            continue
        lines = (ast.get_docstring(tree_of(path)) or "").splitlines()
        if len(path.parent.relative_to(ROOT).parts) > 1 and not 3 <= len(lines) <= 12:
            broken[place_of(path)] = f"{len(lines)} lines"
    check("package_docstrings", broken, "say in a few lines what lives there and who may call it")


@pytest.mark.parametrize("folder", [*PRODUCT, "tests"])
def test_every_lint_exception_has_a_reason(folder):
    broken = {}
    for path in files(folder):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = LINT_EXCEPTION.search(line)
            if found and len(re.findall("[a-z]", line[found.end() :])) < 4:
                broken[f"{place_of(path)}:{number}"] = line.strip()
    assert not broken, f"say why: {broken}"


def test_plain_words():
    broken = {}
    for path in texts():
        for number, word in banned_words(path.read_text()):
            broken.setdefault(place_of(path), []).append(f"line {number}: {word}")
    check("words", broken, "say it in plain words (BANNED has proposals)")


@pytest.mark.parametrize("text", ["it tells", "was told", "Telling", "two lots", "incarnation"])
def test_a_banned_word_is_found(text):
    assert [line for line, _ in banned_words(f"fine\n{text}")] == [2]


def test_plain_words_pass():
    assert not list(banned_words("a lot of slots, intelligent stories, allotted pilots, retold"))
