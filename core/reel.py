"""Frames of a stretch of video that can be gone through again without holding them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from core.records import Reject

KEPT_BYTES = 400_000_000  # ten seconds of 640 x 480; a worker has up to three reels at once


class Reel:
    """Frames kept where they are few, decoded anew for each look where they are many. uint8 HxWx3 RGB.

    name: with it a stretch that turns out shorter than `n_frames` is a Reject('decode_error') which names it.
    """

    def __init__(self, decode: Callable[[], Iterator[np.ndarray]], n_frames: int, name: str | None = None):
        self._decode, self._n, self._name = decode, n_frames, name
        self._kept: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._kept is not None:
            return iter(self._kept)
        return self._first()

    def _first(self) -> Iterator[np.ndarray]:
        kept: list[np.ndarray] = []
        n = 0
        for frame in self._decode():
            if n == self._n:
                break
            n += 1
            if frame.nbytes * self._n <= KEPT_BYTES:
                kept.append(frame)
            yield frame
        if n < self._n and self._name is not None:
            raise Reject("decode_error", f"{self._name}: {n} of {self._n} frames could be read; run the stages before again")
        if len(kept) == self._n:
            self._kept = kept
