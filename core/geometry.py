"""Similarity transforms, boxes and smoothing, on plain arrays.

A transform is a float64 (2, 3) matrix M that maps a point (x, y) to M[:, :2] @ (x, y) + M[:, 2]. Stacks (T, 2, 3) work
everywhere. Points are pixel-centre coordinates: (0, 0) is the middle of the first pixel, which covers [-0.5, 0.5). Boxes are
(x0, y0, x1, y1) in the same coordinates.
"""

from __future__ import annotations

from typing import Literal

import numpy as np


# ---- transforms ---------------------------------------------------------------------------------------------------------------
def similarity_from_points(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """The similarity (scale, rotation, shift, no reflection) nearest to mapping src onto dst: float64 (2, 3), or (T, 2, 3).

    src and dst are (n, 2) or stacks (T, n, 2), n >= 2. Minimises the squared distances. Source: Umeyama 1991, for which two
    dimensions have a closed form: with centred points as complex numbers the answer is one complex division.
    Raises ValueError on other shapes, on values that are not finite, and when all points of src coincide.
    """
    src, dst = np.asarray(src, dtype=np.float64), np.asarray(dst, dtype=np.float64)
    if src.shape[-2:] != dst.shape[-2:] or src.shape[-1] != 2 or src.shape[-2] < 2:
        raise ValueError(f"src and dst must both be (..., n, 2) with n >= 2, not {src.shape} and {dst.shape}")
    if not (np.isfinite(src).all() and np.isfinite(dst).all()):
        raise ValueError("points must be finite")
    src_mean, dst_mean = src.mean(axis=-2, keepdims=True), dst.mean(axis=-2, keepdims=True)
    a, b = src - src_mean, dst - dst_mean
    spread = (a**2).sum(axis=(-2, -1))
    if np.any(spread <= 1e-12 * (1 + (src**2).sum(axis=(-2, -1)))):
        raise ValueError("all source points coincide: no similarity is defined")
    real = (a * b).sum(axis=(-2, -1)) / spread
    imag = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(axis=-1) / spread
    linear = np.stack([np.stack([real, -imag], axis=-1), np.stack([imag, real], axis=-1)], axis=-2)
    shift = dst_mean[..., 0, :] - np.einsum("...ij,...j->...i", linear, src_mean[..., 0, :])
    return np.concatenate([linear, shift[..., None]], axis=-1)


def invert(transform: np.ndarray) -> np.ndarray:
    """The transform that undoes `transform` (2, 3) or (T, 2, 3), float64. Raises ValueError when it is singular."""
    m = np.asarray(transform, dtype=np.float64)
    det = m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]
    if np.any(det == 0) or not np.isfinite(m).all():
        raise ValueError("transform is singular or not finite")
    linear = np.linalg.inv(m[..., :2])
    return np.concatenate([linear, -linear @ m[..., 2:]], axis=-1)


