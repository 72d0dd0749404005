"""Figures of sets of two runs beside each other: FID, FVD, retrieval and diversity of the same system, condition and language.

A set has one figure, so there is no interval and no test: only the difference and its sign, and that only where both figures were
made from as many samples of the same clips by the same network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from metrics.comparison import Comparison, completed
from metrics.registry import METRICS
from metrics.robustness import NOT_VALID, Row, group_of
from report.sets import NAMES, heading
from report.text import counted, listed, number, reason_text, sets_reason

ABSENT = "not_in_this_run"
OTHER_N, OTHER_CLIPS, OTHER_NETWORK = "other_n", "other_clips", "other_network"
WHY_NOT = {OTHER_N: "n differs, and the figure depends on n", OTHER_CLIPS: "made from other clips",
           OTHER_NETWORK: "of another network"}
NO_INTERVAL = "a set has one figure, so there is no interval and no verdict"
MOST_FINDINGS = 4
Key = tuple[str, str, str, str, int, str]  # system, condition, language, metric, k, direction


def compare_sets(found: Comparison, rows: tuple[Sequence[Row], Sequence[Row]], sets: tuple[Sequence[Row], Sequence[Row]],
                 missing: Mapping[str, str] | None = None, *, conditions: Collection[str] | None = ("self",),
                 metrics: Collection[str] | None = None) -> dict[str, Any] | None:
    """{rows, missing, note} of a comparison's document; None where neither run has a figure that is asked for, nor says why.

    rows, sets: the rows of the tables `scores` and `sets` of A and of B. missing: side -> why its figures could not be read.
    conditions, metrics: as metrics.comparison.compare has them. Each of the rows found has `a` and `b` ({value, n, n_clips,
    chance, network, reason, why}: why in words), `difference` (B minus A; None where either is null or they are not comparable)
    and `not_comparable`, a list of the keys of WHY_NOT.
    """
    several = len({r.get("corpus") for side in rows for r in side}) > 1
    sides = [_figures(table, found, side, several, renamed) for side, table, renamed in
             (("A", sets[0], found.pairs), ("B", sets[1], {}))]
    wanted = NAMES if metrics is None else metrics
    if not wanted or not (any(sides) or missing):
        return None
    made_of = [_members(side, several, renamed) for side, renamed in zip(rows, (found.pairs, {}), strict=True)]
    out = []
    for key in sorted({*sides[0], *sides[1]}, key=_place):
        system, condition, language, metric, _, _ = key
        if (condition == "shuffled" if conditions is None else condition not in conditions) or metric not in wanted:
            continue
        a, b = (side.get(key) for side in sides)
        spec, clips = METRICS[metric], [m.get(key[:3]) for m in made_of]
        given = a is not None and b is not None and None not in (a["value"], b["value"])
        why = _why_not(a, b, clips) if given else []
        out.append({"system": system, "condition": condition, "language": language, "metric": metric, "name": heading(a or b),
                    "k": (a or b)["k"], "direction": (a or b)["direction"], "digits": spec.digits, "unit": (a or b)["unit"],
                    "higher_is_better": spec.higher_is_better, "a": _side(a), "b": _side(b),
                    "difference": b["value"] - a["value"] if given and not why else None, "not_comparable": why})
    return {"rows": out, "missing": dict(missing or {}), "note": NO_INTERVAL}


def _figures(table: Sequence[Row], found: Comparison, side: str, several: bool, renamed: Mapping[str, str]) -> dict[Key, Row]:
    """The figures of one run by what they are of; those of the sync expert are null where it may not judge, as its scores are."""
    out = {}
    for row in table:
        language = f"{row['corpus']}/{row['language']}" if several else row["language"]
        if METRICS[row["metric"]].judged and row["value"] is not None and side in found.invalid.get(language, ()):
            row = {**row, "value": None, "reason": NOT_VALID}
        system = renamed.get(row["system"], row["system"])
        out[system, row["condition"], language, row["metric"], row["k"] or 0, row["direction"] or ""] = row
    return out


def _members(rows: Sequence[Row], several: bool, renamed: Mapping[str, str]) -> dict[tuple[str, str, str], Counter]:
    """(system, condition, language) -> the faces and sounds that the set's videos were made from, each as often as there is
    one."""
    out: dict[tuple[str, str, str], Counter] = {}
    for row in map(completed, rows):
        language = f"{row.get('corpus')}/{group_of(row)}" if several else group_of(row)
        key = renamed.get(row["system"], row["system"]), row["condition"], language
        out.setdefault(key, Counter())[row["track_id"], row["audio_clip_id"]] += 1
    return out


def _why_not(a: Row, b: Row, clips: Sequence[Counter | None]) -> list[str]:
    found = {OTHER_N: a["n"] != b["n"], OTHER_CLIPS: clips[0] != clips[1] or a["n_clips"] != b["n_clips"],
             OTHER_NETWORK: a["network"] != b["network"]}
    return [code for code, differs in found.items() if differs]


def _side(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"value": None, "n": 0, "n_clips": 0, "chance": None, "network": None, "reason": ABSENT, "why": "not in this run"}
    return {name: row[name] for name in ("value", "n", "n_clips", "chance", "network", "reason")} | {
        "why": sets_reason(row) if row["value"] is None else None}


def _place(key: Key) -> tuple:
    system, condition, language, metric, k, way = key
    controls = ("still", "real")
    return (controls.index(system) + 1 if system in controls else 0, system, condition != "self", condition, language,
            list(NAMES).index(metric), k, way)


def shown(sets: Mapping[str, Any]) -> dict[str, Any]:
    """{rows: those of which a run has a value, absent: {name, why, n sets} of all others}: for tables."""
    rows = [r for r in sets["rows"] if r["a"]["value"] is not None or r["b"]["value"] is not None]
    why: Counter[tuple[str, str]] = Counter()
    for r in sets["rows"]:
        if r["a"]["value"] is None and r["b"]["value"] is None and r["direction"] != "video_to_audio":  # both ways fail together
            a, b = (reason_text(r[side]["reason"]) for side in "ab")
            name = f"R@{r['k']}" if r["k"] else r["name"]
            why[name, a if a == b else f"A: {a}; B: {b}"] += 1
    return {"rows": rows, "absent": [{"name": name, "why": text, "n": n} for (name, text), n in why.items()]}


def remark(row: Mapping[str, Any]) -> str:
    """What must stand beside one row: why there is no difference; empty where there is one."""
    if row["not_comparable"]:
        return f"not comparable: {', '.join(WHY_NOT[code] for code in row['not_comparable'])}"
    return "; ".join(f"{side.upper()}: {row[side]['why']}" for side in "ab" if row[side]["value"] is None)


def findings(sets: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """What the figures of sets say, as report.comparison_text has its findings: what moved most by each metric, without a
    claim."""
    if sets is None:
        return []
    out = [{"level": "warning", "text": f"Figures of sets of {side} are left out: {why}", "link": "#sets"}
           for side, why in sorted(sets["missing"].items())]
    told = [r for r in sets["rows"] if r["difference"] and r["system"] not in ("real", "still")]
    first: dict[str, Mapping[str, Any]] = {}
    for r in sorted(told, key=lambda r: (list(NAMES).index(r["metric"]), r["k"] or 0, -abs(r["difference"]))):
        first.setdefault(r["metric"], r)
    for r in list(first.values())[:MOST_FINDINGS]:
        d, arrow = r["digits"], "higher" if r["higher_is_better"] else "lower"
        out.append({"level": "no-claim", "link": "#sets", "text":
                    f"{r['name']} of {r['system']} in {r['language']} moved most: {number(r['a']['value'], d)} \u2192 "
                    f"{number(r['b']['value'], d)} ({number(r['difference'], d, sign=True)}; {arrow} is better), n "
                    f"{r['a']['n']}. No claim: {NO_INTERVAL}."})
    bad: Counter[str] = Counter(code for r in sets["rows"] for code in r["not_comparable"])
    if bad:
        n = sum(bool(r["not_comparable"]) for r in sets["rows"])
        why = listed([f"{WHY_NOT[code]} ({times})" for code, times in bad.items()])
        verb = "is" if n == 1 else "are"
        out.append({"level": "warning", "link": "#sets",
                    "text": f"{counted(n, 'figure')} of sets {verb} in both runs and {verb} not comparable: {why}."})
    return out
