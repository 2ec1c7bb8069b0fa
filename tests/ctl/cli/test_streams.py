"""Standard streams that are closed, full or broken, and bare environments: never a traceback.

Every verb is run as a process of its own with what a shell can do to it. What counts: no
traceback, at most a line or two of words, and an exit code that tells the truth.
"""

import os
import random
import subprocess
import sys

import pytest

from paxosctl.client.client import Client
from tests.ctl.fake_daemon import FakeDaemon

VERBS = {
    "put": ["put", "k", "v"],
    "put -": ["put", "k", "-"],
    "get": ["get", "k"],
    "get missing": ["get", "missing"],
    "get --prefix": ["get", "k", "--prefix"],
    "get --meta": ["get", "k", "--meta"],
    "get --stale": ["get", "k", "--stale"],
    "delete": ["delete", "other"],
    "cas": ["cas", "k", "-", "--expect-revision", "99"],
    "outcome": ["outcome", "99", "1"],
    "watch": ["watch", "k", "--from-revision", "1", "--count", "1"],
    "status": ["status"],
    "status --cluster": ["status", "--cluster"],
    "health": ["health"],
    "leader": ["leader"],
    "hash": ["hash"],
    "member list": ["member", "list"],
    "member demote": ["member", "demote", "n1", "--dry-run"],
    "cluster show": ["cluster", "show"],
    "fault add": ["fault", "add", "f", "--kind", "dropp"],
    "fault list": ["fault", "list"],
    "fault clear": ["fault", "clear"],
    "fault run": ["fault", "run", "/nonexistent"],
    "snapshot save -": ["snapshot", "save", "-"],
    "snapshot status": ["snapshot", "status", "/nonexistent"],
    "bench put": ["bench", "put", "--count", "3"],
    "sim teach": ["sim", "teach"],
    "sim teach happy-path": ["sim", "teach", "happy-path", "--step"],
    "sim run": ["sim", "run", "--seed", "1", "--duration", "1s", "--operations", "20"],
    "log timeline": ["log", "timeline", "/dev/null"],
    "audit": ["audit", "/dev/null"],
    "no verb": [],
    "unknown": ["ptu", "k"],
    "help": ["-h"],
    "verb help": ["member", "replace", "-h"],
    "version": ["--version"],
    "usage": ["cas", "k"],
    # Time to learn of the refusal on a busy machine, too: what is refused is 69, silence is 75.
    "unreachable": ["get", "k", "--endpoints", "tcp://127.0.0.1:1", "--timeout", "1s"],
}
HELP_LINES_MAX = 120
"""Of all of the help, which stands where no verb is named."""
WITH_OUTPUT = {
    name
    for name in VERBS
    if name not in {"delete", "member demote", "get missing", "cas", "outcome", "fault add",
                    "fault run", "snapshot save -",
                    "snapshot status", "log timeline", "audit", "no verb", "unknown", "usage",
                    "unreachable"}
}  # fmt: skip
"""Those that write an answer to standard output when all is well."""


@pytest.fixture(scope="module")
def daemon():
    with FakeDaemon() as fake:
        with Client([fake.endpoint]) as client:
            client.put(b"k", b"v")  # for tests that read it, whichever of them run here
        yield fake


@pytest.fixture
def sh(daemon):
    """``sh(arguments, redirection, **environment) → (exit code, stdout, stderr)``, by way of a
    shell: it is what closes streams and breaks pipes."""

    def call(arguments, redirect="", **environment):
        command = [sys.executable, "-m", "paxosctl", *arguments]
        quoted = " ".join([f"'{part}'" for part in command])
        env = {"PATH": os.environ["PATH"], "PAXOSCTL_ENDPOINTS": daemon.endpoint} | environment
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {quoted} {redirect}"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, env=env, check=False,
            cwd="/",
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")

    return call


def check(found, lines_max=60):
    code, _, err = found
    if err.startswith("Usage: paxosctl [OPTIONS] COMMAND"):
        lines_max = HELP_LINES_MAX
    assert "Traceback" not in err, err
    assert "Exception ignored" not in err, err
    assert code in {0, 1, 2, 3, 69, 74, 75, 77, 124}, found
    assert len(err.splitlines()) <= lines_max, err
    return code


SOME = ["get", "put -", "status", "watch", "fault list", "sim run", "no verb", "unreachable"]
"""One of each way to say something."""


class TestEveryVerb:
    @pytest.mark.drawn(3)
    @pytest.mark.parametrize("name", VERBS)
    def test_standard_output_is_full(self, sh, name):
        found = sh(VERBS[name], ">/dev/full")
        code = check(found)
        if name in WITH_OUTPUT:
            assert code == 74
            told = [line for line in found[2].splitlines() if line.startswith("paxosctl:")]
            assert "No space left on device" in told[-1]

    @pytest.mark.parametrize("name", SOME)
    def test_standard_output_is_closed(self, sh, name):
        code = check(sh(VERBS[name], ">&-"))
        if name in WITH_OUTPUT - {"help", "verb help", "version"}:
            assert code == 74

    @pytest.mark.parametrize("name", SOME)
    def test_standard_error_is_full_or_closed_and_the_exit_code_stays(self, sh, name):
        usual = sh(VERBS[name])[0]
        assert check(sh(VERBS[name], "2>/dev/full" if len(name) % 2 else "2>&-")) == usual


