"""Secrets stay where they are: by class, so that one to come is on the safe side."""

import pytest

from paxosd.config import redaction
from paxosd.config.redaction import REDACTED, is_secret, redacted
from paxosd.config.schema import SECTIONS, ClusterConfig, Config, MemberConfig, NodeConfig
from paxosd.config.settings import section_fields


@pytest.mark.parametrize(
    "name",
    [
        "auth.password", "auth.users", "tls.private_key", "tls.key_file", "curve.secretKey",
        "node.token", "api_key", "apiKey", "x.passphrase", "x.PASSWD", "x.hmac", "x.credentials",
        "keys.n1", "x.psk", "x.session_cookie",
    ],
)  # fmt: skip
def test_what_looks_secret_is(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["node.name", "limits.key_bytes_max", "log.file", "x.passes"])
def test_what_does_not_is_shown(name):
    assert not is_secret(name)


def test_every_setting_of_today_is_public():
    """Who adds a setting that looks secret decides here which it is."""
    names = [f"{s}.{key}" for s, section in SECTIONS.items() for key in section_fields(section)]
    names += [f"cluster.members.n1.{key}" for key in section_fields(MemberConfig)]
    assert {name for name in names if is_secret(name)} == redaction.SECRET_SETTINGS
    assert set(names) >= redaction.PUBLIC_SETTINGS


def test_nested(monkeypatch):
    monkeypatch.setattr(redaction, "SECRET_SETTINGS", frozenset({"a.b.plain"}))
    given = {"a": {"b": {"plain": 1, "other": 2}, "token": {"deep": 3}}, "password": "x"}
    assert redacted(given) == {
        "a": {"b": {"plain": REDACTED, "other": 2}, "token": REDACTED}, "password": REDACTED,
    }  # fmt: skip


def test_the_line_of_the_log_with_the_settings_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr(redaction, "SECRET_SETTINGS", frozenset({"node.name"}))
    sources = {"node.name": "n1.toml", "cluster.id": "n1.toml"}
    config = Config(
        cluster=ClusterConfig(id="test"),
        node=NodeConfig(name="n1", data_dir=tmp_path),
        sources=sources,
    )
    given = config.given()
    assert given == {"node.name": f"{REDACTED} (n1.toml)", "cluster.id": "test (n1.toml)"}
