"""The file of a bundle: a tar, packed with zstd or gzip, of files of known names and nothing else.

    paxosd-bundle/manifest.json      first, so that what is missing at a torn end is known
    paxosd-bundle/n1/recorder/…      as in a data directory; n1/status.json, n1/config.json
    paxosd-bundle/n1.log

A bundle comes from somebody else: what is read out of it is bounded in number and bytes, whatever
it says of itself; a name is compared with the known forms and is never a path; a link, a device, a
directory or an extended header is no part of a bundle, and ends the reading.
"""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from paxosctl.cli.streams import StreamError
from paxosctl.evidence.manifest import FILES_MAX, ManifestError, parse_manifest
from paxosctl.evidence.running_nodes import is_node_name
from paxosd.recorder.served_names import FileClass, class_of

TOP = "paxosd-bundle"
MANIFEST = "manifest.json"
STATUS = "status.json"
WAL_HEADS = "wal-heads.json"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
GZIP_MAGIC = b"\x1f\x8b"
FILE_BYTES_MAX = 2 << 30
BYTES_MAX = 8 << 30
"""Of all files of a bundle in the clear. More is not written, and not read."""
MANIFEST_BYTES_MAX = 16 << 20
END_BYTES_MAX = 1 << 20
"""Of zeros behind the last file."""
WINDOW_BYTES_MAX = 128 << 20
"""So much memory a zstd stream may ask for."""
LEVEL = 3
_PIECE = 1 << 20
_MEMBER = re.compile(rf"{TOP}/(?:([^/]+)/(.+)|([^/]+)\.log)")


class BundleError(Exception):
    """The file is no bundle that can be read; the text says why."""


@dataclass(slots=True)
class Unpacked:
    """``manifest``: as it is in the bundle. ``names``: the files that are there, by their names in
    it, in their order; ``troubles``: a sentence for all that is not as the manifest says."""

    manifest: dict[str, Any] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    bytes: int = 0


def is_bundle(path: Path) -> bool:
    """Whether it begins as one does. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(4)
        if head[:2] == GZIP_MAGIC:
            file.seek(0)
            try:
                with gzip.open(file) as clear:
                    return _begins_so(clear.read(512))
            except (EOFError, OSError, zlib.error):
                return False
    return head == ZSTD_MAGIC


def _begins_so(block: bytes) -> bool:
    return block[257:262] == b"ustar" and block.startswith(f"{TOP}/".encode())


# ---- writing


def pack(
    target: IO[bytes],
    directory: Path,
    manifest: dict[str, Any],
    names: Iterable[str],
    *,
    zstd: bool,
) -> None:
    """Write a bundle of these files below ``directory``. Raises OSError."""
    with (
        _packer(target, zstd=zstd) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
        tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for name in names:
            with open(directory / name, "rb") as file:
                tar.addfile(_member(name, os.fstat(file.fileno()).st_size), file)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"{TOP}/{name}")
    member.size = size
    member.mode = 0o600
    return member


@contextmanager
def _packer(target: IO[bytes], *, zstd: bool) -> Iterator[IO[bytes]]:
    if zstd:
        import zstandard  # noqa: PLC0415 -- for bundles alone

        packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        with packer.stream_writer(target, closefd=False) as stream:
            yield stream
    else:
        with gzip.GzipFile(filename="", fileobj=target, mode="wb", mtime=0) as packed:
            yield packed  # type: ignore[misc]  # as good as IO[bytes]


def digest_of(path: Path) -> str:
    """SHA-256, in hex."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


# ---- reading


