"""Turns at a host: so many fetches at a time and so many requests a second, over all processes that share one folder."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from corpora.fetch.limits import Again, Limits

_POLL_S = 0.05
LONGEST_HOLD_S = 3600.0


class Hosts:
    """Turns by lock files in `folder`: a lock goes with its process, however that ends."""

    def __init__(self, folder: Path, limits: Limits):
        self._folder, self._limits = Path(folder), limits

    @contextlib.contextmanager
    def turn(self, address: str, deadline: float) -> Iterator[None]:
        """Holds one of the host's places while the body runs, once its pace allows a request. Raises Again past the deadline."""
        folder = self._of(address)
        lock = self._place(folder, address, deadline)
        try:
            time.sleep(self._pace(folder, address, deadline))
            yield
        finally:
            lock.release()

    def hold(self, address: str, seconds: float) -> None:
        """No request to this host before so many seconds have passed: what a server asks for with Retry-After."""
        from filelock import FileLock

        folder = self._of(address)
        with FileLock(folder / "pace.lock", thread_local=False):
            following = max(_read(folder / "next"), time.time() + min(seconds, LONGEST_HOLD_S))
            (folder / "next").write_text(repr(following))

    def _of(self, address: str) -> Path:
        host = urlsplit(address).netloc.rpartition("@")[2].lower()
        folder = self._folder / (re.sub(r"[^a-z0-9.-]", "_", host)[:120] or "none")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _place(self, folder: Path, address: str, deadline: float):
        from filelock import FileLock, Timeout

        while True:
            for place in range(self._limits.per_host):
                lock = FileLock(folder / f"place-{place}.lock", thread_local=False)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                return lock
            if time.monotonic() >= deadline:
                raise Again("unreachable",
                            f"no turn at {urlsplit(address).netloc} in time; fetch.per_host is {self._limits.per_host}")
            time.sleep(_POLL_S * random.uniform(1, 2))  # noqa: S311

    def _pace(self, folder: Path, address: str, deadline: float) -> float:
        """Seconds to wait before the request that is hereby booked."""
        from filelock import FileLock

        with FileLock(folder / "pace.lock", thread_local=False):
            now = time.time()
            start = max(now, min(_read(folder / "next"), now + LONGEST_HOLD_S))  # a clock that was set back must not hold us
            if time.monotonic() + start - now >= deadline:
                raise Again("unreachable",
                            f"{urlsplit(address).netloc} asks for {start - now:.0f} s of pause, longer than is left")
            (folder / "next").write_text(repr(start + 1 / self._limits.per_second))
        return start - now


def _read(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0
