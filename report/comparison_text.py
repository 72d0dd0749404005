"""A comparison in words: its findings, and one change as a sentence."""

from __future__ import annotations

from typing import Any

from metrics.comparison import (
    BETTER,
    EVERYWHERE,
    HINT,
    LOST,
    MOVED,
    NO_CLAIM,
    ONLY_A,
    ONLY_B,
    OPEN,
    OTHER_LENGTH,
    SAME,
    WORSE,
    Change,
    Comparison,
)
from report.plain import plain
from report.set_comparison import findings as of_sets
from report.text import counted, interval, listed, number, p_text

MOST_FINDINGS = 6
VERDICTS = {WORSE: "worse", BETTER: "better", MOVED: "moved", HINT: "hint", OPEN: "not shown", SAME: "identical",
            NO_CLAIM: "no claim"}
CAUSES = {
    "params": ("param", "params"),
    "code": ("file of code", "files of code"),
    "data": ("data output", "data outputs"),
    "weights": ("set of weights", "sets of weights"),
}


def headline(doc: dict[str, Any]) -> str:
    """The metric that is shown first: one that got worse, else one that changed, else the first with an interval."""
    names = [m["name"] for m in doc["metrics"]]
    order = {WORSE: 0, BETTER: 1, HINT: 2, OPEN: 3, MOVED: 4}
    rows = [c for c in doc["changes"] if c["verdict"] in order and c["system"] not in ("real", "still")]
    best = min(rows, key=lambda c: (order[c["verdict"]], names.index(c["metric"])), default=None)
    return best["metric"] if best else names[0] if names else ""


def describe(change: dict[str, Any], metric: dict[str, Any]) -> str:
    """One change as a sentence without its end: who, where, by how much, how sure, out of how many."""
    e, d, everywhere = change["change"], metric["digits"], change["language"] == EVERYWHERE
    where = "in all languages together" if everywhere else f"in {change['language']}"
    p = change["p"] if everywhere else change["p_holm"]
    sure = (e["reason"] or "no interval") if p is None else f"p {p_text(p)}" + ("" if everywhere else " after Holm")
    return (
        f"{change['system']} {where}: {metric['label']} {number(change['mean_a'], d)} \u2192 {number(change['mean_b'], d)}, "
        f"clip by clip {number(e['mean'], d, sign=True)} {interval(e, d)}".rstrip()
        + f", {sure}, {counted(e['n_clips'], 'clip')} of {counted(e['n_speakers'], 'speaker')}"
    )


def findings(found: Comparison, doc: dict[str, Any]) -> list[dict[str, str]]:
    """The findings in plain language, each {level, text, link}: level is `fact`, `claim`, `warning` or `no-claim`."""
    return [*_changes(found, doc), *_data(found), *_reach(found), *_left_out(found, doc), *of_sets(doc.get("sets")), *_why(doc)]


def _finding(level: str, sentence: str, link: str = "#changes") -> dict[str, str]:
    return {"level": level, "text": sentence, "link": link}


def _changes(found: Comparison, doc: dict[str, Any]) -> list[dict[str, str]]:
    metrics = {m["name"]: m for m in doc["metrics"]}
    out = []
    for some, word, level in ((found.regressions, "Worse", "warning"), (found.improvements, "Better", "claim")):
        # One thing seen by several metrics is told once per language, by the surest of them.
        told: dict[tuple[str, str, str], tuple[Change, list[str]]] = {}
        for c in sorted(some, key=lambda c: (c.p_holm, -_sureness(c), c.metric)):
            told.setdefault((c.system, c.condition, c.language), (c, []))[1].append(metrics[c.metric]["label"])
        for c, labels in list(told.values())[:MOST_FINDINGS]:
            also = f"; also in {listed(labels[1:])}" if labels[1:] else ""
            out.append(_finding(level, f"{word}: {describe(plain(c), metrics[c.metric])}{also}."))
        if len(told) > MOST_FINDINGS:
            out.append(_finding(level, f"{word} in {len(told) - MOST_FINDINGS} more; all are in the table."))
    compared = [c for c in found.changes if c.change is not None]
    if compared and all(c.verdict == SAME for c in compared):
        out.append(_finding("fact", "Every score of every clip is the same in both."))
    elif not out and any(c.p is not None for c in found.changes):
        rule = f"signs of whole speakers flipped, Holm over the languages of a system and metric, level {found.alpha:g}"
        out.append(_finding("fact", f"No language got worse or better beyond noise ({rule})."))
    moved = [c for c in found.changes if c.verdict == MOVED and c.language != EVERYWHERE and c.system != "still"]
    for c in moved[:MOST_FINDINGS]:
        out.append(_finding("fact", f"Moved, and neither way is better: {describe(plain(c), metrics[c.metric])}."))
    for c in found.overall:
        if c.metric == doc["headline"]:
            word, level = ("Worse", "warning") if c.verdict == WORSE else ("Better", "claim")
            out.append(_finding(level, f"{word}: {describe(plain(c), metrics[c.metric])}."))
    return out


