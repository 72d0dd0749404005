"""A comparison in words: its findings, and one change as a sentence."""

from __future__ import annotations

from typing import Any

from metrics.comparison import (
    APART,
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
from report.text import counted, interval, listed, number, offsets_then_now, p_text

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
    e, d, everywhere, where = change["change"], metric["digits"], change["language"] == EVERYWHERE, place(change["language"])
    p, beside = p_of(change), offsets_then_now(change)
    sure = (e["reason"] or "no interval") if p is None else f"p {p_text(p)}" + ("" if everywhere else " after Holm")
    return (
        f"{change['system']} in {where}: {metric['label']} {number(change['mean_a'], d)} \u2192 {number(change['mean_b'], d)}, "
        f"clip by clip {number(e['mean'], d, sign=True)} {interval(e, d)}".rstrip()
        + f", {sure}, {counted(e['n_clips'], 'clip')} of {counted(e['n_speakers'], 'speaker')}"
        + (f"; mean |offset| in frames, and within 1 frame: {beside}" if beside else "")
    )


def worse(found: Comparison, doc: dict[str, Any]) -> list[str]:
    """Every regression as a sentence without its end."""
    metrics = {m["name"]: m for m in doc["metrics"]}
    return [f"worse: {describe(plain(c), metrics[c.metric])}" for c in found.regressions]


def place(language: str) -> str:
    """The language of a change, or `all languages together`."""
    return "all languages together" if language == EVERYWHERE else language


def p_of(change: dict[str, Any]) -> float | None:
    """The p that decides: of all languages together their own, else that after Holm's correction."""
    return change["p" if change["language"] == EVERYWHERE else "p_holm"]


def too_few(found: Comparison) -> str:
    """One sentence: which languages have too few speakers to get worse by themselves, how many they have, and how many it would
    take; empty where all have enough."""
    fewest: dict[str, Change] = {}
    for c in sorted(found.too_few, key=lambda c: (c.language, c.change.n_speakers - c.speakers_needed)):
        fewest.setdefault(c.language, c)
    groups: dict[tuple[int, int], list[str]] = {}
    for tag, c in fewest.items():
        groups.setdefault((c.change.n_speakers, c.speakers_needed), []).append(tag)
    if not groups:
        return ""
    said = listed([f"{listed(tags)} ({counted(n, 'speaker')}, it takes {needed})" for (n, needed), tags in groups.items()])
    together = any(c.language == EVERYWHERE and c.p is not None for c in found.changes)
    return (f"Too few speakers to claim a change of one language, however large: {said}"
            + ("; only all languages together can show one." if together else "."))


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
        for c in sorted(some, key=lambda c: (c.p if c.language == EVERYWHERE else c.p_holm, -_sureness(c), c.metric)):
            told.setdefault((c.system, c.condition, c.language), (c, []))[1].append(metrics[c.metric]["label"])
        own = [x for x in told.values() if x[0].language != EVERYWHERE]
        for c, labels in [*own[:MOST_FINDINGS], *(x for x in told.values() if x[0].language == EVERYWHERE)]:
            also = f"; also in {listed(labels[1:])}" if labels[1:] else ""
            out.append(_finding(level, f"{word}: {describe(plain(c), metrics[c.metric])}{also}."))
        if len(own) > MOST_FINDINGS:
            out.append(_finding(level, f"{word} in {len(own) - MOST_FINDINGS} more; all are in the table."))
    compared = [c for c in found.changes if c.change is not None]
    if compared and all(c.verdict == SAME for c in compared):
        apart = any(kind in APART for c in found.clips for kind in c.kinds.values())
        out.append(_finding("fact", "Every score that both have is the same." if apart else
                            "Every score of every clip is the same in both."))
    elif not out and any(c.p is not None for c in found.changes):
        rule = f"signs of whole speakers flipped, Holm over the languages of a system and metric, level {found.alpha:g}"
        out.append(_finding("fact", f"No language got worse or better beyond noise ({rule})."))
    moved = [c for c in found.changes if c.verdict == MOVED and c.language != EVERYWHERE and c.system != "still"]
    for c in moved[:MOST_FINDINGS]:
        out.append(_finding("fact", f"Moved, and neither way is better: {describe(plain(c), metrics[c.metric])}."))
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
    if few := too_few(found):
        out.append(_finding("no-claim", few))
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
