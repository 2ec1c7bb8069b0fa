"""docs/TESTING.md says which test stands for which pitfall: each one that it names must exist."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "TESTING.md"
TABLES = "## Which test stands for which known pitfall"
"""The heading above them."""
TOKEN = re.compile(r"[\w/]+\.py|\bTest\w+\b(?:\.test_\w+\*?)?|\btest_\w+\*?")
"""A file, a class, a class and its test, or a test; with * at its end the start of a name."""
TESTS_MIN = 100
"""It names more than these; far fewer would mean that this file does not understand it."""


def named(text):
    """(file, name) of all that stands in the tables; the name is "" where the whole file is
    meant. A name belongs to the file before it in its cell."""
    for cell in re.findall(r"[^|\n]+", text):
        file = ""
        for token in TOKEN.findall(cell):
            if token.endswith(".py"):
                file = token
                yield file, ""
            elif file:
                yield file, token


def defined(path):
    """Its classes, its functions, and the methods with and without their class."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            found |= {name for each in methods for name in (each, f"{node.name}.{each}")}
    return found


def has(names, name):
    """Whether it is one of the names, or with * at its end the start of one."""
    if name.endswith("*"):
        return any(each.startswith(name[:-1]) for each in names)
    return name in names


def missing(text):
    """What is named and is not there."""
    found = []
    for file, name in named(text):
        path = HERE / file
        if not path.name.startswith("test_"):
            continue  # of the product
        if not path.exists():
            found.append(file)
        elif name and not has(defined(path), name):
            found.append(f"{file}::{name}")
    return found


def test_every_test_that_it_names_exists():
    text = PAGE.read_text(encoding="utf-8").partition(TABLES)[2]
    assert missing(text) == [], "docs/TESTING.md names tests that are elsewhere, or gone"
    assert len([name for _, name in named(text) if name]) > TESTS_MIN


def test_what_is_not_there_is_found():
    text = (
        "| test_readme.py::test_what_*, has; nowhere/test_x.py | test_readme.py::TestNone.test_a, "
        "test_every_test_that_it_names_exists, test_gone, test_gone_* |"
    )
    assert missing(text) == [
        "nowhere/test_x.py",
        "test_readme.py::TestNone.test_a",
        "test_readme.py::test_gone",
        "test_readme.py::test_gone_*",
    ]
