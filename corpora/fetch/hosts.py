"""Turns at a host: so many fetches at a time and so many requests a second, over all processes that share one folder.

A host that asks us to slow down is left alone by all of them: for FIRST_HOLD_S, then twice as long each time it says so again. A
run whose patience (fetch.timeout_s since the first such word) ends before that asks nothing more of this host.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from core import shards
from core.records import Reject
from corpora.fetch.limits import Again, Limits

_POLL_S = 0.05
LONGEST_HOLD_S = 3600.0
FIRST_HOLD_S, MOST_HOLD_S = 300.0, 1200.0
"""After a request to slow down. Asked after 5, 15, 35 and 55 minutes, for YouTube speaks of "up to an hour"."""
FORGOTTEN_AFTER_S = 3600.0  # from the end of a hold on: who asks then to slow down asks for the first time


class Hosts:
    """Turns by lock files in `folder`: a lock goes with its process, however that ends."""

    def __init__(self, folder: Path, limits: Limits, run: str = ""):
        """run: whose patience it is. Who asks: with other cookies a host may see somebody else, and is asked at once."""
        self._folder, self._limits, self._run = Path(folder), limits, run
        self._who = _who(limits.cookies)

    @contextlib.contextmanager
    def turn(self, address: str, deadline: float) -> Iterator[float]:
        """Holds one of the host's places while the body runs, once its pace allows a request, and gives the time at which that
        was. Raises Again past the deadline, and Reject(unreachable) where this run has no patience left with the host."""
        folder = self._of(address)
        lock = self._place(folder, address, deadline)
        try:
            while True:
                time.sleep(self._pace(folder, address, deadline))
                self._open(folder, address)
                if self._held(folder)["until"] <= time.time():  # nobody was asked to slow down while we slept
                    break
            yield time.time()
        finally:
            lock.release()

    def hold(self, address: str, seconds: float) -> None:
        """No request to this host before so many seconds have passed: what a server asks for with Retry-After."""
        from filelock import FileLock

        folder = self._of(address)
        with FileLock(folder / "pace.lock", thread_local=False):
            following = max(_read(folder / "next"), time.time() + min(seconds, LONGEST_HOLD_S))
            (folder / "next").write_text(repr(following))

    def slower(self, address: str, began: float, said: str) -> Again | Reject:
        """What to raise after a host asked us to slow down, in the words `said`, in answer to what began at `began`: to wait, or
        Reject(unreachable) where this run's patience ends before that."""
        from filelock import FileLock

        folder, host = self._of(address), _host(address)
        with FileLock(folder / "pace.lock", thread_local=False):
            held, now = self._held(folder), time.time()
            known = began < held["told"]  # that one was on its way when another was told the same
            if not known:
                hold_s = min(FIRST_HOLD_S * 2 ** held["times"], MOST_HOLD_S)
                held |= {"told": now, "until": now + hold_s, "times": held["times"] + 1, "said": said}
            since = held["since"].setdefault(self._run, now)
            if held["until"] > since + self._limits.timeout_s and self._run not in held["closed"]:
                held["closed"].append(self._run)
            shards.write_json(folder / "slower.json", held | {"who": self._who})
        closed = self._run in held["closed"]
        if not known:
            print(f"{host} asks us to slow down: {said[:200]}; " + ("nothing more is asked of it in this run" if closed else
                  f"nothing is asked of it for {held['until'] - now:.0f} s"), file=sys.stderr)
        if closed:
            return self._closed(host, held)
        return Again("unreachable", said, wait_s=max(0.0, held["until"] - now))

    def well(self, address: str, began: float) -> None:
        """What began at `began` was answered as it should: the host is no longer asking us to slow down."""
        from filelock import FileLock

        folder = self._of(address)
        if (folder / "slower.json").exists():
            with FileLock(folder / "pace.lock", thread_local=False):
                if 0 < self._held(folder)["told"] <= began:  # else it is another visitor's
                    (folder / "slower.json").unlink(missing_ok=True)

    def _held(self, folder: Path) -> dict:
        """What is known of a host's asking us to slow down: told, until (times), times, since and closed (by run), said."""
        nothing = {"told": 0.0, "until": 0.0, "times": 0, "since": {}, "closed": [], "said": ""}
        try:
            found = json.loads((folder / "slower.json").read_text())
        except (OSError, ValueError):
            return nothing
        now = time.time()
        fresh = found["told"] <= now < found["until"] + FORGOTTEN_AFTER_S  # a clock that was set back must not hold us
        return nothing | found if fresh and found["who"] == self._who else nothing

    def _open(self, folder: Path, address: str) -> None:
        held = self._held(folder)
        if self._run in held["closed"]:
            raise self._closed(_host(address), held)

    def _closed(self, host: str, held: dict) -> Reject:
        return Reject("unreachable", f"{host} asks us to slow down ({held['times']} times so far; {held['said']}), and this run "
                      f"has waited as long as fetch.timeout_s lets it. Go on later, with fetch.cookies, or slower "
                      "(fetch.per_second, fetch.per_host): babelface download --retry unreachable")

    def _of(self, address: str) -> Path:
        folder = self._folder / (re.sub(r"[^a-z0-9.-]", "_", _host(address))[:120] or "none")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _place(self, folder: Path, address: str, deadline: float):
        from filelock import FileLock, Timeout

        while True:
            self._open(folder, address)
            for place in range(self._limits.per_host):
                lock = FileLock(folder / f"place-{place}.lock", thread_local=False)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                return lock
            if time.monotonic() >= deadline:
                raise Again("unreachable", f"no turn at {_host(address)} in time; fetch.per_host is {self._limits.per_host}",
                            at_most=1)
            time.sleep(_POLL_S * random.uniform(1, 2))  # noqa: S311

    def _pace(self, folder: Path, address: str, deadline: float) -> float:
        """Seconds to wait before the request that is hereby booked."""
        from filelock import FileLock

        with FileLock(folder / "pace.lock", thread_local=False):
            now = time.time()
            start = max(now, min(_read(folder / "next"), now + LONGEST_HOLD_S))  # a clock that was set back must not hold us
            start = max(start, self._held(folder)["until"])
            if time.monotonic() + start - now >= deadline:
                raise Again("unreachable", f"{_host(address)} asks for {start - now:.0f} s of pause, longer than is left",
                            at_most=1)
            (folder / "next").write_text(repr(start + 1 / self._limits.per_second))
        return start - now


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2].lower()


def _who(cookies: str | None) -> list:
    """What tells one visitor from another: the file of cookies, and when it was last changed."""
    try:
        return [cookies, Path(cookies).expanduser().stat().st_mtime_ns] if cookies else []
    except OSError:
        return [cookies]


def _read(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0
