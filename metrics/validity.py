"""Where a sync expert may judge: what it makes of real video, of the same video with another clip's sound, and of lags put in.

docs/protocols.md has the rule in words. Rows are dicts with the columns of the `scores` table (core.records).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.lags import ASKED_FROM, LEVEL, WITHIN_FRAMES, LagVerdict, lag_verdict
from metrics.lengths import same_length
from metrics.robustness import METRICS, NOT_VALID, Row, group_of, speaker_of, value_of
from metrics.sync import chance_accuracy

MIN_SHARE_RIGHT = 0.75
NO_LAGS, FEW_CLIPS = "no_lags", "too_few_clips"
NOT_ASKED = "no_real_and_shuffled_pairs"


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether the expert may judge a language, and the evidence: clips with real and shuffled sound, and lags put into the real
    one (`lags`) and, to see what guessing looks like, into the shuffled one. reason, where it is not valid:
    expert_not_valid_here, too_few_clips, or no_real_and_shuffled_pairs, which is no verdict."""

    language: str
    valid: bool
    n_clips: int
    n_speakers: int
    n_right: int
    share_right: float | None
    mean_real: float | None
    mean_shuffled: float | None
    mean_difference: float | None
    chance: float | None
    reason: str | None
    lags: LagVerdict
    lags_shuffled: LagVerdict
    no_lags: str | None  # why the lags had no say
    n_other_length: int = 0  # clips with both whose lengths differ: they were not asked

    @property
    def failed(self) -> bool:
        """Whether the expert was asked and is not shown to hear, so that its scores are left out."""
        return not self.valid and self.reason != NOT_ASKED


def real_and_shuffled(rows: Sequence[Row]) -> tuple[dict[str, list[tuple[str, float, float]]], Counter[str]]:
    """(language -> (speaker, LSE-C of real video with its own sound, with another clip's) of the clips that have both at lengths
    that may be compared; language -> clips that have both at others). Every language of the rows is in the first, sorted, also
    one without such a clip."""
    shuffled = _by_track(r for r in rows if r["system"] == "real" and r["condition"] == "shuffled")
    pairs: dict[str, list[tuple[str, float, float]]] = {}
    apart: Counter[str] = Counter()
    for row in rows:
        pairs.setdefault(group_of(row), [])
        if row["system"] == "real" and row["condition"] == "self" and row["track_id"] in shuffled:
            real, other = value_of(row, "lse_c"), value_of(shuffled[row["track_id"]], "lse_c")
            if real is None or other is None:
                continue
            if same_length(row, shuffled[row["track_id"]], "lse_c"):
                pairs[group_of(row)].append((speaker_of(row), real, other))
            else:
                apart[group_of(row)] += 1
    return dict(sorted(pairs.items())), apart


def injected(rows: Sequence[Row], condition: str = "self") -> dict[str, list[list[int]]]:
    """language -> the `lag_offsets` of its real clips in one condition, where they have any."""
    out: dict[str, list[list[int]]] = {}
    for row in rows:
        if row["system"] == "real" and row["condition"] == condition and row.get("lag_offsets"):
            out.setdefault(group_of(row), []).append(row["lag_offsets"])
    return out


def expert_validity(rows: Sequence[Row], margin: float) -> dict[str, Validity]:
    """Validity per language of all rows, from real video against the same video with another clip's sound, and from lags put in.

    The first rule: over clips with both scores, LSE-C of the real sound is higher than that of the shuffled sound in at least 75
    % of them, and the mean difference exceeds `margin`. An expert that hears nothing ranks half of them right; `chance` is the
    probability of that many or more by tossing a coin (binomial, clips as independent), so that a small n is seen for what it is.
    The second: lags put in on purpose are found above chance (metrics.lags.lag_verdict). It is asked where six clips or more have
    it; elsewhere it cannot condemn, and `no_lags` says why: `too_few_clips`, or `no_lags` where the scores have none. There,
    whoever guesses must not have done as well as the expert more often than 5 % of the time, in both questions together; else the
    reason is `too_few_clips`. Ranks alone take five clips for that. Where nothing was asked, nothing is known: not valid, not
    `failed`.
    """
    from scipy.special import bdtrc

    own, control = injected(rows), injected(rows, "shuffled")
    out = {}
    pairs, apart = real_and_shuffled(rows)
    for language, found in pairs.items():
        lags, shuffled = lag_verdict(own.get(language, [])), lag_verdict(control.get(language, []))
        silent = None if lags.n_clips >= ASKED_FROM else FEW_CLIPS if lags.n_clips else NO_LAGS
        if not found:
            reason = NOT_VALID if lags.heard is False else NOT_ASKED
            out[language] = Validity(language, False, 0, 0, 0, *(None,) * 5, reason, lags, shuffled, silent, apart[language])
            continue
        real, other = np.array([p[1] for p in found]), np.array([p[2] for p in found])
        right, n = int((real > other).sum()), len(found)
        difference = float((real - other).mean())
        chance = float(bdtrc(right - 1, n, 0.5))
        reason = None
        if right < MIN_SHARE_RIGHT * n or difference <= margin or lags.heard is False:
            reason = NOT_VALID
        elif silent and chance * _chance_of_lags(lags) > LEVEL:
            reason = FEW_CLIPS
        out[language] = Validity(
            language,
            reason is None,
            n,
            len({p[0] for p in found}),
            right,
            right / n,
            float(real.mean()),
            float(other.mean()),
            difference,
            chance,
            reason,
            lags,
            shuffled,
            silent,
            apart[language],
        )
    return out


def _chance_of_lags(lags: LagVerdict) -> float:
    """How likely guessing finds the lags in as many of a few clips; 1 without lags. A clip's lags count from where the others'
    lie, so two clips that agree are one coincidence and not two: n clips are n - 1 trials, and a lone one is none."""
    from scipy.special import bdtrc

    if lags.n_clips == 0:
        return 1.0
    return float(bdtrc(lags.n_found - 2, lags.n_clips - 1, chance_accuracy(tolerance_frames=WITHIN_FRAMES)))


def _by_track(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["track_id"]: row for row in rows}


def drop_unjudged(rows: Sequence[Row], validity: dict[str, Validity]) -> list[Row]:
    """Copies of the rows in which the expert's scores are null, with the reason, for languages in which it failed or that have no
    verdict at all; the rows themselves where it may judge, and where nothing could be asked of it."""
    columns = sorted({m.column for m in METRICS.values() if m.judged and m.column})
    out = []
    for row in rows:
        verdict = validity.get(group_of(row))
        if verdict is not None and not verdict.failed:
            out.append(row)
            continue
        # A score that was null already keeps its own reason.
        gone = [c for c in columns if row.get(c) is not None]
        notes = [*(row.get("null_reasons") or ()), *({"metric": c, "reason": NOT_VALID} for c in gone)]
        out.append({**row, **dict.fromkeys(gone), "mean_dist": None, "null_reasons": notes})
    return out
