"""paxosctl auth can-i: what it says is what the cluster does, and what it advises helps."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from paxosctl.auth import can, tables
from paxosd.core.commands import prefix_end
from paxosd.core.requests import GET, STALE, ReadRequest
from paxosd.core.rights import Principal
from paxosd.core.state.rights_check import may_do
from paxosd.net.key_files import key_text, read_key_file
from tests.ctl.auth.test_verbs import auth, begun, json_of, keyed, let_in
from tests.ctl.client.test_keys import admit_at
from tests.replica.rights_site import Site

__all__ = ["auth", "begun", "keyed"]  # fixtures
KEY = b"k" * 32


class TestCanI:
    def test_it_answers_without_trying(self, begun, keyed):
        json_of(begun("new", "app1", "--read", "/app/", "--write", "/app/jobs/"))
        let_in(keyed, "app1")
        assert json_of(begun("can-i", "put", "/app/jobs/1", key="app1"))["allowed"]
        assert json_of(begun("can-i", "put", "/app/jobs/1", "--as", "app1"))["allowed"]
        assert json_of(begun("can-i", "watch", "/app/", "--prefix", key="app1"))["allowed"]
        code, out, err = begun("can-i", "put", "/app/x", key="app1")
        assert code == 1
        assert json.loads(out)["allowed"] is False
        assert json.loads(err) == {
            "error": "forbidden",
            "message": 'app1 (client) may not write "/app/x": its write prefixes are /app/jobs/; '
            "an admin can change that: paxosctl auth set app1",
        }
        assert begun("can-i", "get", "/", "--prefix", key="app1")[0] == 1
        assert begun("can-i", "put", "/x", "--as", "root", key="app1")[0] == 1  # not its business
        assert json_of(begun("can-i", "put", "/x"))["allowed"]

    def test_an_admin_by_a_trust_file_alone_may_read_and_writes_nothing(self, begun, keyed):
        json_of(begun("new", "rescue", "--role", "admin"))
        key = let_in(keyed, "rescue")
        assert json_of(begun("can-i", "put", "/x", key="rescue"))["allowed"]
        table = tables.revoke(keyed.machine.rights, "rescue")
        keyed.machine.rights = replace(table, revoked=frozenset())  # as if it had never been in it
        admit_at(keyed, key)
        for words in (("put", "/x"), ("lock", "/x"), ("put", "/x", "--as", "rescue")):
            code, _, err = begun("can-i", *words, key="rescue")
            assert code == 1
            assert "may change no data" in json.loads(err)["message"]
        assert begun("/x", "v", key="rescue", verb="put")[0] == 77
        assert json_of(begun("can-i", "get", "/x", key="rescue"))["allowed"]
        assert json_of(begun("can-i", "put", "/x", "--as", "root", key="rescue"))["allowed"]

    @pytest.mark.parametrize("verb", ["put", "delete", "cas"])
    @pytest.mark.parametrize("key", [b"/r/1", b"/w/1", b"/rw/1", b"/none"])
    def test_it_agrees_with_what_is_applied(self, verb, key):
        who = Principal("app1", "client", (b"/r/", b"/rw/"), (b"/w/", b"/rw/"), (KEY,))
        command = {"put": [1, key, b"v"], "delete": [2, key], "cas": [4, key, None, b"v"]}[verb]
        assert (can.may(who, verb, key, prefix=False) == "") == may_do(who, command)

    def test_a_prefix_is_covered_as_a_whole(self):
        who = Principal("app1", "client", (b"/a/b/",), (b"/a/b/",), (KEY,))
        for key, allowed in ((b"/a/b/", True), (b"/a/b/c", True), (b"/a/", False), (b"", False)):
            may = can.may(who, "delete", key, prefix=True) == ""
            assert may is allowed
            assert may is may_do(who, [3, key, prefix_end(key)])

    def test_what_a_node_and_who_has_no_key_may(self, begun, keyed):
        """The advice must be one that can be followed: no node is given prefixes."""
        code, _, err = begun("can-i", "get", "/x", "--as", "n1")
        assert code == 1
        said = json.loads(err)["message"]
        assert "a node, whose key is for the protocol alone" in said
        assert "auth set" not in said
        code, _, err = begun("set", "n1", "--read", "/x")
        assert code == 1
        assert "n1 is a node" in json.loads(err)["message"]
        json_of(begun("new", "app1", "--read", ""))
        key = read_key_file(Path("app1.key")).public_key
        json_of(begun("revoke", "app1", "--public-key", key_text(key)))
        code, _, err = begun("can-i", "get", "/x", "--as", "app1")
        assert code == 1
        assert json.loads(err)["message"] == (
            "app1 has no key to ask with: paxosctl auth rotate app1 gives it one"
        )
        json_of(begun("rotate", "app1", "--force"))
        assert json_of(begun("can-i", "get", "/x", "--as", "app1"))["allowed"]

    def test_blame_reads_the_files_of_nodes(self, begun, keyed):
        json_of(begun("new", "app1", "--read", "/app/"))
        code, _, err = begun("can-i", "blame", "/app/x", "--as", "app1")
        assert code == 1
        advice = json.loads(err)["message"].partition("paxosctl ")[2]
        assert advice == 'auth set app1 --read ""'
        json_of(begun("set", "app1", "--read", ""))
        assert json_of(begun("can-i", "blame", "/app/x", "--as", "app1"))["allowed"]

    def test_a_refusal_of_the_cluster_gives_a_node_no_such_advice_either(self):
        site = Site(True)
        refusal = site.ask("peer", ReadRequest(1, STALE, [[GET, b"/x"]]))
        assert refusal.code == "forbidden"
        assert "auth set" not in refusal.message
        assert "a node's key is for the protocol alone" in refusal.message
