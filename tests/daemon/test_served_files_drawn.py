"""Names, places and files as nobody should have them: nothing but what is listed is ever read."""

import os
import random

import pytest

from paxosd.replica.admin import FILE_READ_BYTES_MAX
from tests.daemon.test_served_files import home, names, served

__all__ = ["home"]
PARTS = (
    "..", ".", "", "/", "\0", "\n", "%2e%2e", "recorder", "wal", "log", "config.json", "identity",
    "rec-00000001.bin", "rec-1.bin", "rec-99999999999999999999.bin", "wal-00000001.log", "secret",
    "tail-mark", "LOCK", "snap-00000001.paxsnap", "rec-0000000\u0661.bin", "wal-00000001.log/", "~",
    "x" * 5000, "\\", "recorder/../secret", "/etc/passwd", "n1.log", "faults.json", "é",
)  # fmt: skip
OFFSETS = (0, 1, 299, 300, 301, 1 << 20, 1 << 31, (1 << 63) - 1)
COUNTS = (1, 7, 4096, FILE_READ_BYTES_MAX)


def drawn_name(rng):
    name = rng.choice(("", "/", "/")).join(rng.choices(PARTS, k=rng.randint(1, 4)))
    if rng.random() < 0.2 and name:
        place = rng.randrange(len(name))
        name = name[:place] + rng.choice("\0/.\n ") + name[place + rng.randint(0, 1) :]
    return name


@pytest.mark.parametrize("seed", range(4))
def test_drawn_requests(home, seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    (home / "recorder" / "rec-00000002.bin").symlink_to(home.parent / "secret")
    (home / "recorder" / "rec-00000003.bin").mkdir()
    os.mkfifo(home / "recorder" / "rec-00000004.bin")
    (home / "incarnation").symlink_to(home.parent / "secret")
    (home / "wal" / "wal-00000002.log").symlink_to("/dev/zero")
    files = served(home)
    listed = names(files)
    special = [f"recorder/rec-0000000{number}.bin" for number in (2, 3, 4)]
    special += ["incarnation", "wal/wal-00000002.log"]
    assert not listed.keys() & set(special)
    read = 0
    for _ in range(1500):
        name = rng.choice((drawn_name(rng), rng.choice(PARTS), *listed, *special))
        offset, count = rng.choice(OFFSETS), rng.choice(COUNTS)
        piece, refusal = {}, ""
        try:
            piece = files.read(name, offset, count)
        except (LookupError, OSError) as error:
            refusal = str(error)
        assert bool(piece) == (name in listed), (name, refusal)
        if not piece:
            assert len(refusal) < 300
            continue
        assert b"secret" not in piece["data"]
        assert len(piece["data"]) <= piece["bytes"] <= max(0, min(count, listed[name] - offset))
        read += 1
    assert read > 200


@pytest.mark.parametrize("seed", range(4))
def test_files_that_grow_shrink_and_go_meanwhile(home, seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    path, name = home / "recorder" / "rec-00000001.bin", "recorder/rec-00000001.bin"
    files = served(home)
    for _ in range(500):
        match rng.randrange(4):
            case 0:
                path.write_bytes(b"abc" * rng.randrange(2000))
            case 1 if path.exists():
                os.truncate(path, rng.randrange(100))
            case 2:
                path.unlink(missing_ok=True)
            case _:
                with path.open("ab") as file:
                    file.write(b"more")
        offset = rng.choice(OFFSETS)
        try:
            piece = files.read(name, offset, 4096)
        except LookupError:
            assert not path.exists()
            continue
        assert piece["total"] == path.stat().st_size
        assert piece["bytes"] == max(0, min(4096, piece["total"] - offset))
        assert name in names(files)
