"""Hashes of large folders for the plan, without looking at each file through DVC again.

DVC asks its table for every file of a folder, once for every stage that reads it: 100,000 clips are asked for 14 times. Here a
folder whose files all have the names, sizes, times and inodes of last time has the hash of last time, which is what DVC's table
says file by file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KNOWN = Path(".babelface/folders.json")


@contextlib.contextmanager
def quick_hashes(root: Path = Path(".")) -> Iterator[None]:
    """While it lasts, DVC takes the hash of a folder that did not change from KNOWN."""
    from dvc.output import Output
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta

    ignored = b"".join(p.read_bytes() for p in [root / ".dvcignore"] if p.is_file())
    known, seen = _read(root / KNOWN), {}
    before = json.dumps(known, sort_keys=True)
    real = Output._get_hash_meta

    def quick(self: Any) -> tuple[Any, Any]:
        path = str(self.fs_path)
        if self.fs.protocol != "local" or not os.path.isdir(path):
            return real(self)
        if path not in seen:
            seen[path] = signature(path, ignored)
        if seen[path] is None:
            return real(self)
        mark = f"{seen[path]} {self.hash_name}"
        if known.get(path, {}).get("mark") != mark:
            meta, found = real(self)
            known[path] = {"mark": mark, "name": found.name, "value": found.value, "size": meta.size, "nfiles": meta.nfiles}
        entry = known[path]
        return Meta(size=entry["size"], nfiles=entry["nfiles"], isdir=True), HashInfo(entry["name"], entry["value"])

    Output._get_hash_meta = quick
    try:
        yield
    finally:
        Output._get_hash_meta = real
        known = {path: entry for path, entry in known.items() if os.path.isdir(path)}
        if json.dumps(known, sort_keys=True) != before:
            _write(root / KNOWN, known)


def signature(folder: str, more: bytes = b"") -> str | None:
    """sha256 hex over names, sizes, modification times and inodes of all that lies below `folder`; None where a link leads to
    another folder, whose files would have to be looked at, too."""
    total = hashlib.sha256(more)
    todo = [folder]
    while todo:
        place = todo.pop()
        lines = []
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.is_symlink() and entry.is_dir():
                    return None
                about = entry.stat(follow_symlinks=os.path.exists(entry.path))
                lines.append(f"{entry.name}\0{about.st_mode}\0{about.st_size}\0{about.st_mtime_ns}\0{about.st_ino}\n")
        total.update(f"{place}\n".encode() + "".join(sorted(lines)).encode("utf-8", "surrogateescape"))
        todo.sort()
    return total.hexdigest()


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (FileNotFoundError, ValueError):
        return {}


def _write(path: Path, known: dict[str, Any]) -> None:
    """Without room for it there is none, and the next plan looks at every file."""
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temp.write_text(json.dumps(known, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(temp, path)
    temp.unlink(missing_ok=True)
