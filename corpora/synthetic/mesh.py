"""The head's surface: a grid of our own making, in millimetres, and how an identity and a motion move its vertices.

Axes: x to the image's right, y down, z towards the viewer; y = 0 is the eye line, z = 0 the axis through the ears. The nominal
head is a stack of elliptic sections (a row each) with smooth bumps for the features; the proportions are rounded adult averages
of the anthropometric literature (distance between outer eye corners 90, mouth 50, eye line to mouth line 65, to the chin's end
110). Two pairs of rows lie on top of each other until something opens between them: the lid margins (EYE, EYE + 1) and
the lips' inner edges (LIP, LIP + 1). Every field is a function of the nominal position, so that a texture painted there follows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from corpora.synthetic.face import Identity

EYE_INNER, EYE_OUTER, EYE_X = 16.5, 45.0, 31.0
MOUTH_X, MOUTH_Y = 25.0, 65.0
EYE_RADIUS, EYE_Z = 12.5, 67.5
PIVOT_Y = 20.0
MAX_DROP_MM, TUCK_GAP_MM = 24.0, 3.0
FIELDS = ("drop", "tuckgap", "spread", "round", "press", "tuck", "blink", "brow")

# One section a knot: row parameter t (millimetres along the midline), half width, front depth, back depth, y, lift of the
# sides, centre z.
_KNOTS = np.array([
    (-119, 3, 4, 4, -118, 0, 0), (-113, 27, 33, 33, -113, 0, 0), (-100, 47, 58, 60, -100, 0, 0), (-80, 64, 80, 82, -80, 0, 0),
    (-60, 72, 91, 93, -60, 0, 0), (-40, 75, 95, 97, -40, 0, 0), (-20, 75, 96, 97, -20, 0, 0), (0, 73, 94, 94, 0, 0, 0),
    (25, 69, 92, 86, 25, 0, 0), (46, 65, 91, 74, 46, 1, 0), (65, 61, 91, 64, 65, 4, 0), (80, 58, 89, 60, 80, 14, 0),
    (95, 54, 88, 58, 95, 30, 0), (104, 51, 86, 57, 104, 40, 0), (110, 48, 80, 57, 110, 46, -1), (116, 46, 68, 57, 113, 46, -3),
    (122, 47, 54, 56, 115, 40, -6), (130, 50, 46, 55, 124, 24, -10), (145, 52, 45, 54, 142, 6, -13), (180, 58, 48, 55, 185, 0,
                                                                                                      -16),
    (210, 66, 52, 58, 240, 0, -18)], np.float64)

_ROW_STOPS = ((-119, 3), (-110, 5), (-66, 5), (-27, 6), (-9, 5), (0, 0), (0, 5), (9, 5), (28, 9), (46, 4), (54, 7), (65, 0),
              (65, 7),
              (77, 8), (106, 4), (122, 3), (145, 2), (210, 0))
_COLUMN_STOPS = (0.0, "eye_inner", "mouth", "eye_outer", 62.0, 100.0, 180.0)
_COLUMN_STEPS = (5, 5, 5, 6, 6, 5)


def smooth(x: np.ndarray) -> np.ndarray:
    """The smooth step of `x`: 0 below 0, 1 above 1, 3x^2 - 2x^3 between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def bell(x: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """exp(-(x / width)^2)."""
    return np.exp(-((x / width) ** 2))


class Grid:
    """The nominal head: `t` (R,), `theta` (C,) in degrees, `x`, `y` (R, C) in millimetres, `base` (R, C, 3), rows EYE and LIP.

    `columns` gives the two columns of each eye's corners and of the mouth's, left in the image first.
    """

    def __init__(self) -> None:
        from scipy.interpolate import PchipInterpolator

        self.knots = PchipInterpolator(_KNOTS[:, 0], _KNOTS[:, 1:], axis=0)
        rows: list[float] = []
        for (start, steps), (stop, _) in zip(_ROW_STOPS[:-1], _ROW_STOPS[1:], strict=True):
            rows += [start] if steps == 0 else list(np.linspace(start, stop, steps, endpoint=False))
        self.t = np.array(rows + [_ROW_STOPS[-1][0]])
        self.eye = int(np.flatnonzero(self.t == 0)[0])
        self.lip = int(np.flatnonzero(self.t == MOUTH_Y)[0])

        half_eye, half_mouth = self.knots(0.0)[0], self.knots(MOUTH_Y)[0]
        named = {"eye_inner": np.degrees(np.arcsin(EYE_INNER / half_eye)),
                 "eye_outer": np.degrees(np.arcsin(EYE_OUTER / half_eye)),
                 "mouth": np.degrees(np.arcsin(MOUTH_X / half_mouth))}
        stops = [named.get(stop, stop) for stop in _COLUMN_STOPS]
        half = [0.0]
        for start, stop, steps in zip(stops[:-1], stops[1:], _COLUMN_STEPS, strict=True):
            half += list(np.linspace(start, stop, steps + 1))[1:]
        self.theta = np.array([-a for a in half[:0:-1]] + half)
        middle = len(half) - 1
        inner, mouth, outer = np.cumsum(_COLUMN_STEPS)[:3]
        self.columns = {"eye_left": (middle - outer, middle - inner), "eye_right": (middle + inner, middle + outer),
                        "mouth": (middle - mouth, middle + mouth)}
        self.base = self.place(self.t[:, None], self.theta[None, :])
        self.x, self.y = self.base[..., 0], self.base[..., 1]

    def place(self, t: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """The nominal surface without features at rows `t` (mm) and angles `theta` (degrees): (..., 3) in millimetres."""
        width, front, back, y, lift, centre = np.moveaxis(self.knots(t), -1, 0)
        angle = np.radians(theta)
        c = np.cos(angle)
        y = y - lift * (1 - np.maximum(c, -0.2))
        return np.stack(np.broadcast_arrays(width * np.sin(angle), y, centre + np.where(c > 0, front, back) * c), -1)

    def locate(self, x: float, y: float, lower: bool = True) -> tuple[float, float]:
        """(row, column), both fractional, of the nominal frontal position (x, y); `lower` picks the row below at an opening."""
        row = np.interp(y, self.t[self.lip + 1:], np.arange(self.lip + 1, len(self.t)))
        if y < MOUTH_Y or (y == MOUTH_Y and not lower):
            row = np.interp(y, self.t[self.eye + 1:self.lip + 1], np.arange(self.eye + 1, self.lip + 1))
        if y < 0 or (y == 0 and not lower):
            row = np.interp(y, self.t[:self.eye + 1], np.arange(self.eye + 1))
        t = np.interp(row, np.arange(len(self.t)), self.t)
        for _ in range(8):  # the sides are lifted, so t and the angle depend on each other
            theta = np.degrees(np.arcsin(np.clip(x / self.knots(t)[0], -0.999, 0.999)))
            if t <= MOUTH_Y:
                break
            t = float(np.clip(t + y - self.place(np.array(t), np.array(theta))[1], MOUTH_Y, 125.0))
            row = np.interp(t, self.t[self.lip + 1:], np.arange(self.lip + 1, len(self.t)))
        return float(row), float(np.interp(theta, self.theta, np.arange(len(self.theta))))


@lru_cache(maxsize=1)
def grid() -> Grid:
    """The one nominal grid."""
    return Grid()


def _lid(x: np.ndarray, peak: float) -> np.ndarray:
    """How open a lid is along an eye: 0 at the corners, 1 at the share `peak` of the way from the inner corner."""
    s = np.clip((np.abs(x) - EYE_INNER) / (EYE_OUTER - EYE_INNER), 0, 1)
    power = np.log(0.5) / np.log(peak)
    return (4 * s**power * (1 - s**power)) ** 0.8


def features(identity: Identity) -> np.ndarray:
    """The identity's neutral face with closed lips and open eyes: float32 (R, C, 3), millimetres."""
    g, i = grid(), identity
    x, y, out = g.x, g.y, g.base.copy()
    ax, front = np.abs(x), (np.cos(np.radians(g.theta)) > 0)[None, :]
    rows = np.arange(len(g.t))[:, None]

    bridge, tip = smooth((y + 16) / 26), smooth((y + 10) / 44)
    ridge_width = 7.5 * i.nose_bridge**0.5 + 4.5 * tip * i.nose_width
    profile = (5.5 * i.nose_bridge * bridge + 17.5 * i.nose_depth * tip) * (1 - smooth((y - 34) / 11))
    nose = profile * bell(x, ridge_width) + 9 * bell(ax - 12.5, 6.5) * bell(y - 37.5, 7)
    z = nose
    z += 4.5 * bell(ax - 27, 20) * bell(y + 19, 9) + 2 * bell(x, 14) * bell(y + 17, 10)
    z -= 9 * bell(ax - EYE_X - 1, 17) * bell(y + 1, 12) + 2.5 * bell(ax - 21, 9) * bell(y - 6, 9)
    z += (4.5 + i.cheek_mm) * bell(ax - 42, 18) * bell(y - 20, 20)
    z -= 4 * bell(ax - 64, 16) * bell(y + 22, 24) + (2.5 - i.cheek_mm) * bell(ax - 44, 14) * bell(y - 58, 20)
    z += 5 * bell(x, 30) * bell(y - 62, 20)
    z -= 1.6 * bell(x, 4) * bell(y - 52, 8)
    lips = 5.5 * i.lip_depth * bell(y - 60.5, 5.5) + 6.0 * i.lip_depth * bell(y - 70.5, 6)
    z += lips * bell(x, 21) - 3.2 * i.lip_depth * bell(y - 65, 2.2) * bell(x, 22) - 3.5 * bell(x, 20) * bell(y - 81, 6)
    z += (8 + i.chin_depth_mm) * bell(x, 20) * bell(y - 97, 12)
    out[..., 2] += np.where(front, z, 0)
    out[..., 0] += np.sign(x) * front * 4.5 * (i.nose_width - 1) * bell(ax - 14, 9) * bell(y - 37, 12) * 3

    # Proportions. Each is a smooth shift of positions, so that the order of the vertices is kept.
    out[..., 0] *= 1 + (i.head_width - 1) * (1 - smooth((g.t[:, None] - 110) / 40))
    out[..., 0] *= 1 + (i.jaw_width - 1) * smooth((y - 30) / 50) * (1 - smooth((g.t[:, None] - 110) / 40))
    out[..., 0] += x * (i.eye_spacing - 1) * bell(y, 30) * bell(ax, 70)
    out[..., 0] += x * (i.mouth_width - 1) * bell(y - MOUTH_Y, 26) * bell(ax, 55)
    dy = i.chin_length_mm * smooth((y - 75) / 32) * (1 - smooth((g.t[:, None] - 115) / 60))
    dy += i.nose_length_mm * bell(y - 38, 16) * bell(x, 28) + i.mouth_drop_mm * bell(y - 68, 20) * bell(x, 48)
    dy += i.forehead_mm * -smooth((-y - 40) / 60)
    dy -= 1.2 * i.brow_height_mm * bell(y + 20, 14) * bell(ax - 30, 30)
    above = (rows <= g.lip) & (y > 30)
    upper = np.where(above, np.clip((MOUTH_Y - y) / 8.5, 0, 1) * (1 - smooth((56.5 - y) / 13)), 0)
    below = np.where(rows > g.lip, np.clip((y - MOUTH_Y) / 10, 0, 1) * (1 - smooth((y - 75) / 14)), 0)
    dy += bell(x, 34) * (-8.5 * 0.8 * (i.lip_upper - 1) * upper + 10 * 0.8 * (i.lip_lower - 1) * below)
    dy += 1.1 * bell(x, 7) * bell(y - 63, 7) - 0.8 * bell(ax - 11, 7) * bell(y - 62, 8)  # the lip line's own bow

    slant = (ax - EYE_X) / (EYE_OUTER - EYE_INNER) * (-2.2 - i.eye_tilt_mm) + 0.3
    dy += slant * bell(y, 12) * bell(ax - EYE_X, 22)
    open_upper, open_lower = 5.6 * i.eye_height, 3.9 * i.eye_height**0.5
    dy += np.where(rows <= g.eye, -open_upper * _lid(x, 0.44), 0) * bell(y, 9) * front
    dy += np.where((rows > g.eye) & (y < 30), open_lower * _lid(x, 0.56), 0) * bell(y, 9) * front
    out[..., 1] += dy
    return out.astype(np.float32)


def fields(identity: Identity) -> np.ndarray:
    """How a motion moves the vertices: float32 (len(FIELDS), R, C, 3), millimetres a unit of each of FIELDS.

    `drop` and `tuckgap` are a millimetre of inner lip gap each, at the middle; the others are for the parameter at 1.
    """
    g = grid()
    x, y = g.x, g.y
    ax, s, side = np.abs(x), np.abs(x) / MOUTH_X, np.sign(x)
    rows = np.arange(len(g.t))[:, None]
    front = (np.cos(np.radians(g.theta)) > 0)[None, :]
    up, low = (rows <= g.lip) & (y > 25), rows > g.lip
    out = {name: np.zeros((*x.shape, 3)) for name in FIELDS}
    sink = 1 - smooth((g.t[:, None] - 112) / 30)

    # Opening: the jaw falls, the corners follow by a third, the upper lip rises by an eighth.
    corner, rise = 0.36, 0.12
    arch = np.clip(1 - s * s, 0, 1) ** 0.75
    line = np.where(s < 1, corner * s**3, corner * (1 - smooth((ax - MOUTH_X) / 32)))
    jaw = 0.9 * (1 - smooth((np.abs(g.theta) - 32) / 52))[None, :] * sink
    share = smooth((y - MOUTH_Y) / 25)
    near = bell(MOUTH_Y - y, 13)
    out["drop"][..., 1] = np.where(low, (1 - share) * (line + (1 - rise) * arch) + share * jaw, up * (line - rise * arch) * near)
    out["drop"][..., 2] = np.where(low, -0.22 * share * jaw, 0)
    out["drop"][..., 0] = -0.10 * side * np.minimum(s, np.exp(1 - np.maximum(s, 1)) ** 2) * bell(y - MOUTH_Y - 4, 22) * front
    out["tuckgap"][..., 1] = np.where(low, 0.3 * arch * bell(y - MOUTH_Y, 16), up * -0.7 * arch * near)

    reach = np.where(s < 1, s, bell(s - 1, 0.9)) * bell(y - MOUTH_Y, 19) * front
    red = (1 - smooth((np.abs(y - MOUTH_Y) - 8) / 16)) * bell(x, 32) * front  # 1 on the lips, fading around them
    off = y - MOUTH_Y
    out["spread"][..., 0] = 7.5 * side * reach
    out["spread"][..., 1] = -2.0 * reach * np.minimum(s, 1) ** 2 - 0.16 * off * red
    out["spread"][..., 2] = -2.5 * reach + 1.5 * bell(ax - 42, 12) * bell(y - 45, 18) * front
    out["round"][..., 0] = -10.5 * side * reach
    out["round"][..., 1] = 0.14 * off * red
    out["round"][..., 2] = 7.5 * bell(x, 22) * bell(off, 15) * front + 1.5 * reach
    out["press"][..., 1] = -0.55 * off * red
    out["press"][..., 2] = -3.0 * bell(x, 26) * bell(off, 9) * front
    lower = np.where(low, bell(y - 67.5, 9), 0) * front * np.sqrt(arch)
    under = bell(x, 30) * bell(y - 82, 12) * smooth(off / 9) * front
    out["tuck"][..., 1] = low * (-0.55 * np.maximum(off, 0) * red - under)
    out["tuck"][..., 2] = -8.5 * lower * bell(x, 26)

    # The closed lids meet on one curve, a little above where the lower lid rests.
    upper_open, lower_open = 5.6 * identity.eye_height * _lid(x, 0.44), 3.9 * identity.eye_height**0.5 * _lid(x, 0.56)
    meet = lower_open - 0.8 * _lid(x, 0.56)
    lid = np.where(rows <= g.eye, upper_open + meet, 0) + np.where((rows > g.eye) & (y < 30), meet - lower_open, 0)
    out["blink"][..., 1] = lid * bell(y, 9) * front
    out["brow"][..., 1] = -6 * bell(y + 21, 13) * bell(ax - 28, 32) * front * (rows <= g.eye)
    return np.stack([out[name] for name in FIELDS]).astype(np.float32)
