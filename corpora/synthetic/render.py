"""Frames and true points of a face in motion: the measuring instrument of the synthetic corpus.

Geometry and picture come from the same vertices, so that `truth_points` and `truth_mouth` are exact for the frames of `render`.
The head turns about a point between the ears (yaw, then pitch, then roll), is projected by a mild perspective whose axis goes
through the head's centre, then scaled and moved in the image: roll, scale and translation are therefore exact similarities of
the points.

Lengths of the mouth are given over the eye distance: the distance between the outer eye corners (indices 33 and 263) of the same
identity's neutral face seen from the front.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np

from corpora.synthetic.calibration import LANDMARKS
from corpora.synthetic.face import Identity
from corpora.synthetic.mesh import EYE_RADIUS, EYE_Z, MAX_DROP_MM, PIVOT_Y, TUCK_GAP_MM, features, fields, grid, smooth
from corpora.synthetic.paint import CELL, TILE, hair_mask, paint, tile_origin
from corpora.synthetic.parts import Part, bag, ears, eyeball, glasses, hang_bag, inside, long_hair, normals, quads, torso
from corpora.synthetic.state import FaceMotion

POINTS: tuple[int, ...] = tuple(LANDMARKS)
FACE_SHARE, FACE_MM = 0.45, 130.0  # brow to chin, of the frame's height at scale 1; of the nominal head
CAMERA_MM, PLANE_MM = 1000.0, 85.0
_UNIT = 1024.0  # texture coordinates go through the rasteriser as shares of this


def mouth_weights(motion: FaceMotion) -> np.ndarray:
    """What `mesh.fields` are multiplied by: float32 (T, len(FIELDS)). Closing by `press` wins over everything that opens."""
    free = 1 - np.clip(motion.press, 0, 1)
    tuck = np.clip(motion.tuck, 0, 1)
    drop = MAX_DROP_MM * np.clip(motion.open, 0, 1) * (1 - 0.85 * tuck) * free
    wide = np.clip(motion.wide, -1, 1)
    # Lips first meet, then roll in: the roll comes with the square of `press`.
    columns = (drop, TUCK_GAP_MM * tuck * free, np.maximum(wide, 0), np.maximum(-wide, 0), (1 - free) ** 2, tuck * free,
               np.clip(motion.blink, 0, 1), np.clip(motion.brow, -1, 1))
    return np.stack(columns, -1).astype(np.float32)


def rotations(motion: FaceMotion) -> np.ndarray:
    """Rz(roll) Rx(pitch) Ry(yaw) in the axes of `mesh`: float64 (T, 3, 3); signs as FaceMotion states them."""
    yaw, pitch, roll = (np.radians(np.asarray(v, np.float64)) for v in (motion.yaw, motion.pitch, motion.roll))
    one, zero = np.ones_like(yaw), np.zeros_like(yaw)

    def matrix(*rows: tuple) -> np.ndarray:
        return np.moveaxis(np.array(rows), -1, 0)

    ry = matrix((np.cos(yaw), zero, np.sin(yaw)), (zero, one, zero), (-np.sin(yaw), zero, np.cos(yaw)))
    rx = matrix((one, zero, zero), (zero, np.cos(pitch), np.sin(pitch)), (zero, -np.sin(pitch), np.cos(pitch)))
    rz = matrix((np.cos(roll), -np.sin(roll), zero), (np.sin(roll), np.cos(roll), zero), (zero, zero, one))
    return rz @ rx @ ry


def pixels_per_mm(size: int) -> float:
    """The scale of the face plane at `scale` 1."""
    return size * FACE_SHARE / FACE_MM


class Head:
    """Everything of an identity that does not change in time: surfaces, fields, texture, parts and triangles."""

    def __init__(self, identity: Identity) -> None:
        g = grid()
        self.identity, self.shape = identity, (len(g.t), len(g.theta))
        self.skin = features(identity)
        self.fields = fields(identity)
        corners = [self.skin[g.eye, list(g.columns[side])] for side in ("eye_left", "eye_right")]
        self.eyes = [np.array([c[:, 0].mean(), c[:, 1].mean() - 0.6, EYE_Z], np.float32) for c in corners]
        self.lip = self.skin[g.lip, len(g.theta) // 2].copy()
        sides = (g.columns["eye_left"], g.columns["eye_right"])
        self.lids = [(slice(g.eye - 7, g.eye + 8), slice(a - 2, b + 3)) for a, b in sides]
        self.eye_distance_mm = float(np.linalg.norm((corners[0][0] - corners[1][1])[:2]))
        spread = hair_mask(identity, g.theta[None, :], g.t[:, None], g.y, 14.0)
        self.hair = (identity.hair_volume_mm * spread)[..., None].astype(np.float32)
        grown = self.hair * normals(self.skin)
        for row in (g.eye, g.lip):  # rows that lie on each other stay so
            grown[row] = grown[row + 1] = (grown[row] + grown[row + 1]) / 2
        self.neutral = self.skin + grown
        self.follow = (1 - smooth((g.t - 118) / 55)).astype(np.float32)[:, None, None]

    def deform(self, weights: np.ndarray) -> np.ndarray:
        """The head's grid under one row of `mouth_weights`: float32 (R, C, 3), millimetres."""
        out = self.neutral + np.tensordot(weights, self.fields, 1)
        for eye, block in zip(self.eyes, self.lids, strict=True):  # lids lie on the eyeball
            part = out[block]
            d = part[..., :2] - eye[:2]
            height = (EYE_RADIUS + 0.8) ** 2 - (d * d).sum(-1)
            near = height > 0
            ball = EYE_Z + np.sqrt(height[near])
            gap = part[..., 2][near] - ball
            part[..., 2][near] = ball + 0.5 * (gap + np.sqrt(gap * gap + 0.5))
        return out

    def measure(self, surface: np.ndarray) -> np.ndarray:
        """The landmarks' places on a deformed grid: (len(POINTS), 3)."""
        r, c, a, b = _corners()
        p = surface
        return (p[r, c] * (1 - a) + p[r + 1, c] * a) * (1 - b) + (p[r, c + 1] * (1 - a) + p[r + 1, c + 1] * a) * b


