"""[security]: what goes together, and where a node without keys may listen."""

import pytest

from paxosd.config.sources import load
from tests.config.test_sources import MINIMAL, problems_of


@pytest.fixture
def file(tmp_path):
    def write(security="", members=MINIMAL):
        path = tmp_path / "node.toml"
        path.write_text(members + f"\n[security]\n{security}\n")
        return path

    return write


KEYED = 'key_file = "n1.key"\ntrust_file = "trust"'


class TestWithoutAKey:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost"])
    def test_on_loopback_nothing_more_is_needed(self, file, host):
        assert load(file(), (f"node.bind_host={host}",), {}).security.takes_everybody

    @pytest.mark.parametrize("host", ["*", "0.0.0.0", "[::]", "192.0.2.1", "10.0.0.7"])
    def test_elsewhere_it_must_be_accepted(self, file, host):
        said = problems_of(file(), f"node.bind_host={host}")
        assert "whoever reaches it may do everything" in said
        assert "--insecure" in said
        assert load(file("insecure = true"), (f"node.bind_host={host}",), {})
        assert load(file(KEYED), (f"node.bind_host={host}",), {}), "or the node has a key"

    def test_a_key_that_is_not_used_yet_is_none(self, file):
        path = file(KEYED + '\nrollout = "ready"')
        assert "--insecure" in problems_of(path, "node.bind_host=*")

    def test_the_endpoints_as_written_count_where_no_host_is_set(self, file):
        assert "--insecure" in problems_of(file("", MINIMAL.replace("127.0.0.1", "192.0.2.1")))


class TestWhatGoesTogether:
    def test_a_key_and_whom_to_trust(self, file):
        assert "security.trust_file: a node with a key" in problems_of(file('key_file = "k"'))
        assert "security.key_file: a node that trusts" in problems_of(file('trust_file = "t"'))

    def test_a_switch_needs_a_key(self, file):
        assert "is for a node with a key" in problems_of(file('rollout = "ready"'))
        assert "is not one of ready, listening, done" in problems_of(file('rollout = "soon"'))


class TestFiles:
    def test_a_path_counts_from_the_file(self, file, tmp_path):
        security = load(file(KEYED), (), {}).security
        assert security.key_file == str(tmp_path / "n1.key")
        assert security.trust_file == str(tmp_path / "trust")

    def test_credentials_of_the_service(self, file, tmp_path):
        given = tmp_path / "credentials"
        given.mkdir()
        environ = {"CREDENTIALS_DIRECTORY": str(given)}
        assert load(file(), (), environ).security.key_file == ""
        for name in ("paxosd.key", "paxosd.trust"):
            (given / name).touch()
        config = load(file(), (), environ)
        assert config.security.key_file == str(given / "paxosd.key")
        assert config.security.trust_file == str(given / "paxosd.trust")
        assert "CREDENTIALS_DIRECTORY" in config.given()["security.key_file"]
        assert load(file(KEYED), (), environ).security.key_file == str(tmp_path / "n1.key")

    def test_a_path_is_no_secret(self, file):
        assert "n1.key" in load(file(KEYED), (), {}).given()["security.key_file"]
