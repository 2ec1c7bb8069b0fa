"""Whether the old keys of somebody may go: not as long as its holder is seen to use one of them.

a node       its status says by which key it proves itself
who asks     its own key is the one that it asks with
others       nobody knows: a node keeps no record of who comes by which key
"""

from collections.abc import Sequence

from paxosctl.cli.survey import NodeView
from paxosd.core.rights import PEER, Principal
from paxosd.net.key_files import key_text


def finish_objection(who: Principal, views: Sequence[NodeView], own_key: bytes) -> str:
    """Why all keys of ``who`` but the newest are not to go yet, in words; "": nothing speaks
    against it. ``views``: of all nodes; ``own_key``: of who asks for it."""
    if len(who.keys) < 2:
        return ""
    if who.role == PEER:
        return _node_objection(who, views)
    if own_key in who.keys[1:]:
        return (
            f"this was asked with an old key of {who.name}, which would be refused from then on: "
            "ask with the new one (--key-file FILE)"
        )
    return ""


def _node_objection(who: Principal, views: Sequence[NodeView]) -> str:
    name = who.name
    view = next((each for each in views if each.name == name), None)
    if view is None:
        return ""  # it is no member
    if view.status is None:
        return (
            f"{name} does not answer ({view.why}), so nobody knows whether it has its new key yet: "
            "if not, no node hears it any more once the old one is gone. Start it with its new key "
            "file first"
        )
    security = view.status.security
    if security is None or not security.key or security.key == key_text(who.keys[0]):
        return ""
    return (
        f"{name} still proves itself by an older key, and no node would hear it any more: put its "
        "new key file in the place of the old one, and restart it first"
    )
