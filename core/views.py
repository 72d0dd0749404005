"""Views: the aligned crops that systems and experts ask for, cut from source frames on demand and pasted back.

A view is a named template plus a track (boxes and landmarks per frame); it is realised as one similarity per frame that maps
source pixels to view pixels, so any size can be cut without a second detection, and a generated view can be put back where it
came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core import geometry as geo

REACH = 3  # pixels around a view's own that interpolation looks at, and one for rounding
PAD = 110  # grey outside the frame, as SyncNet's pipeline and Speech2Vid's registration fill it

# MediaPipe mesh points that stand for the dlib-68 points of the same meaning (left and right as seen in the image):
#   dlib   27  28  29  30 | 31 32 33 34  35  | 36 37  38  39  40  41  | 42  43  44  45  46  47
#   is     nose bridge    | nose underside   | left eye, outer corner | right eye, inner corner
#          to tip         | left to right    | first, clockwise       | first, clockwise
#   mesh   168 197 5   4  | 75 97 2  326 305 | 33 160 158 133 153 144 | 362 385 387 263 373 380
NOSE_AND_EYES = np.array([168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380])
LEFT_EYE, RIGHT_EYE = [33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380]
EYE_CORNERS = (33, 263)  # outer corners, image left then image right
MOUTH_CORNERS = (61, 291)

# Speech2Vid's mean face: where dlib points 27..47 lie in its canvas of 240 x 240, counted from 1 (data/avglm.mat, rounded).
_MEAN_FACE = np.array(
    [(121, 59), (121, 77), (122, 94), (123, 113), (102, 125), (112, 129), (122, 131), (132, 128), (142, 125)]
    + [(57, 64), (68, 56), (83, 56), (95, 65), (82, 69), (68, 69)]
    + [(146, 64), (158, 54), (172, 54), (183, 62), (173, 67), (159, 67)],
    dtype=np.float64,
)
_MEAN_FACE_CROP = (22, 197)  # first pixel (counted from 1) and side of the crop [22 22 196 196], both axes
# DAVS: eye centres and the middle of the mouth corners in its view of 256 x 256 (preprocess/face_align.py).
_DAVS_POINTS = np.array([(91.1, 114.4), (168.7, 114.4), (129.9, 188.1)])


@dataclass(frozen=True)
class ViewTemplate:
    """What to cut around a face. `size` is the side of the view, or (height, width) for kind "mouth".

    kind "syncnet": SyncNet's crop, 1.4 boxes wide with room under the chin. "registration": nose and eyes (targets="nose_eyes",
    Speech2Vid) or eyes and mouth (targets="eyes_mouth", DAVS) moved onto fixed places. "box": an upright square, `scale` times
    the larger side of the box. "mouth": level with the eyes, `scale` times the distance of the outer eye corners wide, around the
    mouth corners. `median_frames` (odd) filters boxes, `sigma_frames` smooths landmarks. `interpolation` is that of `cut`; None
    means what the view's users expect: "linear" for "syncnet", whose pipeline resizes that way, "auto" for the others.
    """

    kind: Literal["syncnet", "registration", "box", "mouth"]
    size: int | tuple[int, int]
    scale: float = 1.0
    targets: Literal["nose_eyes", "eyes_mouth"] = "nose_eyes"
    median_frames: int = 13
    sigma_frames: float = 0.0
    interpolation: Literal["auto", "linear", "cubic"] | None = None
    pad: int = PAD

    def __post_init__(self) -> None:
        if isinstance(self.size, list):  # as it comes from YAML
            object.__setattr__(self, "size", tuple(self.size))
        if self.interpolation is None:
            object.__setattr__(self, "interpolation", "linear" if self.kind == "syncnet" else "auto")
        if self.kind not in _KINDS:
            raise ValueError(f"unknown view kind {self.kind!r}, expected one of {', '.join(_KINDS)}")
        if self.targets not in ("nose_eyes", "eyes_mouth"):
            raise ValueError(f"unknown registration targets {self.targets!r}, expected nose_eyes or eyes_mouth")
        height, width = self.shape
        if min(height, width) < 1 or self.scale <= 0:
            raise ValueError(f"view size and scale must be positive, not {self.size} and {self.scale:g}")
        if self.kind != "mouth" and height != width:
            raise ValueError(f"a {self.kind} view is square, size cannot be {self.size}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the view in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else (int(self.size[0]), int(self.size[1]))

    def cut(self, frame: np.ndarray, transform: np.ndarray) -> np.ndarray:
        """This view of one frame (uint8, see `cut`), with the template's size, padding and interpolation."""
        return cut(frame, transform, self.shape, self.pad, self.interpolation)