@lru_cache(maxsize=1)
def _corners() -> tuple[np.ndarray, ...]:
    """Row, column and fractions of each landmark on the grid; the side of an opening is never crossed."""
    g = grid()
    rows, columns = [], []
    for x, y, side in LANDMARKS.values():
        row, column = g.locate(x, y, lower=side == "lower")
        rows.append(row)
        columns.append(column)
    r, c = np.floor(rows).astype(int), np.floor(columns).astype(int)
    a, b = np.array(rows) - r, np.array(columns) - c
    for edge in (g.eye, g.lip):  # on the upper edge itself, do not read the row across the opening
        on = (r == edge) & (a == 0)
        r, a = np.where(on, edge - 1, r), np.where(on, 1.0, a)
    return r, c, a[:, None], b[:, None]


@lru_cache(maxsize=16)
def head(identity: Identity) -> Head:
    """The prepared geometry of an identity; kept for the identities used last."""
    return Head(identity)


def project(points: np.ndarray, motion: FaceMotion, frame: int, size: int) -> np.ndarray:
    """Pixels of points already turned and relative to the pivot: (..., 2), pixel centres at whole numbers."""
    k = pixels_per_mm(size) * float(motion.scale[frame]) * (CAMERA_MM - PLANE_MM) / (CAMERA_MM - points[..., 2])
    centre = (size - 1) / 2 + size * np.array([float(motion.dx[frame]), float(motion.dy[frame])])
    return centre + k[..., None] * points[..., :2]


def truth_points(identity: Identity, motion: FaceMotion, size: int = 256) -> np.ndarray:
    """Where each of POINTS truly is in each frame of `render`, seen or hidden: float32 (T, len(POINTS), 2) pixels."""
    h, weights, turn = head(identity), mouth_weights(motion), rotations(motion)
    out = np.empty((len(motion), len(POINTS), 2), np.float32)
    for f in range(len(motion)):
        points = h.measure(h.deform(weights[f])) - (0, PIVOT_Y, 0)
        out[f] = project(points @ turn[f].T, motion, f, size)
    return out


