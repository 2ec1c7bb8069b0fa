"""README.md and docs/ name modules, classes, tests and commands: each of them exists.

A page may name a file by its path from the root of the repository, or from one of the packages
(``core/acceptor.py``, ``bus/test_inbox.py``). A dotted name begins with ``paxosd.``, ``paxosctl.``
or ``tests.``. A command is looked up in the command line itself, with its options.
"""

import ast
import builtins
import importlib
import json
import re
import shlex
import tomllib
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import click
import pytest

from paxosctl.cli.main import cli as paxosctl
from paxosd.cli import cli as paxosd
from paxosd.core.admin_verbs import ADMIN_VERBS
from paxosd.core.commands import FENCE, Status
from paxosd.core.effects import REFUSALS
from tests.ctl.fake_daemon import FakeDaemon
from tests.minimal_client import minimal_client

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
README_LINES_MAX = 160
PLACES = (ROOT, ROOT / "docs", ROOT / "paxosd", ROOT / "paxosctl", ROOT / "tests")
ENVELOPE = {"request_id", "prefix"}
"""Fields that stand in the head of the table, or in the topic."""

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?<![\w/.<-])((?:[\w.-]+/)*[\w.-]+\.(?:py|md|toml|service|conf|tar\.xz))\b")
FOLDER = re.compile(r"^((?:paxosd|paxosctl|tests|docs|conf)(?:/[\w-]+)*)/?$")
DOTTED = re.compile(r"(?<![\w/.@-])((?:paxosd|paxosctl|tests)(?:\.\w+)+)")
ENDINGS = (".py", ".md", ".toml", ".service", ".target", ".conf", ".paxsnap", ".key", ".trust")
COMMAND = re.compile(r"^(?:\$ |> )?(paxosctl|paxosd) +(.*?)(?:  +#.*| &| \|.*| > .*)?$")
BENCH = re.compile(r"python -m (tests\.bench\.\w+)")
CLASS = re.compile(r"^([A-Z]+[a-z]\w*)(?:\.(\w+))?(?:\(.*\))?$", re.M)
EVENT = re.compile(r"^(?!paxosd|paxosctl|tests|area)([a-z]+\.[a-z_]+)$", re.M)
TEST = re.compile(r"(test_\w+\.py)::([\w.]+)")


def prose_of(text):
    """The text without code blocks of other languages than the shell."""
    return FENCED.sub(lambda found: found[2] if found[1] in ("", "sh") else "", text)


def commands_of(text):
    """Lines of shell blocks and whole spans that begin with a command of this project."""
    blocks = [body for language, body in FENCED.findall(text) if language == "sh"]
    lines = [line.strip() for body in blocks for line in body.splitlines()]
    lines += SPAN.findall(FENCED.sub("", text))
    for line in lines:
        found = COMMAND.match(line)
        if found:
            yield found[1], found[2]


# -- what is missing: each returns the names that do not exist


def missing_files(text):
    names = set(FILE.findall(prose_of(text)))
    names |= {span for span in SPAN.findall(text) if FOLDER.match(span)}
    return sorted(
        name
        for name in names
        if not any((place / name).exists() for place in PLACES)
        and not ("/" not in name and name.endswith(".toml"))  # which a reader makes
        and not ("/" not in name and name.endswith(".py") and list(ROOT.glob(f"*/**/{name}")))
    )


def missing_names(text):
    return sorted(
        name
        for name in set(DOTTED.findall(prose_of(text)))
        if not name.endswith(ENDINGS) and not _exists(name)
    )


