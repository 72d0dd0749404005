"""Who speaks when: turns from the scores of an active speaker expert, and how much of the speech went to the right face."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from core.timing import FPS

Turn = tuple[float, float, int]
"""start_s, end_s, face."""
MIN_TURN_S = 0.5


def smoothed(scores: np.ndarray, frames: int) -> np.ndarray:
    """Mean of each score (..., T) and its neighbours within `frames` in all; near the ends of those that exist. float64."""
    scores = np.asarray(scores, np.float64)
    before, after = (frames - 1) // 2, frames // 2
    sums = np.concatenate([np.zeros((*scores.shape[:-1], 1)), np.cumsum(scores, axis=-1)], axis=-1)
    at = np.arange(scores.shape[-1])
    first, stop = np.maximum(at - before, 0), np.minimum(at + after + 1, scores.shape[-1])
    return (sums[..., stop] - sums[..., first]) / (stop - first)


def find_turns(scores: np.ndarray, speech: Iterable[tuple[float, float]], smooth_frames: int = 25,
               min_turn_s: float = MIN_TURN_S) -> list[Turn]:
    """The speech of a clip dealt out to its faces, in order: all of it, each moment to the face with the highest smoothed score.

    scores: (faces, T), one per frame of 1/25 s. speech: (start_s, end_s), sorted; what lies beyond the last frame is nobody's.
    Within a stretch of speech a turn shorter than min_turn_s goes to the turn before it (the first to the one after).
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not len(scores):
        raise ValueError(f"scores must be (faces >= 1, T), not {scores.shape}")
    n_frames = scores.shape[1]
    who = smoothed(scores, smooth_frames).argmax(axis=0)
    found: list[Turn] = []
    for start_s, end_s in speech:
        end_s = min(end_s, n_frames / FPS)
        if end_s <= start_s:
            continue
        first, stop = int(start_s * FPS), min(n_frames, -int(-end_s * FPS // 1))
        edges = [f for f in range(first + 1, stop) if who[f] != who[f - 1]]
        cuts = [start_s, *(f / FPS for f in edges), end_s]
        part = [(a, b, int(who[f])) for a, b, f in zip(cuts, cuts[1:], [first, *edges], strict=False)]
        found += _joined(part, min_turn_s)
    return found


def _joined(part: list[Turn], least_s: float) -> list[Turn]:
    out: list[Turn] = []
    for turn in part:
        if out and (turn[2] == out[-1][2] or turn[1] - turn[0] < least_s):
            out[-1] = (out[-1][0], turn[1], out[-1][2])
        elif out and len(out) == 1 and out[0][1] - out[0][0] < least_s:
            out[0] = (out[0][0], turn[1], turn[2])
        else:
            out.append(turn)
    return out


def right_share(turns: Sequence[Turn], truth: Sequence[Turn]) -> float | None:
    """The share of the true turns' time that was given to the right face, 0 to 1; what was given to nobody counts as wrong.

    None where nobody speaks in truth.
    """
    total = sum(b - a for a, b, _ in truth)
    right = sum(max(0.0, min(b, d) - max(a, c)) for a, b, who in truth for c, d, face in turns if who == face)
    return right / total if total else None
