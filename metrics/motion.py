"""How a face moves, from its landmarks alone: blinks, motion of the head, and jitter.

Landmarks are float (T, L, 2) in pixels, MediaPipe's mesh order, L >= 468, at 25 frames a second. All three have a natural level
and no perfect one: real video has it, so a system's figure is read beside that of the real video, measured with the same
landmarks and the same smoothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.timing import FPS
from metrics.landmarks import checked, eye_distance

# Outer corner, two of the upper lid, inner corner, two of the lower lid, in the order of Soukupova & Cech's p1..p6.
RIGHT_EYE = (33, 160, 158, 133, 153, 144)
LEFT_EYE = (362, 385, 387, 263, 373, 380)
# Skin over bone, which speech hardly moves: eye corners, bridge and tip of the nose, forehead, temples.
RIGID = (33, 133, 263, 362, 168, 6, 197, 195, 5, 1, 10, 151, 9, 8, 127, 356)
CLOSED_SHARE = 0.7  # of the clip's own open eye
MIN_BLINK_FRAMES, MAX_BLINK_S = 2, 0.6
MIN_BLINK_CLIP_S = 2.0  # people blink every three or four seconds: a shorter clip has no rate


class Blinks(NamedTuple):
    """per_minute, or None with a reason (`too_short`, `eyes_closed`); spans: [first, last) frame of every blink."""

    per_minute: float | None
    reason: str | None
    spans: list[tuple[int, int]]


def eye_aspect_ratio(landmarks: np.ndarray) -> np.ndarray:
    """How far the eyes are open: height over width, mean of both eyes, about 0.3 open and 0.1 closed: float64 (T,).

    (|p2 - p6| + |p3 - p5|) / (2 |p1 - p4|). Source: Soukupova & Cech 2016, "Real-time eye blink detection using facial
    landmarks".
    """
    points = checked(landmarks)
    ratios = []
    for eye in (RIGHT_EYE, LEFT_EYE):
        p1, p2, p3, p4, p5, p6 = (points[:, i] for i in eye)
        width = np.linalg.norm(p1 - p4, axis=-1)
        if not width.all():
            raise ValueError("the corners of an eye coincide: these are not the landmarks of a face")
        ratios.append((np.linalg.norm(p2 - p6, axis=-1) + np.linalg.norm(p3 - p5, axis=-1)) / (2 * width))
    return np.mean(ratios, axis=0)


def blinks(landmarks: np.ndarray) -> Blinks:
    """The blinks of a clip: 2 frames to 0.6 s in which the aspect ratio lies below 0.7 of the clip's own open eye.

    The open eye is the 80th percentile over the clip, since eyes differ between people more than open and half closed do; a
    closure at the very start or end counts. Source: the aspect ratio of Soukupova & Cech 2016 with a threshold of its own.
    """
    ratio = eye_aspect_ratio(landmarks)
    if len(ratio) < MIN_BLINK_CLIP_S * FPS:
        return Blinks(None, "too_short", [])
    level = float(np.percentile(ratio, 80))
    if level <= 0:
        return Blinks(None, "eyes_closed", [])
    closed = np.concatenate([[False], ratio < CLOSED_SHARE * level, [False]])
    edges = np.flatnonzero(np.diff(closed.astype(np.int8)))
    spans = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2]) if MIN_BLINK_FRAMES <= b - a <= MAX_BLINK_S * FPS]
    return Blinks(60 * FPS * len(spans) / len(ratio), None, spans)


def head_motion(landmarks: np.ndarray) -> float:
    """Mean speed of the head, in eye distances a second, 0 for a still one: of points that speech does not move.

    16 points over bone, averaged over points and pairs of frames; unit: the clip's median distance of the outer eye corners.
    Turning shows because the points then move by different amounts. Defined by this project. ValueError for a single frame.
    """
    points = checked(landmarks)
    if len(points) < 2:
        raise ValueError("motion needs at least 2 frames")
    steps = np.linalg.norm(np.diff(points[:, RIGID], axis=0), axis=-1)
    return float(steps.mean() * FPS / np.median(eye_distance(points)))


def jitter(landmarks: np.ndarray) -> float:
    """How far points are from the middle of the frames before and after, in eye distances: 0 for even motion, lower is smoother.

    |p(t) - (p(t-1) + p(t+1)) / 2|, half the second difference, averaged over the 468 points and all frames but the outermost.
    Independent noise of standard deviation s in x and y gives 1.535 s. The acceleration measure of human-motion work (Kanazawa
    et al. 2019, "acceleration error"), taken without a reference. ValueError below 3 frames.
    """
    points = checked(landmarks)[:, :468]
    if len(points) < 3:
        raise ValueError("jitter needs at least 3 frames")
    off = points[1:-1] - (points[:-2] + points[2:]) / 2
    return float(np.linalg.norm(off, axis=-1).mean() / np.median(eye_distance(landmarks)))
