"""How a face moves while it speaks: mouth fields from timed phonemes with coarticulation, and a head that is never still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from corpora.synthetic.speech import Phoneme
from corpora.synthetic.state import MOUTH, FaceMotion
from corpora.synthetic.visemes import VISEMES, viseme_of

FPS = 25
# How strongly a viseme pulls the mouth to its own shape against its neighbours': lips that matter pull hard, throat sounds
# follow.
DOMINANCE = {"sil": 1.2, "pp": 1.5, "ff": 1.5, "th": 1.0, "dd": 0.6, "kk": 0.35, "ch": 1.1, "ss": 0.9, "nn": 0.5, "rr": 0.8,
             "aa": 1.0, "eh": 0.9, "ih": 0.9, "oh": 1.1, "ou": 1.2}
ANTICIPATION_S, CARRY_OVER_S = 0.045, 0.035  # the mouth gets ready a little earlier than it lets go
CLOSING_S, OPENING_S = 0.07, 0.05
_CLOSURES = (("pp", "press"), ("ff", "tuck"))


@dataclass(frozen=True, slots=True)
class Manner:
    """How one speaker articulates: `gain[viseme]` multiplies that viseme's open, wide, teeth and tongue; `amplitude` all of
    them."""

    amplitude: float = 1.0
    gain: dict[str, float] = field(default_factory=dict)


def draw_manner(rng: np.random.Generator, strength: Mapping) -> Manner:
    """A speaker's manner: amplitude uniform in strength["amplitude"] (lo, hi), one lognormal gain per viseme of sigma
    "viseme_gain"."""
    low, high = strength.get("amplitude", (1.0, 1.0))
    if not 0 < low <= high <= 1:
        raise ValueError(f"hard.amplitude={[low, high]}: expected 0 < lo <= hi <= 1")
    sigma = float(strength.get("viseme_gain", 0.0))
    draws = np.exp(sigma * rng.standard_normal(len(VISEMES)).clip(-2, 2))
    return Manner(float(rng.uniform(low, high)), {name: float(gain) for name, gain in zip(sorted(VISEMES), draws, strict=True)})


def shown_visemes(phonemes: Sequence[Phoneme], swap: Mapping[str, str] | None = None) -> list[str]:
    """The viseme that the mouth shows for each phoneme, after `swap` (viseme -> viseme; the planted fault)."""
    swap = swap or {}
    unknown = sorted({*swap, *swap.values()} - set(VISEMES))
    if unknown:
        raise ValueError(f"swap names unknown visemes {unknown}: expected some of {sorted(VISEMES)}")
    names = [viseme_of(phoneme.symbol) for phoneme in phonemes]
    return [swap.get(name, name) for name in names]


def mouth_track(phonemes: Sequence[Phoneme], n_frames: int, rng: np.random.Generator, strength: Mapping | None = None, *,
                manner: Manner | None = None) -> dict[str, np.ndarray]:
    """The mouth fields of FaceMotion, each float32 (n_frames,), at the frame centres (f + 0.5) / 25 s.

    Each field is the mean of the phonemes' targets, weighted by dominance functions that decay exponentially outside the middle
    half of a phoneme, faster after it than before (after Cohen & Massaro 1993, "Modeling coarticulation in synthetic visual
    speech"). Lip closures are not left to a mean: every pp reaches press = 1 and every ff reaches tuck = 1 in at least one frame.
    strength: timing_jitter_s (sigma of a shift of each phoneme's mouth shape), lip_noise (sigma added to open and wide), swap.
    """
    strength = strength or {}
    manner = manner or Manner()
    shown = shown_visemes(phonemes, strength.get("swap"))
    shift_s = float(strength.get("timing_jitter_s", 0.0)) * rng.standard_normal(len(phonemes)).clip(-2.5, 2.5)
    frame_s = (np.arange(n_frames) + 0.5) / FPS
    # resting lips before and after: a mouth at rest is a phoneme without end
    first_s, last_s = (phonemes[0].start_s, phonemes[-1].end_s) if phonemes else (0.0, 0.0)
    starts = np.array([-np.inf, *(p.start_s + d for p, d in zip(phonemes, shift_s, strict=True)), last_s])
    ends = np.array([first_s, *(p.end_s + d for p, d in zip(phonemes, shift_s, strict=True)), np.inf])
    visemes = ["sil", *shown, "sil"]
    quarter = np.where(np.isfinite(ends - starts), (ends - starts) / 4, 0.0)
    before = np.maximum(starts + quarter - frame_s[:, None], 0.0)
    after = np.maximum(frame_s[:, None] - (ends - quarter), 0.0)
    pull = np.array([DOMINANCE[name] for name in visemes]) * np.exp(-before / ANTICIPATION_S - after / CARRY_OVER_S)
    targets = np.array([[VISEMES[name][channel] * manner.gain.get(name, 1.0) for channel in MOUTH] for name in visemes])
    mean = pull @ targets / pull.sum(axis=1, keepdims=True)
    track = dict(zip(MOUTH, (mean * manner.amplitude).T, strict=True))
    sigma = float(strength.get("lip_noise", 0.0))
    for channel in ("open", "wide"):
        track[channel] = track[channel] + sigma * smooth_noise(rng, n_frames, 2.0)
    for viseme, channel in _CLOSURES:
        track[channel] = _closures(viseme, visemes[1:-1], starts[1:-1], ends[1:-1], frame_s)
    low = {"wide": -1.0}
    return {channel: np.clip(track[channel], low.get(channel, 0.0), 1.0).astype(np.float32) for channel in MOUTH}


def _closures(viseme: str, visemes: Sequence[str], starts: np.ndarray, ends: np.ndarray, frame_s: np.ndarray) -> np.ndarray:
    """0..1 per frame: 1 while a phoneme of this viseme lasts, and in the frame nearest its middle however short it is."""
    level = np.zeros(len(frame_s))
    for name, start, end in zip(visemes, starts, ends, strict=True):
        if name != viseme or not len(frame_s):
            continue
        ramp = 1 - np.maximum((start - frame_s) / CLOSING_S, (frame_s - end) / OPENING_S)
        ramp[np.argmin(np.abs(frame_s - (start + end) / 2))] = 1.0
        level = np.maximum(level, np.clip(ramp, 0.0, 1.0))
    return level


def smooth_noise(rng: np.random.Generator, n_frames: int, smooth_frames: float) -> np.ndarray:
    """Gaussian noise of unit variance, float64 (n_frames,), smoothed over about `smooth_frames` frames (a Gaussian window's
    sigma)."""
    reach = int(np.ceil(3 * smooth_frames))
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / smooth_frames) ** 2)
    return np.convolve(rng.standard_normal(n_frames + 2 * reach), window / np.sqrt((window**2).sum()), mode="valid")[:n_frames]


def head_track(n_frames: int, rng: np.random.Generator, strength: float = 1.0) -> dict[str, np.ndarray]:
    """The fields of FaceMotion that speech does not drive, each float32 (n_frames,): pose, place, size, blinks, brows and light.

    strength 0 holds the head still in the middle (blinks stay); 1 turns it by about 8 degrees and moves it by 3 % of the frame.
    """
    def wander(held: float, moving: float, smooth_s: float, limit: float) -> np.ndarray:
        track = held * rng.standard_normal() + moving * smooth_noise(rng, n_frames, smooth_s * FPS)
        return np.clip(strength * track, -limit, limit)

    track = {
        "yaw": wander(6, 5, 0.4, 25), "pitch": wander(3, 3, 0.35, 15), "roll": wander(2.5, 2.5, 0.5, 15),
        "dx": wander(0.02, 0.012, 0.5, 0.08), "dy": wander(0.02, 0.010, 0.5, 0.08),
        "scale": 1 + wander(0.05, 0.02, 0.8, 0.15), "brow": wander(0.2, 0.3, 0.3, 1.0), "light": 1 + wander(0.10, 0.05, 1.2, 0.3),
        "blink": blink_track(n_frames, rng),
    }
    return {name: values.astype(np.float32) for name, values in track.items()}


def blink_track(n_frames: int, rng: np.random.Generator, per_minute: float = 20.0) -> np.ndarray:
    """0..1 per frame, float64: blinks as a Poisson process (about 20 a minute while speaking), each 0.2 to 0.35 s, closing
    faster than it opens, at least half a second apart."""
    frame_s = (np.arange(n_frames) + 0.5) / FPS
    level = np.zeros(n_frames)
    at_s = rng.exponential(60 / per_minute)
    while at_s < n_frames / FPS:
        duration_s = rng.uniform(0.2, 0.35)
        closing_s, opening_s = 0.35 * duration_s, 0.65 * duration_s
        level = np.maximum(level, 1.15 - np.where(frame_s < at_s, (at_s - frame_s) / closing_s, (frame_s - at_s) / opening_s))
        at_s += duration_s + 0.5 + rng.exponential(60 / per_minute)
    return np.clip(level, 0.0, 1.0)


def face_motion(phonemes: Sequence[Phoneme], n_frames: int, rng: np.random.Generator, strength: Mapping,
                manner: Manner) -> FaceMotion:
    """A whole FaceMotion: the mouth of `mouth_track`, and `head_track` at strength["head_motion"]."""
    mouth = mouth_track(phonemes, n_frames, rng, strength, manner=manner)
    return FaceMotion(**mouth, **head_track(n_frames, rng, float(strength.get("head_motion", 0.0))))