def truth_mouth(identity: Identity, motion: FaceMotion) -> dict[str, np.ndarray]:
    """The true mouth in each frame: `gap` and `width`, float32 (T,) each, over the eye distance (see the module's text).

    `gap` is the height of the opening between the lips' inner edges at the middle of the mouth, `width` the distance of its inner
    corners, both on the face itself, seen from the front, free of pose and perspective.
    """
    g, h, weights = grid(), head(identity), mouth_weights(motion)
    middle, (left, right) = len(g.theta) // 2, g.columns["mouth"]
    index = [(g.lip, middle), (g.lip + 1, middle), (g.lip, left), (g.lip, right)]
    rows, columns = zip(*index, strict=True)
    points = h.neutral[rows, columns] + np.tensordot(weights, h.fields[:, rows, columns], 1)
    gap, width = points[:, 1, 1] - points[:, 0, 1], points[:, 3, 0] - points[:, 2, 0]
    values = {"gap": np.maximum(gap, 0), "width": width}
    return {name: (value / h.eye_distance_mm).astype(np.float32) for name, value in values.items()}


class Painter:
    """Draws one identity: the vertex buffers of head and parts, the texture, the background."""

    def __init__(self, identity: Identity, size: int) -> None:
        self.identity, self.size, self.head = identity, size, head(identity)
        h, g = self.head, grid()
        half_width = float(h.skin[g.eye, :, 0].max())
        self.plates = [np.array(g.columns[side]) for side in ("eye_left", "eye_right")]
        plates = [Part(f"plate_{k}", np.zeros((2, b - a + 1, 3)), np.full((2, b - a + 1, 2), tile_origin("eye")) + 2.0,
                       np.full((2, b - a + 1), 0.80)) for k, (a, b) in enumerate(self.plates)]
        left, right = g.columns["mouth"]
        self.parts = [*plates, bag(right - left + 1), *inside(h.lip, identity.mouth_width),
                      *(eyeball(f"ball_{k}", eye) for k, eye in enumerate(h.eyes)), *ears(identity, half_width),
                      *long_hair(identity), *glasses(identity, h.eyes, half_width), torso(identity)]
        self.where, uv, triangles = {}, [], [quads(*h.shape)]
        v, u = np.mgrid[0:h.shape[0], 0:h.shape[1]]
        uv.append(np.stack([u, v], -1).reshape(-1, 2) * float(CELL))
        n = u.size
        for part in self.parts:
            rows, columns = part.shade.shape
            self.where[part.name] = slice(n, n + rows * columns)
            triangles.append(quads(rows, columns, n))
            uv.append(part.uv.reshape(-1, 2))
            n += rows * columns
        cells = triangles[0].reshape(h.shape[0] - 1, h.shape[1] - 1, 6)
        keep = np.ones(cells.shape[:2], bool)
        for row, columns in ((g.eye, self.plates[0]), (g.eye, self.plates[1]), (g.lip, g.columns["mouth"])):
            keep[row, columns[0]:columns[1]] = False
        self.skin_triangles, self.triangles = cells[keep].reshape(-1, 3), np.concatenate(triangles[1:])
        self.skin_corners = [np.ascontiguousarray(self.skin_triangles[:, k]) for k in range(3)]
        self.xyz, self.uv = np.zeros((n, 3), np.float32), np.concatenate(uv).astype(np.float32)
        self.static_uv = self.uv.copy()
        self.shade = np.ones(n, np.float32)
        for part in self.parts:
            self.shade[self.where[part.name]] = part.shade.ravel()
        self.static = {part.name: normals(part.xyz).reshape(-1, 3).astype(np.float32) for part in self.parts if part.lit}
        self.texture = paint(identity)
        self.background = background(identity, size)
        azimuth, elevation = np.radians((identity.light_azimuth_deg, identity.light_elevation_deg))
        self.light = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        settings = cv2.TriangleRasterizeSettings()
        settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
        settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
        self.settings, self.camera = settings, np.eye(4, dtype=np.float32)
        # Skin shines; hair, a scarf and what is under the clothes do not.
        self.gloss = (0.16 * (1 - smooth(h.hair[..., 0] / max(1.0, identity.hair_volume_mm)))).astype(np.float32)

    def lit(self, normal: np.ndarray, light: np.ndarray, view: np.ndarray, gloss: np.ndarray | float) -> np.ndarray:
        """How bright a surface is: ambient, a soft directional light, a little gloss; 1 is full light."""
        ambient = self.identity.ambient
        facing = normal @ light.astype(np.float32)
        half = light + view
        shine = np.maximum(normal @ (half / np.linalg.norm(half)).astype(np.float32), 0)
        for _ in range(4):  # to the 16th power
            shine = shine * shine
        rim = 0.80 + 0.20 * np.abs(normal @ view.astype(np.float32))
        return (ambient + (1.12 - ambient) * np.maximum((facing + 0.3) / 1.3, 0)) * rim + gloss * shine

    def place(self, motion: FaceMotion, frame: int, weights: np.ndarray, turn: np.ndarray) -> None:
        """Fills `xyz`, `uv` and `shade` for one frame."""
        h, g = self.head, grid()
        surface = h.deform(weights)
        blocks = [surface[a:b] for a, b in ((0, g.eye + 1), (g.eye + 1, g.lip + 1), (g.lip + 1, len(g.t)))]
        normal = np.concatenate([normals(block) for block in blocks])
        light, view = self.light @ turn, turn[2]  # seen from the head: turn.T @ light, turn.T @ (0, 0, 1)
        n = surface.shape[0] * surface.shape[1]
        self.facing = normal.reshape(-1, 3) @ view.astype(np.float32) > -0.15
        self.shade[:n] = self.lit(normal.reshape(-1, 3), light, view, self.gloss.ravel())
        centred = surface - np.array((0, PIVOT_Y, 0), np.float32)
        turned = centred @ turn.T.astype(np.float32)
        self.xyz[:n] = (centred + (turned - centred) * h.follow).reshape(-1, 3)

        drop, tuck = float(weights[0]), float(weights[5])
        gap = drop + float(weights[1])
        raised, teeth = float(np.clip(motion.tongue[frame], 0, 1)) ** 1.4, float(np.clip(motion.teeth[frame], 0, 1))
        edge = max(-1.5 + 5.0 * teeth, 2.2 * tuck)
        bright = 0.68 + 0.28 * min(1.0, gap / 7.0)
        # The row of teeth that shows ends at the corners of the mouth, however narrow they draw.
        reach = np.array((abs(surface[g.lip, g.columns["mouth"][1], 0] - h.lip[0]) - 1.5, np.inf, np.inf))
        for part in self.parts:
            xyz, at = part.xyz, self.where[part.name]
            if part.name.startswith("plate"):
                a, b = self.plates[int(part.name[-1])]
                xyz = surface[g.eye:g.eye + 2, a:b + 1] - np.array((0, 0, 1.6), np.float32)
            elif part.name == "bag":
                a, b = g.columns["mouth"]
                xyz = hang_bag(surface[g.lip, a:b + 1], surface[g.lip + 1, a:b + 1])
            elif part.name == "upper_teeth":
                xyz, self.shade[at] = np.clip(xyz, -reach, reach) + (0, edge, 0), part.shade.ravel() * bright
            elif part.name == "lower_teeth":
                xyz = np.clip(xyz, -reach, reach) + (0, 0.88 * drop + 0.8, -0.1 * drop - 9 * tuck)
                self.shade[at] = part.shade.ravel() * bright
            elif part.name == "tongue":
                y = (1 - raised) * (0.70 * drop + 5.0) + raised * (edge + 3.5)
                z = -25.0 + raised * 3.5 - 8 * tuck
                xyz, self.shade[at] = xyz + h.lip + (0, y, z), part.shade.ravel() * bright * (0.60 + 0.36 * raised)
            elif part.name.startswith("ball"):
                # The eyes follow the viewer part of the way.
                self.uv[at] = self.static_uv[at] - 0.6 * EYE_RADIUS / 28 * TILE * view[:2].astype(np.float32)
            if part.body:
                self.xyz[at] = xyz.reshape(-1, 3) - (0, PIVOT_Y, 0)
                self.shade[at] = self.lit(self.static[part.name], self.light, np.array((0, 0, 1.0)), 0.0) * part.shade.ravel()
            else:
                self.xyz[at] = (xyz.reshape(-1, 3) - (0, PIVOT_Y, 0)) @ turn.T
                if part.lit:
                    self.shade[at] = self.lit(self.static[part.name], light, view, 0.0) * part.shade.ravel()

    def draw(self, motion: FaceMotion, frame: int) -> np.ndarray:
        """One frame after `place`: float32 (size, size, 3) RGB, 0..255."""
        size = self.size
        pixel = project(self.xyz, motion, frame, size)
        depth = (CAMERA_MM - self.xyz[:, 2]) / 100
        vertex = np.empty((len(depth), 1, 3), np.float32)
        vertex[:, 0, 0] = ((pixel[:, 0] + 0.5) * (2 / size) - 1) * depth
        vertex[:, 0, 1] = -((pixel[:, 1] + 0.5) * (2 / size) - 1) * depth
        vertex[:, 0, 2] = -depth
        colour = np.empty((len(depth), 1, 3), np.float32)
        colour[:, 0, :2] = self.uv / _UNIT
        colour[:, 0, 2] = np.clip(self.shade * 0.5, 0, 1)
        values, far = np.zeros((size, size, 3), np.float32), np.full((size, size), 50, np.float32)
        a, b, c = self.skin_corners
        seen = self.facing[a] | self.facing[b] | self.facing[c]
        triangles = np.concatenate([self.skin_triangles[seen], self.triangles]).reshape(-1, 1, 3)
        values, far = cv2.triangleRasterize(vertex, triangles, colour, values, far, self.camera, np.pi / 2, 1, 50, self.settings)
        u, v, shade = cv2.split(values)
        picture = cv2.remap(self.texture, u * _UNIT, v * _UNIT, cv2.INTER_LINEAR)
        light = float(motion.light[frame])
        shade *= 2 * light
        picture = cv2.multiply(picture, cv2.merge([shade, shade, shade]), dtype=cv2.CV_32F)
        mask = (far < 49).astype(np.float32)
        frame_out = self.background * np.float32(0.5 + 0.5 * light)
        cv2.copyTo(picture, mask.astype(np.uint8), frame_out)
        # The outline is softened over a pixel: the colours on it are carried outwards and mixed with what stands behind.
        soft = cv2.blur(mask, (3, 3), borderType=cv2.BORDER_REPLICATE)
        rows, columns = np.nonzero((soft > 0.01) & (soft < 0.99))
        share = soft[rows, columns][:, None]
        near = np.zeros((len(rows), 3), np.float32)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r, c = np.clip(rows + down, 0, size - 1), np.clip(columns + right, 0, size - 1)
                near += picture[r, c] * mask[r, c][:, None]
        near /= 9 * share
        inner = np.where(mask[rows, columns][:, None] > 0, picture[rows, columns], near)
        ground = self.background[rows, columns] * np.float32(0.5 + 0.5 * light)
        frame_out[rows, columns] = ground + (inner - ground) * share
        return frame_out


