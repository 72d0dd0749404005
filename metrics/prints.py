"""Fingerprints of a clip's picture and sound that survive re-encoding, rescaling and trimming, and how far two of them are apart.

A sound print is the one of Haitsma & Kalker 2002 ("A highly robust audio fingerprinting system"): the signs of how the
differences of neighbouring bands change in time, 32 a step, which a loss of quality flips few of. A picture print is a strip of
tiny grey pictures. Two pictures are of one footage when they look alike (dHash) and move alike: the same face before the same
wall does not move twice in the same way, so other clips of one speaker are told apart. """

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

RATE = 16000
HOP, SPAN = 400, 4096
"""Samples between two steps of a sound print (25 ms) and under one (256 ms): so much overlap that half a step's shift flips few
bits."""
LOW_HZ, HIGH_HZ, BANDS = 200.0, 4000.0, 33
QUIET = 4.0
"""Root mean square of int16 samples below which a step is silence, and its bits are noise."""
ROWS, COLUMNS = 8, 9
BIN = 5
"""Frames that one tiny picture is the mean of (0.2 s): a copy that starts between two bins still moves alike."""
SCALE = 64
"""Steps per grey level: a mouth that moves in a corner of one cell changes it by less than one."""
STILL = 0.15
"""Grey levels: root mean square of the movement below which a strip says nothing by how it moves."""


def thumb(rgb: np.ndarray) -> np.ndarray:
    """float32 (8, 9): the mean luminance of uint8 (H, W, 3) RGB in a grid of 8 by 9 cells (BT.601 weights)."""
    import cv2

    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return _shares(grey.shape[0], ROWS) @ grey @ _shares(grey.shape[1],
                                                         COLUMNS).T  # means of bytes would be rounded to whole levels


@lru_cache(maxsize=64)
def _shares(n: int, cells: int) -> np.ndarray:
    """float32 (cells, n): how much each of n pixels in a row is of the mean of each cell."""
    edges = np.linspace(0, n, cells + 1)
    overlap = np.minimum(edges[1:, None], np.arange(1, n + 1)) - np.maximum(edges[:-1, None], np.arange(n))
    return (np.maximum(overlap, 0) * cells / n).astype(np.float32)