@pytest.mark.parametrize(("redirect", "code"), [(">&-", 74), (">/dev/full", 74), ("| true", 1)])
def test_an_answer_of_no_that_cannot_be_written(sh, redirect, code):
    found = sh([*VERBS["get missing"], "-o", "json"], redirect)
    assert check(found, lines_max=2) == code


@pytest.mark.parametrize("name", ["put -", "cas"])
@pytest.mark.parametrize("redirect", ["<&-", "0>/dev/null"])
def test_standard_input_cannot_be_read(sh, name, redirect):
    found = sh(VERBS[name], redirect)
    assert check(found, lines_max=1) == 74
    assert "standard input" in found[2]


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
@pytest.mark.parametrize(("option", "tried"), [([], 1), (["--keep-going"], 2)])
def test_a_script_whose_answers_cannot_be_written(sh, redirect, option, tried):
    found = sh(["shell", *option], f"{redirect} <<< $'get k\\nget k'")
    assert check(found, lines_max=4) == 74
    assert found[2].count("standard output") == tried


@pytest.mark.parametrize("line", ["get k", "help", "get --help"])
def test_a_script_without_end_ends_when_nobody_reads_its_answers(sh, line):
    """What it would go on to write, nobody would know of."""
    code, _, err = sh(["shell"], f"< <(yes '{line}') | head -c 1")
    assert code == 74
    assert f"its reader has gone; this, and what follows, was not run: {line}" in err


def test_in_json_that_is_json_too(sh):
    code, _, err = sh(["get", "k", "-o", "json", "--prefix"], ">/dev/full")
    assert code == 74
    assert err == (
        '{"error": "storage", "message": "standard output cannot be written: No space left on '
        'device"}\n'
    )


def test_a_reader_that_has_enough_of_the_help_while_standard_error_is_closed(sh):
    assert sh(VERBS["help"], "2>&- | true", COLUMNS="1")[0] == 0


def test_a_reader_that_has_enough_is_no_failure(sh):
    for name in ("status", "get --prefix", "sim teach happy-path", "help"):
        code, _, err = sh(VERBS[name], "| true")
        assert (code, err) == (0, ""), name


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.parametrize("lang", ["C", "nonsense"])
def test_a_locale_without_utf_8(sh, output, lang):
    bare = {"LC_ALL": lang, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    key = "schlüssel→🔑"
    assert check(sh(["put", key, "größe→📦"], **bare)) == 0
    found = sh(["get", key, "-o", output], **bare)
    assert check(found, lines_max=1) == 0
    out = found[1]
    if output != "table":
        assert "größe→📦" in out.decode(), "for programs it is UTF-8 everywhere"
    for name in ("sim teach happy-path", "status --cluster", "get missing", "unknown", "help"):
        check(sh([*VERBS[name], *(["-o", output] if name.startswith("s") else [])], **bare))


def test_arguments_that_are_no_text(sh):
    for verb in (["get", "\udcff\udcfe"], ["\udcff"], ["snapshot", "status", "/\udcff"],
                 ["get", "k", "--endpoints", "\udcff"]):  # fmt: skip
        check(sh(verb))


def test_no_environment_at_all(daemon):
    """No HOME, no TERM, no PATH, no locale, no terminal."""
    command = [sys.executable, "-m", "paxosctl", "--endpoints", daemon.endpoint]
    for name in ("status", "help", "sim teach happy-path", "get missing"):
        done = subprocess.run(
            [*command, *VERBS[name]], env={}, stdin=subprocess.DEVNULL, timeout=60,
            capture_output=True, check=False, cwd="/",
        )  # fmt: skip
        check((done.returncode, done.stdout, done.stderr.decode()))


def test_drawn(sh):
    """Any verb with any mixture of what can be done to it."""
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    ends = ["", "<&-", "0>/dev/null"], ["", ">&-", ">/dev/full", "| true"], ["", "2>&-",
            "2>/dev/full"]  # fmt: skip
    for _ in range(6):
        name = rng.choice(list(VERBS))
        redirect = " ".join(rng.choice(end) for end in ends)
        # A pipe ends a command: what concerns the error stream stands before it.
        parts = redirect.split(" ")
        pipe = "| true" if "| true" in redirect else ""
        kept = [part for part in parts if part not in ("|", "true")]
        formats = ["-o", rng.choice(["table", "json", "plain"])] if VERBS[name] else []
        environment = rng.choice([{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"COLUMNS": "1"}])
        where = " ".join([*kept, pipe])
        print(name, formats, where, environment)
        # All of the help, where no verb is named, on the narrowest of terminals.
        check(sh([*VERBS[name], *formats], where, **environment), lines_max=100)


OPENER = """
import os, sys
from paxosctl.cli.streams import prepare
prepare()
made = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for number in range(3):  # what a library of C or a child process says goes there
    os.write(number, b"meant for somebody else")
os._exit(0 if made > 2 and not os.fstat(made).st_size else 1)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_standard_stream_that_is_closed(tmp_path, closed):
    command = [sys.executable, "-c", OPENER, str(tmp_path / "file")]
    with open(os.devnull, "r+b") as nothing:
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
            check=False, stdin=nothing, stdout=nothing, stderr=nothing,
        )  # fmt: skip
    assert done.returncode == 0
