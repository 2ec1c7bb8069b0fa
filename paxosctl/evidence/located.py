"""Sources that are no files yet: running nodes and bundles, brought into a directory of this call.

no source        the nodes of --endpoints, fetched
a bundle         unpacked; recognised by what is in it
anything else    as it is
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from paxosctl.cli.app import Settings
from paxosctl.cli.progress_line import work_progress
from paxosctl.cli.streams import StreamError, say
from paxosctl.client.errors import ClientError, ForbiddenError
from paxosctl.evidence.archive import is_bundle, opened_bundle
from paxosctl.evidence.running_nodes import Progress, RunningNodes
from paxosd.recorder.files import DIRECTORY
from paxosd.recorder.served_names import FileClass

RECORDING = frozenset({FileClass.RECORDING})
RECORDED = frozenset({FileClass.RECORDING, FileClass.SMALL, FileClass.LOG})
VALUES = frozenset({FileClass.WAL})
SMALL = frozenset({FileClass.SMALL})
WITH_VALUES = RECORDED | {FileClass.WAL}
FOLLOWED_MS = 60_000
"""A file that was written to within that time of the newest is followed."""
AUDITED = frozenset({FileClass.RECORDING, FileClass.SMALL, FileClass.WAL})
HINT = "; to read what nodes left behind, name data directories, log files or a bundle"


@dataclass(slots=True)
class Wanted:
    """What is fetched from running nodes. ``kinds``: of files; ``span``: from when until when, in
    milliseconds, given the newest time of all recordings; None: all that there is."""

    kinds: frozenset[FileClass] = RECORDED
    span: Callable[[int], tuple[int, int | None]] | None = None


@dataclass(slots=True)
class Located:
    """Where the sources are. ``labels``: what a path below these directories is to be called."""

    names: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    running: RunningNodes | None = None
    directory: Path | None = None
    _silent: set[str] = field(default_factory=set)
    """Running nodes that hand out nothing, as was said."""

    @property
    def recorder_directories(self) -> list[Path]:
        """Where the recordings of running nodes are put, or will be."""
        if self.running is None or self.directory is None:
            return []
        return [self.directory / name / DIRECTORY for name in self.running.nodes]

    def say_silent(self) -> None:
        """On standard error: which of the running nodes hand out nothing, and which do again."""
        assert self.running is not None
        nodes = self.running.nodes.values()
        for node in nodes:
            if node.problem and node.name not in self._silent:
                say(f"paxosctl: {node.name} {node.problem}")
            elif not node.problem and node.name in self._silent:
                say(f"paxosctl: {node.name} is followed again")
        self._silent = {node.name for node in nodes if node.problem}

    def refresh(self) -> None:
        """Fetch what running nodes have recorded meanwhile. Files of before that are not wanted."""
        running = self.running
        if running is None:
            return
        running.list_files()
        self.say_silent()
        running.fetch(running.want(RECORDING, running.newest_ms - FOLLOWED_MS))
        running.troubles.clear()  # a node that went away is named by then

    def named(self, words: str) -> str:
        """A sentence with the names that the user knows."""
        for path, label in self.labels.items():
            words = words.replace(f"{path}/", label)
            words = words.replace(path, label.rstrip(":") or "the running nodes")
        return words

    def named_all(self, data: Any) -> Any:
        """The same for every text in plain data."""
        if isinstance(data, str):
            return self.named(data)
        if isinstance(data, dict):
            return {key: self.named_all(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.named_all(each) for each in data]
        return data


@contextmanager
def located(
    sources: Sequence[str], settings: Settings, wanted: Wanted | None = None
) -> Iterator[Located]:
    """The sources as files. Raises StreamError for a bundle that cannot be read, ClientError if no
    running node answers."""
    wanted = wanted or Wanted()
    with ExitStack() as stack:
        found = Located()
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paxosctl-")))
        if sources:
            for number, name in enumerate(sources):
                _add(found, name, scratch / f"bundle-{number}")
        else:
            _fetch(found, stack, settings, wanted, scratch / "nodes")
        for words in found.troubles:
            say(f"paxosctl: {found.named(words)}")
        try:
            yield found
        except StreamError as error:
            raise StreamError(found.named(str(error))) from error


def _add(found: Located, name: str, directory: Path) -> None:
    """A source that has a name. What is wrong with one that is no bundle is said elsewhere."""
    path = Path(name)
    if name == "-" or not path.is_file() or not is_bundle(path):
        found.names.append(name)
        return
    directory.mkdir()
    unpacked = opened_bundle(path, directory)
    found.names.append(str(directory))
    found.labels[str(directory)] = f"{name}:"
    found.troubles += [f"{name}: {each}" for each in unpacked.troubles]
    for node, each in unpacked.manifest["nodes"].items():
        if not any(file.startswith((f"{node}/", f"{node}.")) for file in unpacked.names):
            why = "it " + "; ".join(each["missing"]) if each["missing"] else "why, it does not say"
            found.troubles.append(f"{name} has nothing of {node}: {why}")


def _fetch(
    found: Located, stack: ExitStack, settings: Settings, wanted: Wanted, directory: Path
) -> None:
    directory.mkdir()
    client = stack.enter_context(settings.client())
    try:
        running = RunningNodes(client, directory)
    except ClientError:
        if settings.output != "json":
            say(f"paxosctl: the running nodes were asked, for no source is named{HINT}")
        raise
    if (forbids := running.forbids) is not None:
        words = f"recordings and logs are data: {forbids}{HINT}"
        raise ForbiddenError(forbids.code, words)
    with work_progress() as progress:
        fetch_span(running, wanted, partial(progress, "fetching from the nodes"))
    found.running, found.directory = running, directory
    found.names.append(str(directory))
    found.labels[str(directory)] = ""
    found.say_silent()
    found.troubles += running.troubles
    running.troubles = []
    if not any(node.files for node in running.nodes.values()):
        raise StreamError("; ".join(["no node hands out its recording", *running.problems]) + HINT)


def fetch_span(running: RunningNodes, wanted: Wanted, progress: Progress | None = None) -> None:
    """Fetch what is new of what is wanted."""
    since_ms, until_ms = wanted.span(running.newest_ms) if wanted.span is not None else (0, None)
    running.fetch(running.want(wanted.kinds, since_ms, until_ms), progress)
