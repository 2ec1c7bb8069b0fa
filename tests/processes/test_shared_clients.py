"""Threads on one Client and tasks on one AsyncClient, while the leader is killed: what they were
answered is true."""

import asyncio
import itertools
import threading

from paxosctl.client import AsyncClient, Client, ClientError, NotSubmittedError, OutcomeUnknownError
from tests.processes.processes import Daemons, wait_for

ALSO_KEYED = True

THREADS = 20
TASKS = 50
KILLS = 2


class Writers:
    """What each put of an own key was answered: a revision, or an error."""

    def __init__(self):
        self.answers = {}
        self.stop = threading.Event()
        self._numbers = itertools.count()

    def key(self, who):
        return b"%s/%d" % (who, next(self._numbers))

    @property
    def acked(self):
        return sum([type(each) is int for each in list(self.answers.values())])

    def write(self, client):
        while not self.stop.is_set():
            key = self.key(b"thread")
            try:
                self.answers[key] = client.put(key, key)
            except ClientError as error:
                self.answers[key] = error

    async def write_awaited(self, client):
        async def run(number):
            while not self.stop.is_set():
                key = self.key(b"task")
                try:
                    async with asyncio.timeout(0.3 if number % 5 == 0 else None):
                        self.answers[key] = await client.put(key, key)
                except (ClientError, TimeoutError) as error:
                    while not isinstance(error, ClientError):
                        error = error.__cause__
                    self.answers[key] = error

        await asyncio.gather(*(run(number) for number in range(TASKS)))

    def check(self, client):
        """Of each key: whether it is there, and what was said of it."""
        there = {row.key for row in client.scan(b"", keys_only=True)}
        kinds = {}
        for key, answer in self.answers.items():
            kind = type(answer).__name__
            kinds[kind] = kinds.get(kind, 0) + 1
            if type(answer) is int:
                assert key in there, f"{key}: revision {answer} was acknowledged and is lost"
            elif isinstance(answer, NotSubmittedError):
                assert key not in there, f"{key}: said not to be submitted, and it is there"
            else:
                assert isinstance(answer, OutcomeUnknownError), answer
                state = client.outcome(answer.session, answer.seq).state
                assert (state == "committed") == (key in there), f"{key}: {state}"
        revisions = [each for each in self.answers.values() if type(each) is int]
        assert len(set(revisions)) == len(revisions)
        return kinds


def test_what_they_were_answered_is_true(tmp_path):
    said = Writers()
    with Daemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        endpoints = daemons.endpoints

        async def awaited():
            async with AsyncClient(endpoints, timeout_s=10) as client:
                await said.write_awaited(client)

        with Client(endpoints, timeout_s=10) as shared:
            crowd = [threading.Thread(target=said.write, args=(shared,)) for _ in range(THREADS)]
            crowd.append(threading.Thread(target=lambda: asyncio.run(awaited())))
            for thread in crowd:
                thread.start()
            try:
                for _ in range(KILLS):
                    before = said.acked
                    wait_for(lambda before=before: said.acked > before + 200, what="writes")
                    leader = daemons.wait_leader()
                    assert daemons.kill(leader) == [-9]
                    before = said.acked
                    wait_for(lambda before=before: said.acked > before + 200, what="new writes")
                    daemons.start(leader)
                    daemons.wait_up(leader)
            finally:
                said.stop.set()
                for thread in crowd:
                    thread.join(60)
            assert not any(thread.is_alive() for thread in crowd)
            print(said.check(shared))
        daemons.check_equal()
