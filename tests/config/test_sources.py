import re
import tomllib
from dataclasses import MISSING
from pathlib import Path

import pytest

from paxosd.config.schema import SECTIONS, Config
from paxosd.config.settings import ConfigError, section_fields
from paxosd.config.show import show
from paxosd.config.sources import load

EXAMPLE = Path(__file__).parents[2] / "conf" / "paxosd.toml"

MINIMAL = """
[cluster]
id = "c1"
[cluster.members.n1]
peer = "tcp://127.0.0.1:7411"
client = "tcp://127.0.0.1:7410"
events = "tcp://127.0.0.1:7412"
[node]
name = "n1"
data_dir = "data"
"""


@pytest.fixture
def file(tmp_path):
    """Writes a configuration file and gives its path."""

    def write(text: str = MINIMAL) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(text)
        return path

    return write


OPEN = ("security.insecure=true",)
"""For a node without keys that other machines reach."""


def problems_of(path, *overrides, environ=None):
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, environ or {})
    return str(caught.value)


class TestPrecedence:
    KEY = "limits.key_bytes_max"
    ENV = {"PAXOSD_LIMITS_KEY_BYTES_MAX": "222"}  # noqa: RUF012 - never changed

    def test_default(self, file):
        assert load(file(), environ={}).limits.key_bytes_max == 4096

    def test_file_over_default(self, file):
        config = load(file(MINIMAL + "[limits]\nkey_bytes_max = 111"), environ={})
        assert config.limits.key_bytes_max == 111

    def test_environment_over_file(self, file):
        config = load(file(MINIMAL + "[limits]\nkey_bytes_max = 111"), environ=self.ENV)
        assert config.limits.key_bytes_max == 222
        assert "PAXOSD_LIMITS_KEY_BYTES_MAX" in config.sources[self.KEY]

    def test_flag_over_environment(self, file):
        config = load(file(), (f"{self.KEY}=333",), self.ENV)
        assert config.limits.key_bytes_max == 333
        assert "--set" in config.sources[self.KEY]

    def test_the_last_flag_wins(self, file):
        assert load(file(), (f"{self.KEY}=1", f"{self.KEY}=2"), {}).limits.key_bytes_max == 2

    def test_a_wrong_value_that_is_overridden_does_not_matter(self, file):
        path = file(MINIMAL + '[limits]\nkey_bytes_max = "many"')
        assert load(path, environ=self.ENV).limits.key_bytes_max == 222

    def test_a_node_can_be_configured_without_a_file(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        flags = [
            f"cluster.members.n1.{kind}=tcp://127.0.0.1:{port}"
            for kind, port in (("peer", 1), ("client", 2), ("events", 3))
        ]
        environ = {
            "PAXOSD_CLUSTER_ID": "c",
            "PAXOSD_NODE_NAME": "n1",
            "PAXOSD_NODE_DATA_DIR": "d",
            "PAXOSD_FAULTS_ENABLED": "true",
        }
        config = load(None, tuple(flags), environ)
        assert config.me.events == "tcp://127.0.0.1:3"
        assert config.node.data_dir == tmp_path / "d"
        assert config.faults.enabled is True


class TestPaths:
    def test_a_relative_path_counts_from_the_file(self, file, monkeypatch, tmp_path):
        path = file(MINIMAL + '[log]\nfile = "n1.log"')
        monkeypatch.chdir("/")
        config = load(path, environ={})
        assert config.node.data_dir == tmp_path / "data"
        assert config.log.file == str(tmp_path / "n1.log")

    def test_and_from_the_working_directory_when_a_flag_gives_it(self, file, monkeypatch):
        path = file()
        monkeypatch.chdir("/")
        assert load(path, ("node.data_dir=d",), {}).node.data_dir == Path("/d")


class TestUnknown:
    def test_key_in_the_file(self, file):
        path = file(MINIMAL + "[protocol]\nheartbaet_ms = 5")
        said = problems_of(path)
        assert said == (f'{path}: protocol.heartbaet_ms: unknown key; did you mean "heartbeat_ms"?')

    def test_section_in_the_file(self, file):
        assert 'did you mean "limits"?' in problems_of(file(MINIMAL + "[limts]\n"))

    def test_key_of_a_member(self, file):
        said = problems_of(file(MINIMAL.replace("events", "event")))
        assert 'cluster.members.n1.event: unknown key; did you mean "events"?' in said
        assert "cluster.members.n1.events: missing" in said

    def test_flag(self, file):
        assert 'did you mean "node"?' in problems_of(file(), "nod.name=n1")
        assert 'did you mean "name"?' in problems_of(file(), "node.nmae=n1")

    def test_environment_variable(self, file):
        said = problems_of(file(), environ={"PAXOSD_LOG_LEVLE": "debug"})
        assert 'PAXOSD_LOG_LEVLE: names no setting; did you mean "PAXOSD_LOG_LEVEL"?' in said

    KUBERNETES = {  # noqa: RUF012 - never changed
        "PAXOSD_PORT": "tcp://10.96.0.7:7410",
        "PAXOSD_SERVICE_HOST": "10.96.0.7",
        "PAXOSD_SERVICE_PORT": "7410",
        "PAXOSD_SERVICE_PORT_CLIENT": "7410",
        "PAXOSD_PORT_7410_TCP": "tcp://10.96.0.7:7410",
        "PAXOSD_PORT_7410_TCP_PROTO": "tcp",
        "PAXOSD_PORT_7410_TCP_PORT": "7410",
        "PAXOSD_PORT_7410_TCP_ADDR": "10.96.0.7",
        "PAXOSD_LOG_SERVICE_HOST": "fd00::7",
        "PAXOSD_LOG_PORT": "udp://[fd00::7]:53",
    }
    """For a Service called paxosd, and one called paxosd-log."""

    def test_the_variables_of_a_service_are_no_settings(self, file):
        given = {**self.KUBERNETES, "PAXOSD_LOG_LEVEL": "debug"}
        config = load(file(), environ=given)
        assert config.log.level == "debug"
        assert set(config.ignored_environ) == set(self.KUBERNETES)

    @pytest.mark.parametrize(
        "variable",
        [
            ("PAXOSD_PORT", "7410"),
            ("PAXOSD_SERVICE_PORT", "http"),
            ("PAXOSD_HOST", "n1"),
            ("PAXOSD_PORT_7410", "tcp://10.96.0.7:7410"),
        ],
    )
    def test_what_only_looks_like_one_is_an_error(self, file, variable):
        said = problems_of(file(), environ=dict([variable]))
        assert f"{variable[0]}: names no setting; " in said

    def test_other_environment_variables_are_nobodys_business(self, file):
        load(file(), environ={"PATH": "/bin", "PAXOSD_CONFIG": "x", "PAXOSCTL_ENDPOINTS": "y"})

    def test_every_problem_is_said_at_once(self, file):
        said = problems_of(file(), "a.b=c", "log.level=loud", "limits.key_bytes_max=x")
        assert len(said.splitlines()) == 3


class TestBadValues:
    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("limits.key_bytes_max=0", "0 is outside 1 … 65536"),
            ("limits.key_bytes_max=65537", "65537 is outside 1 … 65536"),
            ("limits.key_bytes_max=4k", '"4k" is not a whole number'),
            ("limits.key_bytes_max=", '"" is not a whole number'),
            ("faults.enabled=yes", '"yes" is not true or false'),
            ("log.level=loud", '"loud" is not one of debug, info, warning, error'),
            ("log.format=xml", '"xml" is not one of auto, json, console'),
            ("node.name=a b", '"a b" is not allowed: 1 to 64 letters'),
            ("node.name=", '"" is not allowed'),
            ("cluster.id=" + "x" * 65, "is not allowed: 1 to 64"),
            ("node.data_dir=", "an empty path"),
            ("node.name", "must read section.key=value"),
            ("name=n1", "must read section.key=value"),
        ],
    )
    def test_from_a_flag(self, file, override, words):
        said = problems_of(file(), override)
        assert words in said
        assert override in said

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[limits]\nkey_bytes_max = true", "true is not a whole number"),
            ("[limits]\nkey_bytes_max = 1.5", "1.5 is not a whole number"),
            ('[limits]\nkey_bytes_max = "1"', '"1" is not a whole number'),
            ("[faults]\nenabled = 1", "1 is not true or false"),
            ("[log]\nlevel = 3", "3 is not a text in quotes"),
            ("[wal]\nsegment_bytes = 1", "1 is outside 1048576 … "),
        ],
    )
    def test_from_the_file(self, file, text, words):
        path = file(MINIMAL + text)
        said = problems_of(path)
        assert words in said
        assert str(path) in said

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("limits = 3\n" + MINIMAL, "limits: this is a section, written [limits]"),
            ('cluster = { id = "c", members = 3 }', "[cluster.members.NAME]"),
            ('cluster = { id = "c", members = { n1 = 3 } }', "[cluster.members.NAME]"),
            ("a = = b", "this is not TOML"),
            ("\x00", "this is not TOML"),
            ("", "cluster.id: missing"),
        ],
    )
    def test_form_of_the_file(self, file, text, words):
        assert words in problems_of(file(text))

    def test_no_file(self, tmp_path):
        assert "there is no such file" in problems_of(tmp_path / "none.toml")

    def test_a_directory(self, tmp_path):
        assert "cannot be read" in problems_of(tmp_path)

    def test_bytes_that_are_no_text(self, tmp_path):
        path = tmp_path / "x.toml"
        path.write_bytes(b"\xff\xfe")
        assert "it is not UTF-8" in problems_of(path)

    def test_a_file_that_may_not_be_read(self, file, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        path = file()
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(PermissionError, match="this user may not read it"):
            load(path, environ={})


class TestCrossChecks:
    @pytest.mark.parametrize(
        ("overrides", "words"),
        [
            (["node.name=n11"], '"n11" is not one of the cluster.members; did you mean "n1"?'),
            (["cluster.members.n1.peer=tcp://127.0.0.1:7410"], "is already cluster.members.n1."),
            (["cluster.members.n1.peer=127.0.0.1:7410"], "cluster.members.n1.peer: "),
            (["cluster.members.n1.peer=tcp://0.0.0.0:7419"], "nobody can connect to"),
            (["cluster.members.n1.peer=tcp://[::]:7419"], "nobody can connect to"),
            (["cluster.members.n1.peer=tcp://*:7419"], 'set node.bind_host to "*"'),
            (
                [
                    "cluster.members.n1.peer=tcp://LocalHost:1",
                    "cluster.members.n1.client=tcp://localhost.:1",
                ],
                "is already cluster.members.n1.",
            ),
            (
                [
                    "cluster.members.n1.peer=tcp://[::1]:1",
                    "cluster.members.n1.client=tcp://[0:0::0:1]:1",
                ],
                "is already cluster.members.n1.",
            ),
            (["node.bind_host=tcp://127.0.0.1"], "is no address or host name of this machine"),
            (["node.bind_host=[::1"], "is no address or host name of this machine"),
            (["node.bind_host=fe80::1"], "node.bind_host: fe80::1 is a link-local address"),
            (["node.bind_host=fe80::1"], "add the name of its interface, as in fe80::1%eth0"),
            (["node.bind_host=[fe80::1]"], "as in fe80::1%eth0"),
            (
                ["cluster.members.n1.peer=tcp://[fe80::1]:7411"],
                "n1.peer: fe80::1 is a link",
            ),
            (["node.bind_host=127.0.0.256"], "is no address or host name of this machine"),
            (["protocol.election_timeout_ms=299"], "3 * protocol.heartbeat_ms = 300"),
            (["limits.value_bytes_max=8388608"], "too small for one cas"),
            (["protocol.batch_bytes_max=16777216"], "protocol.batch_bytes_max: 16777216"),
            (["protocol.catch_up_bytes_max=16777216"], "protocol.catch_up_bytes_max: 16777216"),
            (["limits.read_bytes_max=16777216"], "limits.read_bytes_max: 16777216"),
            (["limits.queue_bytes_max=1048576"], "limits.queue_bytes_max: 1048576 is below"),
            (["limits.queue_commands_max=1023"], "limits.queue_commands_max: 1023 is below"),
            (["protocol.window_bytes_max=1048576"], "protocol.window_bytes_max: 1048576 is below"),
            (["wal.segment_bytes=16777216"], "wal.segment_bytes: 16777216 is below"),
        ],
    )
    def test_each_rule(self, file, overrides, words):
        assert words in problems_of(file(), *overrides)

    def test_no_members(self, file):
        said = problems_of(file(re.sub(r"\[cluster.members.*?(?=\[node)", "", MINIMAL, flags=re.S)))
        assert "no member is given" in said

    def test_eight_voters(self, file):
        extra = [
            f"cluster.members.n{n}.{kind}=tcp://127.0.0.1:{1000 + 10 * n + at}"
            for n in range(2, 9)
            for at, kind in enumerate(("peer", "client", "events"))
        ]
        assert "8 members; at most 7 can vote" in problems_of(file(), *extra)
        assert len(load(file(), tuple(extra[3:]), {}).cluster.members) == 7

    def test_a_members_name(self, file):
        said = problems_of(file(MINIMAL.replace("members.n1", 'members."n 1"')))
        assert '"n 1" is not allowed' in said

    def test_a_name_as_host_is_fine_with_a_bind_host(self, file):
        path = file(MINIMAL.replace("127.0.0.1", "db-1.example"))
        config = load(path, ("node.bind_host=0.0.0.0", *OPEN), {})
        assert config.bind_endpoints().client == "tcp://0.0.0.0:7410"
        assert config.me.client == "tcp://db-1.example:7410"

    def test_a_name_as_host_needs_no_bind_host(self, file):
        path = file(MINIMAL.replace("127.0.0.1", "db-1.example"))
        assert load(path, (), {}).bind_endpoints().client == "tcp://db-1.example:7410"

    @pytest.mark.parametrize(
        ("bind_host", "bound"),
        [
            ("*", "tcp://*:7410"),
            ("0.0.0.0", "tcp://0.0.0.0:7410"),
            ("::", "tcp://[::]:7410"),
            ("[::1]", "tcp://[::1]:7410"),
            ("fe80::1%eth0", "tcp://[fe80::1%eth0]:7410"),
            ("db-1.example", "tcp://db-1.example:7410"),
        ],
    )
    def test_what_can_be_listened_on(self, file, bind_host, bound):
        config = load(file(), (f"node.bind_host={bind_host}", *OPEN), {})
        assert config.bind_endpoints().client == bound


class TestHttp:
    @pytest.mark.parametrize("listen", ["127.0.0.1:9410", "127.8.8.8:1", "[::1]:65535", ""])
    def test_loopback_needs_nothing_more(self, file, listen):
        assert load(file(), (f"http.listen={listen}",), {}).http.listen == listen

    @pytest.mark.parametrize("listen", ["0.0.0.0:9410", "[::]:9410", "192.0.2.1:9410"])
    def test_other_addresses_must_be_allowed(self, file, listen):
        assert "http.allow_remote = true" in problems_of(file(), f"http.listen={listen}")
        assert load(file(), (f"http.listen={listen}", "http.allow_remote=true"), {})

    @pytest.mark.parametrize(
        "listen",
        ["9410", ":9410", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:²", "::1:9410",
         "[127.0.0.1]:9410", "localhost:9410", "tcp://127.0.0.1:9410", "127.0.0.1:9410/"],
    )  # fmt: skip
    def test_other_forms_are_refused(self, file, listen):
        assert f'http.listen: "{listen}": this must read ADDRESS:PORT' in problems_of(
            file(), f"http.listen={listen}"
        )


class TestExampleFile:
    """conf/paxosd.toml is the reference: complete, true, and it loads."""

    @staticmethod
    def uncommented() -> str:
        return re.sub(r"^# ([a-z_]+ = .*)$", r"\1", EXAMPLE.read_text(), flags=re.M)

    def test_it_loads_as_it_is(self):
        config = load(EXAMPLE, environ={})
        assert sorted(config.cluster.members) == ["n1", "n2", "n3"]
        assert config.peers.keys() == {"n2", "n3"}

    def test_every_key_is_there_and_no_other(self):
        document = tomllib.loads(self.uncommented())
        document["cluster"].pop("members")
        assert {name: set(table) for name, table in document.items()} == {
            name: set(section_fields(section)) for name, section in SECTIONS.items()
        }

    def test_the_defaults_shown_are_the_defaults(self):
        document = tomllib.loads(self.uncommented())
        for name, section in SECTIONS.items():
            for key, (item, _) in section_fields(section).items():
                if item.default is not MISSING:
                    assert document[name][key] == item.default, f"{name}.{key}"

    def test_every_default_stays_commented_out(self):
        live = tomllib.loads(EXAMPLE.read_text())
        assert {name: set(table) for name, table in live.items() if table} == {
            "cluster": {"id", "members"},
            "node": {"name", "data_dir"},
        }


class TestShow:
    def test_what_it_prints_loads_as_the_same(self, file, tmp_path):
        path = file(MINIMAL.replace("members.n1", 'members."n.1"').replace('"n1"', '"n.1"'))
        config = load(
            path,
            ("log.level=debug", "faults.enabled=true"),
            {"PAXOSD_WAL_SEGMENT_BYTES": "33554432"},
        )
        printed = tmp_path / "again.toml"
        printed.write_text(show(config))
        assert load(printed, environ={}) == config

    def test_it_says_where_each_value_is_from(self, file):
        path = file()
        text = show(load(path, ("log.level=debug", *OPEN), {"PAXOSD_NODE_BIND_HOST": "0.0.0.0"}))
        lines = {line.split(" =")[0]: line for line in text.splitlines()}
        assert lines["name"].endswith(f"# {path}")
        assert lines["level"].endswith("# --set log.level=debug")
        assert lines["bind_host"].endswith("# environment PAXOSD_NODE_BIND_HOST")
        assert lines["heartbeat_ms"].endswith("# default")

    def test_odd_text_survives(self, file, tmp_path):
        odd = tmp_path / 'a "b"\\ü\x01'
        config = load(file(), (f"node.data_dir={odd}",), {})
        printed = tmp_path / "again.toml"
        printed.write_text(show(config))
        again = load(printed, environ={})
        assert isinstance(again, Config)
        assert again.node.data_dir == odd
