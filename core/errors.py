"""Errors that the user can mend: a message in one line, no traceback. A disk that is full is one of them, wherever it shows."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class UserError(Exception):
    """Something the user can mend: printed without a traceback, exit status 2."""


class NoRoom(UserError):
    """A write failed for want of room. Nothing half written stays, and the same command goes on."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a disk, a quota or the largest allowed file is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def no_room(error: BaseException) -> NoRoom | None:
    """The error to show where `error` is about room (it then names the folder and what is free there), else None."""
    if not is_full(error):
        return None
    while getattr(error, "errno", None) not in FULL:
        error = error.__cause__ or error.__context__
    folder = _folder(getattr(error, "filename", None))
    free = shutil.disk_usage(folder)
    why = {errno.EFBIG: "a file would grow past the limit of this process (`ulimit -f`)",
           errno.EDQUOT: "your quota is used up"}.get(error.errno, "the disk is full")
    return NoRoom(f"no room left in {folder}: {why}; {_size(free.free)} of {_size(free.total)} are free there. "
                  "Make room, then run the same command: what is done stays, and it goes on from there")


def _folder(name: str | bytes | None) -> Path:
    """The folder of a file that could not be written, or the nearest above it that is still there."""
    path = Path(os.fsdecode(name)) if name else Path()
    while not path.is_dir():
        path = path.parent
    return path


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.2f} MB"
