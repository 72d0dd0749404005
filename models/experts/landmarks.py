"""Face landmarks: a frame and one box in, the mesh's points in frame pixels out. Frozen, no files but the model's own.

Two kinds that agree on the first 468 indices: MediaPipe's Tasks FaceLandmarker (478 points, its own detector inside the crop),
and the older mesh of 468 points run by OpenCV. The mesh file must never be packed into a `.task`: it gives wrong points.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.experts.finder import check_frame, release

TASKS_CROP = 1.8
"""Side of the crop given to the FaceLandmarker, over the box's larger side. Measured on 161 YuNet boxes of 27 real clips: 1.4 to
2.4 all find 98.1 % of the faces, with points 0.8 % of the eye distance apart."""
MESH_FIRST_CROP = 1.25
"""Side of the mesh's first upright crop, over the box's larger side: the smallest mean distance to the FaceLandmarker's points
among 1.1, 1.25, 1.5 and 1.8 (2.9 % of the eye distance after one refinement; a second refinement gains nothing)."""
MESH_CROP = 1.5
"""Side of the refining crop over the extent of the points themselves, as MediaPipe's face_landmarks_to_roi graph sets it."""
MESH_SIDE = 192
MESH_POINTS = 468
MIN_PRESENCE = 0.5
RIGHT_EYE, LEFT_EYE = 33, 263
"""Outer eye corners in the mesh's order: the line that a crop is made upright by."""


class Landmarker:
    """Finds the points of the face inside a box. `name` belongs to a protocol, `n_points` is 478 or 468."""

    name: str
    n_points: int

    def points(self, rgb: np.ndarray, box: np.ndarray, near: np.ndarray | None = None) -> tuple[np.ndarray | None, float]:
        """The face's points, float32 (n_points, 2) in frame pixels, or None when there is no face in the box, and a score 0..1.

        rgb: uint8 HxWx3. box: x0 y0 x1 y1 in pixels, may reach outside the frame. ValueError for a box without area.
        near: this face's points in the frame before, where a landmarker can begin instead of searching the box.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the model holds. The landmarker cannot be used afterwards."""


class TasksLandmarker(Landmarker):
    """MediaPipe's FaceLandmarker on a square crop. It tells no presence score, so the score is 1.0 (found) or 0.0 (not found)."""

    name, n_points = "mediapipe", 478

    def __init__(self, path: Path):
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(path)), num_faces=1,
                                               running_mode=vision.RunningMode.IMAGE,
                                               min_face_detection_confidence=MIN_PRESENCE,
                                               min_face_presence_confidence=MIN_PRESENCE)
        self._net: Any = vision.FaceLandmarker.create_from_options(options)
        self._detect = _reader(self._net)
        self._close = weakref.finalize(self, release, self._net)

    def points(self, rgb: np.ndarray, box: np.ndarray, near: np.ndarray | None = None) -> tuple[np.ndarray | None, float]:
        import mediapipe

        check_frame(rgb)
        crop, x0, y0 = _square(rgb, box, TASKS_CROP)
        places = self._detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=crop))
        if places is None:
            return None, 0.0
        # MediaPipe counts from the left edge of pixel 0; here pixel 0 is centred on 0.
        found = places * crop.shape[0] - 0.5 + (x0, y0)
        # The crop is wider than the box: a face whose middle lies outside the box is a neighbour.
        return (found.astype(np.float32), 1.0) if _inside(found, box) else (None, 0.0)

    def close(self) -> None:
        self._close()