def view_transforms(template: ViewTemplate, boxes: np.ndarray, landmarks: np.ndarray | None = None) -> np.ndarray:
    """One similarity per frame from source pixels to view pixels: float64 (T, 2, 3), OpenCV's forward convention, pixel centres.

    boxes are float32 (T, 4), landmarks (T, L, 2) in MediaPipe's mesh order; kinds "syncnet" and "box" ignore the landmarks, the
    others the boxes. Raises ValueError for other shapes, values that are not finite, and missing landmarks.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be (T, 4), not {boxes.shape}")
    needs_points = template.kind in ("registration", "mouth")
    if needs_points:
        landmarks = np.asarray(landmarks)
        if landmarks.ndim != 3 or landmarks.shape[0] != len(boxes) or landmarks.shape[1] < 468:
            raise ValueError(
                f"a {template.kind} view needs landmarks (T, 468 or more, 2) for {len(boxes)} boxes, not {landmarks.shape}"
            )
    if not np.isfinite(landmarks if needs_points else boxes).all():
        raise ValueError("the track holds values that are not finite: interpolate missing frames first")
    if not len(boxes):
        return np.zeros((0, 2, 3))
    return _KINDS[template.kind](template, boxes, landmarks)


def _syncnet(template: ViewTemplate, boxes: np.ndarray, _: np.ndarray | None) -> np.ndarray:
    """Rows cy - s .. cy + 1.8 s, columns cx -+ 1.4 s, s = half the larger side. Source: syncnet_python run_pipeline.py,
    crop_scale 0.4.

    There the bounds are cut to whole pixels, which makes the crop tremble by up to one pixel; here they are not.
    """
    centre, half = geo.box_centre_and_half(boxes)
    centre = geo.smooth_series(centre, template.median_frames, edge="zero")
    half = _positive(geo.smooth_series(half, template.median_frames, edge="zero"))
    return geo.from_window(centre[:, 0] - 1.4 * half, centre[:, 1] - half, 2.8 * half, template.shape[0])


def _box(template: ViewTemplate, boxes: np.ndarray, _: np.ndarray | None) -> np.ndarray:
    centre, half = geo.box_centre_and_half(boxes)
    centre = geo.smooth_series(centre, template.median_frames)
    half = _positive(geo.smooth_series(half, template.median_frames)) * template.scale
    # box edges are coordinates, so the window's outer edge (half a pixel before its first centre) lies on them
    return geo.from_window(centre[:, 0] - half + 0.5, centre[:, 1] - half + 0.5, 2 * half, template.shape[0])


def _registration(template: ViewTemplate, _: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    size = template.shape[0]
    if template.targets == "nose_eyes":
        first, side = _MEAN_FACE_CROP
        points, targets, crop = landmarks[:, NOSE_AND_EYES], _MEAN_FACE - 1, geo.from_window(first - 1, first - 1, side, size)
    else:
        groups = (LEFT_EYE, RIGHT_EYE, list(MOUTH_CORNERS))
        points = np.stack([landmarks[:, group].mean(axis=1) for group in groups], axis=1)
        targets, crop = _DAVS_POINTS, geo.zoom(size / 256)
    points = geo.smooth_points(points, template.sigma_frames)
    return geo.compose(crop, geo.similarity_from_points(points, np.broadcast_to(targets, points.shape)))


def _mouth(template: ViewTemplate, _: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    points = geo.smooth_points(landmarks[:, [*EYE_CORNERS, *MOUTH_CORNERS]], template.sigma_frames).astype(np.float64)
    across, centre = points[:, 1] - points[:, 0], points[:, 2:].mean(axis=1)
    height, width = template.shape
    # half the view to either side of the mouth, along the eye line and at right angles to it
    half = _positive(np.linalg.norm(across, axis=1))[:, None] * template.scale / 2
    along = across / np.linalg.norm(across, axis=1, keepdims=True) * half
    source = np.stack([centre - along, centre + along], axis=1)
    target = np.array([(-0.5, (height - 1) / 2), (width - 0.5, (height - 1) / 2)])
    return geo.similarity_from_points(source, np.broadcast_to(target, source.shape))


_KINDS = {"syncnet": _syncnet, "registration": _registration, "box": _box, "mouth": _mouth}


def _positive(sizes: np.ndarray) -> np.ndarray:
    if np.any(sizes <= 0):
        raise ValueError("the track holds a face of size zero")
    return sizes


def cut(
    frame: np.ndarray,
    transform: np.ndarray,
    size: int | tuple[int, int],
    pad: int = PAD,
    interpolation: Literal["auto", "linear", "cubic"] = "auto",
) -> np.ndarray:
    """The view of one frame: uint8 (height, width, 3) or (height, width), `size` = side or (height, width), `pad` outside the
    frame. Of a LazyFrame only the part that the view shows becomes RGB.

    "linear" and "cubic" sample at the view's pixels, as a plain resize does. "auto" is linear, but below half scale it cuts
    a larger view first and averages areas, so that nothing aliases.
    """
    import cv2

    height, width = (size, size) if isinstance(size, int) else size
    k = float(geo.scale_of(transform))
    times = min(16, int(1 / k + 1e-9)) if interpolation == "auto" and 0 < k <= 0.5 else 1
    flags = cv2.INTER_CUBIC if interpolation == "cubic" else cv2.INTER_LINEAR
    m = geo.compose(geo.zoom(times), transform)
    larger, fill = (width * times, height * times), (pad,) * 4
    if not isinstance(frame, np.ndarray):
        frame, m = _part(frame, m, larger) if frame.has_parts else (np.asarray(frame), m)
    view = cv2.warpAffine(frame, m, larger, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    return view if times == 1 else cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA)


def _part(frame: Any, transform: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(the part of a lazy frame that a view of `size` (width, height) is made of, the transform from there)."""
    width, height = size
    corners = geo.apply(geo.invert(transform), np.array([(0, 0), (width, 0), (0, height), (width, height)]))
    x0, y0 = np.maximum(0, np.floor(corners.min(axis=0)).astype(int) - REACH).tolist()
    x1, y1 = np.maximum(0, np.ceil(corners.max(axis=0)).astype(int) + REACH).tolist()
    part = frame[y0:y1, x0:x1]
    if not part.size:  # all of the view lies beyond the frame
        return np.asarray(frame), transform
    return part, geo.compose(transform, np.array([[1.0, 0, x0], [0, 1, y0]]))


