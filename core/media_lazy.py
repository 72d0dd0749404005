"""Frames that become RGB where somebody looks: turning all of a 720p frame into RGB takes half as long again as decoding it."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.media_probe import Source, converting, rotation_of

SUBSAMPLING = {"yuv420p": (2, 2), "yuv422p": (2, 1), "yuv444p": (1, 1)}
"""Formats of 8 bits in three planes: pixels for each sample of a colour, across and down."""
BLOCK = 32  # parts begin and end on multiples of it, as the converter works on whole blocks
MOST_SHARE = 0.5  # of a frame: a part that is larger is cut out of the whole
LEAST_PIXELS = 1 << 18  # of a frame that is had in parts: below, the whole costs no more than a part's preparation


class LazyFrame:
    """One frame, looked at like an array uint8 (H, W, 3) in RGB: `frame[top:bottom, left:right]` is turned into RGB alone and has
    the bytes that the same part of the whole frame has; np.asarray(frame) is the whole. Only such slices are taken."""

    dtype, ndim = np.dtype(np.uint8), 3

    def __init__(self, frame: Any, scaler: Any, source: Source):
        """frame: PyAV's. scaler: a VideoReformatter, kept from frame to frame. source: whom errors name."""
        self._frame, self._scaler, self._source = frame, scaler, source
        self._turns = rotation_of(frame) // 90
        self._whole: np.ndarray | None = None
        height, width = (frame.width, frame.height) if self._turns % 2 else (frame.height, frame.width)
        self.shape = height, width, 3
        # Whether a part is had for less than the whole. Of odd sizes the converter goes another way for the whole than for parts.
        self.has_parts = (not self._turns and frame.format.name in SUBSAMPLING and height % 2 == width % 2 == 0
                          and height * width >= LEAST_PIXELS)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._whole is None:
            # PyAV gives views with padded rows.
            self._whole = np.ascontiguousarray(np.rot90(self._rgb(self._frame), -self._turns))
        return self._whole.astype(dtype) if dtype not in (None, self.dtype) else self._whole.copy() if copy else self._whole

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        (top, bottom, down), (left, right, across) = (part.indices(n) for part, n in zip(where, self.shape[:2], strict=True))
        if down != 1 or across != 1:
            raise IndexError("a lazy frame gives whole stretches of rows and columns only")
        y0, x0 = top // BLOCK * BLOCK, left // BLOCK * BLOCK
        y1, x1 = (min(n, -(-end // BLOCK) * BLOCK) for n, end in ((self.shape[0], bottom), (self.shape[1], right)))
        if self._whole is not None or not self.has_parts or bottom <= top or right <= left or (
                (y1 - y0) * (x1 - x0) > MOST_SHARE * self.shape[0] * self.shape[1]):
            return np.asarray(self)[top:bottom, left:right]
        return self._rgb(self._part(x0, y0, x1, y1))[top - y0:bottom - y0, left - x0:right - x0]

    def _part(self, x0: int, y0: int, x1: int, y1: int) -> Any:
        from av import VideoFrame

        frame, colours = self._frame, SUBSAMPLING[self._frame.format.name]
        part = VideoFrame(x1 - x0, y1 - y0, frame.format.name)
        for k, (whole, plane) in enumerate(zip(frame.planes, part.planes, strict=True)):
            across, down = colours if k else (1, 1)
            of = np.frombuffer(whole, np.uint8).reshape(whole.height, whole.line_size)
            to = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            left, top = x0 // across, y0 // down
            to[:, :plane.width] = of[top:top + plane.height, left:left + plane.width]
        part.colorspace, part.color_range = frame.colorspace, frame.color_range
        return part

    def _rgb(self, frame: Any) -> np.ndarray:
        with converting(self._source):
            return self._scaler.reformat(frame, format="rgb24", threads=1).to_ndarray()
