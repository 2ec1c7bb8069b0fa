"""The client's half of the protocol, sans-IO, for ``paxosctl`` and for simulated clients.

    protocol.py   composes the following
      calls.py      calls, frames, sessions      queue.py      commands that wait for their numbers
      frames.py     which frames are under way   endpoints.py  where to send
      answers.py    what an answer means         endings.py    how calls end without a result
      learning.py, cluster_info.py               members and limits, learned from a status
    watch.py      the watcher's half: it never skips a change in silence
      delivery_order.py   whether a change is the next one

No sockets and no clock here.
"""
