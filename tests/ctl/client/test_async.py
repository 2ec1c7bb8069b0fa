"""The tasks of one event loop share an AsyncClient: their calls go out together, what is known of a
cancelled one is said, and nothing stays behind."""

import asyncio
import contextlib
import copy
import pickle

import pytest

from paxosctl.client import (
    AsyncClient,
    ClosedError,
    NotSubmittedError,
    OutcomeUnknownError,
    what_is_known,
)
from paxosctl.client.errors import CarriedOutError
from tests.ctl.client.test_owner import in_child, in_thread
from tests.ctl.fake_daemon import FakeDaemon, closed_port

TASKS = 1000


@pytest.fixture
def daemon():
    with FakeDaemon() as fake:
        yield fake


def with_client(daemon, act, **options):
    """Run ``act(client)`` in a loop; what it returns."""

    async def main():
        options.setdefault("timeout_s", 30)
        async with AsyncClient([daemon.endpoint], **options) as client:
            await client.put(b"k", b"v")
            return await act(client)

    return asyncio.run(main())


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def descriptors_of(loop):
    """Which ones the loop listens to."""
    return set(loop._selector.get_map())


class TestTasks:
    def test_a_thousand_share_frames(self, daemon):
        async def act(client):
            before = len(daemon.writes)
            made = await asyncio.gather(*(client.put(b"%d" % n, b"v") for n in range(TASKS)))
            assert len(set(made)) == TASKS
            return len(daemon.writes) - before

        assert with_client(daemon, act) <= 10

    def test_each_gets_its_own_answers(self, daemon):
        async def one(client, number):
            for turn in range(5):
                value = b"%d" % turn
                await client.put(b"%d" % number, value)
                assert (await client.get(b"%d" % number)).value == value

        async def act(client):
            await asyncio.gather(*(one(client, number) for number in range(100)))

        with_client(daemon, act)

    def test_it_works_while_the_loop_is_idle(self, daemon):
        """Refusals, connections and deadlines come by descriptors and timers alone."""

        async def act(client):
            daemon.refusal = "no_leader"
            task = asyncio.create_task(client.get(b"k"))
            await until(lambda: daemon.refusals > 2)
            daemon.refusal = ""
            assert (await task).value == b"v"

        with_client(daemon, act)

    def test_answers_come_by_descriptors_and_not_by_the_timer(self, daemon, monkeypatch):
        async def act(client):
            await client.status()
            monkeypatch.setattr(client, "_set_timer", lambda due_ms: None)
            async with asyncio.timeout(30):
                for number in range(50):
                    await client.put(b"%d" % number, b"v")
                    await client.get(b"%d" % number)

        with_client(daemon, act)

    def test_a_watch_beside_writers(self, daemon):
        async def act(client):
            async def follow():
                found = []
                async with client.watch(b"w", from_revision=1) as changes:
                    async for change in changes:
                        found.append(change.value)
                        if len(found) == 100:
                            return found

            task = asyncio.create_task(follow())
            for number in range(100):
                await client.put(b"w", b"%d" % number)
            assert await task == [b"%d" % number for number in range(100)]

        with_client(daemon, act)


class TestCancel:
    def test_what_was_not_sent(self):
        async def main():
            async with AsyncClient([closed_port()], timeout_s=30) as client:
                task = asyncio.create_task(client.put(b"k", b"v"))
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError) as ended:
                    await task
                known = what_is_known(ended.value)
                assert isinstance(known, NotSubmittedError)
                assert known.code == "cancelled"

        asyncio.run(main())

    def test_what_was_sent_and_timed_out(self, daemon):
        async def act(client):
            daemon.deaf_writes = True
            with pytest.raises(TimeoutError) as ended:
                async with asyncio.timeout(0.1):
                    await client.put(b"a", b"v")
            known = what_is_known(ended.value)
            assert isinstance(known, OutcomeUnknownError)
            daemon.deaf_writes = False
            assert (await client.outcome(known.session, known.seq)).state == "fenced"
            assert await client.get(b"a") is None
            assert await client.put(b"a", b"w")

        with_client(daemon, act)

    def test_others_of_its_frame_go_on(self, daemon):
        async def act(client):
            daemon.silent_writes = True
            before = len(daemon.writes)
            tasks = [asyncio.create_task(client.put(b"%d" % n, b"v")) for n in range(10)]
            await until(lambda: len(daemon.writes) > before)
            for task in tasks[::2]:
                task.cancel()
            ended = []
            for task in tasks[::2]:
                with pytest.raises(asyncio.CancelledError) as cancelled:
                    await task
                ended.append(what_is_known(cancelled.value))
            assert {type(each) for each in ended} == {OutcomeUnknownError}
            daemon.silent_writes = False
            assert len({await task for task in tasks[1::2]}) == 5
            for each in ended:
                assert (await client.outcome(each.session, each.seq)).state == "committed"

        with_client(daemon, act)

    def test_what_had_just_been_carried_out(self, daemon, monkeypatch):
        async def act(client):
            task = asyncio.create_task(client.put(b"a", b"v"))
            await asyncio.sleep(0)
            (call,) = client._connection.protocol._queue.waiting
            tell = client._tell

            def tell_and_cancel():
                tell()
                if call.done:
                    task.cancel()

            monkeypatch.setattr(client, "_tell", tell_and_cancel)
            with pytest.raises(asyncio.CancelledError) as ended:
                await task
            assert isinstance(what_is_known(ended.value), CarriedOutError)
            assert (await client.get(b"a")).value == b"v"

        with_client(daemon, act)

    def test_a_watch_loses_nothing(self, daemon):
        async def act(client):
            watcher = client.watch(b"k", from_revision=2)
            found = []
            for number in range(50):
                await client.put(b"k", b"%d" % number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.0005 * (number % 5)):
                        found.append((await anext(watcher)).value)
            while len(found) < 50:
                found.append((await anext(watcher)).value)
            assert found == [b"%d" % number for number in range(50)]

        with_client(daemon, act)


