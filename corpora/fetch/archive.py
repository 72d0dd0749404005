"""Archives unpacked as if a stranger had packed them: zip, tar (gz, bz2, xz) and 7z, into a folder that comes whole or not.

Refused: names that lead out of the folder, links, devices, two entries of one name, more entries or bytes than allowed, and more
bytes than a real archive of that size holds. Sizes are counted while they come; what an archive says of itself is not believed.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from core.errors import is_full
from core.records import Reject
from corpora.index.files import plain_name

BLOCK_BYTES = 1 << 20
RATIO_FROM_BYTES = 64 << 20
"""Below this much the ratio says nothing: a short text of spaces packs a thousandfold."""
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, NotImplementedError,
            RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may come out of one archive."""

    entries: int = 2_000_000
    bytes: int = 4 << 40
    ratio: float = 200.0  # bytes out per byte of the archive; media hardly packs at all, tables tenfold


class _Count:
    """What has come out so far, and the names taken."""

    def __init__(self, archive: Path, bounds: Bounds):
        self._archive, self._bounds = archive, bounds
        self._most = max(RATIO_FROM_BYTES, bounds.ratio * archive.stat().st_size)
        self._names: set[str] = set()
        self.n_bytes = 0

    def name(self, name: str) -> PurePosixPath:
        """The entry's path below the folder. Raises Reject(bad_archive)."""
        try:
            path = PurePosixPath(plain_name(name))
        except Reject as reject:
            raise self.refuse(reject.detail) from None
        if not path.parts:
            raise self.refuse(f"the entry {name!r} has no name")
        plain = path.as_posix().casefold()  # on some file systems A and a are one file
        if plain in self._names:
            raise self.refuse(f"two entries are called {name[:200]!r}")
        self._names.add(plain)
        if len(self._names) > self._bounds.entries:
            raise self.refuse(f"more than {self._bounds.entries} entries")
        return path

    def add(self, n: int) -> None:
        """Counts bytes that are about to be written. Raises Reject(bad_archive)."""
        self.expect(n)
        self.n_bytes += n

    def expect(self, n: int) -> None:
        """Raises Reject(bad_archive) where so many bytes more would be too many."""
        if self.n_bytes + n > self._bounds.bytes:
            raise self.refuse(f"more than {self._bounds.bytes} bytes come out of it")
        if self.n_bytes + n > self._most:
            raise self.refuse(f"more than {self._bounds.ratio:g} times its own size comes out of it")

    def refuse(self, why: str) -> Reject:
        return Reject("bad_archive", f"{self._archive.name}: {why}")


def unpack(archive: Path, folder: Path, bounds: Bounds = Bounds()) -> list[str]:
    """The sorted names of the files that `folder`, which must not exist or be empty, then holds. Modes and times are not kept.

    Raises Reject(bad_archive); FileExistsError where the folder holds something."""
    if not archive.is_file():
        raise FileNotFoundError(f"{archive}: no such archive")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there and holds something; name a new folder")
    reader = _reader(archive)
    count, names = _Count(archive, bounds), []
    folder.parent.mkdir(parents=True, exist_ok=True)
    following = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".next"))

    def create(name: PurePosixPath) -> BinaryIO:
        path = following / name
        path.parent.mkdir(parents=True, exist_ok=True)
        names.append(name.as_posix())
        return path.open("xb")

    try:
        try:
            reader(archive, count, create)
        except _DAMAGED as error:
            if is_full(error):  # no fault of the archive
                raise
            raise count.refuse(f"damaged, or packed in a way that is not known here ({type(error).__name__}: {error})") from error
        for root, _, files in os.walk(following):
            os.chmod(root, 0o755)
            for file in files:
                with open(Path(root) / file, "rb+") as written:
                    os.fsync(written.fileno())
        os.replace(following, folder)
    except BaseException:
        shutil.rmtree(following, ignore_errors=True)
        raise
    return sorted(names)


Create = Callable[[PurePosixPath], BinaryIO]


def _reader(archive: Path) -> Callable[[Path, _Count, Create], None]:
    """By the first bytes: a name can lie."""
    with archive.open("rb") as file:
        head = file.read(8)
    if head[:6] == b"7z\xbc\xaf\x27\x1c":
        return _seven
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip
    try:
        if tarfile.is_tarfile(archive):
            return _tar
    except _DAMAGED:
        pass
    raise Reject("bad_archive", f"{archive.name}: neither zip, tar, tar.gz, tar.bz2, tar.xz nor 7z, or damaged at its beginning")


def _pour(source: BinaryIO, file: BinaryIO, count: _Count) -> None:
    with file:
        while block := source.read(BLOCK_BYTES):
            count.add(len(block))
            file.write(block)


def _zip(archive: Path, count: _Count, create: Create) -> None:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise count.refuse(f"{entry.filename!r} is a link or a device")
            if entry.flag_bits & 1:
                raise count.refuse(f"{entry.filename!r} is encrypted; unpack it yourself")
            # orig_filename: the other one is cut at a null byte, which hides what follows.
            name = count.name(entry.orig_filename)
            if not entry.is_dir():
                with opened.open(entry) as source:
                    _pour(source, create(name), count)


def _tar(archive: Path, count: _Count, create: Create) -> None:
    with tarfile.open(archive, "r:*") as opened:
        for entry in opened:
            if not (entry.isreg() or entry.isdir()):
                raise count.refuse(f"{entry.name!r} is a link or a device")
            if entry.isdir():
                if entry.name.strip("./"):  # anything but the folder itself
                    count.name(entry.name)
                continue
            name = count.name(entry.name)
            count.expect(entry.size)  # before anything is read: a sparse file can say petabytes in a few bytes
            _pour(opened.extractfile(entry), create(name), count)


def _seven(archive: Path, count: _Count, create: Create) -> None:
    try:
        import py7zr
        from py7zr.exceptions import ArchiveError
        from py7zr.io import Py7zIO, WriterFactory
    except ImportError as error:
        raise Reject("bad_archive", f"{archive.name}: to unpack 7z the package py7zr is needed; pip install py7zr") from error

    class Writer(Py7zIO):
        """Writes one entry to its file and counts."""

        def __init__(self, file: BinaryIO):
            self._file, self._n = file, 0

        def write(self, s):
            count.add(len(s))
            self._n += len(s)
            return self._file.write(s)

        def read(self, size=None):
            return b""

        def seek(self, offset, whence=0):
            return 0

        def flush(self):
            if not self._file.closed:
                self._file.flush()

        def size(self):
            return self._n

        def close(self):
            self._file.close()

    wanted: dict[str, PurePosixPath] = {}

    class Factory(WriterFactory):
        """A Writer for each name of the list that was looked through before."""

        def create(self, filename):
            if filename not in wanted:
                raise count.refuse(f"{filename[:200]!r} is not in the archive's own list")
            return Writer(create(wanted.pop(filename)))

    try:
        with py7zr.SevenZipFile(archive) as opened:
            if opened.needs_password():
                raise count.refuse("encrypted; unpack it yourself")
            for entry in opened.list():
                if entry.is_symlink or not (entry.is_file or entry.is_directory):
                    raise count.refuse(f"{entry.filename!r} is a link or a device")
                name = count.name(entry.filename)
                if not entry.is_directory:
                    wanted[entry.filename] = name
            opened.reset()
            opened.extractall(factory=Factory())
        for name in wanted.values():  # empty files have no bytes to hand over
            create(name).close()
    except ArchiveError as error:
        raise count.refuse(f"damaged, or packed in a way that is not known here ({type(error).__name__}: {error})") from error
