"""What is not skin, as small grids of vertices: eyeballs, teeth, tongue, the mouth's inside, ears, long hair, glasses, body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corpora.synthetic.face import Identity
from corpora.synthetic.mesh import EYE_RADIUS, grid, smooth
from corpora.synthetic.paint import CELL, TILE, tile_origin

TONGUE_RADII = (15.0, 6.0, 18.0)


@dataclass(frozen=True)
class Part:
    """A grid of vertices: `xyz` (r, c, 3) mm in the head's frame, `uv` (r, c, 2) texels, `shade` (r, c).

    A `body` part does not turn with the head.
    """

    name: str
    xyz: np.ndarray
    uv: np.ndarray
    shade: np.ndarray
    body: bool = False
    lit: bool = False  # shaded by its normals; otherwise `shade` stands as it is


def quads(rows: int, columns: int, first: int = 0) -> np.ndarray:
    """Triangles of a grid of vertices numbered row by row from `first`: int32 (2 (rows - 1) (columns - 1), 3)."""
    n = first + np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, :-1], n[1:, 1:]
    return np.stack([a, b, c, c, b, d], -1).reshape(-1, 3)


def normals(xyz: np.ndarray) -> np.ndarray:
    """Unit normals of a grid of vertices (rows downwards, columns to the right, seen from outside): (r, c, 3)."""
    along, down = np.empty_like(xyz), np.empty_like(xyz)
    along[:, 1:-1] = xyz[:, 2:] - xyz[:, :-2]
    along[:, 0], along[:, -1] = xyz[:, 1] - xyz[:, 0], xyz[:, -1] - xyz[:, -2]
    down[1:-1] = xyz[2:] - xyz[:-2]
    down[0], down[-1] = xyz[1] - xyz[0], xyz[-1] - xyz[-2]
    ax, ay, az = along[..., 0], along[..., 1], along[..., 2]
    dx, dy, dz = down[..., 0], down[..., 1], down[..., 2]
    n = np.stack([ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx], -1)
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    return n / np.sqrt(x * x + y * y + z * z + 1e-12)[..., None]


def _tile(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Texel coordinates of shares `u`, `v` (0..1) of a tile."""
    left, top = tile_origin(name)
    u, v = np.broadcast_arrays(u, v)
    return np.stack([left + 0.5 + u * (TILE - 2), top + 0.5 + v * (TILE - 2)], -1)


def _even(part: tuple[int, int], value: float) -> np.ndarray:
    return np.full(part, value)


def eyeball(name: str, centre: np.ndarray) -> Part:
    """A cap of the eyeball about `centre` (3,)."""
    r, a = np.linspace(0.02, 1.25, 8)[:, None], np.linspace(0, 2 * np.pi, 21)[None, :]
    xyz = centre + EYE_RADIUS * np.stack([np.sin(r) * np.cos(a), np.sin(r) * np.sin(a), np.cos(r) + 0 * a], -1)
    uv = _tile("eye", 0.5 + np.sin(r) * np.cos(a) * EYE_RADIUS / 28, 0.5 + np.sin(r) * np.sin(a) * EYE_RADIUS / 28)
    shade = 1.02 - 0.55 * smooth((-np.sin(r) * np.sin(a) - 0.05) / 0.5)  # the upper lid and its lashes throw a shadow
    return Part(name, xyz, uv, shade)


