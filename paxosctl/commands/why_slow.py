"""why-slow: where the time of requests goes."""

from paxosctl.cli.app import Settings, negative, verb
from paxosctl.commands.log_options import Reading, opened_reading, reading_options
from paxosctl.inspection.ballot_story import leadership
from paxosctl.inspection.diagnosis import diagnose
from paxosctl.inspection.events import event_id
from paxosctl.inspection.explanation_views import why_slow_view
from paxosctl.inspection.faults_seen import faults_of, in_force
from paxosctl.inspection.request_times import request_times


@verb("why-slow")
@reading_options
def why_slow_verb(settings: Settings, reading: Reading) -> None:
    """Where the time of requests goes, by stage and by node.

    The stages are queue, persist, quorum, apply and reply. SOURCES are as for log; none: the
    running nodes. A verdict names the stage that takes the most, and the disk that stands out. Then
    comes what went wrong: nodes that died, stood still or were starved, disks, links, clocks.
    """
    with opened_reading(reading) as (recordings, window):
        found = leadership(recordings)
        times = request_times(recordings, window, found)
        diagnosis = diagnose(recordings, window, found)
        begin, end = max(window.since_us, recordings.first_us), window.until_us
        faults = [
            f"{each.sentence()} [{event_id(each.hit or each.begun)}]"
            for each in in_force(faults_of(found.events), begin, end)
        ]
    if not times.requests and not any(len(each.syncs) for each in times.nodes.values()):
        negative("no request and no group commit is recorded in that time")
    settings.show(why_slow_view(times, faults, diagnosis.incidents))
