"""Files of DVC's own that a kill or a full disk cut short, because DVC rewrites them in place: put right before it reads them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = "dvc.lock"
KEPT = Path(".babelface/dvc.lock")  # as the last dvc that ended well left it
UNCACHED = Path(".babelface/uncached")  # holds a file for every instance whose result DVC did not get into its cache whole
LOST = "ERROR: failed to transfer"


def mend(root: Path = Path(".")) -> None:
    """Leaves both files whole, and copies into the cache what did not get there."""
    mend_rwlock(root)
    mend_lock(root)
    mend_cache(root)


def not_cached(name: str, root: Path = Path(".")) -> None:
    """Remembers that an instance's result is not in the cache whole. `dvc repro` says so, and yet records it and ends with status
    0."""
    (root / UNCACHED).mkdir(parents=True, exist_ok=True)
    (root / UNCACHED / name).touch()


def mend_cache(root: Path = Path(".")) -> bool:
    """Has DVC take the results of `not_cached` into its cache; whether none is left to take."""
    names = sorted(p.name for p in (root / UNCACHED).iterdir()) if (root / UNCACHED).is_dir() else []
    if names:
        done = subprocess.run([sys.executable, "-m", "dvc", "--wait-for-lock", "commit", "--force", "--quiet", *names],
                              cwd=root, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode or LOST in done.stdout:
            print(f"dvc could not copy {', '.join(names)} into its cache: "
                  f"{(done.stdout.strip().splitlines() or ['no reason given'])[-1]}",
                  file=sys.stderr)
            return False
        shutil.rmtree(root / UNCACHED)
    return True


def mend_rwlock(root: Path = Path(".")) -> bool:
    """Removes DVC's list of paths in use where a kill has cut it short; True where it did.

    DVC rewrites .dvc/tmp/rwlock in place, and afterwards refuses to work with a half of one. What a torn file said is lost
    anyway; the entries in it only named processes. Under DVC's own guard, so that a dvc at work is never mistaken for a torn
    file.
    """
    folder = root / ".dvc" / "tmp"
    path = folder / "rwlock"
    if _is_json(path):
        return False
    from dvc.lock import make_lock

    with make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder), wait=True):
        if _is_json(path):
            return False
        path.unlink()
    return True


def keep_lock(root: Path = Path(".")) -> None:
    """Copies a whole dvc.lock to where `mend_lock` finds it. Without room for the copy there is none, which harms nobody."""
    ours, kept = root / LOCK, root / KEPT
    if not ours.is_file() or _bytes(ours) == _bytes(kept) or not _is_lock(ours):
        return
    temp = kept.with_name(f".{kept.name}.{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ours, temp)
        if _is_lock(temp):
            os.replace(temp, kept)
    except OSError:
        pass
    finally:
        temp.unlink(missing_ok=True)


def mend_lock(root: Path = Path(".")) -> bool:
    """Puts the last whole dvc.lock in place of one that was cut short; True where it did.

    What ran since then runs again, and finds its items done. Where no whole one was kept, the torn one is moved aside. Under
    DVC's lock, so that a dvc at work is never mistaken for a torn file.
    """
    ours, kept = root / LOCK, root / KEPT
    if not ours.is_file() or _bytes(ours) == _bytes(kept) or _is_lock(ours):
        return False
    from dvc.lock import make_lock

    folder = root / ".dvc" / "tmp"
    with make_lock(str(folder / "lock"), tmp_dir=str(folder), wait=True):
        if _is_lock(ours):
            return False
        os.replace(ours, ours.with_name(f"{LOCK}.torn"))
        if _is_lock(kept):
            temp = ours.with_name(f".{LOCK}.{os.getpid()}")
            shutil.copyfile(kept, temp)
            os.replace(temp, ours)
    return True


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_json(path: Path) -> bool:
    """Whether a file is whole JSON, or not there."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except ValueError:
        return False
    return True


def _is_lock(path: Path) -> bool:
    """Whether a file is what DVC takes for its lock file."""
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        read: Any = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        COMPILED_LOCKFILE_SCHEMA(read)
    except (FileNotFoundError, yaml.YAMLError, Invalid):
        return False
    return True
