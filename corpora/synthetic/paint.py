"""The skin, lips, brows and hair of an identity as one texture, painted over the head's grid in millimetres.

The texture has CELL texels between neighbouring vertices of `mesh.grid()`; small tiles for eyes, teeth, tongue, cloth and the
rest stand to its right. Everything comes from `identity.texture_seed` and our own formulas; nothing is photographed.
"""

from __future__ import annotations

import cv2
import numpy as np

from corpora.synthetic.face import Identity
from corpora.synthetic.mesh import EYE_INNER, EYE_OUTER, EYE_X, MOUTH_X, MOUTH_Y, bell, grid, smooth

CELL = 5
TILE = 64
# Tiles stand below each other in the column on the right, in this order.
TILES = ("eye", "teeth", "tongue", "strand", "cloth")


def tile_origin(name: str) -> tuple[int, int]:
    """(x, y) of the first texel of a tile in the texture."""
    return (len(grid().theta) - 1) * CELL + 8, TILES.index(name) * (TILE + 4)


def hairline(identity: Identity, theta: np.ndarray) -> np.ndarray:
    """The y (mm) above which hair grows, for angles `theta` (degrees)."""
    knots = [0, 25, 45, 56, 65, 72, 80, 88, 97, 104, 130, 180]
    line = [-70, -69, -59, -44, -20, 4, 8, -16, -12, 40, 78, 88]
    if identity.hair_style in ("long", "bob"):
        line = [-72, -70, -60, -48, -30, 20, 75, 90, 95, 95, 95, 100]
    elif identity.hair_style == "fringe":
        line = [-40, -38, -37, -34, -18, 30, 75, 90, 95, 95, 95, 100]
    elif identity.hair_style == "scarf":
        line = [-64, -62, -52, -36, -4, 48, 95, 130, 200, 200, 200, 200]
    elif identity.hair_style == "bald":
        return np.full(np.shape(theta), -400.0)
    recede = identity.hairline_mm - (7 * identity.age if identity.hair_style in ("short", "crop") else 0)
    angle = np.abs(theta)
    return np.interp(angle, knots, line) + recede * (1 - smooth((angle - 40) / 30)) * (identity.hair_style != "fringe")


def hair_mask(identity: Identity, theta: np.ndarray, t: np.ndarray, y: np.ndarray, soft_mm: float) -> np.ndarray:
    """0 skin .. 1 hair (or scarf), with an edge `soft_mm` wide."""
    mask = smooth((hairline(identity, theta) - y) / soft_mm + 0.5)
    under = smooth((t - 112) / 6)
    return np.maximum(mask, under) if identity.hair_style == "scarf" else mask * (1 - under * (np.abs(theta) < 110))


def _noise(rng: np.random.Generator, shape: tuple[int, int], across: float, down: float) -> np.ndarray:
    """Smooth noise of about unit spread; `across` and `down` are the blur's sigmas in texels."""
    field = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigmaX=across, sigmaY=down)
    return field / field.std()


def _blend(image: np.ndarray, colour: np.ndarray | tuple, alpha: np.ndarray) -> None:
    image += (np.asarray(colour, np.float32) - image) * alpha[..., None].astype(np.float32)


