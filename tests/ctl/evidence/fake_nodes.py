"""Nodes that hand out files, without sockets: a client that answers at once."""

from paxosctl.cli.survey import NodeView
from paxosctl.client.errors import NotSubmittedError, RefusedError
from paxosctl.evidence import running_nodes
from paxosd.core.status import NodeStatus, Reached


class FakeNode:
    """``files``: name → content; ``mtimes``: name → ms. ``fail``: called with verb and args before
    each answer."""

    def __init__(self, name, files=None, *, version="9.9", notes=(), mtimes=None):
        self.name = name
        self.endpoint = f"tcp://h:{name[1:]}"
        self.version = version
        self.files = dict(files or {})
        self.mtimes = mtimes or {}
        self.notes = list(notes)
        self.listed = None
        self.asked = []
        self.fail = lambda verb, args: None
        self.spoil = lambda body: body

    def answer(self, verb, args):
        self.asked.append((verb, args))
        self.fail(verb, args)
        if verb == "status":
            return {"node": self.name, "version": self.version}
        if verb == "file_list":
            files = [
                {"name": name, "bytes": len(data), "mtime_ms": self.mtimes.get(name, 0)}
                for name, data in self.files.items()
            ]
            return self.listed or {"files": files, "notes": self.notes}
        name, offset = args["name"], args["offset"]
        if name not in self.files:
            raise RefusedError("invalid", f"file_read: {name} is gone, or was never there")
        data = self.files[name][offset : offset + running_nodes.PIECE_BYTES]
        body = {"name": name, "offset": offset, "total": len(self.files[name]),
                "bytes": len(data), "data": data.rstrip(b"\0")}  # fmt: skip
        return self.spoil(body)


class Call:
    done = True


class FakeClient:
    timeout_s = 1.0

    def __init__(self, nodes):
        self.nodes = {node.endpoint: node for node in nodes}

    @property
    def endpoints(self):
        return list(self.nodes)

    def start_admin(self, verb, args=None, *, endpoint="", patience_ms=None):
        call = Call()
        call.question = endpoint, verb, args or {}
        return call

    def admin_result(self, call):
        endpoint, verb, args = call.question
        if endpoint not in self.nodes:
            silent(verb, args)
        return self.nodes[endpoint].answer(verb, args)

    def turn(self, wait_ms=0):
        pass


def silent(verb, args):
    raise NotSubmittedError("no_answer", "no answer came in time")


def use(monkeypatch, nodes, *, members=()):
    """Have these be the nodes that a survey finds; returns the client. ``members``: names of
    further members, which do not answer."""
    reached = {name: Reached(f"tcp://h:{name[1:]}", "") for name in members}
    reached |= {node.name: Reached(node.endpoint, "") for node in nodes}
    views = [
        NodeView(n.name, n.endpoint, NodeStatus(node=n.name, version=n.version), None)
        for n in nodes
    ]
    monkeypatch.setattr(running_nodes, "survey", lambda client: views)
    monkeypatch.setattr(running_nodes, "members_of", lambda views: reached)
    return FakeClient(nodes)