def picture_print(thumbs: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
    """uint16 (n, 8, 9): tiny grey pictures, each the mean of 5 frames, in 1/64 grey levels. thumbs: (T, 8, 9), see `thumb`.

    What is left at the end over whole bins is left out; under 5 frames the print is empty.
    """
    thumbs = np.asarray(list(thumbs) if not isinstance(thumbs, np.ndarray) else thumbs, np.float32).reshape(-1, ROWS, COLUMNS)
    n = len(thumbs) // BIN
    means = thumbs[: n * BIN].reshape(n, BIN, ROWS, COLUMNS).mean(1)
    return np.rint(means * SCALE).astype(np.uint16)


def sound_print(samples: np.ndarray) -> np.ndarray:
    """uint32 (n,): 32 bits every 25 ms of int16 mono 16 kHz samples (k,). A step of silence is 0, which no sound is (bit 0 is
    set).

    Bit b of step t is the sign of E(t,b) - E(t,b+1) - (E(t-1,b) - E(t-1,b+1)), E being the energy of 33 bands from 200 to 4000 Hz
    of equal width in the logarithm; Haitsma & Kalker have 300 to 2000 Hz for music, and steps of 11.6 ms under 370 ms.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"samples must be int16 of one channel, not {samples.dtype} of shape {samples.shape}")
    if len(samples) < SPAN + HOP:
        return np.zeros(0, np.uint32)
    from scipy import fft

    frames = np.lib.stride_tricks.sliding_window_view(samples, SPAN)[::HOP]
    window = np.hanning(SPAN).astype(np.float32)
    edges = np.rint(np.geomspace(LOW_HZ, HIGH_HZ, BANDS + 1) * SPAN / RATE).astype(int)
    energy = np.empty((len(frames), BANDS), np.float32)
    for at in range(0, len(frames), 256):  # the spectra of an hour would not fit
        spectrum = fft.rfft(frames[at : at + 256] * window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        energy[at : at + 256] = np.add.reduceat(power, edges[:-1], axis=1)
    slope = np.diff(energy, axis=1)
    bits = np.diff(slope, axis=0) < 0
    words = np.packbits(bits, axis=1, bitorder="little").view("<u4").ravel() | np.uint32(1)
    power = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(1, len(frames)) * HOP
    loud = power[starts + SPAN] - power[starts] > QUIET**2 * SPAN
    return np.where(loud, words, 0).astype(np.uint32)


def dhash(strip: np.ndarray) -> np.ndarray:
    """uint64 (n,): the difference hash of every tiny picture, 8 by 8 signs of one cell against the next (Krawetz 2013)."""
    strip = np.asarray(strip, np.int32).reshape(-1, ROWS, COLUMNS)
    bits = (strip[:, :, 1:] > strip[:, :, :-1]).reshape(len(strip), -1)
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").ravel()


def bit_error(a: np.ndarray, b: np.ndarray, shift: int) -> tuple[float, int]:
    """(share of the 31 free bits that differ, steps compared) with step t of `b` against t + shift of `a`; silence is left
    out."""
    a, b = (a[shift:], b) if shift >= 0 else (a, b[-shift:])
    n = min(len(a), len(b))
    a, b = a[:n], b[:n]
    both = (a > 0) & (b > 0)
    if not both.any():
        return 1.0, 0
    return float(np.bitwise_count(a[both] ^ b[both]).mean() / 31), int(both.sum())


def looks(a: np.ndarray, b: np.ndarray, shift: int) -> float:
    """Mean share of dHash bits that differ, with picture t of `b` against t + shift of `a`; 1.0 without overlap."""
    a, b = (a[shift:], b) if shift >= 0 else (a, b[-shift:])
    n = min(len(a), len(b))
    return float(np.bitwise_count(dhash(a[:n]) ^ dhash(b[:n])).mean() / 64) if n else 1.0


def moves(a: np.ndarray, b: np.ndarray, least: int) -> tuple[float, int, int]:
    """(correlation, shift, pictures compared) of the shift at which two strips move most alike; correlation 0.0 where none is
    comparable: fewer than `least` pictures overlap, or either hardly moves.

    Movement is what is left of a strip after its mean picture over the overlap is taken away; the correlation is over all cells.
    """
    a, b = (np.asarray(s, np.float64).reshape(len(s), -1) / SCALE for s in (a, b))
    shifts = np.arange(least - len(b), len(a) - least + 1)
    if not len(shifts):
        return 0.0, 0, 0
    # All shifts at once, from sums over stretches: of products (the diagonals of a b'), of values and of squares.
    starts, stops = np.maximum(shifts, 0), np.minimum(len(a), len(b) + shifts)
    n = stops - starts
    lag = (np.arange(len(a))[:, None] - np.arange(len(b))).ravel() + len(b) - 1
    xy = np.bincount(lag, (a @ b.T).ravel(), len(a) + len(b) - 1)[shifts + len(b) - 1]
    sums, squares = [], []
    for strip, first, last in ((a, starts, stops), (b, starts - shifts, stops - shifts)):
        total = np.concatenate([np.zeros((1, strip.shape[1])), np.cumsum(strip, 0)])
        power = np.concatenate([[0.0], np.cumsum((strip**2).sum(1))])
        sums.append(total[last] - total[first])
        squares.append(power[last] - power[first])
    xy = xy - (sums[0] * sums[1]).sum(1) / n
    xx, yy = (q - (m**2).sum(1) / n for q, m in zip(squares, sums, strict=True))
    alike = np.where(np.minimum(xx, yy) >= STILL**2 * n * a.shape[1], xy / np.sqrt(np.maximum(xx * yy, 1e-12)), 0.0)
    best = int(alike.argmax())
    return (float(alike[best]), int(shifts[best]), int(n[best])) if alike[best] > 0 else (0.0, 0, 0)
