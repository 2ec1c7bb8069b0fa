"""Whom a node's sockets let in, and whose key is whose: trust file and rights table together."""

from paxosd.core.rights import Principal, RightsTable, admin_of
from paxosd.replica.authority import Authority

N1, N2, N2_NEW, ROOT, OPS, APP, SEER = (bytes([each]) * 32 for each in range(1, 8))


def table(*principals, revoked=(), version=1):
    return RightsTable(version, True, principals, frozenset(revoked))


def admitted(authority, key):
    return [each for each in ("peer", "client", "events") if authority.admits(each, key)]


def test_a_trust_file_alone_lets_in_whom_it_names():
    authority = Authority({"n1": N1}, {"root": ROOT})
    assert admitted(authority, N1) == ["peer", "client", "events"]
    assert admitted(authority, ROOT) == ["client", "events"]
    assert admitted(authority, APP) == []
    assert authority.keys_of("n1") == (N1,)
    assert authority.keys_of("root") == ()
    assert authority.principal_of(ROOT).is_admin
    assert authority.is_trusted_admin(ROOT)
    assert authority.principal_of(APP) is None


def test_the_table_adds_principals_and_the_newest_key_comes_first():
    authority = Authority({"n1": N1, "n2": N2})
    before = authority.version
    authority.use(
        table(
            Principal("n2", "peer", keys=(N2_NEW, N2)),
            admin_of("ops", (OPS,)),
            Principal("app", "client", (b"/a",), (b"",), (APP,)),
            Principal("seer", "client", (b"",), (), (SEER,)),
        )
    )
    assert authority.version > before
    assert authority.keys_of("n2") == (N2_NEW, N2)
    assert authority.keys_of("n1") == (N1,)
    assert admitted(authority, N2_NEW) == ["peer", "client", "events"]
    assert admitted(authority, APP) == ["client"]
    assert admitted(authority, SEER) == ["client", "events"]
    assert not authority.is_trusted_admin(OPS)


def test_the_same_table_once_more_changes_nothing():
    authority, same = Authority({"n1": N1}), table(admin_of("ops", (OPS,)))
    authority.use(same)
    before = authority.version
    authority.use(same)
    assert authority.version == before


def test_a_revoked_key_is_nobodys_whatever_the_trust_file_says():
    authority = Authority({"n1": N1}, {"root": ROOT})
    authority.use(table(admin_of("ops", (OPS,)), revoked=[N1, ROOT]))
    for key in (N1, ROOT):
        assert admitted(authority, key) == []
        assert authority.principal_of(key) is None
    assert authority.keys_of("n1") == ()
    assert not authority.is_trusted_admin(ROOT)


def test_the_table_goes_before_the_trust_file():
    authority = Authority({"n1": N1}, {"root": ROOT})
    authority.use(
        table(admin_of("ops", (OPS,)), Principal("root", "client", (b"/r",), (), (ROOT,)),
              Principal("n2", "peer", keys=(N1,)))
    )  # fmt: skip
    assert authority.principal_of(ROOT).role == "client"
    assert not authority.is_trusted_admin(ROOT)
    assert authority.keys_of("n1") == ()
    assert authority.keys_of("n2") == (N1,)
