"""Whom a trust file lets in."""

from paxosd.bus.key_ring import SOCKETS, StaticKeyRing

N1, ALICE, EVE = b"1" * 32, b"a" * 32, b"e" * 32
RING = StaticKeyRing({"n1": N1}, {"alice": ALICE})


def test_a_peer_everywhere_an_admin_but_for_the_peers_socket_others_nowhere():
    def admitted(key):
        return [socket for socket in SOCKETS if RING.admits(socket, key)]

    assert admitted(N1) == ["peer", "client", "events"]
    assert admitted(ALICE) == ["client", "events"]
    assert admitted(EVE) == []
    assert admitted(b"") == []


def test_whose_key_it_is():
    assert RING.keys_of("n1") == (N1,)
    assert RING.keys_of("alice") == (), "an admin is no node"
    assert RING.keys_of("n2") == ()
