"""The files of running nodes, fetched over the client's connections.

    survey ──► each node: status ──► file_list ──► file_read, a piece at a time ──► directory/NODE/…

All nodes are asked at the same time, each for one piece at a time, the newest files first. What a
node sends is not trusted: only names of the known forms are written, and no more bytes than were
asked for. A node that is silent, or too old, is a sentence in ``problems``; the rest is used.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paxosctl.cli.survey import NodeView, ask_all, members_of, survey
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, ForbiddenError, NotSubmittedError, RefusedError
from paxosd.config.schema import NAME_PATTERN
from paxosd.core.client.calls import Call
from paxosd.host.clock import clock_ms
from paxosd.recorder.served_names import LOG, FileClass, class_of

TURN_MS = 50
NODE_BYTES_MAX = 256 << 20
"""Of one class of files of one node: its newest."""
LOG_BYTES_MAX = 16 << 20
"""Of the lines in a node's log file: the last."""
FILES_MAX = 4000
SLACK_MS = 2_000
"""By so much a file system's times may be behind what is in the file."""
FILE_BYTES_MAX = 1 << 40
PIECE_BYTES = 256 << 10
"""In one answer."""
ORDER = (FileClass.RECORDING, FileClass.SMALL, FileClass.CONFIG, FileClass.LOG, FileClass.WAL)
"""The write-ahead log after the recording: a node that goes on has in it what it has said, so that
nothing that is recorded seems to be missing there."""
AGAIN_MS = 5_000
"""How often a node that did not answer is asked again."""


@dataclass(slots=True)
class RemoteFile:
    """One file of a node. ``have``: up to where it is here; ``begin``: from where on it is
    wanted."""

    name: str
    bytes: int
    mtime_ms: int
    begin: int = 0
    have: int = 0

    @property
    def kind(self) -> FileClass:
        """What is in it."""
        found = class_of(self.name)
        assert found is not None
        return found


@dataclass(slots=True)
class RemoteNode:
    """A node, and what it hands out. ``problem``: why that is nothing, in words; ``notes``: what is
    missing otherwise. ``forbids``: its refusal, where the rights of who asks are the reason."""

    name: str
    endpoint: str
    version: str = ""
    status: dict[str, Any] = field(default_factory=dict)
    files: dict[str, RemoteFile] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    forbids: ForbiddenError | None = None

    @property
    def newest_ms(self) -> int:
        """When its recording was written to last, by the clock of its machine; 0: it has none."""
        return max((f.mtime_ms for f in self.of(FileClass.RECORDING)), default=0)

    def of(self, kind: FileClass) -> list[RemoteFile]:
        """Its files of one class, the oldest first."""
        return [each for each in self.files.values() if each.kind is kind]


Progress = Callable[[int, int], object]
"""``progress(bytes done, bytes in all)``."""