def inside(lip: np.ndarray, width: float) -> list[Part]:
    """The mouth's inside, teeth and tongue, for a lip line whose middle rests at `lip` (3,) and a mouth `width` times nominal."""
    angle = np.radians(np.linspace(-80, 80, 17))[None, :]
    rows = np.linspace(0, 1, 4)[:, None]
    arch = [24 * width * np.sin(angle), 25 * np.cos(angle)]
    front = lip[2] - 6.0 - 25
    shade = 0.98 - 0.35 * np.abs(np.sin(angle)) + 0 * rows
    u = (np.degrees(angle) + 80) / 160 + 0 * rows
    upper = np.stack(np.broadcast_arrays(arch[0], lip[1] - 11 + 11 * rows, front + arch[1]), -1)
    lower = np.stack(np.broadcast_arrays(arch[0] * 0.94, lip[1] + 9 * rows, front - 3 + arch[1]), -1)
    a, b = np.radians(np.linspace(-85, 85, 7))[:, None], np.radians(np.linspace(-85, 85, 11))[None, :]
    rx, ry, rz = TONGUE_RADII
    tongue = np.stack([rx * np.cos(a) * np.sin(b), ry * np.sin(a) + 0 * b, rz * np.cos(a) * np.cos(b)], -1)
    tongue_uv = _tile("tongue", 0.5 + np.sin(b) / 2 + 0 * a, 0.5 + np.sin(a) / 2 + 0 * b)
    return [Part("upper_teeth", upper, _tile("teeth", u, rows), shade),
            Part("lower_teeth", lower, _tile("teeth", u, 1 - rows), 0.8 * shade),
            Part("tongue", tongue, tongue_uv, 0.55 + 0.45 * np.cos(a) * np.cos(b) - 0.2 * np.sin(a))]


def bag(columns: int) -> Part:
    """The mouth's dark inside: a bag whose rim is the lips' inner edges; `hang_bag` gives its vertices."""
    shade = np.array([[0.34], [0.12], [0.12], [0.22]]) + np.zeros((1, columns))
    return Part("bag", np.zeros((4, columns, 3)), _tile("tongue", _even((4, columns), 0.3), _even((4, columns), 0.3)), shade)


