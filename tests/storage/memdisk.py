"""A disk in memory that forgets what was not synced, in whatever pieces a test asks for."""

import errno

from paxosd.storage import wal_open
from paxosd.storage.wal import WalOptions

SECTOR = 512
SMALL = 8192


class MemFile:
    def __init__(self, disk):
        self.disk = disk
        self.data = bytearray()
        self.durable = bytearray()
        self.unsynced = []  # [(offset, bytes)] in order

    def size(self):
        return len(self.data)

    def pread(self, n, offset):
        self.disk.step("pread")
        return bytes(self.data[offset : offset + n])

    def pwritev(self, buffers, offset):
        self.disk.step("pwritev")
        self._write(b"".join(buffers), offset)

    def _write(self, piece, offset):
        put(self.data, piece, offset)
        self.unsynced.append((offset, piece))

    def fdatasync(self):
        written, self.unsynced = self.unsynced, []  # after a failure they count as clean
        self.disk.step("fdatasync")
        self.disk.syncs += 1
        for offset, piece in written:
            put(self.durable, piece, offset)

    def allocate(self, size):
        self.disk.step("allocate")
        if size > len(self.data):
            self._write(bytes(size - len(self.data)), len(self.data))

    def truncate(self, size):
        del self.data[size:]
        del self.durable[size:]
        self.unsynced = [(at, piece[: size - at]) for at, piece in self.unsynced if at < size]

    def drop_cache(self, n, offset):
        pass

    def close(self):
        pass


class MemDisk:
    def __init__(self):
        self.files = {}
        self.durable_names = {}
        self.name_states = []  # the directory after each unsynced change
        self.fail = {}  # operation -> errno
        self.fail_after = {}  # operation -> how often it still works
        self.syncs = 0

    def step(self, operation):
        if operation in self.fail:
            left = self.fail_after.get(operation, 0)
            if left <= 0:
                raise OSError(self.fail[operation], errno.errorcode[self.fail[operation]])
            self.fail_after[operation] = left - 1

    def _changed(self):
        self.name_states.append(dict(self.files))

    def list(self):
        return list(self.files)

    def open(self, name, create=False):
        self.step("open")
        if name not in self.files:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", name)
            self.files[name] = MemFile(self)
            self._changed()
        return self.files[name]

    def rename(self, old, new):
        self.step("rename")
        if self.files[old] is self.files.get(new):
            return  # so POSIX has it: two names of one file stay two
        self.files[new] = self.files.pop(old)
        self._changed()

    def link(self, old, new):
        self.step("link")
        if new in self.files:
            raise FileExistsError(errno.EEXIST, "it exists", new)
        self.files[new] = self.files[old]
        self._changed()

    def unlink(self, name):
        del self.files[name]
        self._changed()

    def sync_dir(self):
        self.step("sync_dir")
        self.durable_names = dict(self.files)
        self.name_states = []

    def exists(self, name):
        return name in self.files

    def free_bytes(self):
        return 1 << 40

    def free_files(self):
        return -1

    def crash(self, keep_sector=lambda: False, keep_names=0):
        """The disk after a power loss. ``keep_sector()`` decides for each sector of an unsynced
        write whether it survived; ``keep_names`` how many unsynced directory changes did."""
        after = MemDisk()
        states = [self.durable_names, *self.name_states]
        copies = {}  # a file with two names is one afterwards, too
        for name, file in states[min(keep_names, len(states) - 1)].items():
            if id(file) in copies:
                after.files[name] = copies[id(file)]
                continue
            copy = after.files[name] = copies[id(file)] = MemFile(after)
            data = bytearray(file.durable)
            for offset, piece in file.unsynced:
                for start, part in sectors(offset, piece):
                    if keep_sector():
                        put(data, part, start)
            copy.data, copy.durable = data, bytearray(data)
        after.durable_names = dict(after.files)
        return after

    def copy(self):
        """The same after a clean stop of the machine."""
        return self.crash(keep_sector=lambda: True, keep_names=1 << 30)

    def contents(self):
        return {name: bytes(file.data) for name, file in self.files.items()}


def put(data, piece, offset):
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


def sectors(offset, piece):
    """Cut a write where the disk's sectors end."""
    at = 0
    while at < len(piece):
        n = min(SECTOR - (offset + at) % SECTOR, len(piece) - at)
        yield offset + at, piece[at : at + n]
        at += n


def nonces(seed=1):
    """Deterministic nonces that never repeat."""
    count = [seed << 32]

    def draw(n):
        count[0] += 1
        return count[0].to_bytes(n, "big")

    return draw


def open_wal(disk, seed=1, segment_bytes=SMALL, **more):
    options = WalOptions(
        segment_bytes=segment_bytes, prepare_ahead=False, random_bytes=nonces(seed)
    )
    return wal_open.open_wal(disk, cluster_id="c", node_id="n1", options=options, **more)