def background(identity: Identity, size: int) -> np.ndarray:
    """What stands behind the head: a soft gradient with out-of-focus shapes, float32 (size, size, 3), 0..255."""
    rng = np.random.default_rng(identity.texture_seed + 1)
    top, bottom = (np.array(c, np.float32) for c in identity.background)
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(top + (bottom - top) * ramp, (size, size, 3)).copy()
    for _ in range(int(rng.integers(3, 9))):
        a, b = rng.uniform(-0.1, 1.1, (2, 2)) * size
        colour = np.clip(top + rng.normal(0, 0.16) + rng.normal(0, 0.05, 3), 0, 1).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(picture, np.minimum(a, b).astype(int).tolist(), np.maximum(a, b).astype(int).tolist(), colour, -1)
        else:
            cv2.circle(picture, a.astype(int).tolist(), int(rng.uniform(0.04, 0.2) * size), colour, -1)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), size * float(rng.uniform(0.012, 0.04))), 0, 1) * 255


def render(identity: Identity, motion: FaceMotion, size: int = 256,
           noise_rng: np.random.Generator | None = None) -> Iterator[np.ndarray]:
    """The frames of a face in motion: uint8 (size, size, 3) RGB each, the same bytes for the same arguments.

    With `noise_rng` a camera's noise of about 1.5 grey levels is added; it depends on the generator's state.
    """
    painter, weights, turn = Painter(identity, size), mouth_weights(motion), rotations(motion)
    bank = None
    if noise_rng is not None:
        bank = noise_rng.normal(0, 1.5, (size + 64, size + 64, 3)).astype(np.float32)
    for f in range(len(motion)):
        painter.place(motion, f, weights[f], turn[f])
        picture = painter.draw(motion, f)
        if bank is not None:
            y, x = noise_rng.integers(0, 64, 2)
            picture = picture + bank[y:y + size, x:x + size]
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8)
