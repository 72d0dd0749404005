"""What a rendered face does over time: the hand-over between the motion that speech drives and the renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOUTH = ("open", "wide", "press", "tuck", "teeth", "tongue")


@dataclass(frozen=True, slots=True)
class FaceMotion:
    """One face through T frames. Every field is float32 of shape (T,).

    open:   inner lip gap, 0 closed .. 1 widest (jaw follows it)
    wide:   -1 rounded and protruded .. 0 neutral .. 1 spread
    press:  0 .. 1 lips pressed together and rolled in (bilabials); press 1 means that the inner gap is 0 whatever `open` says
    tuck:   0 .. 1 lower lip under the upper teeth (f, v)
    teeth:  0 .. 1 how much of the upper teeth shows when open
    tongue: 0 .. 1 tongue raised to the teeth (th, l, n, t, d)
    blink:  0 open eyes .. 1 closed
    brow:   -1 .. 1 brows lowered .. raised
    yaw, pitch, roll: degrees; yaw > 0 turns the nose to the image's right, pitch > 0 turns it down, roll > 0 is clockwise in the image
    dx, dy: head centre as a share of the frame's side, from the frame's centre; right and down are positive
    scale:  multiplies the head's nominal size
    light:  1 is the identity's nominal light; 0.6 dim .. 1.4 bright
    """

    open: np.ndarray
    wide: np.ndarray
    press: np.ndarray
    tuck: np.ndarray
    teeth: np.ndarray
    tongue: np.ndarray
    blink: np.ndarray
    brow: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    scale: np.ndarray
    light: np.ndarray

    @classmethod
    def still(cls, n_frames: int, **values: float) -> FaceMotion:
        """A face that holds one pose for `n_frames`; every field not named is 0, `scale` and `light` are 1."""
        base = {name: 0.0 for name in cls.__slots__} | {"scale": 1.0, "light": 1.0} | values
        return cls(**{name: np.full(n_frames, value, np.float32) for name, value in base.items()})

    def __len__(self) -> int:
        return len(self.open)
