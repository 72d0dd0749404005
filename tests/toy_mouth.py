"""A drawn face whose mouth opens as loud as the sound is: small, exact data that a network must be able to learn."""

from __future__ import annotations

import numpy as np

from models.windows import Footage


class ToyReader:
    """models.windows.Reader over drawn tracks. `late` frames: how much later the mouth moves than the sound says."""

    def __init__(self, n_tracks: int = 6, n_frames: int = 100, size: tuple[int, int] = (48, 64), seed: int = 0, late: int = 0):
        rng = np.random.default_rng(seed)
        self.size, self.n_frames = size, n_frames
        self.tracks = [Footage(f"t{i}", ("en", "sw")[i % 2], f"s{i // 2}", n_frames) for i in range(n_tracks)]
        self.seen: list[tuple[str, tuple[int, ...]]] = []
        self._pattern = {n: np.random.default_rng(99).normal(size=n) for n in (12, 13)}
        self._sound, self._skin, self._noise = {}, {}, {}
        for track in self.tracks:
            rough = rng.normal(size=4 * n_frames + 40)
            smooth = np.convolve(rough, np.hanning(25), "same")[20:20 + 4 * n_frames - 1]
            self._sound[track.id] = np.clip(0.5 + smooth / (4 * smooth.std()), 0, 1)
            self._skin[track.id] = rng.integers(120, 220, 3)
            self._noise[track.id] = rng.normal(size=(4 * n_frames - 1, 13)) * 0.3
        self._late = late

    def opening(self, track_id: str) -> np.ndarray:
        """float (T,): 0 closed, 1 wide open, in each frame."""
        return self._sound[track_id][np.clip(4 * (np.arange(self.n_frames) - self._late) + 2, 0, 4 * self.n_frames - 2)]

    def frames(self, track_id: str, indices: np.ndarray) -> np.ndarray:
        self.seen.append((track_id, tuple(int(i) for i in indices)))
        (h, w), opening = self.size, self.opening(track_id)
        y, x = np.mgrid[:h, :w]
        cy, cx = (0.5 * h, 0.5 * w) if h < 100 else (77, 57)
        out = np.empty((len(indices), h, w, 3), np.uint8)
        for k, i in enumerate(indices):
            tall = 1 + opening[i] * 0.15 * h
            inside = ((y - cy) / tall) ** 2 + ((x - cx) / (0.2 * w)) ** 2 < 1
            out[k] = np.where(inside[..., None], np.array([40, 0, 10]), self._skin[track_id])
        return out

    def feature(self, track_id: str, name: str) -> np.ndarray:
        n = {"mfcc_syncnet": 13, "mfcc_speech2vid": 12}[name]
        return (self._sound[track_id][:, None] * 20 * self._pattern[n] + self._noise[track_id][:, :n]).astype(np.float32)


def mouth_height(frames: np.ndarray) -> np.ndarray:
    """Dark pixels around the mouth per frame, relative to the face: float (T,)."""
    grey = frames.astype(np.float32).mean(-1)
    return (grey < grey.max(axis=(1, 2), keepdims=True) / 2).sum((1, 2)).astype(float)
