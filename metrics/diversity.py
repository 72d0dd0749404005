"""How different several samples of one input are: what a system that draws samples makes of the freedom that speech leaves.

A system without randomness has diversity 0, and so does one that ignores it; a large figure alone is no merit, since noise is
diverse. Read it beside a figure of quality.
"""

from __future__ import annotations

import numpy as np

from metrics.landmarks import MOUTH, OUTER_EYE_CORNERS, checked


def sample_diversity(samples: np.ndarray) -> float:
    """Mean Euclidean distance between the samples of one input, over all pairs and frames: from features (S, T, D), S >= 2.

    Source: the multimodality of Guo et al. 2020 (Action2Motion), over all pairs instead of drawn ones. ValueError for fewer than
    2 samples, other shapes or values that are not finite.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 3 or len(samples) < 2 or not samples.size:
        raise ValueError(f"samples must be (at least 2, frames, values), not {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("samples hold NaN or infinity")
    first, second = np.triu_indices(len(samples), 1)
    return float(np.mean([np.linalg.norm(samples[i] - samples[j], axis=-1).mean() for i, j in zip(first, second)]))


def lip_diversity(samples: np.ndarray) -> float:
    """Mean distance of a lip point between two samples of one input, in eye distances: landmarks (S, T, L >= 468, 2), S >= 2.

    Each frame's 20 mouth points about their own centre, as in `metrics.landmarks.landmark_distance`; unit: the median eye
    distance over all samples.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 4 or len(samples) < 2:
        raise ValueError(f"samples must be (at least 2, frames, 468 or more, 2), not {samples.shape}")
    return diversity_of_points(np.stack([mouth_and_eyes(s) for s in samples]))


def mouth_and_eyes(landmarks: np.ndarray) -> np.ndarray:
    """float64 (T, 22, 2): the 20 mouth points and the two outer eye corners of landmarks (T, L >= 468, 2), all that
    `diversity_of_points` reads."""
    return checked(landmarks)[:, [*MOUTH, *OUTER_EYE_CORNERS]]


def diversity_of_points(samples: np.ndarray) -> float:
    """`lip_diversity` from the `mouth_and_eyes` of one input's samples, (S, T, 22, 2), S >= 2. ValueError for other shapes."""
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 4 or len(samples) < 2 or samples.shape[2:] != (len(MOUTH) + 2, 2):
        raise ValueError(f"samples must be (at least 2, frames, {len(MOUTH) + 2}, 2), not {samples.shape}")
    lips, eyes = samples[:, :, :len(MOUTH)], samples[:, :, len(MOUTH):]
    unit = np.median(np.linalg.norm(eyes[:, :, 0] - eyes[:, :, 1], axis=-1))
    if not unit > 0:
        raise ValueError("the outer eye corners of these samples coincide")
    lips = lips - lips.mean(axis=2, keepdims=True)
    s, t, p, _ = lips.shape
    return sample_diversity(lips.reshape(s, t * p, 2)) / float(unit)
