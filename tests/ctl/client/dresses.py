"""The dresses of a client for one suite: the blocking client, the asynchronous one as blocking code
sees it, and the command line."""

import asyncio
import inspect
import json

from paxosctl.client import (
    AsyncBarrier,
    AsyncClient,
    AsyncConfig,
    AsyncCounter,
    AsyncElection,
    AsyncLock,
    AsyncRegistry,
    AsyncWatcher,
    CasResult,
)
from paxosctl.client.async_lock import TaskEvent
from paxosd.core.commands import KeyValue

RECIPES = (AsyncBarrier, AsyncConfig, AsyncCounter, AsyncElection, AsyncLock, AsyncRegistry,
           TaskEvent)  # fmt: skip


class Awaited:
    """An AsyncClient whose loop runs during its calls only."""

    def __init__(self, *args, **kwargs):
        self._loop = asyncio.Runner()
        self._client = AsyncClient(*args, **kwargs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self._loop.close()

    def close(self):
        self._loop.run(self._client.close())

    @property
    def timeout_s(self):
        return self._client.timeout_s

    @timeout_s.setter
    def timeout_s(self, value):
        self._client.timeout_s = value

    def __getattr__(self, name):
        return _waiting(self._loop, getattr(self._client, name))


class AwaitedWatcher:
    """An AsyncWatcher, in the same way."""

    def __init__(self, loop, watcher):
        self._loop = loop
        self._watcher = watcher

    def __iter__(self):
        return _iterate(self._loop, self._watcher)

    def __next__(self):
        return next(iter(self))

    def __getattr__(self, name):
        return _waiting(self._loop, getattr(self._watcher, name))


class AwaitedRecipe:
    """A lock, or what is made of locks, in the same way."""

    def __init__(self, loop, made):
        self._loop = loop
        self._made = made

    def __enter__(self):
        self._loop.run(self._made.__aenter__())
        return self

    def __exit__(self, *error):
        return self._loop.run(self._made.__aexit__(*error))

    def __getattr__(self, name):
        return _waiting(self._loop, getattr(self._made, name))


def _dressed(loop, made):
    return AwaitedRecipe(loop, made) if isinstance(made, RECIPES) else made


def _waiting(loop, found):
    if not callable(found):
        return _dressed(loop, found)

    def call(*args, **kwargs):
        async def run():
            made = found(*args, **kwargs)
            return await made if inspect.isawaitable(made) else made

        made = loop.run(run())
        if isinstance(made, AsyncWatcher):
            return AwaitedWatcher(loop, made)
        return _iterate(loop, made) if hasattr(made, "__anext__") else _dressed(loop, made)

    return call


def _iterate(loop, made):
    async def following():
        return await anext(made)

    while True:
        try:
            each = loop.run(following())
        except StopAsyncIteration:
            return
        yield each


class Typed:
    """What the command line has of it. ``ctl``: the fixture of that name."""

    def __init__(self, ctl, endpoint):
        self._run = lambda *words: ctl(*words, "-o", "json", endpoints=endpoint)

    def _json(self, *words):
        code, out, err = self._run(*words)
        assert code in (0, 1), err
        return code, json.loads(out) if out else None

    def put(self, key, value):
        return self._json("put", key.decode(), value.decode())[1]["revision"]

    def get(self, key):
        code, found = self._json("get", key.decode())
        if code:
            return None
        return KeyValue(
            found["key"].encode(),
            found["value"].encode(),
            found["create_revision"],
            found["modify_revision"],
            found["version"],
        )

    def delete(self, key):
        found = self._json("delete", key.decode())[1]
        return found["revision"] if found["deleted"] else None

    def delete_prefix(self, prefix):
        return self._json("delete", prefix.decode(), "--prefix")[1]["deleted"]

    def cas_value(self, key, expect, value):
        expected = ["--expect-revision", "0"]
        if expect is not None:
            expected = ["--expect-value", expect.decode()]
        code, found = self._json("cas", key.decode(), value.decode(), *expected)
        return CasResult(code == 0, found["modify_revision"])

    def cas_revision(self, key, expect, value):
        expected = ["--expect-revision", str(expect)]
        code, found = self._json("cas", key.decode(), value.decode(), *expected)
        return CasResult(code == 0, found["modify_revision"])

    def scan(self, prefix, *, limit=0):
        words = ["--limit", str(limit)] if limit else []
        code, out, err = self._run("get", prefix.decode(), "--prefix", *words)
        assert code == 0, err
        for row in json.loads(out)["rows"]:
            yield KeyValue(row["key"].encode(), row.get("value", "").encode(), *_NUMBERS)


_NUMBERS = (0, 0, 0)
"""A suite for all dresses compares keys and values of a scan alone."""