def _sureness(change: Change) -> float:
    e = change.change
    return abs(e.mean) / max(e.high - e.low, 1e-12)


def _data(found: Comparison) -> list[dict[str, str]]:
    if not any(c.system == "real" and c.better is not None for c in found.changes):
        return []
    sentence = (
        "Real video itself scores differently in the two runs: its pictures, its sound or the way it is cut changed, and part "
        "of every other change may be that."
    )
    return [_finding("warning", sentence)]


def _reach(found: Comparison) -> list[dict[str, str]]:
    out = []
    hints = sum(c.verdict == HINT and c.language != EVERYWHERE and c.system != "still" for c in found.changes)
    if hints:
        sentence = f"In {counted(hints, 'figure')} the interval leaves out zero, but not after correcting for several languages."
        out.append(_finding("no-claim", sentence))
    few = {c.language for c in found.changes if c.change is not None and c.change.reason == "too_few_speakers"} - {EVERYWHERE}
    if few:
        sentence = f"No claim about {listed(sorted(few))}: fewer than six speakers were scored in both runs."
        out.append(_finding("no-claim", sentence))
    needed = max((c.speakers_needed for c in found.changes if c.speakers_needed), default=None)
    if needed:
        sentence = (
            f"However large a change, some languages cannot pass the correction: that takes {needed} speakers. "
            "All languages together are tested without it."
        )
        out.append(_finding("no-claim", sentence))
    return out


def _left_out(found: Comparison, doc: dict[str, Any]) -> list[dict[str, str]]:
    out = []
    lost, a, b = (sum(kind in c.kinds.values() for c in found.clips) for kind in (LOST, ONLY_A, ONLY_B))
    if lost:
        out.append(_finding("warning", f"{counted(lost, 'clip')} had a score in A that B could not compute.", "#clips"))
    apart = sum(OTHER_LENGTH in c.kinds.values() for c in found.clips)
    if apart:
        label = next(m["label"] for m in doc["metrics"] if m["name"] == "lse_c")
        sentence = f"{label} of {counted(apart, 'clip')} is not compared: A and B differ in length there, and it depends on that."
        out.append(_finding("warning", sentence, "#clips"))
    if a or b:
        out.append(_finding("fact", f"Not compared: {counted(a, 'clip')} of A alone, {counted(b, 'clip')} of B alone.", "#clips"))
    for label, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            out.append(_finding("fact", f"Only in {label}: {listed(names)}."))
    if found.pairs:
        named = listed([f"{old} of A with {new} of B" for old, new in found.pairs.items()])
        out.append(_finding("fact", f"Compared under two names: {named}."))
    for tag, sides in found.invalid.items():
        sentence = f"The sync expert cannot judge {tag} in {listed(sides)}: its scores are left out there."
        out.append(_finding("warning", sentence))
    return out


def _why(doc: dict[str, Any]) -> list[dict[str, str]]:
    causes = doc["causes"]
    if not causes:
        return []
    differ = [counted(len(causes[k]), *CAUSES[k]) for k in CAUSES if causes[k]]
    if differ:
        verb = "differs" if len(differ) == 1 and differ[0].startswith("1 ") else "differ"
        return [_finding("fact", f"Between the two {listed(differ)} {verb}.", "#causes")]
    if not causes.get("unknown") and any(c["verdict"] not in (SAME, NO_CLAIM) for c in doc["changes"]):
        sentence = (
            "Scores differ although params, code, data and weights are the same: another type of CPU, or a stage that is not "
            "deterministic."
        )
        return [_finding("warning", sentence, "#causes")]
    return []
