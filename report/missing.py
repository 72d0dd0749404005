"""What a night could be judged by and a later one cannot: languages, systems, the expert's say, clips without a score.

A comparison looks at clips that both nights scored: what is gone from one of them cannot get worse in it, so it has to be named.
Records are those of flows/nights.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from metrics.comparison import COMPARED, EVERYWHERE, LOST, OTHER_LENGTH, SPECS, Change, Clip, Comparison, lost_reason
from metrics.robustness import METRICS, NOT_VALID, Row, metric_label, null_reason, speaker_of, value_of
from metrics.stats import MIN_CLUSTERS
from report.document import is_pinned
from report.text import counted, listed, reason_text

MOST_LOST = 0.2  # of the clips of one system, language and metric: a face missed here and there is no loss
Missing = dict[str, Any]


def missing(before: Mapping[str, Any] | None, now: Mapping[str, Any], found: Comparison | None = None,
            named: Collection[str] = ()) -> list[Missing]:
    """[{name, system, language, why}] of what cannot be judged now; system and language are None where all of them are meant.

    before: the record of the last good night, None where there is none. now: tonight's figures, as the record has them. found:
    the one (A) against the other (B), None where they were not compared. named: metrics that were asked for by name.
    """
    out = [] if before is None else [*_of_figures(before, now), *_of_expert(before, now, found)]
    if found is not None:
        out += [m for m in _of_clips(found) if not any(_covers(known, m) for known in out)]
        measured = {c.metric for c in found.changes}
    else:
        measured = {m["name"] for m in now.get("metrics", ())}
    why = "it was asked for by name, and no clip has a value of it that counts; it needs"
    return out + [_entry(f"metric {name}", None, None, f"{why} {listed(list(METRICS[name].needs))}")
                  for name in named if name not in measured and name in METRICS and METRICS[name].per == "clip"]


def unscored(found: Comparison, sides: Mapping[str, Sequence[Row]], named: Collection[str] = ()) -> str:
    """Why nothing of two runs could be compared. sides: what each run is called -> its rows. named: metrics asked for by name."""
    names = [m for m in named if m in SPECS and SPECS[m].per == "clip"]
    if named and not names:
        return f"{listed(list(named))} alone cannot be checked: one figure of many clips, without an interval"
    said, scored = [], []
    for side, rows in sides.items():
        scored.append(sum(any(value_of(row, m) is not None for m in names or SPECS) for row in rows))
        why = sorted({reason_text(null_reason(row, m)) for row in rows for m in names if value_of(row, m) is None})
        said.append(f"{side} has {counted(scored[-1], 'row')} of {len(rows)} with a score of {listed(names or ['any metric'])}"
                    + (f" ({listed(why)})" if why and not scored[-1] else ""))
    if all(scored):
        said.append(f"the sync expert cannot judge {listed(list(found.invalid))}" if found.invalid
                    else "none of them is of the sound asked for")
    return "; ".join(said)


def _entry(name: str, system: str | None, language: str | None, why: str) -> Missing:
    return {"name": name, "system": system, "language": language, "why": why}


def _covers(known: Missing, other: Missing) -> bool:
    return known["system"] in (None, other["system"]) and known["language"] in (None, other["language"])


def _of_figures(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Missing]:
    """Languages, systems, and systems in a language, that had a figure by any metric and have none."""
    called = _called(before, now)
    had, has = ({(f["system"], called(f["language"])) for f in night.get("figures", ())} for night in (before, now))
    languages = {tag for _, tag in had} - {tag for _, tag in has}
    left = {key for key in had - has if key[1] not in languages}
    systems = {s for s, _ in left} - {s for s, _ in has}
    out = [_entry(f"language {tag}", None, tag, f"{listed(sorted(s for s, t in had if t == tag))} had figures in it, and nothing "
                  "has now") for tag in sorted(languages)]
    out += [_entry(f"system {name}", name, None, f"it had figures in {listed(sorted(t for s, t in had if s == name))}, and has "
                   "none now") for name in sorted(systems)]
    return out + [_entry(f"{s} in {t}", s, t, "it had figures, and has none now") for s, t in sorted(left) if s not in systems]


def _of_expert(before: Mapping[str, Any], now: Mapping[str, Any], found: Comparison | None) -> list[Missing]:
    """Languages that the sync expert could judge, and cannot now."""
    called = _called(before, now)
    then, today = ({}, {})
    for night, say in ((before, then), (now, today)):
        for tag, reason in (night.get("expert") or {}).items():  # of two corpora of one language one is enough
            say[called(tag)] = reason if say.get(called(tag), reason) is not None else None
    lost = {tag: today[tag] for tag, reason in then.items() if reason is None and today.get(tag)}
    if not then and found is not None:  # a record from before nights kept it
        lost = {tag: NOT_VALID for tag, sides in found.invalid.items() if sides == ["B"]}
    return [_entry(f"the sync expert in {tag}", None, tag, f"it could judge {tag} then; now {reason_text(lost[tag])}")
            for tag in sorted(lost)]


def _called(before: Mapping[str, Any], now: Mapping[str, Any]) -> Callable[[str], str]:
    """What languages are called in both nights. With a second corpus they become corpus/language: then by language alone."""
    tags = [{*(f["language"] for f in night.get("figures", ())), *(night.get("expert") or ())} for night in (before, now)]
    if all("/" in tag for some in tags for tag in some):
        return str
    return lambda tag: tag.rpartition("/")[2]


def _of_clips(found: Comparison) -> list[Missing]:
    """Systems in a language of whose clips with a score in A too few could be compared: more than a fifth is missing, or what is
    left has no interval although A had the speakers for one."""
    groups: dict[tuple[str, str, str], list[Clip]] = {}
    for clip in found.clips:
        groups.setdefault((clip.system, clip.condition, clip.language), []).append(clip)
    out = []
    for c in found.changes:
        if c.language == EVERYWHERE or c.system == "still" or c.condition == "shuffled" or c.metric not in METRICS:
            continue
        had = [k for k in groups[c.system, c.condition, c.language] if k.values.get(c.metric, (None,))[0] is not None]
        gone = [k for k in had if k.kinds[c.metric] not in COMPARED]
        if gone and (len(gone) > MOST_LOST * len(had) or _unguarded(c, had)):
            label = metric_label(METRICS[c.metric], is_pinned(found.protocol["expert_sha256"]))
            why = f"{label}: {len(had) - len(gone)} of {len(had)} clips could be compared; {_why(gone, c.metric)}"
            out.append(_entry(f"{c.system} in {c.language}", c.system, c.language, why))
    return out


def _unguarded(change: Change, had: Sequence[Clip]) -> bool:
    """Whether A had speakers enough for an interval, and there is none."""
    return len({speaker_of(k.a) for k in had}) >= MIN_CLUSTERS and (change.change is None or change.change.low is None)


def _why(gone: Sequence[Clip], metric: str) -> str:
    """What became of clips that could not be compared, the most frequent first."""
    said: Counter[str] = Counter()
    for clip in gone:
        kind = clip.kinds[metric]
        said[f"have no score now ({reason_text(lost_reason(clip, metric))})" if kind == LOST
             else "are of another length now" if kind == OTHER_LENGTH else "were not scored now"] += 1
    return listed([f"{n} {text}" for text, n in said.most_common()])
