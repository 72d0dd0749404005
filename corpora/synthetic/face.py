"""Who a rendered face is: one frozen record of shape, colours, hair, light and background, and how to draw one at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HAIR_STYLES = ("short", "long", "bob", "fringe", "crop", "bald", "scarf")
Colour = tuple[float, float, float]

# Skin from fair to deep, sRGB 0..1; an identity mixes two neighbours.
_SKIN = ((0.94, 0.79, 0.71), (0.88, 0.70, 0.59), (0.80, 0.61, 0.48), (0.69, 0.50, 0.37), (0.55, 0.38, 0.28), (0.42, 0.29, 0.22))
_EYES = ((0.30, 0.45, 0.60), (0.36, 0.46, 0.34), (0.45, 0.34, 0.20), (0.28, 0.18, 0.11), (0.18, 0.11, 0.08))
_HAIR = ((0.07, 0.06, 0.06), (0.16, 0.10, 0.07), (0.30, 0.19, 0.11), (0.52, 0.38, 0.21), (0.45, 0.21, 0.10), (0.62, 0.61, 0.60))


@dataclass(frozen=True, slots=True)
class Identity:
    """One person, as the renderer needs it. Ratios are to the nominal head (1 is average), colours are sRGB 0..1."""

    head_width: float
    jaw_width: float
    chin_length_mm: float
    chin_depth_mm: float
    cheek_mm: float
    forehead_mm: float
    eye_spacing: float
    eye_height: float
    eye_tilt_mm: float
    brow_height_mm: float
    brow_thickness: float
    brow_arch_mm: float
    nose_length_mm: float
    nose_width: float
    nose_depth: float
    nose_bridge: float
    mouth_width: float
    mouth_drop_mm: float
    lip_upper: float
    lip_lower: float
    lip_depth: float
    skin: Colour
    lips: Colour
    eyes: Colour
    hair: Colour
    brows: Colour
    hair_style: str
    hair_volume_mm: float
    hairline_mm: float
    age: float
    freckles: float
    beard: float
    glasses: float
    cloth: Colour
    scarf: Colour
    light_azimuth_deg: float
    light_elevation_deg: float
    ambient: float
    background: tuple[Colour, Colour]
    texture_seed: int


def _mix(a: Colour, b: Colour, t: float) -> Colour:
    return tuple(float(np.clip(x + (y - x) * t, 0, 1)) for x, y in zip(a, b, strict=True))


def _hue(rng: np.random.Generator, low: float, high: float, saturation: float) -> Colour:
    """A colour of value in [low, high] and at most the saturation given."""
    value = rng.uniform(low, high)
    return tuple(float(value * (1 - saturation * s)) for s in rng.uniform(0, 1, 3))


def sample_identity(rng: np.random.Generator) -> Identity:
    """An Identity drawn at random: clearly different people in shape, skin, eyes, hair, age, light and background.

    The same generator state gives the same identity; every draw is made whatever the earlier ones gave, so that one field's rule
    can change without moving the others.
    """
    u, n = rng.uniform, lambda spread: float(np.clip(rng.normal(), -2, 2) * spread)
    tone = u(0, len(_SKIN) - 1)
    low = min(int(tone), len(_SKIN) - 2)
    skin = _mix(_SKIN[low], _SKIN[low + 1], tone - low)
    skin = _mix(skin, (skin[0], skin[1] * 0.96, skin[2] * 0.86), u(0, 1))
    lips = _mix(_mix(skin, (0.72, 0.25, 0.27), u(0.45, 0.75)), (0.35, 0.14, 0.15), 0.10 + 0.05 * tone)
    age = float(u(0, 1))
    # Dark skin goes with dark eyes and hair more often than not; grey hair comes with age.
    eyes = _EYES[int(np.clip(u(0, 5) + 0.5 * tone, 0, 4.99))]
    hair_index = int(np.clip(u(0, 4.99) - 0.6 * tone, 0, 4))
    hair = _mix(_HAIR[hair_index], _HAIR[5], u(0.4, 0.9) if age > 0.72 else 0.0)
    hair = _mix(hair, (0, 0, 0), u(0, 0.25))
    style = HAIR_STYLES[int(rng.choice(len(HAIR_STYLES), p=(0.27, 0.21, 0.12, 0.11, 0.13, 0.07, 0.09)))]
    masculine = style in ("short", "crop", "bald")
    beard, beard_draw, glasses_draw = u(0.35, 1), u(), u()
    return Identity(
        head_width=1 + n(0.05),
        jaw_width=1 + n(0.065) + (0.025 if masculine else -0.02),
        chin_length_mm=n(4.5),
        chin_depth_mm=n(2.5),
        cheek_mm=n(2.4),
        forehead_mm=n(3.0),
        eye_spacing=1 + n(0.035),
        eye_height=1 + n(0.14),
        eye_tilt_mm=n(1.3),
        brow_height_mm=n(1.6),
        brow_thickness=float(u(0.7, 1.5)) * (1.15 if masculine else 0.85),
        brow_arch_mm=float(u(0.5, 3.5)),
        nose_length_mm=n(2.8),
        nose_width=1 + n(0.14) + 0.03 * (tone - 2),
        nose_depth=1 + n(0.15),
        nose_bridge=1 + n(0.20),
        mouth_width=1 + n(0.075),
        mouth_drop_mm=n(1.5),
        lip_upper=1 + n(0.2) + 0.04 * (tone - 2),
        lip_lower=1 + n(0.18) + 0.04 * (tone - 2),
        lip_depth=1 + n(0.2),
        skin=skin,
        lips=lips,
        eyes=eyes,
        hair=hair,
        brows=_mix(_mix(hair, (0.1, 0.07, 0.05), 0.45), skin, 0.05),
        hair_style=style,
        hair_volume_mm=float(u(4, 12)) * {"crop": 0.4, "bald": 0.0, "scarf": 0.8}.get(style, 1.0),
        hairline_mm=n(4.0),
        age=age,
        freckles=float(u(0.3, 1)) if u() < 0.25 and tone < 2.5 else 0.0,
        beard=float(beard) if masculine and beard_draw < 0.4 else 0.0,
        glasses=1.0 if glasses_draw < 0.15 else 0.0,
        cloth=_hue(rng, 0.15, 0.85, 0.7),
        scarf=_hue(rng, 0.25, 0.9, 0.6),
        light_azimuth_deg=n(22.0),
        light_elevation_deg=float(u(15, 50)),
        ambient=float(u(0.42, 0.62)),
        background=(_hue(rng, 0.2, 0.9, 0.3), _hue(rng, 0.15, 0.8, 0.35)),
        texture_seed=int(rng.integers(2**31)),
    )
