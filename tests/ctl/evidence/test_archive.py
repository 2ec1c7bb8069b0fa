"""A bundle from somebody else: nothing in it gets out of its place, and what is whole is used."""

import gzip
import hashlib
import io
import json
import random
import tarfile

import pytest
import zstandard

from paxosctl.evidence import archive
from paxosctl.evidence.archive import (
    MANIFEST,
    TOP,
    BundleError,
    digest_of,
    is_bundle,
    pack,
    place_of,
    unpack,
)
from paxosctl.evidence.manifest import FORMAT, NODES_MAX

REC = "n1/recorder/rec-00000001.bin"
FILES = {
    "n1/status.json": b"{}", "n1/identity": b"{}", REC: bytes(range(256)) * 40, "n1.log": b"line\n",
    "n1/wal/wal-00000001.log": b"w" * 3000,
}  # fmt: skip


def manifest_for(files, **more):
    stated = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    return {"format": FORMAT, "nodes": {"n1": {}}, "files": stated} | more


def made(path, files=None, *, zstd=True, manifest=None):
    """A bundle as paxosctl makes it."""
    files = FILES if files is None else files
    home = path.parent / f"{path.name}-made"
    for name, data in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    with open(path, "wb") as target:
        pack(target, home, manifest or manifest_for(files), files, zstd=zstd)
    return path


def hostile(path, *members, manifest=None):
    """A tar with these members after a manifest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        text = json.dumps(manifest or manifest_for({})).encode()
        first = tarfile.TarInfo(f"{TOP}/{MANIFEST}")
        first.size = len(text)
        tar.addfile(first, io.BytesIO(text))
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    path.write_bytes(zstandard.compress(packed.getvalue()))
    return path


def member(name, kind=tarfile.REGTYPE, **more):
    found = tarfile.TarInfo(name)
    found.type = kind
    for key, value in more.items():
        setattr(found, key, value)
    return found


@pytest.fixture
def out(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    return out


def there(tmp_path):
    """All files below the test's directory but bundles and what they were made of."""
    return {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and "-made" not in str(path) and ".tar" not in path.name
    }


@pytest.mark.parametrize("zstd", [True, False], ids=["zst", "gz"])
def test_what_is_packed_comes_out(tmp_path, out, zstd):
    path = made(tmp_path / ("b.tar.zst" if zstd else "b.tar.gz"), zstd=zstd)
    assert is_bundle(path)
    found = unpack(path, out)
    assert there(out) == FILES
    assert (found.troubles, sorted(found.names)) == ([], sorted(FILES))


