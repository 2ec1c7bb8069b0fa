"""The words of a story: a directive and an event as a sentence each."""

from collections.abc import Callable, Mapping
from typing import Any

from paxosd.core.types import NULL_BALLOT
from paxosd.sim.nemesis.schedule import LEADER, Directive


def seconds(at_ms: float) -> str:
    """12310.4 → "12.310 s"."""
    return f"{at_ms / 1000:.3f} s"


# -- what the nemesis did


def instructed(directive: Directive) -> str:
    """ "at 12.000 s n1 loses its power"."""
    who = _who(directive.node)
    words = _DIRECTIVES.get(directive.verb)
    text = words(who, directive.args) if words is not None else None
    if text is None:
        args = " ".join(f"{key}={value}" for key, value in directive.args.items())
        text = f"{who}: {directive.verb} {args}".rstrip()
    return f"at {seconds(directive.at_ms)} {text}"


def _who(node: str) -> str:
    return "the leader" if node == LEADER else node or "every node"


def _crash(who: str, args: Mapping[str, Any]) -> str:
    if args.get("power"):
        return f"{who} loses its power (what was not synced may be gone)"
    return f"{who} is killed, as by kill -9"


def _crash_at_effect(who: str, args: Mapping[str, Any]) -> str:
    how = "loses its power" if args.get("power") else "is killed"
    return f"{who} {how} just before its effect number {args.get('effects', '?')} from then on"


def _pause_at_effect(who: str, args: Mapping[str, Any]) -> str:
    where = f"just before its effect number {args.get('effects', '?')} from then on"
    return f"{who} is stopped {where}, for {args.get('ms', '?')} ms"


def _rollback(who: str, args: Mapping[str, Any]) -> str:
    what = f"the last {args['file']}… file" if args.get("file") else "the disk"
    return f"{what} of {who} goes back to the last copy"


def _configure(who: str, args: Mapping[str, Any]) -> str:
    if "members" not in args:
        return f"{who} is started again with its own configuration file"
    return f"{who} is started again with a file that names {', '.join(args['members']) or 'nobody'}"


def _fault(who: str, args: Mapping[str, Any]) -> str:
    kind, source, target = args.get("kind", "?"), _ends(args, "from"), _ends(args, "to")
    parts = [f"{who} gets the fault {kind}"]
    if source != "*" or target != "*":
        arrow = "→" if args.get("oneway") or kind != "partition" else "↔"
        parts.append(f"{source} {arrow} {target}")
    if args.get("on"):
        parts.append(f"on {_ends(args, 'on')}")
    if args.get("message_kinds"):
        parts.append("of " + ", ".join(args["message_kinds"]))
    if 0 < args.get("probability", 1.0) < 1.0:
        parts.append(f"with probability {args['probability']:g}")
    if args.get("ms"):
        parts.append(f"of {args['ms']} ms")
    if args.get("every_ms"):
        parts.append(f"every {args['every_ms']} ms")
    if args.get("for_ms"):
        parts.append(f"for {seconds(args['for_ms'])}")
    return " ".join(parts)


def _ends(args: Mapping[str, Any], key: str) -> str:
    value = args.get(key, "*")
    return ",".join(map(_who, value)) if isinstance(value, list | tuple) else str(value)


def _net(who: str, args: Mapping[str, Any]) -> str:
    return f"the network of {who} becomes " + ", ".join(f"{k} {v}" for k, v in args.items())


def _disk(who: str, args: Mapping[str, Any]) -> str:
    return f"the disk of {who} becomes " + ", ".join(f"{k} {v}" for k, v in args.items())


def _tail(who: str, args: Mapping[str, Any]) -> str:
    done = {"cut": "is cut off", "zero": "is zeroed", "flip": "has a bit flipped"}
    words = f"the end of the log of {who} {done.get(str(args.get('how')), '?')}"
    return words if args.get("witness", True) else f"{words}, and its tail-mark is gone"


_DIRECTIVES: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "crash": _crash,
    "crash_at_effect": _crash_at_effect,
    "restart": lambda who, args: f"{who} is started again",
    "pause": lambda who, args: f"{who} is stopped, as by SIGSTOP",
    "pause_at_effect": _pause_at_effect,
    "resume": lambda who, args: f"{who} goes on",
    "wipe": lambda who, args: f"the disk of {who} is wiped",
    "remember": lambda who, args: f"the disk of {who} is copied",
    "rollback": _rollback,
    "configure": _configure,
    "double": lambda who, args: (
        f"a copy of the disks of {who} is started as a second process, for "
        f"{seconds(args.get('for_ms', 0))}"
    ),
    "bit_rot": lambda who, args: f"a bit on the disk of {who} flips",
    "tail": _tail,
    "limits": lambda who, args: (
        f"{who} is started again with message_bytes_max = {args.get('message_bytes_max', '?')}"
    ),
    "starve": lambda who, args: f"each turn of {who} takes {args.get('turn_ms', '?')} ms",
    "clock_jump": lambda who, args: f"the wall clock of {who} jumps by {args.get('ms', '?')} ms",
    "clock_set": lambda who, args: (
        f"the wall clock of {who} is set to {args.get('wall_ms', '?')} ms"
    ),
    "clock_drift": lambda who, args: f"the clocks of {who} drift by {args.get('ppm', '?')} ppm",
    "client_cut": lambda who, args: f"clients cannot reach {who} any more",
    "client_heal": lambda who, args: f"clients can reach {who} again",
    "fault_add": _fault,
    "fault_rm": lambda who, args: f"the fault {args.get('name', '?')} of {who} is removed",
    "fault_clear": lambda who, args: f"all faults of {who} are removed",
    "member": lambda who, args: f"an operator wants to {args.get('wish', '?')} a member",
    "rights": lambda who, args: "an admin changes who may do what",
    "settings": lambda who, args: "an operator changes one of the replicated settings",
    "rejoin": lambda who, args: f"an operator lets {who} vote again with what it has learned anew",
    "net": _net,
    "disk": _disk,
    "heal": lambda who, args: "everything is healed",
}


