"""The cepstra that the systems were built on: three settings of two recipes whose values are not interchangeable.

The psf recipe (SyncNet, Stochastic): rectangular window, POWER spectrum, triangles on rounded FFT bins, 0-8000 Hz, c0 = log
energy. The HTK-style recipe (Speech2Vid, DAVS): Hamming window, MAGNITUDE spectrum, triangles on frequencies, 300-3700 Hz, no c0.
Both: 16 kHz, 25 ms windows every 10 ms, pre-emphasis 0.97, 512-point FFT, orthonormal DCT, lifter 22, no normalisation.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.timing import MFCC_STEP, MFCC_WINDOW, SAMPLE_RATE, WINDOWS, n_mfcc_rows

_N_FFT = 512
_N_BINS = _N_FFT // 2 + 1
_PREEMPHASIS = 0.97
_LIFTER = 22
_N_CEPSTRA = 13
_EPS = np.finfo(float).eps
_HTK_FLOOR = 1.0
_BLOCK = 256


def mfcc_syncnet(wav: np.ndarray) -> np.ndarray:
    """SyncNet's cepstra: float32 (rows, 13), 100 rows a second, 4 F - 1 rows for F frames of exactly 640 samples.

    `wav` is 16 kHz mono int16 (n,), or floats in the int16 range. Column 0 is the log of the window's energy, so the scale
    matters: [-1, 1] floats would shift it by 2 ln 32768 = 20.79 and ruin every sync score, and are refused with ValueError.
    Equals python_speech_features.mfcc(wav, 16000) with all its defaults (26 filters, 0-8000 Hz).
    """
    return _psf_cepstra(_int16_range(wav)).astype(np.float32)


def mfcc_stochastic(wav: np.ndarray) -> np.ndarray:
    """The cepstra of Yadav et al.'s Stochastic Talking Face: float32 (rows, 12), 4 F + 24 rows for F frames of 640 samples.

    The audio (16 kHz mono int16 (n,)) gets 1,965 zeros at both ends, then SyncNet's recipe without c0; the 28 rows of
    video frame f start at row 4 f (core.timing.WINDOWS["stochastic"]). Source: their data_loader.py.
    """
    return _psf_cepstra(np.pad(_int16_range(wav), WINDOWS["stochastic"].pad_samples))[:, 1:].astype(np.float32)


def mfcc_htk(wav: np.ndarray, n_filters: int = 40, low_hz: float = 300.0, high_hz: float = 3700.0) -> np.ndarray:
    """HTK-style cepstra c1..c12: float32 (rows, 12). Speech2Vid takes 40 filters (the default), DAVS 13.

    `wav` is 16 kHz mono int16 (n,) or floats in that range. Steps, each of which differs from psf where marked *:
    pre-emphasis y[t] = x[t] - 0.97 x[t-1]; 400-sample windows every 160, whole windows only *(4 F - 2 rows for F frames of 640
    samples, one fewer than psf); symmetric Hamming window *; MAGNITUDE of the 512-point FFT *; triangular filters of unit height
    whose corners are equally spaced on 1127 ln(1 + f/700) between low_hz and high_hz, evaluated at each bin's exact frequency *;
    natural log; orthonormal DCT; lifter 1 + 11 sin(pi n / 22); c0 dropped *, which makes the rest independent of loudness.
    The filter outputs are floored at 1.0 in int16 units (HTK's own mel floor, switched off in the published mfcc.m): in
    effect only digital silence falls below, and gives zeros where mfcc.m gives -Inf and NaN.
    Source: mfcc.m (HTK style) as called by Speech2Vid's run_demo.m and DAVS's savemfcc.m; both scale [-1, 1] audio by 2^15 first.
    """
    if n_filters < _N_CEPSTRA or not 0 <= low_hz < high_hz <= SAMPLE_RATE / 2:
        raise ValueError(
            f"need n_filters >= {_N_CEPSTRA} and 0 <= low_hz < high_hz <= {SAMPLE_RATE // 2}, "
            f"not {n_filters}, {low_hz:g}, {high_hz:g}"
        )
    x = _emphasise(_int16_range(wav))
    n_rows = n_mfcc_rows(len(x), pad=False)
    bank, window = _htk_bank(n_filters, float(low_hz), float(high_hz)), np.hamming(MFCC_WINDOW)
    out = np.empty((n_rows, _N_CEPSTRA - 1), dtype=np.float32)
    for part, frames in _frames(x, n_rows):
        spectrum = _rfft(frames * window)
        outputs = np.maximum(np.sqrt(spectrum.real**2 + spectrum.imag**2) @ bank, _HTK_FLOOR)
        out[part] = (np.log(outputs) @ _dct(n_filters))[:, 1:]
    return out


def _psf_cepstra(x: np.ndarray) -> np.ndarray:
    """float64 (rows, 13): python_speech_features' mfcc with its defaults."""
    x = _emphasise(x)
    n_rows = n_mfcc_rows(len(x))
    x = np.pad(x, (0, max(0, (n_rows - 1) * MFCC_STEP + MFCC_WINDOW - len(x))))  # the last row is filled up with zeros
    out = np.empty((n_rows, _N_CEPSTRA))
    for part, frames in _frames(x, n_rows):
        spectrum = _rfft(frames)
        power = (spectrum.real**2 + spectrum.imag**2) / _N_FFT
        energy, outputs = power.sum(axis=1), power @ _psf_bank()
        out[part] = np.log(np.where(outputs == 0, _EPS, outputs)) @ _dct(26)
        out[part, 0] = np.log(np.where(energy == 0, _EPS, energy))
    return out


def _frames(x: np.ndarray, n_rows: int):
    """Blocks of windows (slice of rows, float64 (<=256, 400)): bounded memory for recordings of hours."""
    if not n_rows:
        return
    every = np.lib.stride_tricks.sliding_window_view(x, MFCC_WINDOW)[::MFCC_STEP][:n_rows]
    for start in range(0, n_rows, _BLOCK):
        part = slice(start, min(start + _BLOCK, n_rows))
        yield part, every[part]


def _int16_range(wav: np.ndarray) -> np.ndarray:
    """The waveform as float64 in int16 units; refuses what is not clearly in that range."""
    wav = np.asarray(wav)
    if wav.ndim != 1 or not wav.size:
        raise ValueError(f"waveform must be mono, one dimension, and not empty; its shape is {wav.shape}")
    if wav.dtype == np.int16:
        return wav.astype(np.float64)
    if wav.dtype.kind != "f":
        raise TypeError(f"waveform must be int16 (or float in the int16 range), not {wav.dtype}")
    peak = float(np.abs(wav).max())
    if not peak <= 32768:  # also NaN
        raise ValueError(f"float waveform must hold int16-range values, its peak is {peak:g}")
    if 0 < peak <= 1:
        raise ValueError(f"float waveform with a peak of {peak:g} looks like [-1, 1]: give int16, or multiply by 32768 first")
    return wav.astype(np.float64)


def _emphasise(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[1:] -= _PREEMPHASIS * x[:-1]
    return out


def _rfft(frames: np.ndarray) -> np.ndarray:
    from scipy import fft

    return fft.rfft(frames, _N_FFT, axis=-1)


@lru_cache(maxsize=8)
def _dct(n_filters: int) -> np.ndarray:
    """DCT-II of n_filters values, first 13 outputs, times the lifter: float64 (n_filters, 13), to multiply from the right.

    Orthonormal but for column 0, which nobody keeps: psf puts the log energy there, the HTK-style callers drop it. (mfcc.m calls
    this cosine sum, with one scale for every row, a DCT-III.)
    """
    n, m = np.arange(_N_CEPSTRA), np.arange(n_filters)[:, None]
    basis = np.sqrt(2 / n_filters) * np.cos(np.pi * n * (m + 0.5) / n_filters)
    return basis * (1 + _LIFTER / 2 * np.sin(np.pi * n / _LIFTER))


@lru_cache(maxsize=1)
def _psf_bank() -> np.ndarray:
    """26 triangles between FFT bins rounded down from equal steps of 2595 log10(1 + f/700): float64 (257, 26)."""
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), 28)
    corners = np.floor((_N_FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(_N_BINS)[:, None]
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    # half-open [low, high): with integer corners the triangles then equal psf's two loops
    return np.maximum(0, np.where(bins < centre, rising, falling))


@lru_cache(maxsize=8)
def _htk_bank(n_filters: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangles of unit height with corners equally spaced on 1127 ln(1 + f/700): float64 (257, n_filters)."""
    mels = np.linspace(1127 * np.log1p(low_hz / 700), 1127 * np.log1p(high_hz / 700), n_filters + 2)
    corners = 700 * np.expm1(mels / 1127)
    bins_hz = np.linspace(0, SAMPLE_RATE / 2, _N_BINS)[:, None]
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    return np.maximum(0, np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)))
