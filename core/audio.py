"""Audio front ends on numpy: the mel spectrogram of Wav2Lip, loudness, energy, and windows of features per video frame.

Everything takes 16 kHz mono. The MFCC variants live in core/mfcc.py. Pure functions: arrays in, arrays out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from core.timing import MEL_HOP, SAMPLE_RATE, SAMPLES_PER_FRAME, AudioWindow

MEL_BANDS = 80
_N_FFT = 800
_FMIN_HZ, _FMAX_HZ = 55.0, 7600.0
_PREEMPHASIS = 0.97
_REF_DB, _MIN_DB, _MAX_ABS = 20.0, -100.0, 4.0
_BLOCK = 256  # mel frames handled at once: the working set of a long recording stays within the cache
SILENCE_DB = -120.0  # below one 16-bit step (-90 dB): what digital silence is given instead of -inf


def as_unit_float(wav: np.ndarray) -> np.ndarray:
    """The waveform as float32 in [-1, 1]: int16 (n,) divided by 32768, a float waveform as it is.

    Raises TypeError for another dtype, ValueError for another shape, for NaN or infinity, and for floats outside [-1, 1] by more
    than a decoder's overshoot (they are most likely int16 values: convert them to int16).
    """
    wav = _mono(wav)
    if wav.dtype == np.int16:
        return wav.astype(np.float32) / np.float32(32768)
    if wav.dtype.kind != "f":
        raise TypeError(f"waveform must be int16 or float, not {wav.dtype}")
    peak = float(np.max(np.abs(wav), initial=0.0))
    if not np.isfinite(peak):
        raise ValueError("waveform holds NaN or infinity")
    if peak > 2.0:
        raise ValueError(f"float waveform must lie in [-1, 1], its peak is {peak:g}; give int16 samples as dtype int16")
    return wav.astype(np.float32, copy=False)


def mel_wav2lip(wav: np.ndarray) -> np.ndarray:
    """Wav2Lip's mel spectrogram: float32 (80, 1 + n // 200), values in [-4, 4], for 16 kHz mono int16 or float [-1, 1] (n,).

    Pre-emphasis 0.97; centred frames of 800 samples every 200 (reflected at both ends), periodic Hann window; magnitude;
    80 Slaney mel bands of 55-7600 Hz with area normalisation; 20 log10 floored at -100 dB, minus 20 dB; [-100, 0] dB stretched
    onto [-4, 4] and clipped. Source: Wav2Lip audio.py and hparams.py (librosa 0.7 conventions). Raises ValueError when empty.
    """
    x = as_unit_float(wav)
    if not x.size:
        raise ValueError("waveform is empty")
    emphasised = np.empty_like(x)
    emphasised[0] = x[0]
    np.subtract(x[1:], np.float32(_PREEMPHASIS) * x[:-1], out=emphasised[1:])
    if x.size > 1:
        padded = np.pad(emphasised, _N_FFT // 2, mode="reflect")
    else:
        padded = np.pad(emphasised, _N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::MEL_HOP]
    window, bank = _hann(), _slaney_bank()
    out = np.empty((MEL_BANDS, len(frames)), dtype=np.float32)
    floor = np.float32(10 ** (_MIN_DB / 20))
    for start in range(0, len(frames), _BLOCK):
        part = slice(start, start + _BLOCK)
        spectrum = _rfft(frames[part] * window)
        # the root of the squares is twice as fast as np.abs, and nothing here comes near float32's limits
        mel = bank @ np.sqrt(spectrum.real**2 + spectrum.imag**2).T
        out[:, part] = 20 * np.log10(np.maximum(mel, floor)) - np.float32(_REF_DB)
    out -= np.float32(_MIN_DB)
    out *= np.float32(2 * _MAX_ABS / -_MIN_DB)
    out -= np.float32(_MAX_ABS)
    return np.clip(out, -_MAX_ABS, _MAX_ABS, out=out)


def windows(
    features: np.ndarray, window: AudioWindow, n_frames: int, tail: Literal["clamp", "shift"] = "clamp"
) -> np.ndarray:
    """The window of features of every video frame: (n_frames, window.length, d), same dtype, from features (n_rows, d).

    A mel spectrogram is (80, n): pass its transpose. Rows that stick out repeat the first or last row (or see
    `AudioWindow.rows`).
    """
    return features[window.rows(n_frames, len(features), tail)]


def loudness_db(wav: np.ndarray) -> float:
    """Root-mean-square level of an int16 (n,) or float [-1, 1] waveform in dB relative to full scale; silence and nothing:
    -120."""
    x = as_unit_float(wav)
    return _db(float(np.mean(np.square(x, dtype=np.float64)))) if x.size else SILENCE_DB


def energy_per_frame(wav: np.ndarray, n_frames: int) -> np.ndarray:
    """Root-mean-square amplitude of the 640 samples of each video frame: float32 (n_frames,), in [0, 1].

    Samples missing at the end count as silence, samples beyond n_frames are ignored.
    """
    if n_frames < 0:
        raise ValueError(f"n_frames must be >= 0, not {n_frames}")
    x = as_unit_float(wav)[: n_frames * SAMPLES_PER_FRAME]
    squares = np.zeros(n_frames * SAMPLES_PER_FRAME)
    np.square(x, out=squares[: x.size], dtype=np.float64)
    return np.sqrt(squares.reshape(n_frames, SAMPLES_PER_FRAME).mean(axis=1)).astype(np.float32)


def _mono(wav: np.ndarray) -> np.ndarray:
    wav = np.asarray(wav)
    if wav.ndim != 1:
        raise ValueError(f"waveform must be mono, one dimension, not shape {wav.shape}")
    return wav


def _db(power: float) -> float:
    return max(SILENCE_DB, 10 * float(np.log10(power))) if power > 0 else SILENCE_DB


def _rfft(frames: np.ndarray) -> np.ndarray:
    from scipy import fft  # scipy's transform keeps float32, numpy's widens it

    return fft.rfft(frames, axis=-1)


@lru_cache(maxsize=1)
def _hann() -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_N_FFT) / _N_FFT)).astype(np.float32)


@lru_cache(maxsize=1)
def _slaney_bank() -> np.ndarray:
    """Triangles of unit area on Slaney's mel scale (linear to 1 kHz, logarithmic above): float32 (80, 401)."""
    edges_hz = _slaney_hz(np.linspace(_slaney_mel(_FMIN_HZ), _slaney_mel(_FMAX_HZ), MEL_BANDS + 2))
    bins_hz = np.linspace(0, SAMPLE_RATE / 2, _N_FFT // 2 + 1)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    bank = np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))
    return np.ascontiguousarray(bank, dtype=np.float32)


# Slaney's auditory toolbox: 200/3 Hz a mel up to 1000 Hz (15 mel), then 27 mel for each factor of 6.4.
_KNEE_HZ, _KNEE_MEL, _STEP = 1000.0, 15.0, np.log(6.4) / 27


def _slaney_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < _KNEE_HZ else _KNEE_MEL + np.log(hz / _KNEE_HZ) / _STEP


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < _KNEE_MEL, mel * 200 / 3, _KNEE_HZ * np.exp(_STEP * (mel - _KNEE_MEL)))
