"""Which sounds a face gets wrong: the lips' opening against the real one, viseme by viseme.

Openings are float (T,), the gap between the inner lips in eye distances (metrics.landmarks.mouth_opening), one per frame at 25
frames per second. Intervals come from a corpus that knows when which sound is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics.robustness import Table
from metrics.stats import Estimate, holm, sign_flip_test

FPS = 25
SILENCE = "sil"
STILL = "still"


def viseme_of_frames(intervals: Sequence[Mapping[str, Any]], n_frames: int, first_frame: int = 0) -> list[str | None]:
    """The viseme on each of n frames, None where no interval lies.

    intervals: {viseme, start_s, end_s} in the recording's time, half open; frame f of the recording is shown at f / 25 s. Where
    two overlap the later one counts.
    """
    out: list[str | None] = [None] * n_frames
    for one in intervals:
        # the first frame at or after the start; the small number takes back what rounding of f / 25 may add
        begin, end = (int(np.ceil(one[k] * FPS - 1e-6)) - first_frame for k in ("start_s", "end_s"))
        for f in range(max(begin, 0), min(end, n_frames)):
            out[f] = one["viseme"]
    return out


def viseme_errors(
    shown: np.ndarray, reference: np.ndarray, intervals: Sequence[Mapping[str, Any]], first_frame: int = 0
) -> list[dict[str, Any]]:
    """[{viseme, n_frames, error, signed}], sorted by viseme: per viseme the mean of |shown - reference| and of shown - reference
    over its frames, in eye distances; above 0 the mouth is too far open. Pauses count as the viseme `sil`.

    shown, reference: openings (T,) of the generated face and of the real one on the same frames; the first is frame `first_frame`
    of the recording. ValueError for other shapes or values that are not finite.
    """
    shown, reference = np.asarray(shown, np.float64), np.asarray(reference, np.float64)
    if shown.ndim != 1 or shown.shape != reference.shape:
        raise ValueError(f"need two openings of one length, not {shown.shape} and {reference.shape}")
    if not (np.isfinite(shown).all() and np.isfinite(reference).all()):
        raise ValueError("the openings hold NaN or infinity")
    names, difference = viseme_of_frames(intervals, len(shown), first_frame), shown - reference
    out = []
    for name in sorted({n for n in names if n is not None}):
        own = difference[[n == name for n in names]]
        out.append({"viseme": name, "n_frames": len(own), "error": float(np.abs(own).mean()), "signed": float(own.mean())})
    return out


@dataclass(slots=True)
class VisemeCell:
    """One system, language and viseme; language None: all that are not planted, every clip with weight 1. error, signed: over
    clips. gain: how much smaller the error is than the still face's on the same clips; below 0, moving the lips made it worse.
    p_holm: of the gain, over all visemes and languages of the system (over all visemes, for all languages together)."""

    system: str
    language: str | None
    viseme: str
    n_frames: int
    error: Estimate
    signed: float
    still: float | None
    gain: Estimate | None
    p: float | None
    p_holm: float | None = None


def viseme_cells(table: Table, planted: Sequence[str] = ()) -> list[VisemeCell]:
    """Per-viseme errors of every system's own sound, by system, language, viseme, all languages together first; the still face is
    one of the systems."""
    errors = _Errors(table)
    tags = {key: key[2] for key in table.groups if key[1] == "self" and key[0] != "real"}
    wanted = [(system, tag) for system in sorted({key[0] for key in tags})
              for tag in (None, *sorted(t for k, t in tags.items() if k[0] == system))]
    out = []
    for system, tag in wanted:
        own = [table.where(table.groups[key]) for key, t in tags.items() if key[0] == system
               and (t == tag if tag is not None else t not in planted)]
        chosen = np.zeros(len(table.rows), bool)
        chosen[np.concatenate(own) if own else []] = True
        places = np.flatnonzero(chosen[errors.rows])
        for k, viseme in enumerate(errors.names):
            at = places[errors.visemes[places] == k]
            out += [_cell(table, system, tag, viseme, errors, at)] if len(at) else []
    for system in sorted({c.system for c in out}):
        for together in (True, False):
            family = [c for c in out if c.system == system and (c.language is None) == together and c.p is not None]
            for cell, p in zip(family, holm([c.p for c in family]), strict=True):
                cell.p_holm = p
    return out


class _Errors:
    """Every per-viseme error of a table as columns: place of its row, number of its viseme, frames, error, signed, and the still
    face's error of the same clip and viseme (nan without one)."""

    def __init__(self, table: Table):
        found = [(i, e) for i, row in enumerate(table.rows) if row["condition"] == "self" and row["system"] != "real"
                 for e in row.get("viseme_errors") or ()]
        self.names = sorted({e["viseme"] for _, e in found})
        number = {name: k for k, name in enumerate(self.names)}
        self.rows = np.array([i for i, _ in found], int)
        self.visemes = np.array([number[e["viseme"]] for _, e in found], int)
        self.frames = np.array([e["n_frames"] for _, e in found], int)
        self.error, self.signed = (np.array([e[k] for _, e in found], float) for k in ("error", "signed"))
        tracks = [table.rows[i]["track_id"] for i in self.rows]
        still = {(t, v): x for i, t, v, x in zip(self.rows, tracks, self.visemes.tolist(), self.error.tolist(), strict=True)
                 if table.rows[i]["system"] == STILL}
        self.still = np.array([still.get(key, np.nan) for key in zip(tracks, self.visemes.tolist(), strict=True)], float)


def _cell(table: Table, system: str, language: str | None, viseme: str, errors: _Errors, at: np.ndarray) -> VisemeCell:
    rows, error, still = errors.rows[at], errors.error[at], errors.still[at]
    known, gain, p = ~np.isnan(still), None, None
    if known.any() and system != STILL:
        values, clusters = table.gather(rows[known], (still - error)[known])
        gain = table.estimate(values, clusters)
        p = sign_flip_test(values, clusters, table.seed, table.resamples) if gain.low is not None else None
    return VisemeCell(system, language, viseme, int(errors.frames[at].sum()), table.estimate(*table.gather(rows, error)),
                      float(table.gather(rows, errors.signed[at])[0].mean()), float(still[known].mean()) if known.any() else None,
                      gain, p)