# -- what happened then


def happened(event: Mapping[str, Any]) -> str:
    """An event of the trace as a sentence without its subject."""
    name = event["event"]
    words = _EVENTS.get(name)
    if words is not None:
        return words(event)
    if name.startswith("nemesis."):
        args = {key: value for key, value in event.items() if key not in {"at", "node", "event"}}
        done = Directive(round(event["at"]), name.removeprefix("nemesis."), event["node"], args)
        return "*** " + instructed(done).partition(" s ")[2]
    fields = [f"{key}={_plain(value)}" for key, value in event.items()
              if key not in {"at", "node", "event"}]  # fmt: skip
    return " ".join([event["event"], *fields])


def _plain(value: Any) -> str:
    return str(value) if not isinstance(value, float) else f"{value:g}"


def ballot(event: Mapping[str, Any], key: str = "ballot") -> str:
    """As the event has it; "none" for the null ballot."""
    found = event.get(key)
    if not isinstance(found, str):
        return "?"
    return found if found != NULL_BALLOT.shown() else "none"


def slots(event: Mapping[str, Any]) -> str:
    """[[3, 5], [7, 7]] → "slots 3 to 5, 7"."""
    if "slot" in event:
        return f"slot {event['slot']}"
    runs = event.get("slots") or []
    if runs and isinstance(runs[0], int):
        runs = [runs]
    if len(runs) == 1 and runs[0][0] == runs[0][1]:
        return f"slot {runs[0][0]}"
    return "slots " + ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in runs)


_EVENTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "election.started": lambda e: f"campaigns with ballot {ballot(e)}",
    "prepare.sent": lambda e: f"asks {e.get('to')} to promise ballot {ballot(e)}",
    "prepare.received": lambda e: f"is asked by {e.get('from')} to promise ballot {ballot(e)}",
    "promise.sent": lambda e: f"promises ballot {ballot(e)} to {e.get('to')}, once it is on disk",
    "promise.received": lambda e: f"has the promise of {e.get('from')} for ballot {ballot(e)}",
    "nack.sent": lambda e: f"refuses ballot {ballot(e)} of {e.get('to')}: it promised a higher one",
    "nack.received": lambda e: f"is refused ballot {ballot(e)} by {e.get('from')}",
    "accept.sent": lambda e: f"proposes {slots(e)} at ballot {ballot(e)}",
    "accept.received": lambda e: f"has {e.get('from')}'s proposal: {slots(e)}, ballot {ballot(e)}",
    "accepted.published": lambda e: f"votes for {slots(e)} at ballot {ballot(e)}",
    "accepted.received": lambda e: f"hears {e.get('from')}'s vote: {slots(e)}, ballot {ballot(e)}",
    "chosen": lambda e: f"learns that {slots(e)} is chosen (ballot {ballot(e)})",
    "applied": lambda e: f"applies {slots(e)}",
    "run.heals": lambda e: "*** everything is healed",
    "process.crash": lambda e: "dies" + (" (power cut)" if e.get("power") else " (killed)"),
    "process.crash_point": lambda e: f"is about to do: {e.get('before')}",
    "leader.lost": lambda e: f"has not heard the leader {e.get('leader')} for too long",
    "leader.stepped_down": lambda e: f"leads no more: {e.get('reason')}",
    "catchup.sent": lambda e: f"asks {e.get('to')} for {slots(e)}",
    "fault.added": lambda e: f"fault {e.get('fault')} begins ({e.get('kind')})",
    "fault.healed": lambda e: f"fault {e.get('fault')} ends ({e.get('kind')})",
    "fault.hit": lambda e: f"fault {e.get('fault')} ({e.get('kind')}) strikes for the first time",
}


def _answered(event: Mapping[str, Any]) -> str:
    slot = f" of slot {event['slot']}" if event.get("slot") else ""
    return f"answers a client's {event.get('what', 'request')}{slot}"


def _elected(event: Mapping[str, Any]) -> str:
    if event.get("leader") == event["node"]:
        adopted = event.get("adopted", 0)
        return (
            f"leads with ballot {ballot(event)} from slot {event.get('from_slot')} on, "
            f"{adopted} proposals to finish"
        )
    return f"follows {event.get('leader')} (ballot {ballot(event)})"


def _recovered(event: Mapping[str, Any]) -> str:
    return (
        f"starts: slots up to {event.get('commit')} chosen, {event.get('open_slots')} open, "
        f"promised {ballot(event, 'promised')}"
    )


_EVENTS["client.request"] = _answered
_EVENTS["leader.elected"] = _elected
_EVENTS["node.recovered"] = _recovered
