"""How far a fetch may go, and the one loop that tries again: bounded in attempts and in time, whatever a server does."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from core.records import Reject

Result = TypeVar("Result")
PROGRESS_BYTES = 1 << 20
"""An attempt that brings this much is no failure: long files come over bad lines piece by piece."""
LONGEST_PAUSE_S = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fetch may take. The defaults are those of `fetch` in params.yaml."""

    attempts: int = 5
    pause_s: float = 2.0  # before the second attempt; doubles, with jitter
    stall_s: float = 30.0  # longest silence of a server
    timeout_s: float = 3600.0  # for all attempts of one source together, pauses and waiting for a turn included
    max_bytes: int = 20 << 30
    per_host: int = 2  # fetches from one host at a time, over all processes of this project
    per_second: float = 1.0  # requests begun at one host
    height: int = 1080  # the tallest picture asked of a page
    cookies: str | None = None  # file of cookies, in Netscape's format, for pages

    @staticmethod
    def of(settings: Mapping[str, Any]) -> Limits:
        """Limits from the section `fetch` of params.yaml, as plain values; names that are none of theirs are passed over."""
        return Limits(**{name: settings[name] for name in Limits.__slots__ if name in settings})


class Again(Exception):
    """One attempt failed and another may do better. `at_most`: how often this may happen before it is believed."""

    def __init__(self, reason: str, detail: str, *, at_most: int | None = None, wait_s: float | None = None, brought: int = 0,
                 status: int | None = None):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.at_most, self.wait_s = reason, detail, at_most, wait_s
        self.brought, self.status = brought, status


class Slower(Again):
    """An attempt after which the host asks us to slow down: nothing is wrong with this one source, and others fare no better."""

    def __init__(self, detail: str):
        super().__init__("unreachable", detail)


class Log:
    """Lines about attempts, one JSON object each, appended to a file that is no output of the pipeline. None: kept nowhere."""

    def __init__(self, path: Path | None):
        self._path = path

    def __call__(self, **facts: Any) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())} | facts, ensure_ascii=False) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())  # one write: lines of several processes do not mix
        finally:
            os.close(handle)


def persist(attempt: Callable[[float], Result], where: str, limits: Limits, log: Log) -> Result:
    """What `attempt(deadline)` returns in the end; deadline is a time.monotonic().

    attempt raises Again where it failed and Reject where no attempt can do better. Raises Reject with the last reason once
    that came `at_most` times, once `limits.attempts` in all failed without progress, or when time runs out.
    """
    deadline = time.monotonic() + limits.timeout_s
    seen: Counter[str] = Counter()
    failed = total = 0
    while True:
        total += 1
        began = time.monotonic()
        try:
            result = attempt(deadline)
        except Again as error:
            log(at=where, attempt=total, outcome=error.reason, status=error.status, detail=error.detail[:500],
                brought=error.brought, seconds=round(time.monotonic() - began, 3))
            seen[error.reason] += 1
            failed += error.brought < PROGRESS_BYTES
            tried = f"{total} attempt{'s' * (total > 1)}"
            if failed >= limits.attempts or (error.at_most and seen[error.reason] >= error.at_most):
                raise Reject(error.reason, f"{where}: {error.detail} ({tried})") from error
            pause_s = pause(failed, limits.pause_s) if error.wait_s is None else error.wait_s
            if time.monotonic() + pause_s >= deadline:
                raise Reject(error.reason, f"{where}: {error.detail} ({tried}; the next would begin after more than "
                                           f"{limits.timeout_s:g} s)") from error
            time.sleep(pause_s)
        except Reject as reject:
            log(at=where, attempt=total, outcome=reject.reason, detail=reject.detail[:500],
                seconds=round(time.monotonic() - began, 3))
            raise
        else:
            log(at=where, attempt=total, outcome="done", seconds=round(time.monotonic() - began, 3))
            return result


def pause(failed: int, first_s: float) -> float:
    """Seconds before the next attempt: doubling, capped, and drawn from the upper half, so that many do not come at once."""
    return min(first_s * 2 ** max(0, failed - 1), LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)  # noqa: S311
