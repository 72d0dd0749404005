"""Face recognition: a frame and five points in, an embedding of the person out. Frozen; SFace through OpenCV.

SFace (Zhong et al. 2021) because its weights are published under Apache-2.0 by OpenCV's model zoo with their hash; ArcFace's own
are for non-commercial research only. Figures of different networks are not comparable: `name` belongs to the protocol.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.experts.finder import check_frame

WEIGHTS = "sface"
"""The network's name in core.weights."""
SIDE = 112
# MediaPipe's mesh at YuNet's five points: eyes (mean of both corners), tip of the nose, mouth corners; the person's right first
_EYES, _NOSE, _CORNERS = ((33, 133), (362, 263)), 1, (61, 291)


class Recognizer:
    """SFace. Embeddings have 128 values and no unit length; `metrics.identity.identity_similarity` compares them."""

    name, dim = "sface", 128

    def __init__(self, path: Path):
        import cv2

        cv2.setNumThreads(1)  # for the whole process, as every worker here wants it
        self._net = cv2.FaceRecognizerSF.create(str(path), "")

    def align(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
        """The face turned and scaled onto the network's template: uint8 (112, 112, 3) RGB. points: see `five_points`."""
        check_frame(rgb)
        points = np.asarray(points, np.float32)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise ValueError(f"expected 5 finite points (x, y), got shape {points.shape}")
        row = np.zeros((1, 15), np.float32)  # YuNet's row: box, five points, score; only the points are used
        row[0, 4:14] = points.reshape(-1)
        return self._net.alignCrop(np.ascontiguousarray(rgb), row)

    def embed(self, frames: np.ndarray | list[np.ndarray], points: np.ndarray) -> np.ndarray:
        """float32 (T, 128): one embedding per frame. frames: uint8 (H, W, 3) RGB each. points: (T, 5, 2) in frame pixels.

        Pass the points of the REAL track for real and generated frames alike: the network then sees the same pixels of both.
        """
        if len(frames) != len(points) or not len(frames):
            raise ValueError(f"{len(frames)} frames but {len(points)} sets of points; at least one of each is needed")
        # OpenCV takes BGR here and swaps the channels itself: the network sees RGB
        out = [self._net.feature(np.ascontiguousarray(self.align(f, p)[:, :, ::-1])).reshape(-1) for f, p in zip(frames, points)]
        return np.stack(out).astype(np.float32)


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eyes, nose and mouth corners from mesh landmarks (T, L >= 468, 2): float32 (T, 5, 2), the person's right side first."""
    points = np.asarray(landmarks, np.float32)
    eyes = [points[:, pair].mean(1) for pair in _EYES]
    return np.stack([*eyes, points[:, _NOSE], *(points[:, i] for i in _CORNERS)], axis=1)


def open_recognizer(path: Path) -> Recognizer:
    """A recognizer that has its model loaded. ValueError for a file that OpenCV cannot read."""
    import cv2

    if not Path(path).is_file():
        raise ValueError(f"{path}: no such model file for the face recognizer")
    try:
        return Recognizer(Path(path))
    except cv2.error as error:
        raise ValueError(f"{path}: cannot be read as a face recognition model ({str(error).strip().splitlines()[-1]})") from error
