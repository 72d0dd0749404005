"""Whether sound finds its picture among many, and picture its sound: recall at K over embeddings of the same clips.

Both directions, all clips as candidates. Chance is K / N: figures over different N are not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


PARTS = 16
"""Stretches that a clip's embeddings are averaged over. One mean of a whole clip finds nothing: see docs/metrics.md."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Recall at each K per direction, in [0, 1], chance at each K, the median rank (1 is best) per direction, and the clips."""

    audio_to_video: dict[int, float]
    video_to_audio: dict[int, float]
    chance: dict[int, float]
    median_rank_audio: float
    median_rank_video: float
    n: int


def retrieval(
    audio: np.ndarray, video: np.ndarray, ks: Sequence[int] = (1, 5, 10), distance: Literal["l2", "cosine"] = "cosine"
) -> Retrieval:
    """Recall at K between embeddings (N, D) whose rows belong together, N >= 2; a K above N counts as N.

    A row is found when its partner is among the K nearest; ties go to the others, so embeddings that are all alike find
    nothing. distance: "l2" for experts trained on distances (SyncNet), "cosine" for the rest; a zero vector is cosine 0 from
    everything. Source: recall at K as in cross-modal retrieval (Chung, Chung & Kang 2019, "Perfect match").
    ValueError for other shapes, K < 1, or values that are not finite.
    """
    audio, video = np.asarray(audio, dtype=np.float64), np.asarray(video, dtype=np.float64)
    if audio.ndim != 2 or audio.shape != video.shape or len(audio) < 2:
        raise ValueError(f"embeddings must be (N, D) with the same N >= 2 and D, not {audio.shape} and {video.shape}")
    if not (np.isfinite(audio).all() and np.isfinite(video).all()):
        raise ValueError("embeddings hold NaN or infinity")
    if not ks or min(ks) < 1:
        raise ValueError(f"K must be 1 or more, not {list(ks)}")
    apart = _distances(audio, video, distance)
    n = len(apart)
    by_audio, by_video = _ranks(apart), _ranks(apart.T)
    return Retrieval(
        {k: float((by_audio <= k).mean()) for k in ks},
        {k: float((by_video <= k).mean()) for k in ks},
        {k: min(k, n) / n for k in ks},
        float(np.median(by_audio)),
        float(np.median(by_video)),
        n,
    )


def in_parts(embeddings: np.ndarray, n_parts: int = PARTS) -> np.ndarray | None:
    """float32 (n_parts, D): a clip's embeddings (N, D), one per sync window, averaged over n_parts stretches side by side; None
    for fewer windows than parts. Two clips then meet stretch by stretch, whatever their lengths."""
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be (N, D), not {embeddings.shape}")
    if len(embeddings) < n_parts:
        return None
    return np.stack([part.mean(0, dtype=np.float64) for part in np.array_split(embeddings, n_parts)]).astype(np.float32)


def _distances(audio: np.ndarray, video: np.ndarray, kind: str) -> np.ndarray:
    if kind == "cosine":
        return -_unit(audio) @ _unit(video).T
    if kind == "l2":
        return np.square(audio).sum(1)[:, None] + np.square(video).sum(1) - 2 * audio @ video.T
    raise ValueError(f"unknown distance {kind!r}, expected 'l2' or 'cosine'")


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length == 0, 1, length)


def _ranks(apart: np.ndarray) -> np.ndarray:
    """The rank of each row's partner, 1 for the nearest; equally near ones come first, within what rounding can hide."""
    own = np.diag(apart)[:, None]
    slack = 1e-12 * max(1.0, float(np.abs(apart).max()))
    return (apart <= own + slack).sum(1)
