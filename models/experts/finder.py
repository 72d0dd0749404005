"""Face finders: a frame in, boxes with five or six points out. Frozen, deterministic, one thread, no files but the model's own.

YuNet is the default because BlazeFace short range looks for faces that fill the frame. In 162 sampled frames of 28 real clips, all
with a face of YuNet's, one look of BlazeFace finds it in 135; where it is not sure of any it looks again, at parts of the frame, and
then finds it in all, with 8 finds more that YuNet does not share.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

YUNET_LONG_SIDE = 640
"""Frames are shrunk to this long side and never enlarged: 224 px faces are found as they are, at a tenth of the time of 640."""
YUNET_SCORE = 0.6
YUNET_NMS_IOU = 0.3
BLAZEFACE_SCORE = 0.5
BLAZEFACE_PX = 128
"""Side of what its network sees. Parts of a frame are looked at down to twice that: smaller ones would show it no more."""
SAME_FACE = 0.5
"""Two finds in overlapping parts are one face where they share this much of the smaller."""
S3FD_BOX = {"yunet": (1.01, 0.0), "blazeface": (1.185, -0.08)}
"""How a finder's box becomes the box that SyncNet's pipeline would have: larger side times the first, centre down by the second times
the larger side. Measured by bench/box_scale.py on five clips that this pipeline cut: scales 1.006 to 1.028 and 1.16 to 1.21, shifts
within 0.02 and 0.03. (YuNet and S3FD learnt from the same boxes, those of WIDER FACE.)"""


@dataclass(frozen=True)
class Detection:
    """One face: `box` float32 (4,) x0 y0 x1 y1 in pixels, `score` 0..1, `points` float32 (5|6, 2) in pixels, right eye first
    (the person's right), then the left eye; YuNet goes on with nose and mouth corners, BlazeFace with nose, mouth and ears."""

    box: np.ndarray
    score: float
    points: np.ndarray

    def moved(self, x: float, y: float) -> Detection:
        """The same face in a frame of which the one searched is the part that begins at (x, y)."""
        return Detection(self.box + np.float32([x, y, x, y]), self.score, self.points + np.float32([x, y]))


class Finder:
    """Finds faces in one frame at a time. `name` belongs to a score's protocol, and so does what S3FD_BOX says of it."""

    name: str

    def find(self, rgb: np.ndarray, long_side: int | None = None) -> list[Detection]:
        """The faces in a frame (uint8 HxWx3 RGB), best score first, ties by position; an empty list when there is none. long_side:
        to which it is shrunk before, where the finder's time grows with the frame."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the model holds. The finder cannot be used afterwards."""


class YuNet(Finder):
    """YuNet through OpenCV's FaceDetectorYN."""

    name = "yunet"

    def __init__(self, path: Path, long_side: int = YUNET_LONG_SIDE, score: float = YUNET_SCORE):
        import cv2

        cv2.setNumThreads(1)  # for the whole process, as every worker here wants it
        self._long_side = long_side
        self._net = cv2.FaceDetectorYN.create(str(path), "", (long_side, long_side), score, YUNET_NMS_IOU)

    def find(self, rgb: np.ndarray, long_side: int | None = None) -> list[Detection]:
        import cv2

        height, width = check_frame(rgb)
        factor = min(1.0, (long_side or self._long_side) / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = rgb if factor == 1.0 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        self._net.setInputSize(size)
        _, rows = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None:
            return []
        scale = np.array([width / size[0], height / size[1]], np.float32)
        found = []
        for row in rows:
            x0, y0, w, h = row[:4]
            # Pixel centres are whole numbers, so a change of scale moves the centre of pixel 0.
            corners = (np.array([[x0, y0], [x0 + w, y0 + h]], np.float32) + 0.5) * scale - 0.5
            points = (row[4:14].reshape(5, 2) + 0.5) * scale - 0.5
            found.append(Detection(corners.reshape(4).astype(np.float32), float(row[14]), points.astype(np.float32)))
        return _ordered(found)


class BlazeFace(Finder):
    """MediaPipe's BlazeFace short range, through the Tasks FaceDetector."""

    name = "blazeface"

    def __init__(self, path: Path, score: float = BLAZEFACE_SCORE):
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceDetectorOptions(base_options=BaseOptions(model_asset_path=str(path)),
                                             running_mode=vision.RunningMode.IMAGE, min_detection_confidence=score)
        self._net: Any = vision.FaceDetector.create_from_options(options)
        self._close = weakref.finalize(self, release, self._net)

    def find(self, rgb: np.ndarray, long_side: int | None = None) -> list[Detection]:  # its network sees 128 x 128, whatever comes
        """As Finder.find. Where the whole frame shows it no face for sure, it looks at overlapping squares of the frame's shorter
        side, and where these do not either, of half of it. A find that a square's edge cuts belongs to the next one."""
        height, width = check_frame(rgb)
        found, shorter = self._look(rgb), min(height, width)
        for side in (shorter, shorter // 2):
            if any(d.score >= BLAZEFACE_SCORE for d in found) or side < 2 * BLAZEFACE_PX or long_side is not None:
                break
            for top in _starts(height, side):
                for left in _starts(width, side):
                    part = self._look(rgb[top:top + side, left:left + side])
                    found += [d.moved(left, top) for d in part if _whole(d.box, side, left, top, width, height)]
            found = _once(found)
        return _ordered(found)

    def _look(self, rgb: np.ndarray) -> list[Detection]:
        import mediapipe

        height, width = rgb.shape[:2]
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
        found = []
        for hit in self._net.detect(image).detections:
            box = hit.bounding_box
            x, y = box.origin_x - 0.5, box.origin_y - 0.5
            corners = np.array([x, y, x + box.width, y + box.height], np.float32)
            points = np.array([(p.x * width - 0.5, p.y * height - 0.5) for p in hit.keypoints], np.float32)
            found.append(Detection(corners, float(hit.categories[0].score), points))
        return found

    def close(self) -> None:
        self._close()


def open_finder(path: Path, kind: Literal["yunet", "blazeface"] = "yunet", score: float | None = None) -> Finder:
    """A finder that has its model loaded, reporting faces of at least `score` (its own default without).

    ValueError for another kind or a file that the library cannot read."""
    kinds = {"yunet": YuNet, "blazeface": BlazeFace}
    if kind not in kinds:
        raise ValueError(f"no face finder is called {kind!r}; expected one of {', '.join(sorted(kinds))}")
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such model file for the face finder {kind!r}")
    try:
        return kinds[kind](Path(path)) if score is None else kinds[kind](Path(path), score=score)
    except Exception as error:  # each library has error types of its own; all of them mean the same to the user
        raise ValueError(f"{path}: cannot be read as a {kind} model ({str(error).strip().splitlines()[-1:]})") from error


def s3fd_box(finder: str | None) -> tuple[float, float]:
    """S3FD_BOX of a finder (`kind` or `kind:sha256`); of one that is not there, such as no finder, boxes as they are."""
    return S3FD_BOX.get((finder or "").partition(":")[0], (1.0, 0.0))


def s3fd_boxes(boxes: np.ndarray, finder: str | None) -> np.ndarray:
    """Boxes float32 (T, 4) of a finder as S3FD would have drawn them, by S3FD_BOX: what a view of kind "syncnet" is cut around."""
    scale, shift = s3fd_box(finder)
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    centre = centre + np.stack([np.zeros(len(boxes)), shift * (boxes[:, 2:] - boxes[:, :2]).max(1)], axis=1)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def release(task: Any) -> None:
    """Nothing; a MediaPipe task is closed. At the interpreter's end its thread pool is gone first: then it is only forgotten,
    because its own destructor would print a traceback."""
    try:
        task.close()
    except RuntimeError:
        task._handle = None


def check_frame(rgb: np.ndarray) -> tuple[int, int]:
    """The height and width of a frame; ValueError unless it is uint8 HxWx3 with pixels in it."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"expected a uint8 frame HxWx3 in RGB, got {rgb.dtype} of shape {rgb.shape}")
    return rgb.shape[0], rgb.shape[1]


def _starts(length: int, side: int) -> list[int]:
    """Where squares of a side begin that cover a length, each half over the one before."""
    n = -(-2 * (length - side) // side) + 1
    return [round(k * (length - side) / (n - 1)) for k in range(n)] if n > 1 else [0]


def _whole(box: np.ndarray, side: int, left: int, top: int, width: int, height: int) -> bool:
    """Whether a box in the square at (left, top) ends inside it, or where the frame ends too."""
    x0, y0, x1, y1 = box
    return bool((x0 > 0 or left == 0) and (y0 > 0 or top == 0) and (x1 < side - 1 or left + side == width)
                and (y1 < side - 1 or top + side == height))


def _once(found: list[Detection]) -> list[Detection]:
    """Each face once, as its best find."""
    kept: list[Detection] = []
    for one in _ordered(found):
        if all(_shared(one.box, other.box) < SAME_FACE for other in kept):
            kept.append(one)
    return kept


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    """The part of the smaller of two boxes that the other covers."""
    both = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(both / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


def _ordered(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda d: (-d.score, *d.box.tolist()))