class MeshLandmarker(Landmarker):
    """MediaPipe's face mesh (468 points) run by OpenCV: once upright in the box, once in a crop set by the first points."""

    name, n_points = "opencv", MESH_POINTS

    def __init__(self, path: Path):
        import cv2

        cv2.setNumThreads(1)  # for the whole process, as every worker here wants it
        # OpenCV 5's new engine loses the second output, the face's presence; the classic one gives both in one pass.
        self._net = cv2.dnn.readNetFromTFLite(str(path), cv2.dnn.ENGINE_CLASSIC)
        outputs = set(self._net.getUnconnectedOutLayersNames())
        if not {"conv2d_21", "conv2d_31"} <= outputs:
            raise ValueError(f"its outputs are {', '.join(sorted(outputs))}, not the face mesh's conv2d_21 and conv2d_31")

    def points(self, rgb: np.ndarray, box: np.ndarray, near: np.ndarray | None = None) -> tuple[np.ndarray | None, float]:
        check_frame(rgb)
        x0, y0, x1, y1 = _corners(box)
        if near is not None:  # one pass instead of two, as MediaPipe itself goes on from frame to frame
            found, presence = self._run(rgb, *_upright(near))
            if presence >= MIN_PRESENCE and _inside(found, box):
                return found.astype(np.float32), presence
        first, _ = self._run(rgb, (x0 + x1) / 2, (y0 + y1) / 2, MESH_FIRST_CROP * max(x1 - x0, y1 - y0), 0.0)
        found, presence = self._run(rgb, *_upright(first))
        kept = presence >= MIN_PRESENCE and _inside(found, box)
        return (found.astype(np.float32) if kept else None), presence

    def _run(self, rgb: np.ndarray, x: float, y: float, side: float, turn: float) -> tuple[np.ndarray, float]:
        """The points (468, 2) in frame pixels and the presence, from a square around (x, y) turned by `turn` radians."""
        import cv2

        side = max(side, 1.0)
        k = side / MESH_SIDE
        to_frame = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * k
        shift = np.array([x, y]) - to_frame @ np.full(2, (MESH_SIDE - 1) / 2)
        # Four channels are warped in well under half the time of three, so the part that is needed gets one more on the way.
        reach = float(np.abs(to_frame).sum(axis=1).max()) * MESH_SIDE / 2 + 2
        left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
        part = rgb[top:max(0, math.ceil(y + reach)), left:max(0, math.ceil(x + reach))]
        if part.size:
            crop = cv2.warpAffine(cv2.cvtColor(part, cv2.COLOR_RGB2RGBA), np.column_stack([to_frame, shift - (left, top)]),
                                  (MESH_SIDE, MESH_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            crop = cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)
        else:
            crop = np.zeros((MESH_SIDE, MESH_SIDE, 3), np.uint8)
        self._net.setInput(cv2.dnn.blobFromImage(crop, 1 / 255))
        mesh, flag = self._net.forward(["conv2d_21", "conv2d_31"])
        local = mesh.reshape(MESH_POINTS, 3)[:, :2].astype(np.float64) - 0.5
        return local @ to_frame.T + shift, 1 / (1 + math.exp(-float(flag.ravel()[0])))


def open_landmarker(path: Path, kind: Literal["mediapipe", "opencv"] = "mediapipe") -> Landmarker:
    """A landmarker that has its model loaded. ValueError for another kind, or a file that the library cannot read."""
    kinds = {"mediapipe": TasksLandmarker, "opencv": MeshLandmarker}
    if kind not in kinds:
        raise ValueError(f"no landmarker is called {kind!r}; expected one of {', '.join(sorted(kinds))}")
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such model file for the landmarker {kind!r}")
    try:
        return kinds[kind](Path(path))
    except Exception as error:  # each library has error types of its own; all of them mean the same to the user
        raise ValueError(f"{path}: cannot be read as the model of landmarker {kind!r}: "
                         f"{(str(error).strip().splitlines() or [type(error).__name__])[-1]}") from error


def _reader(net: Any) -> Callable[[Any], np.ndarray | None]:
    """A function from a MediaPipe image to the first face's points, float64 (478, 2) in shares of the image, or None.

    The library makes an object of every point of every frame, up to a tenth of a frame's time. Where it can be done, the points are
    read where the library left them; elsewhere (another build of the library) through its public result. Both give the same.
    """
    def public(image: Any) -> np.ndarray | None:
        faces = net.detect(image).face_landmarks
        return np.array([(p.x, p.y) for p in faces[0]], np.float64) if faces else None

    def in_place(image: Any) -> np.ndarray | None:
        result = kind()
        net._lib.MpFaceLandmarkerDetectImage(net._handle, image._image_ptr, None, ctypes.byref(result))
        try:
            if not result.face_landmarks_count:
                return None
            face = result.face_landmarks[0]
            values = ctypes.cast(face.landmarks, ctypes.POINTER(ctypes.c_float))  # x and y lead each point
            return np.ctypeslib.as_array(values, (face.landmarks_count, step))[:, :2].astype(np.float64)
        finally:
            net._lib.MpFaceLandmarkerCloseResult(ctypes.byref(result))

    import ctypes

    from mediapipe.tasks.python.vision import face_landmarker

    try:
        kind = face_landmarker.MpFaceLandmarkerResultC
        point = dict(dict(kind._fields_)["face_landmarks"]._type_._fields_)["landmarks"]._type_
        step = ctypes.sizeof(point) // ctypes.sizeof(ctypes.c_float)
        plain = [f[0] for f in point._fields_[:2]] == ["x", "y"] and all(f[1] is ctypes.c_float for f in point._fields_[:2])
        known = plain and step * ctypes.sizeof(ctypes.c_float) == ctypes.sizeof(point)
        calls = net._lib.MpFaceLandmarkerDetectImage, net._lib.MpFaceLandmarkerCloseResult, net._handle
    except (AttributeError, KeyError, TypeError):
        return public
    return in_place if known and all(calls) else public


def _corners(box: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(v) for v in np.asarray(box).reshape(4))
    if not (x1 > x0 and y1 > y0 and all(map(math.isfinite, (x0, y0, x1, y1)))):
        raise ValueError(f"expected a box x0 y0 x1 y1 with x1 > x0 and y1 > y0, got {x0} {y0} {x1} {y1}")
    return x0, y0, x1, y1


def _square(rgb: np.ndarray, box: np.ndarray, factor: float) -> tuple[np.ndarray, int, int]:
    """A square of whole pixels around the box, black outside the frame, and its left and top in the frame. Not resampled."""
    x0, y0, x1, y1 = _corners(box)
    side = max(2, round(factor * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1) / 2 - side / 2), round((y0 + y1) / 2 - side / 2)
    height, width = rgb.shape[:2]
    crop = np.zeros((side, side, 3), np.uint8)
    a, b, c, d = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if c > a and d > b:
        crop[b - top:d - top, a - left:c - left] = rgb[b:d, a:c]
    return crop, left, top


def _upright(points: np.ndarray) -> tuple[float, float, float, float]:
    """Centre x, y, side and turn of the square that MediaPipe cuts around points: level eyes, 1.5 times their larger extent."""
    eyes = points[LEFT_EYE] - points[RIGHT_EYE]
    turn = math.atan2(eyes[1], eyes[0])
    level = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    turned = points @ level.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    x, y = level.T @ ((low + high) / 2)
    return float(x), float(y), MESH_CROP * float((high - low).max()), turn


def _inside(points: np.ndarray, box: np.ndarray) -> bool:
    x0, y0, x1, y1 = _corners(box)
    x, y = (points.min(axis=0) + points.max(axis=0)) / 2
    return bool(x0 <= x <= x1 and y0 <= y <= y1)
