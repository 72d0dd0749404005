"""Face landmarks: a frame and one box in, the mesh's points in frame pixels out. Frozen, no files but the model's own.

Two networks that agree on the first 468 indices, both run by LiteRT, one crop at a time on one thread: the one inside MediaPipe's
FaceLandmarker bundle (478 points), and the older face mesh (468). MediaPipe's own FaceLandmarker takes twice as long for the same
points, because it searches every crop for a face that is known to be there.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.geometry import extent
from models.experts.finder import check_frame

FIRST_CROP = 1.25
"""Side of the first upright crop, over the box's larger side. Of 1.1, 1.25, 1.5 and 1.8 the one with the smallest mean distance to
MediaPipe's own FaceLandmarker after one refinement: 1.5 % of the eye distance with the bundle, 2.9 % with the older mesh (104 boxes
of 27 real clips; a second refinement gains nothing)."""
MESH_CROP = 1.5
"""Side of the refining crop over the extent of the points themselves, as MediaPipe's face_landmarks_to_roi graph sets it."""
MIN_PRESENCE = 0.5
RIGHT_EYE, LEFT_EYE = 33, 263
"""Outer eye corners in the mesh's order: the line that a crop is made upright by."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One network: its file inside a bundle (None: the file is the network), pixels of its square input, how many points."""

    member: str | None
    side: int
    n_points: int


KINDS = {"mediapipe": _Kind("face_landmarks_detector.tflite", 256, 478), "facemesh": _Kind(None, 192, 468)}


class Landmarker:
    """Finds the points of the face inside a box. `name` belongs to a protocol, `n_points` is 478 or 468."""

    def __init__(self, path: Path, name: str):
        import cv2
        from ai_edge_litert.interpreter import Interpreter

        cv2.setNumThreads(1)  # for the whole process, as every worker here wants it
        kind = KINDS[name]
        self.name, self.n_points, self._side = name, kind.n_points, kind.side
        if kind.member is None:
            content = Path(path).read_bytes()
        else:
            with zipfile.ZipFile(path) as bundle:
                content = bundle.read(kind.member)
        self._net: Any = Interpreter(model_content=content, num_threads=1)
        self._net.allocate_tensors()
        takes, gives = self._net.get_input_details(), self._net.get_output_details()
        sizes = [int(np.prod(o["shape"])) for o in gives]
        if [list(t["shape"]) for t in takes] != [[1, kind.side, kind.side, 3]] or sizes[:2] != [3 * kind.n_points, 1]:
            raise ValueError(f"it takes {[list(t['shape']) for t in takes]} and gives {sizes} values; a mesh of {kind.n_points} points "
                             f"takes [[1, {kind.side}, {kind.side}, 3]] and gives [{3 * kind.n_points}, 1]")
        self._in, self._mesh, self._flag = takes[0]["index"], gives[0]["index"], gives[1]["index"]

    def points(self, rgb: np.ndarray, box: np.ndarray, near: np.ndarray | None = None) -> tuple[np.ndarray | None, float]:
        """The face's points, float32 (n_points, 2) in frame pixels, or None when there is no face in the box, and a score 0..1.

        rgb: uint8 HxWx3. box: x0 y0 x1 y1 in pixels, may reach outside the frame. ValueError for a box without area.
        near: this face's points in the frame before. Then one pass in the crop they set is enough, where the face is still there;
        without, there are two: upright in the box, then in the crop that the first points set.
        """
        check_frame(rgb)
        x0, y0, x1, y1 = _corners(box)
        if near is not None:
            found, presence = self._run(rgb, *_upright(near))
            if presence >= MIN_PRESENCE and _inside(found, box):
                return found.astype(np.float32), presence
        first, _ = self._run(rgb, (x0 + x1) / 2, (y0 + y1) / 2, FIRST_CROP * max(x1 - x0, y1 - y0), 0.0)
        found, presence = self._run(rgb, *_upright(first))
        kept = presence >= MIN_PRESENCE and _inside(found, box)
        return (found.astype(np.float32) if kept else None), presence

    def _run(self, rgb: np.ndarray, x: float, y: float, side: float, turn: float) -> tuple[np.ndarray, float]:
        """The points (n_points, 2) in frame pixels and the presence, from a square around (x, y) turned by `turn` radians."""
        import cv2

        n, side = self._side, max(side, 1.0)
        to_frame = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * (side / n)
        shift = np.array([x, y]) - to_frame @ np.full(2, (n - 1) / 2)
        # Four channels are warped in well under half the time of three, so the part that is needed gets one more on the way.
        reach = float(np.abs(to_frame).sum(axis=1).max()) * n / 2 + 2
        left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
        part = rgb[top:max(0, math.ceil(y + reach)), left:max(0, math.ceil(x + reach))]
        if part.size:
            crop = cv2.warpAffine(cv2.cvtColor(part, cv2.COLOR_RGB2RGBA), np.column_stack([to_frame, shift - (left, top)]),
                                  (n, n), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            crop = cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)
        else:
            crop = np.zeros((n, n, 3), np.uint8)
        self._net.set_tensor(self._in, np.multiply(crop, np.float32(1 / 255))[None])
        self._net.invoke()
        mesh, flag = self._net.get_tensor(self._mesh), self._net.get_tensor(self._flag)
        local = mesh.reshape(self.n_points, 3)[:, :2].astype(np.float64) - 0.5
        return local @ to_frame.T + shift, 1 / (1 + math.exp(-float(flag.ravel()[0])))


def open_landmarker(path: Path, kind: Literal["mediapipe", "facemesh"] = "mediapipe") -> Landmarker:
    """A landmarker that has its model loaded. ValueError for another kind, or a file that is not its network."""
    if kind not in KINDS:
        raise ValueError(f"no landmarker is called {kind!r}; expected one of {', '.join(sorted(KINDS))}")
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such model file for the landmarker {kind!r}")
    try:
        return Landmarker(Path(path), kind)
    except Exception as error:  # each library has error types of its own; all of them mean the same to the user
        raise ValueError(f"{path}: cannot be read as the model of landmarker {kind!r}: "
                         f"{(str(error).strip().splitlines() or [type(error).__name__])[-1]}") from error


def _corners(box: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(v) for v in np.asarray(box).reshape(4))
    if not (x1 > x0 and y1 > y0 and all(map(math.isfinite, (x0, y0, x1, y1)))):
        raise ValueError(f"expected a box x0 y0 x1 y1 with x1 > x0 and y1 > y0, got {x0} {y0} {x1} {y1}")
    return x0, y0, x1, y1


def _upright(points: np.ndarray) -> tuple[float, float, float, float]:
    """Centre x, y, side and turn of the square that MediaPipe cuts around points: level eyes, 1.5 times their larger extent."""
    eyes = points[LEFT_EYE] - points[RIGHT_EYE]
    turn = math.atan2(eyes[1], eyes[0])
    level = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    turned = points @ level.T
    low, high = extent(turned)
    x, y = level.T @ ((low + high) / 2)
    return float(x), float(y), MESH_CROP * float((high - low).max()), turn


def _inside(points: np.ndarray, box: np.ndarray) -> bool:
    x0, y0, x1, y1 = _corners(box)
    low, high = extent(points)
    x, y = (low + high) / 2
    return bool(x0 <= x <= x1 and y0 <= y <= y1)
