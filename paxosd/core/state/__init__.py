"""The replicated state machine: a deterministic function of the decided log.

    machine.py    applies slots, in order, to
      kv.py         keys and values          sessions.py    which command was applied before
      history.py    past changes             control_commands.py   members and settings
      log_clock.py  log time                 chain.py       a running checksum of the history
    checksum.py   sums the whole state up beside the traffic
    snapshot.py   takes the state apart into pieces, and restores it

``walk.py`` and ``session_walk.py`` visit all keys and all sessions as of one slot while later slots
are applied. What is large is kept and dropped in small pieces, so that no turn of the loop is long.
Nothing here knows ballots, peers or time other than log time.
"""