def _exists(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            fields = getattr(found, "__annotations__", {})
            if not hasattr(found, attribute) and attribute not in fields:
                return False
            found = getattr(found, attribute, None)
        return True
    return False


def missing_classes(text):
    """``Class`` and ``Class.method`` in spans: some class of that name has it."""
    members = _members()
    found = []
    for name, attribute in CLASS.findall("\n".join(SPAN.findall(FENCED.sub("", text)))):
        if hasattr(builtins, name):
            continue
        if name not in members or (attribute and attribute not in members[name]):
            found.append(f"{name}.{attribute}".rstrip("."))
    return sorted(found)


@cache
def _members():
    """Class → the names of what its body and those of its bases define, over all classes of that
    name."""
    found, bases = {}, {}
    for package in ("paxosd", "paxosctl"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    names = found.setdefault(node.name, set())
                    names |= {each.name for each in node.body if hasattr(each, "name")}
                    names |= _assigned(node)
                    bases.setdefault(node.name, set()).update(
                        base.id for base in node.bases if isinstance(base, ast.Name)
                    )
    return {name: set().union(*_with_bases(name, found, bases)) for name in found}


def _with_bases(name, found, bases):
    """The names of the body of each class of this name, and of its bases."""
    yield found.get(name, set())
    for base in set(bases.get(name, ())) - {name}:
        yield from _with_bases(base, found, bases)


def _assigned(node):
    """The fields that a class declares, and the attributes that its methods set."""
    names = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
            names.add(each.attr)
    return names


def missing_events(text):
    """``area.event`` in spans: an event that some code logs, or a setting of a section."""
    known = _event_names() | {f"{section}.{key}" for section, key in _settings()}
    return sorted(
        name
        for name in EVENT.findall("\n".join(SPAN.findall(FENCED.sub("", text))))
        if name not in known and not name.endswith(ENDINGS)
    )


@cache
def _event_names():
    code = "".join(
        path.read_text(encoding="utf-8")
        for package in ("paxosd", "paxosctl")
        for path in (ROOT / package).rglob("*.py")
    )
    return set(re.findall(r"[\"']([a-z]+\.[a-z_]+)[\"']", code))


def _settings():
    section = ""
    for line in (ROOT / "conf" / "paxosd.toml").read_text(encoding="utf-8").splitlines():
        found = re.match(r"\[(\w+)[\].]|(?:# )?(\w+) = ", line)
        if found and found[1]:
            section = found[1]
        elif found:
            yield section, found[2]


def missing_tests(text):
    found = []
    for file, name in TEST.findall(text):
        words = name.split(".")
        code = _code_of(file)
        if not all(re.search(rf"^ *(?:class|def) {word}", code, re.M) for word in words):
            found.append(f"{file}::{name}")
    return found


@cache
def _code_of(file):
    """Of all test files of that name."""
    return "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file))


def missing_commands(text):
    """Commands, verbs and options that there are not."""
    found = [name for name in BENCH.findall(text) if not _exists(name)]
    for program, rest in commands_of(text):
        try:
            words = shlex.split(rest.replace("…", "").replace("[", "").replace("]", ""))
        except ValueError:
            words = rest.split()
        command = paxosctl if program == "paxosctl" else paxosd
        trouble = _unknown(command, words)
        if trouble:
            found.append(f"{program} {rest}: {trouble}")
    return found


def _unknown(command, words):
    known = _options(command)
    for word in words:
        if word == "--":
            return ""
        if word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            if word.split("=")[0] not in known:
                return f"no option {word}"
        elif isinstance(command, click.Group):
            verbs = command.list_commands(click.Context(command))
            names = word.split("/")  # "member add/remove": several verbs at once
            if set(names) <= set(verbs):
                found = command.get_command(click.Context(command), names[0])
                assert found is not None
                command = found
                known |= _options(command)
            elif not _is_value(words, word) and word.islower():
                return f"no verb {word}"
    return ""


def _options(command):
    return {opt for each in command.params for opt in (*each.opts, *each.secondary_opts)} | {
        "-h", "--help",
    }  # fmt: skip


def _is_value(words, word):
    """Whether it follows an option, and so may be its value."""
    at = words.index(word)
    return at > 0 and words[at - 1].startswith("-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_all_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    missing = {
        "files": missing_files(text),
        "modules": missing_names(text),
        "classes": missing_classes(text),
        "events or settings": missing_events(text),
        "tests": missing_tests(text),
        "commands": missing_commands(text),
    }
    assert {kind: names for kind, names in missing.items() if names} == {}, f"named in {page}"


def test_what_does_not_exist_is_found():
    text = "`core/gone.py`, `tests/nowhere/`, `paxosd.core.node.Gone`, `paxosd.nothing`\n"
    text += "`paxosctl member fly n1`, `paxosctl put k v --fast`, `python -m tests.bench.gone`\n"
    text += "test_docs.py::test_gone\n```sh\npaxosctl gone k   # not there\n```\n"
    assert missing_files(text) == ["core/gone.py", "tests/nowhere/"]
    assert missing_names(text) == ["paxosd.core.node.Gone", "paxosd.nothing", "tests.bench.gone"]
    assert missing_tests(text) == ["test_docs.py::test_gone"]
    names = "`leader.gone`, `leader.lost`, `limits.none`, `limits.key_bytes_max`"
    assert missing_events(names) == ["leader.gone", "limits.none"]
    assert missing_classes("`Gone`, `Node.fly`, `Node.step`") == ["Gone", "Node.fly"]
    bench, *commands = missing_commands(text)
    assert bench == "tests.bench.gone"
    assert [words.split(": ")[1] for words in commands] == [
        "no verb gone", "no verb fly", "no option --fast",
    ]  # fmt: skip


def test_what_exists_is_not_reported():
    text = "`core/node.py`, `docs/DATA.md`, `tests/bench/`, `paxosd.core.node.Node.step`\n"
    text += "test_docs.py::test_what_exists_is_not_reported; `paxosctl get k --stale`\n"
    text += (
        "```sh\npaxosctl -o json member add n4 --peer tcp://h:1 &\npaxosd --config n.toml\n```\n"
    )
    assert missing_files(text) == []
    assert missing_names(text) + missing_tests(text) + missing_commands(text) == []


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < README_LINES_MAX


def test_each_page_is_linked():
    entrances = [ROOT / "README.md", DOCS / "ARCHITECTURE.md"]
    text = "".join(page.read_text(encoding="utf-8") for page in entrances)
    assert [page.name for page in DOCS.glob("*.md") if page.name not in text] == []


def test_the_picture_of_the_layers_is_that_of_the_contract():
    text = (DOCS / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Layers")[2]
    picture = FENCED.search(text)[2]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"][3:]  # below the command line
    at = 0
    for layer in layers:
        words = re.compile(r"\b" + layer.replace(" | ", " │ ") + r"\b")
        found = words.search(picture, at)
        assert found, f"{layer} does not come next in the picture"
        at = found.end()


def test_no_page_names_a_machine():
    private = re.compile(r"/(?:tmp|home|work|root)/\w+|pypi\.\w+|localhost:\d+/simple")
    for page in PAGES:
        assert not private.findall(page.read_text(encoding="utf-8")), page


def test_lines_are_not_too_long():
    for page in PAGES:
        text = FENCED.sub("", page.read_text(encoding="utf-8"))
        long = [line for line in text.splitlines() if len(line) > 120 and line[0] not in "|"]
        assert long == [], page


# -- docs/PROTOCOL.md


@pytest.mark.parametrize("name", ["peer_frames", "client_frames", "events"])
def test_each_kind_of_message_is_described(name):
    """Its row has every field, in the order of the wire, by the names of the test vectors."""
    text = (DOCS / "PROTOCOL.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+)(?: \w+)? \| (.*)$", text, re.M))
    vectors = json.loads((ROOT / "tests" / "wire" / "vectors" / f"{name}.json").read_text())
    for vector in vectors["vectors"]:
        row = rows[str(vector["kind"])]
        at = 0
        for field in vector["fields"]:
            found = re.compile(rf"\b{field}\b").search(row, at)
            assert found or field in ENVELOPE, f"kind {vector['kind']}: {field} in {row}"
            at = found.end() if found else at


def test_each_admin_verb_refusal_and_status_is_described():
    text = (DOCS / "PROTOCOL.md").read_text(encoding="utf-8")
    verbs = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.M))
    for verb in ADMIN_VERBS.values():
        repeatable = "yes" if verb.repeatable else "no"
        assert verbs[verb.name].endswith(f"| {verb.permission.value} | {repeatable}"), verb
        assert all(f"`{name}`" in verbs[verb.name] for name in verb.arguments or ()), verb
    assert set(REFUSALS) <= set(verbs)
    for status in Status:
        assert f"| {status.value} | {status.name} |" in text


