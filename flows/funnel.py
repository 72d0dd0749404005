"""The funnel of a workspace: what went into every stage, what came out and why the rest did not, per corpus and language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.params import Params
from flows.spec import CONTROLS, DATA_STAGES


class NothingYet(ValueError):
    """No stage has left its counts here."""


def read_stats(params: Params, root: Path = Path(".")) -> list[dict[str, Any]]:
    """stats.json of every stage instance of `params` that has run; folders of languages long gone are left out."""
    names = [(stage, i.name) for stage in DATA_STAGES for i in params.instances()]
    names += [(stage, name) for stage in ("generate", "score") for name in (*sorted(params.train.systems), CONTROLS)]
    paths = [root / "data" / stage / name / "stats.json" for stage, name in names]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def collect(params: Params, root: Path = Path(".")) -> dict[str, Any]:
    """{steps, adds_up, unaccounted} as report.funnel gives it, each step with its corpus. NothingYet where no stage has run."""
    from report.funnel import funnel

    stats = read_stats(params, root)
    if not stats:
        raise NothingYet("no stage has run here yet; start with: babelface build")
    corpus = {i.name: i.corpus for i in params.instances()}
    found = funnel(stats)
    return found | {"steps": [{"corpus": corpus.get(step["instance"]), **step} for step in found["steps"]]}


def table(found: dict[str, Any]) -> Any:
    """A rich table of the funnel."""
    from rich.table import Table

    out = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("instance", "language", "stage", "items"):
        out.add_column(name)
    for name in ("in", "kept", "out", "rejected"):
        out.add_column(name, justify="right")
    out.add_column("why", overflow="fold")
    order = {stage: k for k, stage in enumerate((*DATA_STAGES, "generate", "score"))}
    for step in sorted(found["steps"], key=lambda s: (order[s["stage"]] >= len(DATA_STAGES), s["instance"], s["language"], order[s["stage"]])):
        why = ", ".join(f"{reason} {n}" for reason, n in step["rejected"].items())
        if step["unaccounted"]:
            why = f"{why} UNACCOUNTED {step['unaccounted']}".strip()
        out.add_row(step["instance"], step["language"], step["stage"], step["unit"], str(step["in"]), str(step["kept"]),
                    "" if step["out"] is None else str(step["out"]), str(sum(step["rejected"].values()) or ""), why)
    return out
