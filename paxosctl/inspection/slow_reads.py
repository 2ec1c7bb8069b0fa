"""Why one linearizable read took long: the stage that took most, and whose part it was."""

from paxosctl.inspection.diagnosis import Diagnosis
from paxosctl.inspection.events import OUTCOME_NAMES, event_id, ms, request_name
from paxosctl.inspection.explanation import Sentence
from paxosctl.inspection.read_times import ReadTime
from paxosctl.inspection.timeline_view import clock_time


def explain_read(read: ReadTime, diagnosis: Diagnosis) -> tuple[str, Sentence]:
    """What a read was slow for, as a label, and the sentence about it."""
    answer = read.answer
    label, words = _cause(read)
    incident = diagnosis.slowed(answer, label)
    events = [answer, *read.evidence]
    if incident is not None:
        label, words = incident.label, f"{words}; {incident.sentence()}"
        events += incident.evidence
    stages = ", ".join(f"{name} {ms(took)}" for name, took in read.stages.items() if took >= 50)
    what = "took"
    if answer.code:
        what = f"was refused ({OUTCOME_NAMES.get(answer.code, 'for another reason')}) after"
    text = (f"{request_name(answer)} at {answer.node} {what} {ms(read.took_us)} at "
            f"{clock_time(answer.wall_us)}: {words}"
            f"{f' [{stages}]' if stages else ''}.")  # fmt: skip
    evidence = tuple(dict.fromkeys(map(event_id, events)))
    return label, Sentence(text, evidence, "not known" not in label)


def _cause(read: ReadTime) -> tuple[str, str]:
    node, stage = read.answer.node, read.longest
    took = ms(read.stages.get(stage, 0))
    if not stage:
        return "not known", f"why is not known, because its question is not in {node}'s recording"
    if stage == "apply":
        return (f"{node} was behind", f"{took} were spent waiting until {node} had applied slot "
                f"{read.answer.slot}, or came to it")  # fmt: skip
    if stage == "ask":
        return (f"{node}'s reads", f"it waited {took} until {node} put its question: the one "
                "before was under way, or no leader was known")  # fmt: skip
    if not read.waited_for:
        return "not known", f"no confirmation of the leader within {took} is recorded"
    return (f"reads confirmed by {read.waited_for}", f"{took} were spent waiting for "
            f"{read.waited_for} to confirm who leads")  # fmt: skip
