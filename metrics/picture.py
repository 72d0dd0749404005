"""How good the picture of a face is: sharpness, light, and where the head points, from small grey pictures and landmarks."""

from __future__ import annotations

import numpy as np

PATCH = 128
"""Side of the grey pictures: faces of any size are compared at this one, so a small face counts as unsharp."""
DARK, BRIGHT = 5, 250
POSE_POINTS = (1, 152, 33, 263, 61, 291)
"""Nose tip, chin, outer eye corners and mouth corners (image left first) in MediaPipe's mesh."""
# The generic head of the usual OpenCV head-pose example: x to the image's right, y down, z away from the camera.
_HEAD = np.array([(0, 0, 0), (0, 330, 65), (-225, -170, 135), (225, -170, 135), (-150, 150, 125), (150, 150, 125)], np.float64)


def sharpness(patches: np.ndarray) -> float:
    """Median over pictures of the variance of the Laplacian (4 neighbours), grey levels squared; higher is sharper.

    patches: uint8 (K, 128, 128) grey faces, K >= 1. Source: Pech-Pacheco et al. 2000. Noise counts as sharpness, as always here.
    ValueError for other shapes or types.
    """
    x = _checked(patches).astype(np.int32)
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:] - 4 * x[:, 1:-1, 1:-1]
    return float(np.median(around.reshape(len(x), -1).var(axis=1)))


def light(patches: np.ndarray) -> dict[str, float]:
    """brightness (mean), contrast (standard deviation; both of full scale, medians over pictures) and clipped_share (pixels at
    most 5 or at least 250, of all). patches as for `sharpness`."""
    x = _checked(patches).reshape(len(patches), -1)
    return {"brightness": float(np.median(x.mean(axis=1)) / 255), "contrast": float(np.median(x.std(axis=1)) / 255),
            "clipped_share": float(((x <= DARK) | (x >= BRIGHT)).mean())}


def pose(landmarks: np.ndarray) -> np.ndarray:
    """float64 (T, 3): yaw, pitch and roll in degrees; > 0: the face turns to the image's right, looks up, tilts clockwise.

    landmarks: (T, 468 or more, 2) pixels. The nearest scaled orthographic view of a generic head of six points, so a real head
    that looks straight ahead may come out some degrees off, in pitch above all. Angles as if it first nods, then turns, then
    tilts.
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim != 3 or points.shape[1] < 468 or points.shape[2] != 2:
        raise ValueError(f"landmarks must be (T, 468 or more, 2), not {points.shape}")
    seen = points[:, POSE_POINTS] - points[:, POSE_POINTS].mean(axis=1, keepdims=True)
    affine = np.swapaxes(np.linalg.pinv(_HEAD - _HEAD.mean(axis=0)) @ seen, 1, 2)  # (T, 2, 3): head to image
    left, _, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    depth = np.cross(rows[:, 0], rows[:, 1])
    yaw = np.arcsin(np.clip(depth[:, 0], -1, 1))
    pitch = np.arctan2(-depth[:, 1], depth[:, 2])
    roll = np.arctan2(rows[:, 1, 0], rows[:, 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1))


def _checked(patches: np.ndarray) -> np.ndarray:
    if patches.dtype != np.uint8 or patches.ndim != 3 or patches.shape[1:] != (PATCH, PATCH) or not len(patches):
        raise ValueError(f"expected grey pictures, uint8 (K, {PATCH}, {PATCH}), got {patches.dtype} of shape {patches.shape}")
    return patches
