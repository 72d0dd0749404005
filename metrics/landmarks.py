"""What the lips do, from landmarks: distance to real lips, opening over time, and how well two openings agree.

Landmarks are float (T, L, 2) in pixels, MediaPipe's mesh order, L >= 468. Both clips of a comparison are in the same pixels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

# The 20 mouth points of the dlib-68 scheme in MediaPipe's mesh: 12 around the outer lip, 8 around the inner one.
MOUTH = np.array([61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87])
INNER_LIPS = (13, 14)  # middle of the upper and of the lower inner lip
OUTER_EYE_CORNERS = (33, 263)
MIN_FRAMES = 3  # below that a correlation says nothing


class Correlation(NamedTuple):
    """A Pearson correlation in [-1, 1], or None with the reason (`constant_series`, `too_short`)."""

    value: float | None
    reason: str | None


def landmark_distance(
    real: np.ndarray, generated: np.ndarray, variant: Literal["normalised", "published", "script"] = "normalised"
) -> float:
    """Distance of the generated lips from the real ones, 0 or more, lower is better.

    Each frame's 20 mouth points are taken relative to their own centroid, so head motion does not count; then the Euclidean
    distance of every point.
    "published": in pixels, mean over points and frames: LMD as Chen et al. 2018 define it ("Lip movements generation at a
    glance"); it grows with the size of the face.
    "normalised": that divided by the median distance of the outer eye corners of the real clip (no unit).
    "script": in pixels, SUMMED over the 20 points, mean over frames, as the evaluation script published with ATVGnet (Chen et
    al. 2019) computes it: 20 times the first.
    The points are those of MediaPipe's mesh at the places of dlib's 68-point scheme: the definition is the published one, the
    detector is not. Raises ValueError for other shapes, clips of different length, no frames or values that are not finite.
    """
    real, generated = checked(real), checked(generated)
    if len(real) != len(generated):
        raise ValueError(f"the clips differ in length: {len(real)} and {len(generated)} frames")
    if variant not in ("normalised", "published", "script"):
        raise ValueError(f"unknown variant {variant!r}, expected 'normalised', 'published' or 'script'")
    distance = np.linalg.norm(_centred_mouth(real) - _centred_mouth(generated), axis=-1)  # (T, 20)
    if variant == "script":
        return float(distance.sum(axis=1).mean())
    return float(distance.mean() / (np.median(eye_distance(real)) if variant == "normalised" else 1))


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners in pixels: float64 (T,). Raises ValueError where it is zero."""
    landmarks = checked(landmarks)
    distance = np.linalg.norm(landmarks[:, OUTER_EYE_CORNERS[0]] - landmarks[:, OUTER_EYE_CORNERS[1]], axis=-1)
    if not distance.all():
        raise ValueError("the outer eye corners coincide: these are not the landmarks of a face")
    return distance


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Gap between the inner lips over the distance of the outer eye corners: float64 (T,), no unit, 0 for a closed mouth."""
    landmarks = checked(landmarks)
    gap = np.linalg.norm(landmarks[:, INNER_LIPS[0]] - landmarks[:, INNER_LIPS[1]], axis=-1)
    return gap / eye_distance(landmarks)


def opening_correlation(a: np.ndarray, b: np.ndarray) -> Correlation:
    """Pearson correlation of two openings (T,) over time; value None where one of them is constant or there are fewer than 3
    frames.

    Raises ValueError when the lengths differ or values are not finite.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"need two series of one length, not {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("the series hold NaN or infinity")
    if len(a) < MIN_FRAMES:
        return Correlation(None, "too_short")
    x, y = a - a.mean(), b - b.mean()
    for centred, series in ((x, a), (y, b)):
        if np.abs(centred).max() <= 1e-9 * max(1e-9, np.abs(series).max()):  # rounding alone: a still mouth has no rhythm
            return Correlation(None, "constant_series")
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    return Correlation(float(np.clip(x @ y, -1, 1)), None)


def _centred_mouth(landmarks: np.ndarray) -> np.ndarray:
    mouth = landmarks[:, MOUTH]
    return mouth - mouth.mean(axis=1, keepdims=True)


def checked(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks as float64 (T, L, 2); ValueError unless L >= 468, T >= 1 and all values are finite."""
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 3 or points.shape[1] < 468 or points.shape[2] != 2 or not len(points):
        raise ValueError(f"landmarks must be (T, 468 or more, 2) with at least one frame, not {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("landmarks hold NaN or infinity: interpolate missing frames first")
    return points