def hang_bag(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Vertices of `bag` (4, columns, 3) for the upper and lower edge (columns, 3) of the opening: closed at the ends."""
    s = np.abs(np.linspace(-1, 1, len(upper)))[:, None]
    deep = (1 - s**2) ** 0.35 * np.array((0, 0, -34.0))
    high = (1 - s**2) ** 0.35 * np.array((0, 7.0, 0))
    return np.stack([upper, upper + deep - high, lower + deep + high, lower])


def ears(identity: Identity, half_width: float) -> list[Part]:
    """Two ears, unless the hair covers them."""
    if identity.hair_style in ("long", "bob", "fringe", "scarf"):
        return []
    a, r = np.linspace(0, 2 * np.pi, 17)[None, :], np.linspace(0, 1, 6)[:, None]
    parts = []
    g = grid()
    for name, side in (("ear_left", -1), ("ear_right", 1)):
        lobe = 1 - 0.28 * smooth((np.sin(a) - 0.1) / 0.9)
        y = 15 + 31 * r * np.sin(a)
        out = 9 * smooth((r - 0.1) / 0.75) * (0.7 - 0.3 * np.cos(a)) - 4 * smooth((r - 0.85) / 0.15)
        x = side * (half_width - 3 + out)
        z = -6 - 15 * r * np.cos(a) * lobe * -1 + 5 * r * np.sin(a)
        xyz = np.stack(np.broadcast_arrays(x, y, z), -1)
        # Skin from the cheek's texture; the hollow of the ear is darker.
        row, column = g.locate(40.0, 30.0)
        uv = np.stack(np.broadcast_arrays(CELL * column + 6 * r * np.cos(a), CELL * row + 10 * r * np.sin(a)), -1)
        shade = (0.62 + 0.38 * smooth((r - 0.25) / 0.5)) + 0 * a
        parts.append(Part(name, xyz if side > 0 else xyz[:, ::-1], uv, shade, lit=True))
    return parts


def long_hair(identity: Identity) -> list[Part]:
    """The curtain of hair, or of a scarf, behind the face and on the neck's sides."""
    bottom = {"long": 190.0, "bob": 100.0, "fringe": 150.0, "scarf": 170.0}.get(identity.hair_style)
    if bottom is None:
        return []
    angle = np.linspace(80, 280, 25)
    y = np.concatenate([np.linspace(-90, 20, 8), np.linspace(40, bottom, 7)])[:, None]
    levels = [-90, -60, 0, 60, 110, 190]
    side = identity.head_width * (np.interp(y, levels, [60, 76, 80, 82, 84, 92]) + 0.6 * identity.hair_volume_mm)
    back = np.interp(y, levels, [70, 96, 102, 98, 90, 84])
    s, c = np.sin(np.radians(angle))[None, :], np.cos(np.radians(angle))[None, :]
    inward = 1 - 0.10 * smooth((y - bottom + 40) / 40) * (identity.hair_style == "bob")
    xyz = np.stack(np.broadcast_arrays(side * s * inward, y, back * c - 4), -1)
    uv = _tile("strand", (angle[None, :] - 80) / 200 * 0.98 + 0 * y, (y + 90) / (bottom + 90) * 0.98 + 0 * s)
    shade = (0.95 - 0.35 * smooth((y - 40) / 80)) + 0 * s
    return [Part("long_hair", xyz, uv, shade, lit=True)]


def glasses(identity: Identity, centres: list[np.ndarray], half_width: float) -> list[Part]:
    """A thin dark frame before the eyes (rings, bridge and arms), where the identity wears one."""
    if not identity.glasses:
        return []
    a = np.linspace(0, 2 * np.pi, 29)[None, :]
    tile = lambda shape: _tile("eye", _even(shape, 0.5), _even(shape, 0.5))  # noqa: E731 - the pupil's black
    parts = []
    for k, centre in enumerate(centres):
        ring = np.array([[1.0], [1.11]])
        bulge = (np.abs(np.cos(a)) ** 2.4 + np.abs(np.sin(a)) ** 2.4) ** (-1 / 2.4)
        x, y = centre[0] + 22 * ring * bulge * np.cos(a), centre[1] + 3 + 17.5 * ring * bulge * np.sin(a)
        xyz = np.stack([x, y, 98 - 0.006 * x * x], -1)
        parts.append(Part(f"frame_{k}", xyz, tile((2, 29)), _even((2, 29), 1.0)))
        side = np.sign(centre[0])
        hinge = centre[0] + side * 23
        ends = np.array([(hinge, 0, 98 - 0.006 * hinge**2), (side * (half_width + 1), 0, 5.0)])
        arm = np.stack([ends + (0, -4, 0), ends + (0, -1, 0)])
        parts.append(Part(f"arm_{k}", arm, tile((2, 2)), _even((2, 2), 1.0)))
    span = centres[1][0] - 22
    bridge = np.array([[[-span, 0, 99], [0, -2, 103], [span, 0, 99]], [[-span, 2.4, 99], [0, 0.4, 103], [span, 2.4, 99]]],
                      np.float64)
    return [*parts, Part("bridge", bridge, tile((2, 3)), _even((2, 3), 1.0))]


def torso(identity: Identity) -> Part:
    """Shoulders and chest in cloth."""
    angle = np.linspace(-105, 105, 25)
    table = np.array([(126, 50, 46), (138, 58, 52), (146, 74, 58), (156, 104, 64), (168, 142, 70), (186, 178, 76), (215, 196,
                                                                                                                    84), (320,
                                                                                                                          200,
                                                                                                                          90)])
    y, a, c = table[:, :1], table[:, 1:2], table[:, 2:]
    s, co = np.sin(np.radians(angle))[None, :], np.cos(np.radians(angle))[None, :]
    drop = np.maximum(co, 0) * 20 * smooth((200 - y) / 40)  # the neckline is lower in front
    xyz = np.stack(np.broadcast_arrays(a * s, y + drop, -16 + c * co), -1)
    uv = _tile("cloth", (angle[None, :] + 105) / 210 * 0.98 + 0 * y, (y - 126) / 194 * 0.98 + 0 * s)
    return Part("torso", xyz, uv, np.ones(xyz.shape[:2]), body=True, lit=True)