class _Member(tarfile.TarInfo):
    """Refuses all that is no plain file before anything of it is looked at."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        """A header, as the library reads it."""
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.isdir():
            raise BundleError(f'"{member.name:.80}" in it is no plain file: it is no bundle')
        if not 0 <= member.size <= FILE_BYTES_MAX:
            raise BundleError(f'"{member.name:.80}" in it is larger than a file of a bundle can be')
        return member


def unpack(path: Path, directory: Path) -> Unpacked:
    """All that is whole, below ``directory``. Raises BundleError, StreamError, OSError."""
    found = Unpacked()
    try:
        with _unpacker(path) as stream:
            _unpack(stream, directory, found)
    except _CutOffError as error:
        if not found.manifest:
            raise BundleError(f"it is cut off or damaged at its beginning ({error})") from error
        found.troubles.append(f"it is cut off or damaged: {error}")
    _compare(found, directory)
    return found


class _CutOffError(Exception):
    """The stream ends, or goes on with something that is none."""


@contextmanager
def _unpacker(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        if head[:2] == GZIP_MAGIC:
            try:
                with gzip.open(file) as packed:
                    yield packed  # type: ignore[misc]  # as good as IO[bytes]
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise _CutOffError(str(error)) from error
            return
        import zstandard  # noqa: PLC0415 -- for bundles alone

        unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
        try:
            with unpacker.stream_reader(file, read_across_frames=False) as stream:
                yield stream
        except zstandard.ZstdError as error:
            raise _CutOffError(str(error)) from error


def _unpack(stream: IO[bytes], directory: Path, found: Unpacked) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
            while (member := tar.next()) is not None:
                _take(tar, member, directory, found)
    except tarfile.TarError as error:
        words = "nothing follows its head" if str(error) == "empty file" else str(error)
        raise _CutOffError(words) from error
    _read_to_end(stream)


def _read_to_end(stream: IO[bytes]) -> None:
    """The checksum of the whole comes last, and is compared when all has been read. The manifest
    has no other."""
    left = END_BYTES_MAX
    while piece := stream.read(min(left, _PIECE)):
        left -= len(piece)
        if not left or piece.count(0) < len(piece):
            raise _CutOffError("something follows its end")


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path, found: Unpacked) -> None:
    source = tar.extractfile(member)
    assert source is not None
    if not found.manifest:
        if member.name != f"{TOP}/{MANIFEST}" or member.size > MANIFEST_BYTES_MAX:
            raise BundleError("it does not begin with a manifest: it is no bundle of paxosctl")
        found.manifest = _manifest(_whole(source, member.size))
        return
    place = place_of(member.name)
    if place is None:
        raise BundleError(f'"{member.name:.80}" in it has a name that nothing in a bundle has')
    if place in found.names:
        raise BundleError(f'"{member.name:.80}" comes twice in it')
    if found.bytes + member.size > BYTES_MAX or len(found.names) >= FILES_MAX:
        raise BundleError(f"it holds more than {BYTES_MAX >> 30} GiB or {FILES_MAX} files")
    target = directory / place
    target.parent.mkdir(parents=True, exist_ok=True)
    found.names[place] = None
    found.bytes += member.size
    _copy(source, target, member.size)


def place_of(name: str) -> str | None:
    """Where a member belongs, below the directory; None: nowhere."""
    match = _MEMBER.fullmatch(name)
    if match is None:
        return None
    node, file, log_of = match.groups()
    if not is_node_name(node or log_of):
        return None
    if log_of:
        return f"{log_of}.log"
    kind = class_of(file)
    known = file in (STATUS, WAL_HEADS) or (kind is not None and kind is not FileClass.LOG)
    return f"{node}/{file}" if known else None


def _copy(source: IO[bytes], target: Path, size: int) -> None:
    left = size
    with open(target, "xb") as file:
        while left and (piece := source.read(min(left, _PIECE))):
            file.write(piece)
            left -= len(piece)
    if left:
        raise _CutOffError(f"within {target.name}")


def _whole(source: IO[bytes], size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise _CutOffError("within the manifest")
    return data


def _manifest(data: bytes) -> dict[str, Any]:
    try:
        return parse_manifest(data)
    except ManifestError as error:
        raise BundleError(str(error)) from error


def _compare(found: Unpacked, directory: Path) -> None:
    """What is not whole: a recording and a log are used as far as they go, for a reader of them
    knows what is whole; the rest is dropped."""
    files = found.manifest["files"]
    missing = [name for name in files if name not in found.names]
    if missing:
        found.troubles.append(
            f"{len(missing)} of {len(files)} files are not in it, from {missing[0]:.80} on"
        )
    for name in list(found.names):
        stated = files.get(name)
        if stated is not None and stated.get("sha256") == digest_of(directory / name):
            continue
        kind = FileClass.LOG if name.endswith(".log") and "/" not in name else None
        kind = kind or class_of(name.partition("/")[2])
        if kind in (FileClass.RECORDING, FileClass.LOG) and stated is not None:
            found.troubles.append(f"{name} is not whole; it is used as far as it goes")
            continue
        found.troubles.append(f"{name} is not what the manifest says, and is not used")
        (directory / name).unlink()
        del found.names[name]
    _keep_whole_logs(found, directory)


def _keep_whole_logs(found: Unpacked, directory: Path) -> None:
    """Without its newest segments a log looks like one that lacks what its node has said: those
    before one that is missing are dropped."""
    broken: set[str] = set()
    segments = [
        each for each in found.manifest["files"]
        if class_of(each.partition("/")[2]) is FileClass.WAL
    ]  # fmt: skip
    for name in sorted(segments, key=lambda each: (len(each), each), reverse=True):
        node = name.partition("/")[0]
        if name not in found.names:
            broken.add(node)
        elif node in broken:
            found.troubles.append(f"{name} is not used: a later part of that log is missing")
            (directory / name).unlink()
            del found.names[name]


def opened_bundle(path: Path, directory: Path) -> Unpacked:
    """The same, for a verb. Raises StreamError: exit code 74."""
    try:
        return unpack(path, directory)
    except BundleError as error:
        raise StreamError(f"{path} is no bundle that can be read: {error}") from error
    except OSError as error:
        raise StreamError(f"{path} cannot be unpacked: {error.strerror or error}") from error