class RunningNodes:
    """The nodes that a client reaches. Raises ClientError if none answers at all."""

    def __init__(self, client: Client, directory: Path) -> None:
        """``directory``: where their files are put, ``NODE/recorder/rec-….bin`` and so on, their
        logs as ``NODE.log``."""
        self._client = client
        self._directory = directory
        self.nodes: dict[str, RemoteNode] = {}
        self._again_ms = clock_ms() + AGAIN_MS
        self.troubles: list[str] = []
        """What was lost on the way, a sentence each."""
        self._look()

    @property
    def forbids(self) -> ForbiddenError | None:
        """The refusal of one of them, if all that answer refuse for the sake of rights."""
        nodes = [each for each in self.nodes.values() if each.version]
        if not nodes or any(each.forbids is None for each in nodes):
            return None
        return nodes[0].forbids

    @property
    def problems(self) -> list[str]:
        """A sentence for each node that hands out nothing."""
        return [f"{each.name} {each.problem}" for each in self.nodes.values() if each.problem]

    def _look(self) -> None:
        views = survey(self._client)
        for view in views:
            self.nodes[view.name] = _known(view)
        for name, member in members_of(views).items():
            if name not in self.nodes and is_node_name(name):
                self.nodes[name] = RemoteNode(name, member.client, problem="does not answer")
        self.list_files()

    def list_files(self) -> None:
        """Ask each node which files it has now; one that was silent, now and then."""
        again = clock_ms() >= self._again_ms
        if again:
            self._again_ms = clock_ms() + AGAIN_MS
        asked = {
            n.endpoint: n
            for n in self.nodes.values()
            if not n.problem or (again and is_node_name(n.name))
        }
        answers = ask_all(self._client, asked, "file_list")
        for endpoint, node in asked.items():
            answer = answers[endpoint]
            if answer.error is not None:
                node.problem = _why_no_files(node, answer.error)
                node.forbids = answer.error if isinstance(answer.error, ForbiddenError) else None
                continue
            try:
                _take_list(node, answer.body)
                node.problem = ""
            except (KeyError, TypeError, ValueError):
                node.problem = "answers with something else than a list of its files"

    @property
    def newest_ms(self) -> int:
        """The newest time of a recording, by the clock of the machine of the first node that has
        one: by it are the times in :meth:`want`. 0: none has."""
        nodes = [self.nodes[name] for name in sorted(self.nodes)]
        return next((node.newest_ms for node in nodes if node.newest_ms), 0)

    def ask_status(self) -> None:
        """Have the whole status of each node that answers in ``status``."""
        asked = {node.endpoint: node for node in self.nodes.values()}
        for endpoint, answer in ask_all(self._client, asked, "status").items():
            asked[endpoint].status = answer.body

    def want(
        self,
        kinds: frozenset[FileClass],
        since_ms: int = 0,
        until_ms: int | None = None,
        bytes_max: int = NODE_BYTES_MAX,
    ) -> dict[str, list[RemoteFile]]:
        """Node → which of its files are to be fetched, the newest first, for what happened between
        two times, by the clock of :attr:`newest_ms`. All running nodes have recorded something just
        now: so their newest times show how far their machines' clocks are apart."""
        wanted: dict[str, list[RemoteFile]] = {}
        reference_ms = self.newest_ms
        for name, node in self.nodes.items():
            chosen: list[RemoteFile] = []
            for kind in sorted(kinds, key=ORDER.index):
                files = node.of(kind)
                if kind is FileClass.RECORDING:
                    ahead_ms = node.newest_ms - reference_ms
                    end_ms = None if until_ms is None else until_ms + ahead_ms
                    files = _of_time(files, since_ms + ahead_ms if since_ms else 0, end_ms)
                most = LOG_BYTES_MAX if kind is FileClass.LOG else bytes_max
                chosen += self._newest(node, files, most)
            wanted[name] = chosen
        return wanted

    def _newest(
        self, node: RemoteNode, files: list[RemoteFile], bytes_max: int
    ) -> list[RemoteFile]:
        chosen: list[RemoteFile] = []
        left = bytes_max
        for file in reversed(files):
            if file.bytes > left and file.kind is FileClass.LOG:
                file.begin = max(file.begin, file.bytes - left)
            elif file.bytes > left and chosen:
                count = len(files) - len(chosen)
                words = f"{node.name}: its {count} oldest files of {file.name.partition('/')[0]}"
                note = f"{words} were not fetched: they are above {bytes_max >> 20} MiB"
                if note not in self.troubles:
                    self.troubles.append(note)
                break
            left -= file.bytes
            chosen.append(file)
        return chosen

    def fetch(self, wanted: dict[str, list[RemoteFile]], progress: Progress | None = None) -> None:
        """Bring the files here, or what is new of them, all nodes at a time."""
        transfers = [
            transfer
            for name, files in wanted.items()
            if (transfer := self._transfer(name, files)).begin()
        ]
        total = sum(f.bytes - max(f.begin, f.have) for files in wanted.values() for f in files)
        while transfers:
            self._client.turn(TURN_MS)
            for transfer in transfers:
                transfer.turn()
            if progress is not None:
                progress(sum(each.done_bytes for each in transfers), total)
            if all(each.ended for each in transfers):
                break
        for transfer in transfers:
            self.troubles += transfer.troubles

    def _transfer(self, name: str, files: list[RemoteFile]) -> "_Transfer":
        return _Transfer(self._client, self.nodes[name], files, self._directory)


def is_node_name(name: str) -> bool:
    """Whether it can be a node's, and so part of a path; an endpoint stands for a node that has not
    said its name."""
    return bool(re.fullmatch(NAME_PATTERN, name)) and not name.startswith(".")


def _known(view: NodeView) -> RemoteNode:
    if view.status is None:
        why = f"does not answer: {view.why}" if view.why else "does not answer"
        return RemoteNode(view.name, view.endpoint, problem=why)
    if not is_node_name(view.name):
        return RemoteNode(view.endpoint, view.endpoint, problem="has a name that no node can have")
    return RemoteNode(view.name, view.endpoint, view.status.version)


def _why_no_files(node: RemoteNode, error: ClientError) -> str:
    if isinstance(error, RefusedError) and "unknown verb" in str(error):
        return (
            f"runs version {node.version}, which cannot hand out its recording: name its data "
            "directory"
        )
    if isinstance(error, NotSubmittedError):
        return f"does not answer: {error}"
    if isinstance(error, ForbiddenError):
        return f"hands out neither recording nor log, for there is data in them: {error}"
    return f"does not hand out its recording: {error}"


