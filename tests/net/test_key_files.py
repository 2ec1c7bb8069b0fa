"""Files with CURVE keys."""

import pytest
import zmq

from paxosd.net.key_files import (
    KeyFileError,
    ServerKey,
    TrustFile,
    key_file_text,
    key_text,
    make_key,
    parse_key,
    read_key_file,
    read_trust_file,
    trust_file_text,
    write_secret,
)


def written(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


class TestKeyFile:
    def test_there_and_back(self, tmp_path):
        node = make_key("n1", "peer", "demo")
        servers = {"n1": ServerKey("tcp://127.0.0.1:7002", node.public_key)}
        key = make_key("app", "client", "demo", servers)
        write_secret(tmp_path / "app.key", key_file_text(key))
        assert read_key_file(tmp_path / "app.key") == key
        assert (tmp_path / "app.key").stat().st_mode & 0o777 == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["app.key"]

    def test_an_existing_one_is_not_replaced_by_accident(self, tmp_path):
        write_secret(tmp_path / "a", "1")
        with pytest.raises(FileExistsError):
            write_secret(tmp_path / "a", "2")
        assert (tmp_path / "a").read_text() == "1"
        write_secret(tmp_path / "a", "2", replace=True)
        assert (tmp_path / "a").read_text() == "2"

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
    def test_others_must_not_read_it(self, tmp_path, mode):
        text = key_file_text(make_key("app", "client", "demo"))
        with pytest.raises(KeyFileError, match="others may read or change it; chmod 600"):
            read_key_file(written(tmp_path / "k", text, mode))

    @pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o400, True), (0o444, False)])
    def test_a_credential_of_systemd_is_its_services_by_a_list(
        self, tmp_path, monkeypatch, mode, taken
    ):
        """The mask of its access control list stands where the group's rights do."""
        path = written(tmp_path / "k", key_file_text(make_key("n1", "peer", "demo")), mode)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        if taken:
            assert read_key_file(path).name == "n1"
        else:
            with pytest.raises(KeyFileError, match="others may read or change it"):
                read_key_file(path)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "elsewhere"))
        if mode != 0o400:
            with pytest.raises(KeyFileError, match="others may read or change it"):
                read_key_file(path)

    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            ('role = "client"', 'role = "king"', "role is one of"),
            ("secret_key = ", "secret = ", "secret_key is missing"),
            ('name = "app"', "name = [", "not TOML"),
            ('public_key = "', 'public_key = "x', "40 characters"),
        ],
    )
    def test_what_is_wrong_is_said_without_the_secret(self, tmp_path, before, after, words):
        key = make_key("app", "client", "demo")
        text = key_file_text(key).replace(before, after, 1)
        with pytest.raises(KeyFileError, match=words) as caught:
            read_key_file(written(tmp_path / "k", text))
        assert key_text(key.secret_key) not in str(caught.value)

    def test_halves_of_two_keys(self, tmp_path):
        key, other = make_key("a", "client", "demo"), make_key("b", "client", "demo")
        text = key_file_text(key._replace(public_key=other.public_key))
        with pytest.raises(KeyFileError, match="does not belong"):
            read_key_file(written(tmp_path / "k", text))

    def test_its_repr_has_no_secret(self):
        key = make_key("a", "client", "demo")
        assert key_text(key.secret_key) not in repr(key)
        assert repr(key.secret_key) not in repr(key)


class TestTrustFile:
    def test_there_and_back(self, tmp_path):
        trust = TrustFile({"n1": bytes(32)}, {"root": bytes(range(32))})
        path = written(tmp_path / "trust", trust_file_text(trust), 0o644)
        assert read_trust_file(path) == trust

    def test_others_must_not_change_it(self, tmp_path):
        with pytest.raises(KeyFileError, match="others may change it"):
            read_trust_file(written(tmp_path / "trust", trust_file_text(TrustFile()), 0o664))

    def test_unknown_sections_are_refused(self, tmp_path):
        with pytest.raises(KeyFileError, match=r"\[clients\] is unknown"):
            read_trust_file(written(tmp_path / "trust", "[clients]\n"))


class TestKey:
    def test_there_and_back(self):
        public, _ = zmq.curve_keypair()
        assert key_text(parse_key(public.decode())) == public.decode()

    @pytest.mark.parametrize(
        "text", ["", "x" * 39, "x" * 41, '"' * 40, "é" * 40, 7, None, "#" * 40]
    )
    def test_what_is_none(self, text):
        with pytest.raises(ValueError, match="40 characters of Z85"):
            parse_key(text)
