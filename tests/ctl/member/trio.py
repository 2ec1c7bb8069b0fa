"""What the tests of changes of the membership say to their cluster of three, and ask it."""

import json

from paxosctl.client.client import Client
from tests.ctl.fake_daemon import closed_port, peer_of


def where(daemon, **other):
    """The options that say where a daemon is."""
    found = {
        "peer": peer_of(daemon.endpoint),
        "client": daemon.endpoint,
        "events": daemon.events_endpoint,
    }
    return [word for kind, text in (found | other).items() for word in (f"--{kind}", text)]


def nowhere():
    """Three endpoints at which nobody listens."""
    ports = {kind: closed_port() for kind in ("peer", "client", "events")}
    return [word for kind, text in ports.items() for word in (f"--{kind}", text)]


def changes(daemon):
    """How many changes of the membership arrived."""
    return sum(entry.commands[0][0] == 10 for entry in daemon.writes)


def json_of(found):
    code, out, err = found
    assert err == ""
    return code, json.loads(out)


def faster(monkeypatch, trio, members):
    """Somebody else's change comes between the look and the change."""
    real = Client.change_members

    def late(self, epoch, document):
        with Client([trio[0].endpoint]) as other:
            now = trio[0].membership
            after = now.replaced(now.members | members)
            assert real(other, now.epoch, after.to_command()).status == 0
        return real(self, epoch, document)

    monkeypatch.setattr(Client, "change_members", late)


def peers(*names):
    return {name: {"reachable": True, "heard_ms_ago": 1, "commit": 0} for name in names}
