"""Which GPU a stage gets: a card of this machine behind a file lock, named to the stage in CUDA_VISIBLE_DEVICES.

The locks lie in one folder for all users and clones of the machine and end with the process that holds them, however it ends.
How many GPU stages run over all machines is Prefect's limit `gpu` (flows/build.py). Without a GPU nothing is locked.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")
POLL_S = 0.5


def folder() -> Path:
    """Where the locks of this machine lie: BABELFACE_GPU_LOCKS, else a folder of the system's for temporary files."""
    return Path(os.environ.get("BABELFACE_GPU_LOCKS") or Path(tempfile.gettempdir()) / "babelface-gpu")


def cards() -> list[str]:
    """The cards this process may use, by UUID, in the driver's order; none where there is no driver.

    CUDA_VISIBLE_DEVICES, as Slurm and containers set it, is obeyed: numbers in it count in nvidia-smi's order. With MIG, a card
    is one instance. BABELFACE_GPUS names the cards where nvidia-smi cannot be asked.
    """
    given = os.environ.get("BABELFACE_GPUS")
    found = [w for w in given.split(",") if w] if given is not None else list(_found())
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None or not found:
        return found
    chosen = []
    for word in (w.strip() for w in allowed.split(",")):
        by_number = word.isdigit() and int(word) < len(found)
        hits = [found[int(word)]] if by_number else [c for c in found if word and c.startswith(word)]
        if not hits:  # as CUDA does: the first name that is none ends the list
            break
        chosen += hits[:1]
    return list(dict.fromkeys(chosen))


@lru_cache(maxsize=1)
def _found() -> tuple[str, ...]:
    if not DRIVER.is_dir():
        return ()
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False,
                                stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.TimeoutExpired):
        listed = ""
    return parse_listing(listed) or tuple(
        m[1] for p in sorted(DRIVER.glob("*/information")) if (m := re.search(r"GPU UUID:\s*(GPU-[0-9a-f-]+)", p.read_text())))


def parse_listing(text: str) -> tuple[str, ...]:
    """UUIDs out of what `nvidia-smi -L` prints; a card that is split by MIG counts as its instances."""
    names: list[str] = []
    for kind, uuid in re.findall(r"UUID: ((?:GPU|MIG)-)([^)\s]+)\)", text):
        if kind == "MIG-" and names and names[-1].startswith("GPU-"):
            names.pop()
        names.append(kind + uuid)
    return tuple(names)


@contextmanager
def held(n: int, stop: threading.Event | None = None) -> Iterator[dict[str, str]]:
    """What a stage that needs `n` GPUs gets in its environment, with that many cards locked; waits until they are free.

    Nothing where it needs none or the machine has none; all there are where it asks for more. Ends early, with nothing, once
    `stop` is set. All or none are taken, so two that want two of two cannot wait for each other.
    """
    known = cards()
    n = min(n, len(known))
    if n < 1:
        yield {}
        return
    stop = stop or threading.Event()
    locks: dict[str, int] = {}
    try:
        while not stop.is_set():
            for card in known:
                if len(locks) < n and (lock := _try(card)) is not None:
                    locks[card] = lock
            if len(locks) == n:
                break
            _release(locks)
            stop.wait(POLL_S)
        yield {"CUDA_VISIBLE_DEVICES": ",".join(locks)} if locks else {}
    finally:
        _release(locks)


def _try(card: str) -> int | None:
    """The open lock file of a card, or None where somebody else holds it."""
    place = folder()
    if not place.is_dir():
        with suppress(FileExistsError):
            place.mkdir(parents=True)
            place.chmod(0o1777)  # every user of the machine
    path = place / f"{re.sub(r'[^A-Za-z0-9-]', '_', card)}.lock"
    try:
        # Without O_CREAT where it exists: Linux lets nobody create over another user's file in a sticky folder.
        number = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        number = os.open(path, os.O_RDONLY | os.O_CREAT, 0o444)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        return None
    return number


def _release(locks: dict[str, int]) -> None:
    for number in locks.values():
        os.close(number)
    locks.clear()
