"""What a build says: a line or a live display per instance, the table at the end, the main table of the results."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.graph import Outcome
from flows.plan import MAY, RUN, Plan
from flows.spec import REPORT

DOCUMENT = Path("data/aggregate/all/report.json")


def plan_line(plan: Plan) -> str:
    """One line: how much is out of date."""
    return f"{plan.n_instances} instances: {plan.count(RUN)} to run, {plan.count(MAY)} may follow"


def plan_table(plan: Plan) -> Any:
    """A rich table of a plan, wave by wave."""
    from rich.table import Table

    table = Table(title=plan_line(plan), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("wave", "instance", "state", "why", "needs"):
        table.add_column(name, overflow="fold")
    items = {item.name: item for item in plan.items}
    for k, wave in enumerate(plan.waves, 1):
        for name in wave:
            item = items[name]
            needs = f"{item.cpus} cpu" + (", gpu if there is one" if item.gpu else "")
            table.add_row(str(k), name, item.state, item.why, needs, style=None if item.state == RUN else "dim")
    return table


class Live:
    """Progress of a build: one live line on a terminal above the finished ones, a line per finished instance elsewhere."""

    def __init__(self, total: int):
        self._total, self._done, self._began, self._running = total, 0, time.monotonic(), {}
        self._counts: Counter[str] = Counter()
        self._status = None

    def __enter__(self) -> Live:
        if sys.stdout.isatty():
            from rich.console import Console

            self._status = Console().status(self._text())
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def started(self, name: str) -> None:
        """An instance has begun."""
        self._running[name] = time.monotonic()
        self._refresh()

    def finished(self, outcome: Outcome) -> None:
        """An instance has an outcome."""
        self._running.pop(outcome.name, None)
        self._done += 1
        self._counts[outcome.status] += 1
        took = f" {outcome.seconds:.1f} s" if outcome.status == "ran" else f" ({outcome.why})" if outcome.why else ""
        line = f"[{self._done}/{self._total}] {outcome.name} {outcome.status}{took}"
        if self._status is None:
            print(line, flush=True)
        else:
            self._status.console.print(line, markup=False, highlight=False)
        if outcome.status == "failed" and outcome.tail:
            text = "\n".join(f"    {t}" for t in outcome.tail[-8:])
            print(text, flush=True) if self._status is None else self._status.console.print(text, markup=False, highlight=False)
        self._refresh()

    def _refresh(self) -> None:
        if self._status is not None:
            self._status.update(self._text())

    def _text(self) -> str:
        took = time.monotonic() - self._began
        left = f", about {took / self._done * (self._total - self._done):.0f} s left" if self._done >= 3 else ""
        counts = ", ".join(f"{n} {status}" for status, n in sorted(self._counts.items()))
        return f"{self._done}/{self._total} {counts}{left}  now: {', '.join(sorted(self._running)) or '-'}"


def summary(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Prints the table per stage, what failed with its log, and the totals."""
    from rich.console import Console
    from rich.table import Table

    stages: dict[str, Counter[str]] = {}
    took: Counter[str] = Counter()
    for o in outcomes:
        stage = o.name.split("@")[0].split("-")[0]
        stages.setdefault(stage, Counter())[o.status] += 1
        took[stage] += o.seconds
    kinds = ("ran", "cached", "failed", "skipped")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("stage")
    for kind in (*kinds, "seconds"):
        table.add_column(kind, justify="right")
    for stage, counts in stages.items():
        table.add_row(stage, *(str(counts[k] or "") for k in kinds), f"{took[stage]:.1f}")
    console = Console()
    console.print(table)
    for o in outcomes:
        if o.status == "failed":
            console.print(f"failed: {o.name}: {o.why}" + (f"; log: {o.log}" if o.log else ""), markup=False, highlight=False,
                          soft_wrap=True)
    totals = Counter(o.status for o in outcomes)
    print(", ".join(f"{totals[k]} {k}" for k in kinds if totals[k]) + f" in {seconds:.1f} s")


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The same as a markdown table, for Prefect."""
    rows = [f"| {o.name} | {o.status} | {o.seconds:.1f} | {o.why} |" for o in outcomes]
    return "\n".join(["| instance | status | seconds | why |", "|---|---|---:|---|", *rows])


def print_table(table: Any) -> None:
    """Prints a rich table, as wide as it needs to be where no terminal bounds it."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def results(root: Path = Path(".")) -> None:
    """Prints the main table of the results and where the report is; says so where there is none."""
    path, page = root / DOCUMENT, root / REPORT / "index.html"
    if path.is_file():
        print_table(main_table(json.loads(path.read_text(encoding="utf-8"))))
    print(f"report: {page}" if page.is_file() else f"no report yet: {page} is made by `babelface evaluate`")


def main_table(document: dict[str, Any]) -> Any:
    """A rich table: per language clips and speakers, the real video's value of the headline metric, and per system its value and
    gap with interval; beside an LSE the mean |offset| in frames and the share of clips within one frame."""
    from report.text import LSE, beside, headline_metric, interval, number
    from rich.table import Table

    name = headline_metric(document)
    metric = next(m for m in document["metrics"] if m["name"] == name)
    cells = {(c["system"], c["language"]): c for c in document["cells"] if c["metric"] == name and c["condition"] == "self"}
    systems = [s["name"] for s in document["systems"] if s["name"] != "real"]
    every = {(c["system"], c["language"], c["metric"]): c for c in document["cells"] if c["condition"] == "self"}
    lse = ["|offset|,\nwithin 1"] if name in LSE else []

    def offsets(system: str, tag: str) -> list[str]:
        return [beside({m: every.get((system, tag, m)) for m in ("abs_offset", "offset_within_one")})] if lse else []

    better = "higher" if metric["higher_is_better"] else "lower"
    table = Table(title=f"{metric['label']} ({better} is better) and its gap to real video of the same language",
                  title_justify="left", box=None, padding=(0, 2, 0, 0))
    counts = ["clips", "speakers", *(["windows"] if name == "lse_c" else [])]  # LSE-C depends on a clip's length
    for column in ("language", *counts, "real", *lse, *(x for s in systems for x in (s, *lse, "gap"))):
        table.add_column(column, justify="left" if column == "language" else "right")
    for language in document["languages"]:
        tag, row = language["tag"], []
        real, own = cells.get(("real", tag)), [c["value"] for (_, t), c in cells.items() if t == tag]
        for system in systems:
            cell = cells.get((system, tag))
            gap = cell and cell["gap"]
            row += [number(cell["value"]["mean"], metric["digits"]) if cell else "\u2013",
                    *offsets(system, tag),
                    f"{number(gap['mean'], metric['digits'], sign=True)} {interval(gap, metric['digits'])}".strip() if gap
                    else "\u2013"]
        planted = f" (twin of {language['twin_of']})" if language["twin_of"] else ""
        windows = [number(language["median_windows"], 0)] if "windows" in counts else []
        table.add_row(tag + planted, *(str(max((v[k] for v in own), default=0)) for k in ("n_clips", "n_speakers")), *windows,
                      number(real["value"]["mean"], metric["digits"]) if real else "\u2013", *offsets("real", tag), *row)
    return table