@pytest.fixture
def make_client():
    """Makes clients by the code of the page."""
    with ExitStack() as stack:
        yield lambda *endpoints: stack.enter_context(minimal_client(*endpoints))


class TestMinimalClient:
    """The code at the end of the page, against the real state machine behind real sockets."""

    def test_writes_and_reads(self, make_client):
        with FakeDaemon() as daemon:
            client = make_client(daemon.endpoint)
            assert client.put(b"k", b"v") == 1
            assert client.put(b"k", b"w") == 2
            assert client.get(b"k") == b"w"
            assert client.get(b"no") is None

    def test_follows_a_hint_to_the_leader(self, make_client):
        with FakeDaemon("n1") as leader, FakeDaemon("n2", follows=leader) as follower:
            follower.refusal, follower.hint = "not_leader", leader.endpoint
            client = make_client(follower.endpoint)
            assert client.put(b"k", b"v") == 1
            assert client.get(b"k") == b"v"

    def test_a_write_without_an_answer_is_applied_once(self, make_client):
        with FakeDaemon("n1") as first, FakeDaemon("n2", follows=first) as second:
            client = make_client(first.endpoint, second.endpoint)
            client.put(b"k", b"v")
            first.silent_writes = True  # carries the write out, and says nothing
            assert client.put(b"k", b"w") == 2
            assert second.machine.revision == 2
            assert client.get(b"k") == b"w"

    def test_an_unknown_outcome_is_reported_and_can_be_asked(self, make_client):
        with FakeDaemon() as daemon:
            client = make_client(daemon.endpoint)
            client.put(b"k", b"v")
            call, session = client.call, client.session
            daemon.silent_writes = True
            client.call = lambda *fields: call(*fields, timeout_s=0.5)
            with pytest.raises(TimeoutError, match=rf"fence\({session}, 2\)"):
                client.put(b"k", b"w")
            daemon.silent_writes, client.call = False, call
            status, _, (_, result) = client.fence(session, 2)
            assert (status, result) == (Status.COMMITTED, 2)
            assert daemon.writes[-1].commands[0][0] == FENCE

    def test_a_broken_limit_is_not_repeated(self, make_client):
        with FakeDaemon() as daemon:
            client = make_client(daemon.endpoint)
            with pytest.raises(ValueError, match="the key is empty"):
                client.put(b"", b"v")
