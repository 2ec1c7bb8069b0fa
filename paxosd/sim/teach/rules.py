"""Why a node does what it does: the rule and where it is written."""

SOURCES = {
    "PMS": "Lamport, “Paxos Made Simple” (2001)",
    "Ongaro 2014": "“Consensus: Bridging Theory and Practice”",
    "BHG": "Bernstein, Hadzilacos, Goodman, “Concurrency Control and Recovery in Database "
    "Systems” (1987)",
    "Gray, Lamport 2006": "“Consensus on Transaction Commit”",
    "Mohan 1986": "Mohan, Lindsay, Obermarck, “Transaction Management in the R* Distributed "
    "Database Management System”",
}
"""What the abbreviations of the rules stand for."""

RULES = {
    "request": (
        "Clients send writes to the leader. The request carries session and number, so that a "
        "repeat of it is applied once.",
        "PMS 3",
    ),
    "read": (
        "The leader must first hear from a majority that it still leads.",
        "Ongaro 2014, 6.4",
    ),
    "prevote": (
        "This question changes nobody's memory. So a node that was away, or that one bad link "
        "cuts off, deposes no leader.",
        "Ongaro 2014, 9.6",
    ),
    "prevote-no": (
        "A node that hears a leader, or has promised a higher ballot, refuses.",
        "Ongaro 2014, 9.6",
    ),
    "prepare": (
        "Before a proposer proposes it must learn what may have been chosen already. One prepare "
        "covers all slots at once.",
        "PMS 2.2, phase 1(a); 3",
    ),
    "own-promise": (
        "Only now does it ask others: so it can never use this ballot again after a restart.",
        "PMS 2.5",
    ),
    "promise": (
        "An acceptor promises any ballot above those it promised before, and it remembers: the "
        "promise is on disk before it is sent.",
        "PMS 2.2, phase 1(b); 2.5",
    ),
    "promise-again": (
        "A promise of the same ballot may be repeated: it promises nothing new.",
        "PMS 2.2",
    ),
    "nack": (
        "P1a: an acceptor accepts a proposal only if it has promised nothing higher. It says so, "
        "and the proposer need not guess.",
        "PMS 2.2, P1a",
    ),
    "leads": (
        "Any two majorities share a node, and that node does not forget: nothing was chosen under "
        "an earlier ballot that these promises do not report, and nothing will be.",
        "PMS 2.2, P2c",
    ),
    "free": (
        "No promise reported anything for this slot: the leader may propose what it likes. From "
        "here on a write needs phase 2 alone.",
        "PMS 2.2, phase 2(a); 3",
    ),
    "adopt": (
        "P2c: of what the promises report for a slot, the value of the highest ballot must be "
        "proposed and no other: it may have been chosen.",
        "PMS 2.2, P2c",
    ),
    "noop": (
        "A hole in the log, of which nobody reported anything, is filled with a command that "
        "does nothing, so that later slots can be applied.",
        "PMS 3",
    ),
    "accepted": (
        "The vote is published to all, and each learner counts for itself. It was on disk first: "
        "an acceptor must not forget a vote that others may have counted.",
        "PMS 2.2, phase 2(b); 2.3; 2.5",
    ),
    "chosen": (
        "From this moment on that is a fact, whether any node knows it or not.",
        "PMS 2.2; 2.3",
    ),
    "conflict": (
        "What was chosen must stay chosen (P2). Two majorities did share a node, but that node "
        "had forgotten.",
        "PMS 2.2, P2; 2.5",
    ),
    "learn": (
        "A value is chosen once a majority accepted it under one ballot. Slots are applied in "
        "order, without gaps.",
        "PMS 2.3; 3",
    ),
    "catch-up": (
        "A learner that missed something may ask any other for what was chosen.",
        "PMS 2.3",
    ),
    "stable": (
        "What an acceptor must remember is in stable storage: promises, accepted proposals.",
        "PMS 2.5",
    ),
    "hello": (
        "A node without a memory cannot know whether it is new or was wiped. The others know: "
        "before a node listens to another one, it writes down which run of that one it hears.",
        "paxosd: core/admission.py",
    ),
    "rejoin": (
        "A change of the membership, decided by the others, names the directory that votes from "
        "now on. Ballots of the new epoch are above all that was forgotten.",
        "paxosd: docs/ACTING.md",
    ),
    "stale": (
        "Each start of a node has a higher number than the one before, and random bits of its "
        "own. Another run with no higher number is a replay, or the node lost its memory.",
        "paxosd: bus.stale_run",
    ),
    "2pc-begin": (
        "The machine that gets the request coordinates the transaction.",
        "BHG 7.4",
    ),
    "2pc-ask": (
        "Phase 1. Every participant must say yes: one that is missing or says no means abort.",
        "BHG 7.4",
    ),
    "2pc-yes": (
        "From here on it is uncertain: it has given away the right to abort, may not commit, and "
        "must keep its locks until it learns the decision.",
        "BHG 7.4",
    ),
    "2pc-no": (
        "Until it has voted, and by voting no, a participant may abort on its own.",
        "BHG 7.4",
    ),
    "2pc-decided": (
        "One record on one disk decides. That is what Paxos does not rely on: there, any "
        "majority of disks decides.",
        "Gray, Lamport 2006, 3.3 and 5",
    ),
    "2pc-decide": (
        "Phase 2. On an abort nothing is written: what the coordinator's log does not know was "
        "aborted (presumed abort).",
        "BHG 7.4; Mohan 1986",
    ),
    "2pc-log": (
        "What a participant or a coordinator must not forget is in its log: that it voted yes, "
        "and what was decided.",
        "BHG 7.4",
    ),
    "2pc-inquire": (
        "It asks the coordinator, and its fellow participants as well: one that knows can "
        "answer, and one that has not voted can abort.",
        "BHG 7.4, cooperative termination",
    ),
    "2pc-uncertain": (
        "All that are up are uncertain, and only the coordinator may know: they block.",
        "BHG 7.4; Gray, Lamport 2006, 3.3",
    ),
}
"""Rule → (why, source)."""