def test_what_is_none_is_not_taken_for_one(tmp_path):
    for name, data in {
        "empty": b"", "text": b"hello", "log.gz": gzip.compress(b'{"event": 1}\n'),
        "cut.gz": gzip.compress(b"x" * 9999)[:40], "gz": b"\x1f\x8b", "tar": b"ustar" * 200,
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        assert not is_bundle(tmp_path / name), name


@pytest.mark.parametrize("zstd", [True, False], ids=["zst", "gz"])
def test_of_one_that_is_cut_off_what_is_whole_is_used(tmp_path, zstd):
    """At every length it ends in an error in words, or in files that are whole."""
    rng = random.Random(1)  # incompressible, so that the stream has many blocks
    files = FILES | {f"n2/recorder/rec-0000000{n}.bin": rng.randbytes(150_000) for n in range(1, 5)}
    whole = made(tmp_path / "b", files, zstd=zstd).read_bytes()
    most = refused = 0
    for length in [*range(0, 900, 37), *range(900, len(whole), 33_333), len(whole) - 1]:
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        out = tmp_path / f"out-{length}"
        out.mkdir()
        try:
            found = unpack(path, out)
        except BundleError:
            refused = length
            continue
        assert found.troubles or length >= len(whole) - 20
        got = there(out)
        assert set(got) == set(found.names)
        for name, data in got.items():
            assert data == files[name] or "recorder" in name or name.endswith(".log")
            assert files[name].startswith(data)
        most = max(most, len(got))
    assert most == len(files)
    # Of a zstd stream nothing is to be had of a block of 128 KiB that is not whole.
    assert refused < (140_000 if zstd else 5_000)


def test_a_byte_that_flipped_is_noticed(tmp_path):
    whole = bytearray(made(tmp_path / "b").read_bytes())
    unnoticed = []
    for place in range(20, len(whole), 97):
        spoiled = bytearray(whole)
        spoiled[place] ^= 0x10
        (tmp_path / "spoiled").write_bytes(spoiled)
        out = tmp_path / f"out-{place}"
        out.mkdir()
        try:
            found = unpack(tmp_path / "spoiled", out)
        except BundleError:
            continue
        if not found.troubles:
            unnoticed.append(place)
    assert unnoticed == []


NAMES = [
    "../out", "../../etc/passwd", "/etc/passwd", "", TOP, f"./{TOP}/n1/identity",
    *(
        f"{TOP}/{name}"
        for name in (
            "../x", "n1/../../x", "../n1.log", "n1/recorder/../../../x", "n1/LOCK",
            "n1/faults.json",
            "n1/recorder/rec-00000001.bin/x", "n1/log", "n1", "n1/", "/recorder", "..log", ".log",
            ".../identity", "./identity", "n 1/identity", "n1/wal/snap-00000001.paxsnap",
            "n" * 65 + "/identity", "n1\n/identity", "n1/recorder/rec-" + "\u0661" * 8 + ".bin",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_elsewhere(tmp_path, out, name):
    path = hostile(tmp_path / "b", (member(name), b"evil"))
    before = there(tmp_path)
    if not name.startswith("/"):
        assert place_of(name) is None
    with pytest.raises(BundleError):
        unpack(path, out)
    assert there(tmp_path) == before


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
        tarfile.DIRTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME,
        tarfile.XHDTYPE, tarfile.XGLTYPE, b"Z",
    ],
)  # fmt: skip
def test_only_plain_files(tmp_path, out, kind):
    link = member(f"{TOP}/n1/identity", kind, linkname="../../secret")
    path = hostile(tmp_path / "b", (link, b""), (member(f"{TOP}/n1/identity"), b"evil"))
    with pytest.raises(BundleError, match="no plain file"):
        unpack(path, out)
    assert there(out) == {}


def test_an_extended_header_is_not_read_into_memory(tmp_path, out):
    """It could say that it has gigabytes, and the library would read it whole."""
    name = f"{TOP}/n1/{'x' * 150}"
    with pytest.raises(BundleError, match="no plain file"):
        unpack(hostile(tmp_path / "b", (member(name), b"")), out)


def test_a_bomb_ends_at_the_bound(tmp_path, out, monkeypatch):
    monkeypatch.setattr(archive, "BYTES_MAX", 1 << 20)
    zeros = bytes(600 << 10)
    names = [f"{TOP}/n1/recorder/rec-0000000{n}.bin" for n in (1, 2, 3)]
    path = hostile(tmp_path / "b", *[(member(name), zeros) for name in names])
    assert path.stat().st_size < 5_000
    with pytest.raises(BundleError, match="more than"):
        unpack(path, out)
    assert sum(map(len, there(out).values())) <= 1 << 20
    monkeypatch.setattr(archive, "FILE_BYTES_MAX", 1 << 10)
    with pytest.raises(BundleError, match="larger than a file"):
        unpack(path, out)


def test_so_does_one_of_many_files(tmp_path, out, monkeypatch):
    monkeypatch.setattr(archive, "FILES_MAX", 10)
    names = [f"{TOP}/n1/recorder/rec-{n:08d}.bin" for n in range(20)]
    with pytest.raises(BundleError, match="more than"):
        unpack(hostile(tmp_path / "b", *[(member(name), b"") for name in names]), out)


def test_a_name_that_comes_twice(tmp_path, out):
    twice = [(member(f"{TOP}/n1/identity"), b"1"), (member(f"{TOP}/n1/identity"), b"2")]
    with pytest.raises(BundleError, match="twice"):
        unpack(hostile(tmp_path / "b", *twice), out)


def test_a_window_that_takes_all_memory_is_refused(tmp_path, out):
    params = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    data = made(tmp_path / "b").read_bytes()
    clear = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    with (
        open(tmp_path / "wide", "wb") as file,
        zstandard.ZstdCompressor(compression_params=params).stream_writer(file) as stream,
    ):
        stream.write(clear)
    with pytest.raises(BundleError, match="cut off or damaged at its beginning"):
        unpack(tmp_path / "wide", out)


WRONG = [
    {"made_by": [1]}, {"made_by": {"paxosctl": 1}}, {"notes": 7}, {"notes": [7]},
    {"cluster": {}}, {"made_at": 1}, {"wal": float("nan")}, {"wal": 1}, {"format": True},
    {"nodes": {"n1": {"missing": 5}}}, {"nodes": {"n1": {"missing": "abc"}}},
    {"nodes": {"n1": {"role": {}}}}, {"nodes": {str(each): {} for each in range(NODES_MAX + 1)}},
    {"files": {"n1.log": {}}}, {"files": {"n1.log": {"bytes": "x"}}},
    {"files": {"n1.log": {"bytes": -1}}}, {"files": {"n1.log": {"bytes": 1e300}}},
    {"files": {"n1.log": {"bytes": 1, "sha256": 1}}},
]  # fmt: skip


@pytest.mark.parametrize(
    "manifest",
    [
        b"", b"no json", b"[]", b"{}", b"null", b'{"format": "1", "nodes": {}, "files": {}}',
        b'{"format": 1, "nodes": [], "files": {}}',
        b'{"format": 1, "nodes": {"n1": 7}, "files": {}}',
        b"[" * 100_000, *(json.dumps(manifest_for({}) | each).encode() for each in WRONG),
    ],
    ids=range(9 + len(WRONG)),
)  # fmt: skip
def test_a_manifest_that_is_none(tmp_path, out, manifest):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        first = member(f"{TOP}/{MANIFEST}")
        first.size = len(manifest)
        tar.addfile(first, io.BytesIO(manifest))
    (tmp_path / "b").write_bytes(zstandard.compress(packed.getvalue()))
    with pytest.raises(BundleError, match="manifest"):
        unpack(tmp_path / "b", out)


def test_one_of_a_later_format_says_so(tmp_path, out):
    path = made(tmp_path / "b", manifest=manifest_for(FILES) | {"format": FORMAT + 1})
    with pytest.raises(BundleError, match="use the paxosctl of that version"):
        unpack(path, out)


def test_what_the_manifest_does_not_name_is_not_used(tmp_path, out):
    stated = {name: data for name, data in FILES.items() if name != "n1/identity"}
    changed = stated | {REC: b"other"}
    found = unpack(made(tmp_path / "b", manifest=manifest_for(changed)), out)
    assert set(there(out)) == set(FILES) - {"n1/identity"}
    assert found.troubles == [
        "n1/identity is not what the manifest says, and is not used",
        f"{REC} is not whole; it is used as far as it goes",
    ]
    assert digest_of(out / "n1.log")


@pytest.mark.parametrize("zstd", [True, False])
def test_what_follows_its_end_is_said(tmp_path, out, zstd):
    path = made(tmp_path / "b", zstd=zstd)
    path.write_bytes(path.read_bytes() * 2)
    found = unpack(path, out)
    assert set(found.names) == set(FILES)
    assert found.troubles == ["it is cut off or damaged: something follows its end"]


def test_the_checksum_at_its_end_is_read(tmp_path, out):
    path = made(tmp_path / "b", zstd=False)
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # the CRC of gzip
    path.write_bytes(data)
    assert "CRC check failed" in unpack(path, out).troubles[0]


def test_a_log_without_its_newest_part_is_not_used(tmp_path, out):
    files = {f"{n}/wal/wal-{k:08d}.log": b"%d" % k for n in ("n1", "n2") for k in (1, 2, 3)}
    changed = files | {"n1/wal/wal-00000002.log": b"other"}
    found = unpack(made(tmp_path / "b", files, manifest=manifest_for(changed)), out)
    assert set(there(out)) == set(files) - {f"n1/wal/wal-{k:08d}.log" for k in (1, 2)}
    assert found.troubles[-1] == (
        "n1/wal/wal-00000001.log is not used: a later part of that log is missing"
    )
