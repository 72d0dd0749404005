"""A face for the tests of motion: MediaPipe's points where the metrics look, everything else at random but still."""

from __future__ import annotations

import numpy as np

from metrics.motion import LEFT_EYE, RIGHT_EYE


def still_face(n: int = 60, seed: int = 0) -> np.ndarray:
    """Landmarks float64 (n, 468, 2) that do not move: outer eye corners 100 px apart, both eyes 0.3 open."""
    points = np.random.default_rng(seed).uniform(0, 200, (468, 2))
    for eye, left in ((RIGHT_EYE, 50.0), (LEFT_EYE, 120.0)):
        for i, (x, y) in zip(eye, ((0, 0), (10, -4.5), (20, -4.5), (30, 0), (20, 4.5), (10, 4.5))):
            points[i] = left + x, 60 + y
    return np.repeat(points[None], n, 0)


def close_eyes(face: np.ndarray, start: int, stop: int, share: float = 0.2) -> np.ndarray:
    """The face with both eyes `share` as open in the frames [start, stop)."""
    out = face.copy()
    for eye in (RIGHT_EYE, LEFT_EYE):
        lids = [eye[i] for i in (1, 2, 4, 5)]
        out[start:stop, lids, 1] = 60 + share * (out[start:stop, lids, 1] - 60)
    return out
