"""Progress of long work: a live bar on a terminal, a line now and then elsewhere, and a log with one line per reject."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

LOGS = Path(".babelface/logs")
EVERY_S = 10.0


class Progress:
    """Counts items done and dropped, and says how fast and how long still."""

    def __init__(self, title: str, *, total: int, done: int = 0, unit: str = "clips"):
        self._title, self._total, self._done, self._unit = title, total, done, unit
        self._began, self._at_start, self._said = time.monotonic(), done, time.monotonic()
        self._drops: Counter[str] = Counter()
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log_path = LOGS / f"{title.replace(' ', '-')}.log"
        self._log = open(self.log_path, "a", encoding="utf-8")  # noqa: SIM115
        self._write(f"start total={total} already_done={done}")
        self._bar = _bar(title, total, done)
        if done and done < total:
            self._say(f"{title}: resuming, {done:,}/{total:,} {unit} done already")

    def step(self, reason: str | None = None, item: str = "", detail: str = "") -> None:
        """One more item is done; `reason` when it was rejected."""
        self._done += 1
        if reason:
            self._drops[reason] += 1
            self._write(f"reject item={item} reason={reason} detail={detail!r}")
        if self._bar:
            self._bar[0].update(self._bar[1], completed=self._done, text=self._status())
        elif time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            self._say(f"{self._title}: {self._status()}")

    def close(self, stats: dict[str, Any] | None = None) -> None:
        """Ends the bar and prints one line that sums up."""
        if self._bar:
            self._bar[0].stop()
        took = time.monotonic() - self._began
        rows = f", {stats['kept']:,} kept, {stats['rejected']:,} rejected" if stats else ""
        reasons = Counter()
        for cell in (stats or {}).get("by_language", {}).values():
            reasons.update(cell["rejected"])
        why = f" ({_list(reasons)})" if reasons else ""
        self._say(f"{self._title}: {self._total:,} {self._unit} in {took:.1f} s{rows}{why}")
        self._write(f"end seconds={took:.2f}")
        self._log.close()

    def _status(self) -> str:
        rate = (self._done - self._at_start) / max(time.monotonic() - self._began, 1e-6)
        left = f", {(self._total - self._done) / rate:.0f} s left" if rate > 0 else ""
        drops = f", dropped {_list(self._drops)}" if self._drops else ""
        return f"{self._done:,}/{self._total:,} {self._unit}, {rate:.1f}/s{left}{drops}"

    def _say(self, line: str) -> None:
        print(line, flush=True)

    def _write(self, line: str) -> None:
        self._log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}\n")
        self._log.flush()


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items()))


def _bar(title: str, total: int, done: int) -> Any:
    if not sys.stdout.isatty():
        return None
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), transient=True)
    bar.start()
    return bar, bar.add_task(title, total=total, completed=done, text="")
