"""One face through a clip, packed for a table and unpacked again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.shards import pack, unpack

N_LANDMARKS = 468


@dataclass(frozen=True, slots=True)
class Track:
    """boxes float32 (T, 4) x0 y0 x1 y1; landmarks float32 (T, 468, 2); meshed bool (T,): the mesh was seen, not interpolated."""

    boxes: np.ndarray
    landmarks: np.ndarray
    meshed: np.ndarray


def smooth_points(points: np.ndarray, frames: int) -> np.ndarray:
    """Points (T, L, 2) averaged over `frames` neighbouring frames with triangular weights, edges repeated; 1 changes nothing."""
    if frames <= 1:
        return points
    half = (frames + 1) // 2
    kernel = np.convolve(np.ones(half), np.ones(frames + 1 - half))
    kernel, pad = kernel / kernel.sum(), len(kernel) // 2
    padded = np.pad(points, ((pad, len(kernel) - 1 - pad), (0, 0), (0, 0)), mode="edge")
    return sum(w * padded[i:i + len(points)] for i, w in enumerate(kernel))


def pack_track(track: Track) -> dict[str, Any]:
    """The columns boxes, landmarks, landmark_unit and meshed. Landmarks are kept to 1/8192 of the largest box side."""
    unit = float(np.max(track.boxes[:, 2:] - track.boxes[:, :2]) / 8192)
    centre = (track.boxes[:, None, :2] + track.boxes[:, None, 2:]) / 2
    steps = np.clip(np.rint((track.landmarks[:, :N_LANDMARKS] - centre) / unit), -32767, 32767)
    return {"boxes": pack(track.boxes.astype(np.float32)), "landmarks": pack(steps.astype(np.int16)), "landmark_unit": unit,
            "meshed": pack(track.meshed.astype(np.uint8))}


def load_track(row: dict[str, Any]) -> Track:
    """The track in a row of the tracks table."""
    boxes = unpack(row["boxes"], np.float32, (-1, 4))
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    steps = unpack(row["landmarks"], np.int16, (-1, N_LANDMARKS, 2))
    return Track(boxes, (steps * np.float32(row["landmark_unit"]) + centre).astype(np.float32),
                 unpack(row["meshed"], np.uint8, (-1,)).astype(bool))
