"""The methods of a client, described once and worn by each of its dresses.

    @operation                                        Client         waits, and returns an int
    def put(self, key, value) -> Steps[int]:    ──►   AsyncClient    is awaited, for an int
        call = yield Write([PUT, key, value])         Pipeline       queues it: a Future of an int
        return call.result

A method is described as a generator: it yields the requests that are to be carried out, is sent the
:class:`~paxosd.core.client.calls.Call` of each once that has ended well, and returns what the user
gets. If a call ended badly, the exception is raised in it. How one waits is the dress's own affair,
so that a new method is written once, and signature and docstring cannot differ between dresses.

``@stream`` describes an iterator in the same way: beside requests it yields each
:class:`Item` that the user gets.

A method that can be bounded has the keyword ``timeout_s``; the dress sees to it.

For the type checker the two are descriptors, whose type depends on the dress. When a class is made,
plain functions take their place, so that nothing is looked up during a call, and ``help`` and
``inspect`` show what they show of any method.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    Self,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from paxosctl.client.future import Future
from paxosd.core.client.calls import Call, Request

P = ParamSpec("P")
T = TypeVar("T")


class Item(NamedTuple, Generic[T]):
    """What a stream gives to the user."""

    value: T


Steps = Generator[Request, Call, T]
"""Requests to carry out, and what comes of them in the end."""
Flow = Generator[Request | Item[T], Call | None, None]
"""Requests to carry out, and items for the user in between."""


class operation(Generic[P, T]):  # noqa: N801 -- a decorator
    """A method that carries out requests and returns what came of them."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        self.describe = describe

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: "Waits", owner: Any) -> Callable[P, T]: ...
        @overload
        def __get__(
            self, instance: "IsAwaited", owner: Any
        ) -> Callable[P, Coroutine[Any, Any, T]]: ...
        @overload
        def __get__(self, instance: "Queues", owner: Any) -> Callable[P, Future[T]]: ...
        @overload
        def __get__(self, instance: None, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...


class stream(Generic[P, T]):  # noqa: N801 -- a decorator
    """A method that returns an iterator."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self.describe = describe

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: "Waits", owner: Any) -> Callable[P, Iterator[T]]: ...
        @overload
        def __get__(self, instance: "IsAwaited", owner: Any) -> Callable[P, AsyncIterator[T]]: ...
        @overload
        def __get__(self, instance: None, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...


class Dress:
    """How the methods that a class inherits are carried out. ``_dress_operation`` and
    ``_dress_stream`` make a function of a description."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "_dress_operation"):
            return
        for name in dir(cls):
            found = inspect.getattr_static(cls, name)
            if isinstance(found, operation):
                made = cls._dress_operation(found.describe)
                setattr(cls, name, _like(found.describe, made, cls._gives))
            elif isinstance(found, stream):
                made = cls._dress_stream(found.describe)
                setattr(cls, name, _like(found.describe, made, cls._streams))

    _gives: ClassVar[Any] = None
    """What an operation returns: None: its result; else a generic type of that."""
    _streams: ClassVar[Any] = Iterator

    if TYPE_CHECKING:

        @staticmethod
        def _dress_operation(describe: Callable[..., Steps[Any]]) -> Callable[..., Any]: ...

        @staticmethod
        def _dress_stream(describe: Callable[..., Flow[Any]]) -> Callable[..., Any]: ...


class Waits(Dress):
    """The dress whose methods wait in the thread that calls them."""

    def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        raise NotImplementedError

    def _flow(self, flow: Flow[T], timeout_s: float | None) -> Iterator[T]:
        raise NotImplementedError

    def _check(self) -> None:
        raise NotImplementedError

    @staticmethod
    def _dress_operation(describe: Callable[..., Steps[Any]]) -> Callable[..., Any]:
        def method(self: "Waits", /, *args: Any, **kwargs: Any) -> Any:
            return self._run(describe(self, *args, **kwargs), kwargs.get("timeout_s"))

        return method

    @staticmethod
    def _dress_stream(describe: Callable[..., Flow[Any]]) -> Callable[..., Any]:
        def method(self: "Waits", /, *args: Any, **kwargs: Any) -> Any:
            self._check()  # here and now: what follows runs when the first item is wanted
            return self._flow(describe(self, *args, **kwargs), kwargs.get("timeout_s"))

        return method


class IsAwaited(Dress):
    """The dress whose methods are coroutines."""

    _streams = AsyncIterator

    async def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        raise NotImplementedError

    def _flow(self, flow: Flow[T], timeout_s: float | None) -> AsyncIterator[T]:
        raise NotImplementedError

    def _check(self) -> None:
        raise NotImplementedError

    @staticmethod
    def _dress_operation(describe: Callable[..., Steps[Any]]) -> Callable[..., Any]:
        async def method(self: "IsAwaited", /, *args: Any, **kwargs: Any) -> Any:
            return await self._run(describe(self, *args, **kwargs), kwargs.get("timeout_s"))

        return method

    @staticmethod
    def _dress_stream(describe: Callable[..., Flow[Any]]) -> Callable[..., Any]:
        def method(self: "IsAwaited", /, *args: Any, **kwargs: Any) -> Any:
            self._check()
            return self._flow(describe(self, *args, **kwargs), kwargs.get("timeout_s"))

        return method


class Queues(Dress):
    """The dress whose methods only queue a command, and return its future."""

    _gives = Future

    def _queue(self, steps: Steps[T], timeout_s: float | None) -> Future[T]:
        raise NotImplementedError

    @staticmethod
    def _dress_operation(describe: Callable[..., Steps[Any]]) -> Callable[..., Any]:
        def method(self: "Queues", /, *args: Any, **kwargs: Any) -> Any:
            return self._queue(describe(self, *args, **kwargs), kwargs.get("timeout_s"))

        return method


def _like(describe: Callable[..., Any], made: Callable[..., Any], shape: Any) -> Callable[..., Any]:
    """Give ``made`` the name, the docstring and the signature of the description."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(made, name, getattr(describe, name))
    signature = inspect.signature(describe)
    gives = _result_of(signature.return_annotation)
    returns = gives if shape is None else shape[gives]
    setattr(made, "__signature__", signature.replace(return_annotation=returns))  # noqa: B010 -- no attribute that the type checker knows
    made.__annotations__ = describe.__annotations__ | {"return": returns}
    return made


def _result_of(annotation: Any) -> Any:
    """The T of a ``Steps[T]`` or a ``Flow[T]``."""
    yields, _, returns = get_args(annotation)
    for each in get_args(yields):
        if get_origin(each) is Item:
            return get_args(each)[0]
    return returns