def extent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the smallest, the largest) x and y of points (N, 2): two arrays (2,). Along rows, which takes NumPy a quarter of the time."""
    rows = np.ascontiguousarray(points.T)
    return rows.min(axis=1), rows.max(axis=1)


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The transform that applies `first`, then `second`: float64, shapes (2, 3) or (T, 2, 3), broadcast."""
    b, a = np.asarray(second, dtype=np.float64), np.asarray(first, dtype=np.float64)
    out = b[..., :2] @ a
    out[..., 2] += b[..., 2]
    return out


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., n, 2) mapped by `transform` (2, 3) or (T, 2, 3): float64."""
    m, points = np.asarray(transform, dtype=np.float64), np.asarray(points, dtype=np.float64)
    return points @ np.swapaxes(m[..., :2], -1, -2) + m[..., None, :, 2]


def scale_of(transform: np.ndarray) -> np.ndarray | float:
    """Length of a mapped unit vector (for similarities; the geometric mean otherwise): a float, or (T,) for a stack."""
    m = np.asarray(transform, dtype=np.float64)
    return np.sqrt(np.abs(m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]))


def from_window(x0: np.ndarray | float, y0: np.ndarray | float, side: np.ndarray | float, size: int) -> np.ndarray:
    """The transform that fills a size x size view with the square of `side` pixels whose first pixel is (x0, y0).

    Equal to slicing rows y0..y0+side and columns x0..x0+side and resizing: the outer EDGES of the pixels are matched, not their
    centres. Scalars give (2, 3), arrays (T,) give (T, 2, 3).
    """
    k = size / np.asarray(side, dtype=np.float64)
    zero = np.zeros_like(k)
    rows = [[k, zero, (0.5 - np.asarray(x0)) * k - 0.5], [zero, k, (0.5 - np.asarray(y0)) * k - 0.5]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def zoom(factor: float) -> np.ndarray:
    """The transform (2, 3) from an image to itself resized by `factor`, edges matched."""
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]], dtype=np.float64)


# ---- boxes --------------------------------------------------------------------------------------------------------------------
def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of a (n, 4) with every box of b (m, 4): float64 (n, m), in [0, 1]; empty boxes give
    0."""
    a, b = np.asarray(a, dtype=np.float64).reshape(-1, 4), np.asarray(b, dtype=np.float64).reshape(-1, 4)
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.prod(np.maximum(0, high - low), axis=-1)
    union = box_area(a)[:, None] + box_area(b)[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """Area of boxes (..., 4) in square pixels, float64 (...); inverted boxes count 0."""
    boxes = np.asarray(boxes, dtype=np.float64)
    return np.prod(np.maximum(0, boxes[..., 2:] - boxes[..., :2]), axis=-1)


def box_centre_and_half(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (..., 2) and half of the larger side (...), float64, of boxes (..., 4)."""
    boxes = np.asarray(boxes, dtype=np.float64)
    return (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).max(axis=-1) / 2


def box_of_points(points: np.ndarray) -> np.ndarray:
    """The tightest box around points (..., n, 2): float32 (..., 4)."""
    points = np.asarray(points)
    return np.concatenate([points.min(axis=-2), points.max(axis=-2)], axis=-1).astype(np.float32)


def interpolate_boxes(frames: np.ndarray, boxes: np.ndarray, n_frames: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Boxes on every frame from the ones found on some: frame indices int64 (T,) and boxes float32 (T, 4).

    `frames` (n,) must increase strictly. Missing frames are filled linearly. Without n_frames the result runs from the first
    to the last found frame; with it, from 0 to n_frames - 1, the ends repeating the nearest box. Works for any (n, d) values.
    """
    frames, boxes = np.asarray(frames, dtype=np.int64), np.asarray(boxes, dtype=np.float64)
    if not len(frames) or len(frames) != len(boxes) or np.any(np.diff(frames) <= 0):
        raise ValueError(
            f"need as many boxes as frames, at least one, frames strictly increasing; got {len(frames)} and {len(boxes)}"
        )
    every = np.arange(frames[0], frames[-1] + 1) if n_frames is None else np.arange(n_frames)
    filled = np.stack([np.interp(every, frames, column) for column in boxes.T], axis=-1)
    return every, filled.astype(np.float32)


# ---- smoothing over time ------------------------------------------------------------------------------------------------------
def smooth_series(values: np.ndarray, kernel: int = 13, edge: Literal["zero", "nearest"] = "nearest") -> np.ndarray:
    """Running median over the first axis: float64, same shape as values (T,) or (T, ...).

    edge="zero" sees zeros beyond the ends, as scipy.signal.medfilt and with it SyncNet's pipeline (kernel 13) do; a series
    shorter than the kernel would drown in them, so there and with edge="nearest" the end values are repeated. kernel must be odd.
    """
    values = np.asarray(values, dtype=np.float64)
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be odd and positive, not {kernel}")
    if not len(values):
        return values.copy()
    half = kernel // 2
    width = [(half, half)] + [(0, 0)] * (values.ndim - 1)
    padded = np.pad(values, width, mode="constant" if edge == "zero" and len(values) >= kernel else "edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=0), axis=-1)


def smooth_points(points: np.ndarray, sigma_frames: float = 1.0, speed_px: float | None = None) -> np.ndarray:
    """Landmarks (T, n, 2) smoothed over time by a Gaussian without delay: float32, same shape. sigma_frames 0 returns them
    unchanged.

    With speed_px, points that move keep their own position: the smoothed one has weight speed_px / (speed_px + speed), speed
    in pixels a frame. That is the idea of the one-euro filter (Casiez et al. 2012), but symmetric in time, so lips do not lag.
    """
    points = np.asarray(points, dtype=np.float32)
    if sigma_frames < 0:
        raise ValueError(f"sigma_frames must be >= 0, not {sigma_frames}")
    if sigma_frames == 0 or len(points) < 2:
        return points.copy()
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(points.astype(np.float64), sigma_frames, axis=0, mode="nearest")
    if speed_px is not None:
        speed = np.linalg.norm(np.gradient(smooth, axis=0), axis=-1, keepdims=True)
        smooth = points + (smooth - points) * (speed_px / (speed_px + speed))
    return smooth.astype(np.float32)
