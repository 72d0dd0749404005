"""Archives packed to do harm, and archives as they are: a folder whole or none, and never a byte outside it."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from core.records import Reject
from corpora.fetch import archive as unpacking
from corpora.fetch.archive import Bounds, unpack

FILES = {"a/b/one.txt": b"one" * 1000, "two.txt": b"two", "a/empty": b""}


def pack_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def pack_tar(path, files=FILES, mode="w:gz", entries=()):
    with tarfile.open(path, mode) as made:
        for entry in entries:
            made.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return path


def pack_seven(path, files=FILES):
    py7zr = pytest.importorskip("py7zr")
    # It will not pack names that lead out; those who mean harm have other packers.
    with pytest.MonkeyPatch.context() as patch, py7zr.SevenZipFile(path, "w") as made:
        patch.setattr("py7zr.py7zr.check_archive_path", lambda name: True)
        for name, data in files.items():
            made.writestr(data, name)
    return path


PACKERS = {"zip": pack_zip, "tar": lambda p, f=FILES: pack_tar(p, f, "w"), "tar.gz": pack_tar, "tar.xz": lambda p,
           f=FILES: pack_tar(p, f, "w:xz"),
           "7z": pack_seven}


@pytest.fixture(params=PACKERS)
def pack(request, tmp_path):
    return lambda files=FILES: PACKERS[request.param](tmp_path / "in" / "x.bin", files)


@pytest.fixture(autouse=True)
def place(tmp_path):
    (tmp_path / "in").mkdir()


def nothing_else(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir()) == ["in"] and len(list((tmp_path / "in").iterdir())) == 1


def test_what_was_packed_is_there(pack, tmp_path):
    assert unpack(pack(), tmp_path / "out") == sorted(FILES)
    assert {n: (tmp_path / "out" / n).read_bytes() for n in FILES} == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "in" / "x.bin", tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "c:/evil"])
def test_no_name_leads_out(pack, tmp_path, name):
    with pytest.raises(Reject, match="bad_archive"):
        unpack(pack({"good": b"1", name: b"2"}), tmp_path / "out")
    assert nothing_else(tmp_path)


def test_a_bomb_is_stopped_while_it_goes_off(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "RATIO_FROM_BYTES", 1 << 20)
    path = pack({"zeros": bytes(8 << 20)})
    if path.stat().st_size < 1 << 20:  # a plain tar cannot be one
        with pytest.raises(Reject, match="times its own size"):
            unpack(path, tmp_path / "out")
        assert nothing_else(tmp_path)
    with pytest.raises(Reject, match="more than 1000000 bytes"):
        unpack(path, tmp_path / "out", Bounds(bytes=1_000_000, ratio=1e9))
    assert nothing_else(tmp_path)


def test_too_many_entries(pack, tmp_path):
    with pytest.raises(Reject, match="more than 2 entries"):
        unpack(pack(), tmp_path / "out", Bounds(entries=2))
    assert nothing_else(tmp_path)


def test_a_damaged_archive_is_refused(pack, tmp_path):
    path = pack({"one": bytes(range(256)) * 400, "two": b"2"})
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:8], b"", b"PK\x03\x04" + bytes(100), b"hello" * 100):
        path.write_bytes(data)
        with pytest.raises(Reject, match="bad_archive"):
            unpack(path, tmp_path / "out")
        assert nothing_else(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = pack_zip(tmp_path / "in" / "x.zip", {"one": bytes(range(256)) * 40})
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(Reject, match="damaged"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(tmp_path, kind):
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with pytest.raises(Reject, match="link or a device"):
        unpack(pack_tar(tmp_path / "in" / "x.tar", entries=[entry]), tmp_path / "out")
    assert nothing_else(tmp_path)


def test_links_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "in" / "x.zip", "w") as made:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(entry, "/etc/passwd")
    with pytest.raises(Reject, match="link or a device"):
        unpack(tmp_path / "in" / "x.zip", tmp_path / "out")


def test_links_in_a_7z(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    (tmp_path / "in" / "link").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "in" / "x.7z", "w") as made:
        made.write(tmp_path / "in" / "link", "link")
    with pytest.raises(Reject, match="link or a device"):
        unpack(tmp_path / "in" / "x.7z", tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "in" / "x.zip", "w") as made:
        made.writestr("a", "1")
        made.writestr("A", "2")
    with pytest.raises(Reject, match="two entries"):
        unpack(tmp_path / "in" / "x.zip", tmp_path / "out")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    path = pack_tar(tmp_path / "in" / "x.tar", {"a": b"1", "a/b": b"2"}, "w")
    with pytest.raises(Reject, match="bad_archive"):
        unpack(path, tmp_path / "out")
    assert nothing_else(tmp_path)
