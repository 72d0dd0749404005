"""Whether a sync expert can be read at all: lags are put in on purpose, and it has to find them.

Convention as in metrics.sync: a lag or an offset above 0 means that the sound comes earlier than the mouth. `python -m bench.lag`
asks the same of every whole lag; the pipeline asks for the few of LAGS, of the real video that it scores anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.sync import VSHIFT, chance_accuracy, lse

LAGS = (-8, -4, 0, 4, 8)  # frames
WITHIN_FRAMES = 1
ASKED_FROM = 6
"""Clips of a language. With fewer, a good expert that misses one clip or two could not be told from one that guesses."""
LEVEL = 0.05


def offsets_at(
    video: np.ndarray, audio: np.ndarray, lags: Sequence[int], at: int, audio_at: int, length: int, vshift: int = VSHIFT
) -> list[int]:
    """The offset found for each lag: the stretch of `video` (N, D) from window `at`, the sound from window `audio_at` + lag of
    `audio`. Nothing is padded; both stretches have `length` windows and must lie inside."""
    if at < 0 or at + length > len(video) or audio_at + min(lags) < 0 or audio_at + max(lags) + length > len(audio):
        reach = f"{min(lags)}..{max(lags)}"
        raise ValueError(f"windows {at}..{at + length} with lags {reach} leave a clip of {len(video)} and {len(audio)}")
    return [
        lse(video[at : at + length], audio[audio_at + lag : audio_at + lag + length], vshift, padded=False).offset_frames
        for lag in lags
    ]


def injected_offsets(video: np.ndarray, audio: np.ndarray, vshift: int = VSHIFT) -> list[int] | None:
    """The offset found for each lag of LAGS in a whole clip's embeddings (N, D), but for its ends, over which the sound is moved;
    None where too few windows are left to search +-vshift."""
    reach, n = max(LAGS), min(len(video), len(audio))
    length = n - 2 * reach
    return offsets_at(video, audio, LAGS, reach, reach, length, vshift) if length > vshift else None


@dataclass(frozen=True, slots=True)
class LagVerdict:
    """What one language's clips say. share: mean share of a clip's lags that were found. n_found: clips in which most were.
    chance: how likely so many would be by guessing (binomial, clips as independent). heard: whether that is below 5 %; None where
    fewer than ASKED_FROM clips were asked, which says nothing either way."""

    n_clips: int
    n_found: int
    share: float | None
    chance: float | None
    heard: bool | None


def shares_found(offsets: Sequence[Sequence[int]], lags: Sequence[int] = LAGS) -> list[float]:
    """The share of lags found within one frame, clip by clip, of the offsets that `injected_offsets` gave for each.

    A corpus may be late by a constant, which every expert forgives: a lag counts from the median offset of the OTHER clips, so
    that no clip votes for itself. A lone clip counts from 0.
    """
    if not len(offsets):
        return []
    moved = np.asarray(offsets, float) - np.asarray(lags)  # where each trial says that sound and mouth agree
    own = np.median(moved, axis=1)
    out = []
    for k, row in enumerate(moved):
        others = np.delete(own, k)
        late = np.floor(np.median(others) + 0.5) if len(others) else 0.0
        out.append(float((np.abs(row - late) <= WITHIN_FRAMES).mean()))
    return out


def lag_verdict(offsets: Sequence[Sequence[int]], lags: Sequence[int] = LAGS, vshift: int = VSHIFT) -> LagVerdict:
    """Whether the lags put into one language's real clips are found more often than by guessing.

    A wrong best match moves along with the lag, so trials of one clip are not independent: the clip is what counts, found where
    more than half of its lags are.
    """
    from scipy.special import bdtrc

    shares = shares_found(offsets, lags)
    n, found = len(shares), sum(s > 0.5 for s in shares)
    chance = float(bdtrc(found - 1, n, chance_accuracy(vshift, WITHIN_FRAMES))) if n else None
    return LagVerdict(n, found, float(np.mean(shares)) if n else None, chance, chance <= LEVEL if n >= ASKED_FROM else None)