class TestBelonging:
    def test_another_loop_is_refused(self, daemon):
        client = AsyncClient([daemon.endpoint], timeout_s=30)

        async def use():
            await client.put(b"k", b"v")

        with asyncio.Runner() as first:
            first.run(use())
            with asyncio.Runner() as second:
                with pytest.raises(RuntimeError, match="belongs to another event loop"):
                    second.run(use())
                error = in_thread(lambda: asyncio.run(use()))
                assert "belongs to another event loop" in str(error)
                with pytest.raises(RuntimeError, match="belongs to another event loop"):
                    second.run(client.close())
            first.run(use())
            first.run(client.close())

    def test_it_is_closed_when_its_loop_has_ended(self, daemon):
        client = AsyncClient([daemon.endpoint], timeout_s=30)
        assert in_thread(lambda: asyncio.run(client.put(b"k", b"v"))) is None
        asyncio.run(client.close())

    def test_a_child_is_refused(self, daemon):
        async def act(client):
            def use():
                with pytest.raises(RuntimeError, match="forked from it"):
                    client.put(b"k", b"v").send(None)
                with pytest.raises(StopIteration):
                    client.close().send(None)

            assert in_child(use) == 0
            assert await client.put(b"k", b"w")

        with_client(daemon, act)

    def test_nothing_is_copied_or_pickled(self, daemon):
        async def act(client):
            for each in (client, client.watch(b"k")):
                for copying in (copy.copy, copy.deepcopy, pickle.dumps):
                    with pytest.raises(TypeError, match="cannot be copied or pickled"):
                        copying(each)

        with_client(daemon, act)


class TestClose:
    def test_calls_under_way_end_truly(self, daemon):
        async def act(client):
            daemon.deaf_writes = True
            before = len(daemon.writes)
            tasks = [asyncio.create_task(client.put(b"%d" % n, b"v")) for n in range(2000 * 2)]
            watch = asyncio.create_task(anext(client.watch(b"k"), None))
            await until(lambda: len(daemon.writes) > before)
            await client.close()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in ended} == {ClosedError, OutcomeUnknownError}
            (left,) = await asyncio.gather(watch, return_exceptions=True)
            assert left is None or isinstance(left, RuntimeError)
            with pytest.raises(RuntimeError, match="the client is closed"):
                await client.get(b"k")

        with_client(daemon, act)

    def test_nothing_stays_with_the_loop(self, daemon):
        async def main():
            loop = asyncio.get_running_loop()
            before = descriptors_of(loop)
            client = AsyncClient([daemon.endpoint], timeout_s=30)
            await client.put(b"k", b"v")
            assert descriptors_of(loop) > before
            await client.close()
            assert descriptors_of(loop) == before

        asyncio.run(main())

    def test_numbers_of_descriptors_that_are_given_out_again(self, daemon):
        """A watch that ends and one that begins share numbers: each is listened to."""

        async def act(client):
            for number in range(20):
                revision = await client.put(b"k", b"%d" % number)
                async with client.watch(b"k", from_revision=revision) as changes:
                    assert (await anext(changes)).value == b"%d" % number
                    task = asyncio.create_task(anext(changes))
                    await until(lambda changes=changes: changes.live)
                    await client.put(b"k", b"x")
                    assert (await task).value == b"x"

        with_client(daemon, act)
