"""Which windows a training step looks at: a pure function of (seed, step), so that a killed run draws the same ones again.

Nothing here reads a file: frames and features come through a `Footage`, which decodes only the frames it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.timing import SYNCNET_FRAMES, WINDOWS
from models.systems.base import Spec

SYNC_SPAN = 31  # frames of one clip that a step of the sync expert looks at
FEATURE_COLUMNS = {"mfcc_syncnet": 13, "mfcc_speech2vid": 12, "mel": 80}  # coefficients of each stored feature
STILL_GAP = 5  # a still is at least this many frames away from what is to be generated, where the track is long enough


@dataclass(frozen=True, slots=True)
class Footage:
    """One track that may be trained on. speaker is the statistical cluster where the speaker is unknown."""

    id: str
    language: str
    speaker: str
    n_frames: int


class Reader(Protocol):
    """Random access to the pictures and the sound of tracks."""

    def frames(self, track_id: str, indices: np.ndarray) -> np.ndarray:
        """uint8 (n, H, W, 3) of these frames."""

    def feature(self, track_id: str, name: str) -> np.ndarray:
        """float32 (rows, coefficients)."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of a batch: which track, and which of its frames (first frames of windows, or frames to generate)."""

    track: Footage
    starts: np.ndarray
    stills: np.ndarray


def step_rng(seed: int, step: int, part: int = 0) -> np.random.Generator:
    """The generator of one part of one training step; independent of every other step and part."""
    return np.random.default_rng([seed, step, part])


def balanced(tracks: Sequence[Footage], n: int, rng: np.random.Generator) -> list[Footage]:
    """n tracks, languages as even as n allows, then speakers even within a language; a track twice only when there is no other.

    Raises ValueError without tracks.
    """
    if not tracks:
        raise ValueError("no track to draw from")
    by_language: dict[str, dict[str, list[Footage]]] = {}
    for track in sorted(tracks, key=lambda t: t.id):
        by_language.setdefault(track.language, {}).setdefault(track.speaker, []).append(track)
    languages = sorted(by_language)
    order: list[str] = []
    while len(order) < n:
        order += [languages[i] for i in rng.permutation(len(languages))]
    chosen: list[Footage] = []
    used: set[str] = set()
    for language in order[:n]:
        speakers = by_language[language]
        fresh = {s: [t for t in some if t.id not in used] for s, some in speakers.items()}
        pool = {s: some for s, some in fresh.items() if some} or speakers
        names = sorted(pool)
        some = pool[names[rng.integers(len(names))]]
        chosen.append(some[rng.integers(len(some))])
        used.add(chosen[-1].id)
    return chosen


def sync_draws(tracks: Sequence[Footage], clips: int, windows: int, rng: np.random.Generator) -> list[Draw]:
    """`clips` tracks with `windows` different first frames each, all within SYNC_SPAN frames. Tracks need min_sync_frames."""
    draws = []
    for track in balanced(tracks, clips, rng):
        # The last window would need an audio row that the clip does not have (4 F - 1 rows), hence - 1.
        last = track.n_frames - SYNCNET_FRAMES - 1
        width = min(SYNC_SPAN - SYNCNET_FRAMES, last) + 1
        base = int(rng.integers(last - width + 2))
        starts = base + np.sort(rng.choice(width, windows, replace=False))
        draws.append(Draw(track, starts.astype(np.int64), np.empty(0, np.int64)))
    return draws


def min_sync_frames(windows: int) -> int:
    """Fewest frames of a track that has `windows` different sync windows."""
    return windows + SYNCNET_FRAMES


def sync_batch(draws: Sequence[Draw], reader: Reader, feature: str = "mfcc_syncnet") -> dict[str, np.ndarray]:
    """frames uint8 (C, 31, H, W, 3), starts int64 (C, W) into them, audio float32 (C, W, 20, 13), clip and start int64 (C, W)."""
    frames, offsets, audio = [], [], []
    for draw in draws:
        first = int(draw.starts[0])
        wanted = first + np.arange(SYNC_SPAN)
        # Frames past the end repeat the last one: they are there to make the block even, no window reaches them.
        frames.append(reader.frames(draw.track.id, np.minimum(wanted, draw.track.n_frames - 1)))
        offsets.append(draw.starts - first)
        audio.append(cut_windows(reader.feature(draw.track.id, feature), "syncnet", draw.starts))
    clip = np.repeat(np.arange(len(draws))[:, None], len(offsets[0]), 1)
    return {"frames": np.stack(frames), "starts": np.stack(offsets), "audio": np.stack(audio), "clip": clip,
            "start": np.stack([d.starts for d in draws])}


def cut_windows(feature: np.ndarray, window: str, frames: np.ndarray) -> np.ndarray:
    """float32 (n, length, coefficients): the windows of these video frames; rows that stick out repeat the first or last row."""
    kind = WINDOWS[window]
    starts = np.array([kind.start(int(f)) for f in frames], np.int64)
    return np.ascontiguousarray(feature[np.clip(starts[:, None] + np.arange(kind.length), 0, len(feature) - 1)], np.float32)


def spread_stills(n_frames: int, n_stills: int) -> np.ndarray:
    """Frames to take a clip's stills from at test: the middles of n_stills equal parts. The same stills serve every frame."""
    return ((np.arange(n_stills) + 0.5) * n_frames / n_stills).astype(np.int64)


def system_draws(tracks: Sequence[Footage], batch: int, spec: Spec, rng: np.random.Generator) -> list[Draw]:
    """`batch` stretches of spec.span frames, and the stills that show each the face, drawn from the same track."""
    draws = []
    for track in balanced(tracks, batch, rng):
        first = 1 if spec.image == "first" else 0
        start = int(rng.integers(first, track.n_frames - spec.span + 1))
        starts = np.arange(start, start + spec.span)
        every = np.arange(track.n_frames)
        if spec.image == "stills":
            away = every[(every < start - STILL_GAP) | (every >= start + spec.span + STILL_GAP)]
            pool = away if len(away) else every
            stills = rng.choice(pool, spec.n_stills, replace=len(pool) < spec.n_stills)
        else:
            stills = np.array([start - 1] if spec.image == "first" else [], np.int64)
        draws.append(Draw(track, starts, stills.astype(np.int64)))
    return draws


def min_system_frames(spec: Spec) -> int:
    """Fewest frames of a track that a system can be trained on."""
    return spec.span + (1 if spec.image == "first" else 0) + (2 * STILL_GAP if spec.image == "stills" else 0)


def system_batch(draws: Sequence[Draw], spec: Spec, reader: Reader) -> dict[str, np.ndarray]:
    """What System.losses gets, as far as `spec` asks for it: target, stills, source, driver, audio (see models.systems.base)."""
    if spec.output == "motion" or (spec.feature is not None and spec.window is None):
        raise NotImplementedError("mesh motion and uncut audio features have no reader for training yet; see docs/systems.md")
    batch = {"target": np.stack([reader.frames(d.track.id, d.starts) for d in draws])}
    if spec.image in ("stills", "first"):
        batch["stills"] = np.stack([reader.frames(d.track.id, d.stills) for d in draws])
    if spec.image == "source":
        batch["source"] = batch["target"]
    if "video" in spec.drive:
        batch["driver"] = batch["target"]
    if spec.feature is not None:
        batch["audio"] = np.stack([cut_windows(reader.feature(d.track.id, spec.feature), spec.window, d.starts) for d in draws])
    return batch
