"""Where a picture metric looks: the whole frame, the face or the mouth, as whole pixels set by the REAL track.

The same pixels are taken from the real video and from every system's, so that nobody can gain by moving the face. One size for a
whole clip: networks then see a batch, and no frame weighs more than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from metrics.landmarks import MOUTH, checked

Region = Literal["frame", "face", "mouth"]
REGIONS: tuple[Region, ...] = ("frame", "face", "mouth")
FACE_SCALE = 1.3  # side of the face's square over the larger side of its box
MOUTH_SCALE = 1.6  # side of the mouth's square over the width of the real mouth


def region_boxes(region: Region, frame: tuple[int, int], boxes: np.ndarray, landmarks: np.ndarray | None = None) -> np.ndarray:
    """The pixels of a region in every frame: int64 (T, 4) of left, top, right, bottom, the last two excluded, one size for all.

    frame: (height, width). boxes: (T, 4) x0 y0 x1 y1 of the real track, for "frame" only their number counts. landmarks: the
    real track's (T, L >= 468, 2), needed for "mouth". Squares of the clip's median size around each frame's centre, moved inside
    the picture where they would stick out, and cut to it where they are larger. ValueError for other shapes or names.
    """
    height, width = frame
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) or not np.isfinite(boxes).all():
        raise ValueError(f"boxes must be finite (T >= 1, 4), not {boxes.shape}")
    if region == "frame":
        return np.tile(np.array([0, 0, width, height]), (len(boxes), 1))
    if region == "face":
        centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, FACE_SCALE * (boxes[:, 2:] - boxes[:, :2]).max(1)
    elif region == "mouth":
        if landmarks is None:
            raise ValueError("the region 'mouth' needs the landmarks of the real track")
        mouth = checked(landmarks)[:, MOUTH]
        if len(mouth) != len(boxes):
            raise ValueError(f"{len(boxes)} boxes but landmarks of {len(mouth)} frames")
        centre = (mouth.min(1) + mouth.max(1)) / 2
        side = MOUTH_SCALE * np.ptp(mouth, axis=1).max(1)
    else:
        raise ValueError(f"no region is called {region!r}; expected one of {', '.join(REGIONS)}")
    size = np.minimum(max(1, round(float(np.median(side)))), (width, height))
    # pixel centres are whole numbers: a square of n pixels from `first` on is centred on first + (n - 1) / 2
    first = np.floor(centre - (size - 1) / 2 + 0.5).astype(np.int64)
    first = np.clip(first, 0, np.array([width, height]) - size)
    return np.concatenate([first, first + size], axis=1)


def cut(frames: Sequence[np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """The pixels of `region_boxes` from every frame: uint8 (T, h, w, 3). ValueError where a box leaves its frame."""
    if len(frames) != len(boxes):
        raise ValueError(f"{len(frames)} frames but {len(boxes)} boxes")
    out = []
    for frame, (x0, y0, x1, y1) in zip(frames, boxes.tolist()):
        if not (0 <= x0 < x1 <= frame.shape[1] and 0 <= y0 < y1 <= frame.shape[0]):
            raise ValueError(f"box {(x0, y0, x1, y1)} leaves a frame of {frame.shape[1]} x {frame.shape[0]}: real and generated "
                             "frames must have one size")
        out.append(frame[y0:y1, x0:x1])
    return np.stack(out)
