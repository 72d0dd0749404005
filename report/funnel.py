"""The funnel: what went into every stage, what came out, and why the rest did not, per language, from download to score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# stage -> what its items are, and the table that the next stage takes its items from
DATA_STAGES = {
    "download": ("recordings", "recordings"),
    "segment": ("recordings", "clips"),
    "track": ("clips", "tracks"),
    "inspect": ("tracks", "kept"),
    "crop": ("tracks", None),
    "features": ("tracks", None),
}
# stage -> the stage whose table its items come from
FED_BY = {"segment": "download", "track": "segment", "inspect": "track", "crop": "inspect", "features": "inspect"}
TEST_STAGES = {"generate": "tracks × systems", "score": "videos"}


class FunnelError(ValueError):
    """A stage's stats do not add up: the message names the stage, the instance and the numbers."""


def funnel(stats: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """{steps: [...], adds_up, unaccounted}: one step per stage, instance and language.

    stats: the stats.json of every stage instance. Inside a stage, in = kept + rejected must hold: FunnelError where it does not.
    Between stages, what one hands on must be what the next takes in; a difference is shown as `unaccounted`.
    """
    known = {(s["stage"], s["instance"]): s for s in stats}
    steps = []
    for (stage, instance), found in sorted(known.items(), key=lambda kv: (_rank(kv[0][0]), kv[0][1])):
        if stage not in DATA_STAGES and stage not in TEST_STAGES:
            continue
        for language, cell in sorted(found["by_language"].items()):
            if cell["in"] != cell["kept"] + sum(cell["rejected"].values()):
                raise FunnelError(
                    f"{stage} {instance}, language {language}: {cell['in']} in, but {cell['kept']} kept and "
                    f"{cell['rejected']} rejected; run the stage again"
                )
            unit, table = DATA_STAGES.get(stage, (TEST_STAGES.get(stage), None))
            out = found["rows"].get(table, 0) if table else None
            steps.append(
                {
                    "stage": stage,
                    "instance": instance,
                    "language": language,
                    "unit": unit,
                    "in": cell["in"],
                    "kept": cell["kept"],
                    "rejected": dict(sorted(cell["rejected"].items())),
                    "out": out,
                    "unaccounted": 0,
                }
            )
    _link(steps, known)
    lost = sum(abs(s["unaccounted"]) for s in steps)
    return {"steps": steps, "adds_up": lost == 0, "unaccounted": lost}


def _rank(stage: str) -> int:
    order = [*DATA_STAGES, *TEST_STAGES]
    return order.index(stage) if stage in order else len(order)


def _link(steps: list[dict[str, Any]], known: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Sets `unaccounted` of the first step of every instance: items the stage before handed on, less items that came in."""
    seen = set()
    for step in steps:
        stage, instance = step["stage"], step["instance"]
        if (stage, instance) in seen:
            continue
        seen.add((stage, instance))
        before = known.get((FED_BY.get(stage, "generate" if stage == "score" else ""), instance))
        if before is None:
            continue
        table = DATA_STAGES[before["stage"]][1] if before["stage"] in DATA_STAGES else "generated"
        step["unaccounted"] = before["rows"].get(table, 0) - known[stage, instance]["items_in"]


def by_language(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per language and stage, instances summed: {language, stage, unit, in, kept, out, rejected, unaccounted}."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for step in found["steps"]:
        key = (step["language"], step["stage"])
        row = merged.setdefault(
            key,
            {
                "language": key[0],
                "stage": key[1],
                "unit": step["unit"],
                "in": 0,
                "kept": 0,
                "out": None,
                "rejected": {},
                "unaccounted": 0,
            },
        )
        row["in"] += step["in"]
        row["kept"] += step["kept"]
        row["unaccounted"] += step["unaccounted"]
        if step["out"] is not None:
            row["out"] = (row["out"] or 0) + step["out"]
        for reason, n in step["rejected"].items():
            row["rejected"][reason] = row["rejected"].get(reason, 0) + n
    return sorted(merged.values(), key=lambda r: (r["language"], _rank(r["stage"])))
