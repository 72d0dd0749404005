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
    """{steps, adds_up, unaccounted} as report.funnel gives it, each step with its corpus and its hours (flows.hours), then the
    steps of the bias stage; and `index`, what the corpora's indexes hold (`_indexes`). NothingYet where no stage has run."""
    from flows.hours import add_hours
    from report.funnel import funnel

    stats = read_stats(params, root)
    if not stats:
        raise NothingYet("no stage has run here yet; start with: babelface build")
    corpus = {i.name: i.corpus for i in params.instances()}
    found = funnel(stats)
    steps = add_hours(found["steps"], params, root) + _bias(params, root)
    index = _indexes(params, stats, root)
    missed = found["unaccounted"] + sum(one["unaccounted"] for one in index)
    return found | {"adds_up": missed == 0, "unaccounted": missed, "index": index,
                    "steps": [{"corpus": corpus.get(step["instance"]), **step} for step in steps]}


def _indexes(params: Params, stats: list[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """Per index of a corpus that was downloaded: entries = claimed by a language of params + not_claimed, and unaccounted: by how
    many a finished download has more or fewer than the index has of its language, as where the index changed since."""
    from corpora.index.values import tag_of
    from flows.index import left_out

    took = {s["instance"]: s["items_in"] for s in stats if s["stage"] == "download"}
    done = [i for i in params.instances() if i.name in took]
    found = []
    for one in left_out(params, dict.fromkeys(i.corpus for i in done), root):
        seen = one.pop("seen")
        missed = sum(abs(took[i.name] - seen.get(tag_of(i.language)[0], 0)) for i in done if i.corpus in one["corpora"])
        found.append(one | {"unaccounted": missed})
    return found


def _bias(params: Params, root: Path) -> list[dict[str, Any]]:
    """What the other experts scored: some of what the controls generated, so it is fed by no stage as a whole."""
    steps = []
    for name in params.score.ablation_experts:
        path = root / "data" / "bias" / name / "stats.json"
        if path.is_file():
            for language, cell in sorted(json.loads(path.read_text(encoding="utf-8"))["by_language"].items()):
                steps.append({"stage": "bias", "instance": name, "language": language, "unit": "videos", "in": cell["in"],
                              "kept": cell["kept"], "rejected": dict(sorted(cell["rejected"].items())), "out": None,
                              "unaccounted": 0, "hours": None})
    return steps


def filters(root: Path = Path(".")) -> list[str]:
    """Sentences on the filters that the split used: what they kept of each language, and of those by an expert's score, where
    that differs."""
    path = root / "data" / "split" / "all" / "filter.json"
    return json.loads(path.read_text(encoding="utf-8"))["sentences"] if path.is_file() else []


def table(found: dict[str, Any]) -> Any:
    """A rich table of the funnel."""
    from corpora.index.census import why as said
    from flows.hours import in_words, lost_hours
    from rich.table import Table

    out = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("instance", "language", "stage", "items"):
        out.add_column(name)
    for name in ("in", "kept", "out", "rejected"):
        out.add_column(name, justify="right")
    for name in ("hours in", "kept", "out"):
        out.add_column(name, justify="right")
    out.add_column("why", overflow="fold")
    for one in found.get("index", ()):
        why = said(one) + (f" UNACCOUNTED {one['unaccounted']}" if one["unaccounted"] else "")
        out.add_row(", ".join(one["corpora"]), "", "index", "entries", str(one["entries"]), *[str(one["claimed"])] * 2, str(one["not_claimed"] or ""), "", "", "", why.strip())
    order = {stage: k for k, stage in enumerate((*DATA_STAGES, "generate", "score", "bias"))}
    for step in sorted(found["steps"], key=lambda s: (order[s["stage"]] >= len(DATA_STAGES), s["instance"], s["language"],
                                                      order[s["stage"]])):
        hours = step["hours"] or {"in": None, "kept": None, "out": None, "rejected": {}, "unknown": 0, "unknown_rejected": {}}
        short = [f"{reason} ({lost_hours(hours, reason)} of what is kept)" for reason in hours["rejected"]
                 if reason not in step["rejected"]]
        lost = {reason: lost_hours(hours, reason) for reason in step["rejected"]}
        why = ", ".join(f"{reason} {n}" + (f" ({lost[reason]})" if lost[reason] else "")
                        for reason, n in step["rejected"].items())
        why = ", ".join([*([why] if why else []), *short])
        kept = hours["unknown"] - sum(hours["unknown_rejected"].values())
        if kept:
            why = f"{why}; {kept} kept of unknown length".removeprefix("; ")
        if step["unaccounted"]:
            why = f"{why} UNACCOUNTED {step['unaccounted']}".strip()
        out.add_row(step["instance"], step["language"], step["stage"], step["unit"], str(step["in"]), str(step["kept"]),
                    "" if step["out"] is None else str(step["out"]), str(sum(step["rejected"].values()) or ""),
                    *(in_words(hours[k]) for k in ("in", "kept", "out")), why)
    return out
