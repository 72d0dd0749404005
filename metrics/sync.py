"""Audio-visual synchrony from the embeddings of a sync expert: LSE-D, LSE-C and the offset, exactly as the public scorer counts.

Conventions: one video embedding per 5 frames and one audio embedding per 20 MFCC rows, both starting at frame i, one per frame.
Only the public SyncNet v2 weights make the numbers comparable with published ones; the caller names the expert.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.records import Reject

VSHIFT = 15
_EPS = 1e-6  # torch.pairwise_distance adds it to every component of the difference


@dataclass(frozen=True, slots=True)
class SyncScore:
    """lse_d: smallest mean distance (lower is better). lse_c: median minus smallest mean distance over all offsets (higher is
    better).

    offset_frames: the offset of that smallest distance; > 0 means that the sound comes EARLIER in the file than the mouth.
    mean_dist: float64 (2 vshift + 1,), mean distance per lag -vshift..+vshift of the audio index; offset = vshift - its argmin.
    """

    lse_d: float
    lse_c: float
    offset_frames: int
    mean_dist: np.ndarray
    n_windows: int


def lse(
    video_emb: np.ndarray, audio_emb: np.ndarray, vshift: int = VSHIFT, padded: bool = True, min_windows: int = 1
) -> SyncScore:
    """LSE-D, LSE-C, offset and the curve of mean distances, from embeddings (N, D) and (N', D); the first min(N, N') count.

    D[i, k] = || v_i - a_(i + k - vshift) + 1e-6 ||; m[k] = mean over i; LSE-D = min m; LSE-C = median m - min m (over the
    offsets, not over time). Source: syncnet_python and Wav2Lip's evaluation/scores_LSE.
    padded=True is the published arithmetic: beyond the ends the audio is a zero vector, which enters the means, so LSE-C depends
    on the clip's length. padded=False averages over real pairs only; that is another protocol, never to be mixed with the first.
    Raises Reject("too_short") for fewer than min_windows windows (unpadded: at least vshift + 1), ValueError for unusable arrays.
    """
    video, audio = np.asarray(video_emb), np.asarray(audio_emb)
    if video.ndim != 2 or audio.ndim != 2 or video.shape[1] != audio.shape[1] or vshift < 0:
        raise ValueError(f"embeddings must be (N, D) with one D and vshift >= 0, not {video.shape}, {audio.shape} and {vshift}")
    n = min(len(video), len(audio))
    needed = max(1, min_windows) if padded else max(vshift + 1, min_windows)
    if n < needed:
        raise Reject("too_short", f"{n} sync windows, at least {needed} needed")
    video, audio = video[:n].astype(np.float64), audio[:n].astype(np.float64)
    if not (np.isfinite(video).all() and np.isfinite(audio).all()):
        raise ValueError("embeddings hold NaN or infinity")
    return score_of_curve(_mean_distances(video, audio, vshift, padded), n)


def score_of_curve(mean_dist: np.ndarray, n_windows: int) -> SyncScore:
    """The score of a curve of mean distances (2 vshift + 1,): for stored curves, or the mean of several clips' curves."""
    curve = np.asarray(mean_dist, dtype=np.float64)
    if curve.ndim != 1 or len(curve) % 2 == 0 or not np.isfinite(curve).all():
        raise ValueError(f"mean_dist must be finite and of odd length, not {curve.shape}")
    best = int(np.argmin(curve))
    return SyncScore(float(curve[best]), float(np.median(curve) - curve[best]), len(curve) // 2 - best, curve, n_windows)


def _mean_distances(video: np.ndarray, audio: np.ndarray, vshift: int, padded: bool) -> np.ndarray:
    """Mean distance for each lag -vshift..vshift, through |x - y|^2 = |x|^2 + |y|^2 - 2 x.y so that no difference is stored.

    The eps goes onto the video side once. In float64 the cancellation stays below 1e-7 of a typical distance.
    """
    n, dim = video.shape
    video = video + _EPS
    video_sq = np.einsum("ij,ij->i", video, video)
    audio_sq = np.einsum("ij,ij->i", audio, audio)
    to_zero = np.sqrt(video_sq)
    curve = np.empty(2 * vshift + 1)
    for k, lag in enumerate(range(-vshift, vshift + 1)):
        first, last = max(0, -lag), min(n, n - lag)  # the windows whose partner exists
        if first >= last:  # only when padded: the clip is shorter than the lag
            curve[k] = to_zero.mean()
            continue
        dots = np.einsum("ij,ij->i", video[first:last], audio[first + lag : last + lag])
        squares = video_sq[first:last] + audio_sq[first + lag : last + lag] - 2 * dots
        real = np.sqrt(np.maximum(squares, 0)).sum()
        curve[k] = (real + to_zero[:first].sum() + to_zero[last:].sum()) / n if padded else real / (last - first)
    return curve


def offset_accuracy(offsets: Iterable[int | None], true_offset: int = 0, tolerance_frames: int = 1) -> float | None:
    """Fraction of offsets within tolerance_frames of the true one, in [0, 1]; None where no offset is known (None is left
    out)."""
    known = [o for o in offsets if o is not None]
    return sum(abs(o - true_offset) <= tolerance_frames for o in known) / len(known) if known else None


def chance_accuracy(vshift: int = VSHIFT, tolerance_frames: int = 1) -> float:
    """The accuracy of guessing: the fraction of the 2 vshift + 1 offsets that lie within the tolerance of 0 (3 / 31 by
    default)."""
    return min(2 * tolerance_frames + 1, 2 * vshift + 1) / (2 * vshift + 1)
