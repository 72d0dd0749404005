"""Whether the lips move with the voice, without any sync network: mouth opening against speech energy.

A mouth that opens more is louder: lip area and the envelope of the sound correlate, with the sound up to 0.2 s behind the lips
(Chandrasekaran et al. 2009, "The natural statistics of audiovisual speech"). A weak measure for one clip, but one that no
system was trained on and no expert's language matters to.
"""

from __future__ import annotations

import numpy as np

from metrics.landmarks import Correlation, opening_correlation

MIN_VOICED_FRAMES = 25
VOICED_BELOW_PEAK_DB = 30.0
FLOOR_DB = -60.0  # absolute: 16-bit sound below it is room noise
MAX_BEHIND_FRAMES = 5
SMOOTH_FRAMES = 3


def voiced_frames(energy: np.ndarray) -> np.ndarray:
    """bool (T,): frames in which somebody seems to speak: at most 30 dB below the clip's 95th percentile, and above -60 dB.

    energy: root-mean-square amplitude per video frame, (T,), 0..1 (core.audio.energy_per_frame).
    """
    level = _db(energy)
    if not len(level):
        return np.zeros(0, bool)
    return level >= max(FLOOR_DB, float(np.quantile(level, 0.95)) - VOICED_BELOW_PEAK_DB)


def energy_correlation(opening: np.ndarray, energy: np.ndarray) -> Correlation:
    """Pearson correlation in [-1, 1] of mouth opening and speech level in dB over voiced frames, higher is better.

    opening: (T,), as metrics.landmarks.mouth_opening. energy: (T,), root-mean-square amplitude per frame, 0..1. Both are averaged
    over 3 frames. The sound may lag the lips by 0 to 5 frames, one lag for the whole clip, the one that agrees best, since lips
    lead the voice by an amount that differs between sounds. The best of six is above zero even for a stranger's voice: read it
    beside the same picture with shuffled sound.
    None with `too_few_voiced_frames` (fewer than 25), or with the reason of `opening_correlation`. ValueError for other lengths.
    """
    opening, energy = np.asarray(opening, np.float64), np.asarray(energy, np.float64)
    if opening.ndim != 1 or opening.shape != energy.shape:
        raise ValueError(f"need one opening and one energy per frame, not {opening.shape} and {energy.shape}")
    voiced = voiced_frames(energy)
    level, lips = _smooth(np.maximum(_db(energy), FLOOR_DB)), _smooth(opening)
    best: Correlation | None = None
    for behind in range(MAX_BEHIND_FRAMES + 1):
        use = voiced[behind:]
        if use.sum() < MIN_VOICED_FRAMES:
            break
        found = opening_correlation(lips[: len(lips) - behind][use], level[behind:][use])
        if best is None or (found.value is not None and (best.value is None or found.value > best.value)):
            best = found
    return best or Correlation(None, "too_few_voiced_frames")


def _db(energy: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(np.asarray(energy, np.float64), 1e-6))


def _smooth(values: np.ndarray) -> np.ndarray:
    if len(values) < SMOOTH_FRAMES:
        return values
    padded = np.pad(values, SMOOTH_FRAMES // 2, mode="edge")
    return np.convolve(padded, np.full(SMOOTH_FRAMES, 1 / SMOOTH_FRAMES), "valid")