def _take_list(node: RemoteNode, body: dict[str, Any]) -> None:
    listed = [each for each in body["files"][:FILES_MAX] if class_of(str(each["name"])) is not None]
    found: dict[str, RemoteFile] = {}
    for each in listed:
        name, size, mtime_ms = str(each["name"]), int(each["bytes"]), int(each["mtime_ms"])
        if not 0 <= size <= FILE_BYTES_MAX:
            raise ValueError(name)
        before = node.files.get(name)
        file = found[name] = RemoteFile(name, size, mtime_ms)
        if before is not None and size >= before.have:
            file.begin, file.have = before.begin, before.have
    node.files = found
    node.notes = [str(note) for note in body["notes"][:100]]


def _of_time(files: list[RemoteFile], since_ms: int, until_ms: int | None) -> list[RemoteFile]:
    """Those that may have something of that time: a file was begun when the one before it was
    written to last."""
    chosen = []
    begun_ms = 0
    for file in files:
        late = until_ms is not None and begun_ms > until_ms + SLACK_MS
        if file.mtime_ms + SLACK_MS >= since_ms and not late:
            chosen.append(file)
        begun_ms = file.mtime_ms
    return chosen


class _Transfer:
    """The files of one node, one piece at a time."""

    def __init__(
        self, client: Client, node: RemoteNode, files: list[RemoteFile], directory: Path
    ) -> None:
        self._client = client
        self._node = node
        self._files: Iterator[RemoteFile] = iter(files)
        self._file: RemoteFile | None = None
        self._directory = directory
        self._call: Call | None = None
        self._without_log = False
        self.done_bytes = 0
        self.troubles: list[str] = []

    @property
    def ended(self) -> bool:
        """Whether all is here, or given up."""
        return self._call is None

    def begin(self) -> bool:
        """Ask for the first piece; False: there is none to ask for."""
        self._next_file()
        return not self.ended

    def turn(self) -> None:
        """Take the piece that came, and ask for the next."""
        if self._call is None or not self._call.done:
            return
        file = self._file
        assert file is not None
        try:
            body = self._client.admin_result(self._call)
        except RefusedError as error:
            # Its oldest file is dropped while this goes on: that is no loss of the rest.
            if "is gone" not in str(error):
                self.troubles.append(f"{self._node.name}: {file.name}: {error}")
            self._give_up(file)
            self._next_file()
            return
        except ClientError as error:
            self.troubles.append(
                f"{self._node.name} stopped answering: what it has of {file.name} from byte "
                f"{file.have} on, and older files, are missing ({error})"
            )
            self._give_up(file)
            self._call = None
            return
        if not self._take(file, body):
            self.troubles.append(f"{self._node.name}: {file.name}: an answer that makes no sense")
            self._give_up(file)
            self._next_file()
        elif file.have < file.bytes:
            self._ask(file)
        else:
            self._next_file()

    def _take(self, file: RemoteFile, body: dict[str, Any]) -> bool:
        data, count = body.get("data"), body.get("bytes")
        if (
            body.get("name") != file.name
            or body.get("offset") != file.have
            or not isinstance(data, bytes)
            or type(count) is not int
            or not len(data) <= count <= PIECE_BYTES
        ):
            return False
        path = place_of(self._directory, self._node.name, file.name)
        first = file.have == file.begin
        if file.kind is FileClass.LOG:
            data += bytes(count - len(data))
            with open(path, "wb" if first else "ab") as target:
                # From the first whole line on.
                target.write(data[data.find(b"\n") + 1 :] if first and file.begin else data)
        else:
            with open(path, "wb" if first else "r+b") as target:
                target.seek(file.have)
                target.write(data)
                target.truncate(file.have + count)  # the zeros that the node left out
        file.have += count
        self.done_bytes += count
        if not count:  # it is shorter than it was
            file.bytes = file.have
        return True

    def _give_up(self, file: RemoteFile) -> None:
        """A part of a segment would look like a log that lacks what its node has said, and so would
        older segments without it: of a log only whole segments up to the newest are of use."""
        if file.kind is FileClass.WAL:
            self._without_log = True
            place_of(self._directory, self._node.name, file.name).unlink(missing_ok=True)

    def _ask(self, file: RemoteFile) -> None:
        args = {"name": file.name, "offset": file.have}
        self._call = self._client.start_admin("file_read", args, endpoint=self._node.endpoint)

    def _next_file(self) -> None:
        self._call = None
        for file in self._files:
            if self._without_log and file.kind is FileClass.WAL:
                continue
            file.have = max(file.have, file.begin)
            if file.have < file.bytes:
                path = place_of(self._directory, self._node.name, file.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = file
                self._ask(file)
                return


def place_of(directory: Path, node: str, name: str) -> Path:
    """Where a file of a node is put: both are of the known forms, and no paths."""
    return directory / f"{node}.log" if name == LOG else directory / node / name