def feather(height: int, width: int, feather_px: float) -> np.ndarray:
    """A mask that is 1 inside and falls smoothly to 0 at the border over feather_px pixels: float32 (height, width)."""
    if feather_px <= 0:
        return np.ones((height, width), dtype=np.float32)

    def ramp(n: int) -> np.ndarray:
        to_edge = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
        t = np.clip(to_edge / feather_px, 0, 1)
        return t * t * (3 - 2 * t)  # smoothstep: no visible kink at either end

    return np.outer(ramp(height), ramp(width)).astype(np.float32)


def paste(
    frame: np.ndarray,
    view: np.ndarray,
    transform: np.ndarray,
    mask: np.ndarray | Literal["feather"] | None = None,
    feather_px: float = 8.0,
) -> np.ndarray:
    """A copy of the frame with a view put back where `transform` (2, 3) cut it: uint8, same shape as frame (H, W, 3).

    mask: None covers the whole view, "feather" fades out over feather_px view pixels at its border, an array (height, width) of
    0..1 (or uint8 0..255) weighs each view pixel. Pixels the view does not reach keep their bytes.
    """
    import cv2

    height, width = view.shape[:2]
    if isinstance(mask, str) and mask != "feather":
        raise ValueError(f"mask must be None, 'feather' or an array, not {mask!r}")
    weights = feather(height, width, feather_px if mask is not None else 0) if mask is None or isinstance(mask, str) else mask
    if weights.shape != (height, width):
        raise ValueError(f"mask must have the view's shape {(height, width)}, not {weights.shape}")
    weights = weights.astype(np.float32) / (255 if weights.dtype == np.uint8 else 1)

    # a view much larger than its place is averaged down first, or it would alias
    times = int(float(geo.scale_of(transform)) + 1e-9)
    if times >= 2 and height >= times and width >= times:
        small = (width // times, height // times)
        kx, ky = small[0] / width, small[1] / height
        shrink = np.array([[kx, 0, kx / 2 - 0.5], [0, ky, ky / 2 - 0.5]])
        view, weights = (cv2.resize(a, small, interpolation=cv2.INTER_AREA) for a in (view, weights))
        transform, (width, height) = geo.compose(shrink, transform), small

    back = geo.invert(transform)
    corners = geo.apply(back, np.array([(-1, -1), (width, -1), (-1, height), (width, height)]))
    x0, y0 = np.maximum(0, np.floor(corners.min(axis=0)).astype(int))
    x1, y1 = np.minimum((frame.shape[1], frame.shape[0]), np.ceil(corners.max(axis=0)).astype(int) + 1)
    out = frame.copy()
    if x1 <= x0 or y1 <= y0:
        return out
    back = geo.compose(np.array([[1, 0, -x0], [0, 1, -y0]]), back)
    where = (int(x1 - x0), int(y1 - y0))
    # the border is repeated under the mask's soft edge, so no padding colour can bleed into the frame
    patch = cv2.warpAffine(view, back, where, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    alpha = cv2.warpAffine(weights, back, where, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)[..., None]
    area = out[y0:y1, x0:x1]
    area[...] = np.rint(area + alpha * (patch - area)).astype(np.uint8)
    return out