def lip_alpha(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 on the red of the lips, 0 outside, at nominal positions in millimetres."""
    s = np.clip(np.abs(x) / MOUTH_X, 0, 1)
    top = MOUTH_Y - 8.5 * (1 - s**1.9) * (1 - 0.2 * bell(x, 4.0))
    bottom = MOUTH_Y + 10.0 * (1 - s**2.3)
    return smooth((y - top) / 1.4 + 0.5) * smooth((bottom - y) / 1.8 + 0.5) * smooth((MOUTH_X + 0.5 - np.abs(x)) / 2)


def _skin(i: Identity, rng: np.random.Generator, x: np.ndarray, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    shape, ax = x.shape, np.abs(x)
    skin = np.array(i.skin, np.float32)
    image = np.broadcast_to(skin, (*shape, 3)).copy()
    red = skin * (1.0, 0.80, 0.78)
    _blend(image, red, 0.5 * np.clip(bell(ax - 40, 17) * bell(y - 24, 17) + bell(x, 12) * bell(y - 34, 9), 0, 1))
    _blend(image, skin * (0.95, 0.84, 0.80), 0.7 * bell(ax - EYE_X, 19) * bell(y + 1, 10))
    _blend(image, skin * (0.72, 0.66, 0.68), (0.10 + 0.30 * i.age) * bell(ax - 28, 12) * bell(y - 11, 4))

    dark = 0.30 * bell(y + 4.6, 1.5) * smooth((ax - 17) / 5) * smooth((48 - ax) / 5)  # the lid's crease
    ring = np.abs(np.hypot(ax - 12.5, (y - 37.5) * 0.95) - 6.8)  # around the wings of the nose
    dark = np.maximum(dark, 0.34 * bell(ring, 1.8) * smooth((ax - 11) / 4) * smooth((45 - y) / 5))
    dark = np.maximum(dark, 0.16 * bell(ax - 10, 5) * bell(y - 18, 16))
    dark = np.maximum(dark, 0.26 * bell(x, 13) * bell(y - 47, 3.2))
    fold = 18 + 0.5 * (y - 38)
    dark = np.maximum(dark, (0.06 + 0.22 * i.age) * bell(ax - fold, 2.2) * smooth((y - 36) / 8) * smooth((70 - y) / 10))
    for k, level in enumerate((-36, -44, -52)):
        wave = level + 1.2 * np.sin(x / 9 + k) + 0.002 * x * x
        dark = np.maximum(dark, 0.24 * max(0.0, i.age - 0.4) / 0.6 * bell(y - wave, 1.1) * bell(x, 34))
    for k in (-1, 0, 1):
        feet = 1.5 + k * (3 + 0.30 * (ax - 48))
        dark = np.maximum(dark, 0.22 * max(0.0, i.age - 0.4) / 0.6 * bell(y - feet, 0.9) * bell(ax - 54, 5))
    dark = np.maximum(dark, 0.14 * bell(x, 16) * bell(y - 80, 3.5))
    dark = np.maximum(dark, 0.16 * bell(x, 3) * bell(y - 53, 6))
    image *= 1 - dark[..., None]
    image *= (1 - 0.34 * smooth((t - 106) / 10) * (1 - smooth((t - 128) / 40)))[..., None]  # shade under the jaw

    blotch, pores = _noise(rng, shape, 9, 9), _noise(rng, shape, 2.6, 1.2)
    image *= (1 + 0.018 * blotch + (0.010 + 0.016 * i.age) * pores)[..., None]
    spots = smooth((_noise(rng, shape, 1.2, 1.5) - 1.5) / 0.6) * bell(ax - 26, 30) * bell(y - 16, 20)
    _blend(image, skin * (0.72, 0.58, 0.50), 0.6 * i.freckles * spots)
    return image


def _face_marks(i: Identity, rng: np.random.Generator, image: np.ndarray, x: np.ndarray, y: np.ndarray,
                t: np.ndarray, theta: np.ndarray) -> None:
    ax, shape = np.abs(x), x.shape
    strands = _noise(rng, shape, 0.9, 2.2)
    if i.beard > 0:
        jaw = smooth((y - 52) / 10) * (1 - smooth((t - 106) / 9))
        side = smooth((np.abs(theta) - 42) / 14) * smooth((y - 5) / 20) * smooth((78 - np.abs(theta)) / 10)
        bare = bell(ax - 34, 13) * bell(y - 48, 15)
        area = np.clip(np.maximum(jaw, side) - bare, 0, 1) * (1 - bell(x, 13) * bell(y - 82, 4) * 0.5)
        _blend(image, np.array(i.brows) * 0.8, np.clip(area * i.beard * (0.66 + 0.13 * strands), 0, 0.9))

    lips = lip_alpha(x, y)
    lip = np.broadcast_to(np.array(i.lips, np.float32), image.shape).copy()
    lip *= (1 + 0.035 * _noise(rng, shape, 0.8, 3.0) + 0.10 * bell(y - 70.5, 2.4) * bell(x, 11) - 0.10 * (y < MOUTH_Y))[..., None]
    _blend(image, lip, 0.92 * lips)
    image *= (1 - 0.50 * bell(y - MOUTH_Y, 1.1) * smooth((MOUTH_X + 2 - ax) / 3))[..., None]
    image *= (1 - 0.34 * bell(ax - MOUTH_X - 0.5, 2.6) * bell(y - MOUTH_Y, 2.6))[..., None]

    nostril = np.hypot((ax - 7.5) / 4.6, (y - 43.2 - 0.12 * (ax - 7.5)) / 2.3)
    _blend(image, np.array(i.skin) * (0.26, 0.17, 0.15), 0.88 * smooth((1.25 - nostril) / 0.6))

    run = np.clip((ax - 12) / 40, 0, 1)
    middle = -18.5 - i.brow_arch_mm * (1 - ((run - 0.62) / 0.62) ** 2)
    half = (3.1 - 1.9 * run**1.5) * i.brow_thickness
    brow = smooth((half - np.abs(y - middle) + 0.6) / 1.6) * smooth((ax - 11.5) / 5) * smooth((53 - ax) / 6)
    _blend(image, i.brows, np.clip(brow * (0.82 + 0.12 * strands), 0, 1))

    inside = smooth((ax - EYE_INNER + 1) / 4) * smooth((EYE_OUTER + 3.0 - ax) / 4)
    lash = (0.06, 0.045, 0.04)
    _blend(image, lash, 0.88 * inside * smooth((y + 2.3) / 1.2) * (y <= 0.01))
    _blend(image, np.array(i.skin) * (0.42, 0.33, 0.31), 0.55 * inside * bell(y - 0.4, 1.2) * (y > 0))


def _tiles(i: Identity, rng: np.random.Generator, atlas: np.ndarray) -> None:
    v, u = np.mgrid[0:TILE, 0:TILE].astype(np.float32)

    # Eye: 64 texels are 28 mm, the iris in the middle.
    mm = 28 / TILE
    r = np.hypot(u - TILE / 2, v - TILE / 2) * mm
    eye = np.broadcast_to(np.array((0.93, 0.91, 0.89), np.float32), (TILE, TILE, 3)).copy()
    _blend(eye, (0.80, 0.60, 0.56), smooth((r - 9) / 5) * 0.7)
    rays = 1 + 0.16 * np.sin(np.arctan2(v - TILE / 2, u - TILE / 2) * 23) * bell(r - 4, 2)
    iris = np.array(i.eyes, np.float32) * rays[..., None] * (0.85 + 0.5 * bell(r - 3, 1.5)[..., None])
    edge = smooth((5.9 - r) / 0.8)
    _blend(eye, np.array(i.eyes) * 0.35, smooth((6.2 - r) / 0.7))
    eye += (iris - eye) * (edge * smooth((5.6 - r) / 0.8))[..., None]
    _blend(eye, (0.02, 0.02, 0.025), smooth((2.5 - r) / 0.6))
    glint = np.hypot((u - TILE / 2) * mm - 1.8, (v - TILE / 2) * mm + 2.2)
    _blend(eye, (1, 1, 1), 0.95 * smooth((1.35 - glint) / 0.7))

    # Teeth: columns are the arch (about 64 mm), rows go from the gum to the edge.
    position = np.abs((u - TILE / 2 + 0.5) / (TILE / 2))
    widths = np.cumsum([0, 0.135, 0.115, 0.12, 0.13, 0.14, 0.16, 0.2])
    near = np.min(np.abs(position[..., None] - widths), axis=-1)
    teeth = np.broadcast_to(np.array((0.93, 0.90, 0.84), np.float32) * (1 - 0.08 * i.age), (TILE, TILE, 3)).copy()
    teeth *= (1 - 0.30 * bell(near, 0.022))[..., None] * (1 - 0.45 * position[..., None] ** 1.5)
    _blend(teeth, (0.62, 0.33, 0.33), smooth((TILE * 0.30 - v + 4 * bell(near, 0.05)) / 6))

    tongue = np.broadcast_to(np.array((0.76, 0.38, 0.38), np.float32), (TILE, TILE, 3)).copy()
    tongue *= (1 - 0.18 * bell(u - TILE / 2, 3) + 0.03 * _noise(rng, (TILE, TILE), 1.5, 1.5))[..., None]

    strand = np.broadcast_to(np.array(i.scarf if i.hair_style == "scarf" else i.hair, np.float32), (TILE, TILE, 3)).copy()
    strand *= (1 + (0.04 if i.hair_style == "scarf" else 0.16) * _noise(rng, (TILE, TILE), 1.4, 9))[..., None]
    cloth = np.broadcast_to(np.array(i.cloth, np.float32), (TILE, TILE, 3)).copy()
    cloth *= (1 + 0.03 * _noise(rng, (TILE, TILE), 1, 1))[..., None]
    for name, tile in zip(TILES, (eye, teeth, tongue, strand, cloth), strict=True):
        left, top = tile_origin(name)
        atlas[top:top + TILE, left:left + TILE] = tile


def paint(identity: Identity) -> np.ndarray:
    """The texture of an identity: uint8 (H, W, 3) RGB; vertex (row, column) of the head's grid is at texel (CELL column, CELL
    row)."""
    g, rng = grid(), np.random.default_rng(identity.texture_seed)
    height, width = (len(g.t) - 1) * CELL + 1, (len(g.theta) - 1) * CELL + 1
    rows, columns = np.arange(height) / CELL, np.arange(width) / CELL
    t = np.interp(rows, np.arange(len(g.t)), g.t)[:, None]
    theta = np.interp(columns, np.arange(len(g.theta)), g.theta)[None, :]
    place = g.place(t, theta)
    front = np.abs(theta) < 100
    x, y = np.where(front, place[..., 0], np.sign(theta) * 150), place[..., 1]
    t, theta = np.broadcast_to(t, x.shape), np.broadcast_to(theta, x.shape)

    image = _skin(identity, rng, x, y, t)
    _face_marks(identity, rng, image, x, y, t, theta)
    scarf = identity.hair_style == "scarf"
    colour = np.array(identity.scarf if scarf else identity.hair, np.float32)
    strands = _noise(rng, x.shape, 1.1, 12) if not scarf else _noise(rng, x.shape, 6, 6) * 0.3
    ragged = 0 if scarf else 1.6 * _noise(rng, x.shape, 1.2, 4)
    mask = hair_mask(identity, theta, t, y + ragged, 2.0 if scarf else 5.0)
    image *= (1 - 0.22 * hair_mask(identity, theta, t, y - 6, 12.0) * (1 - mask))[..., None]
    if identity.hair_style in ("crop", "bald"):  # a shadow where hair is cut short
        stubble = hair_mask(identity if identity.hair_style == "crop" else _short(identity), theta, t, y, 14.0)
        _blend(image, colour, 0.25 * stubble)
    image += (colour * (1 + 0.20 * strands[..., None]) - image) * mask[..., None].astype(np.float32)

    atlas = np.zeros((max(height, len(TILES) * (TILE + 4)), width + 8 + TILE, 3), np.float32)
    atlas[:height, :width] = image
    _tiles(identity, rng, atlas)
    return np.clip(np.rint(atlas * 255), 0, 255).astype(np.uint8)


def _short(identity: Identity) -> Identity:
    from dataclasses import replace

    return replace(identity, hair_style="short")
