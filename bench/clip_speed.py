"""SSIM of a clip, mel and MFCC of its sound: CPU time against scikit-image, librosa and python_speech_features, same numbers.

    python -m bench.clip_speed [--frames 300] [--seconds 60] [--rounds 5]

Set OMP_NUM_THREADS=1: CPU time adds up over threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIDE = 256
TARGETS = {"ssim": 10.0, "mel": 1.0, "mfcc": 1.0}  # how many times as fast as the reference
CLOSE = {"ssim": 1e-6, "mel": 1e-3, "mfcc": 1e-5}  # the largest difference of any number that still counts as the same


@dataclass(frozen=True)
class Result:
    """Best CPU seconds of both arms over interleaved rounds, and the largest difference between their numbers."""

    what: str
    reference: str
    reference_s: float
    ours_s: float
    difference: float

    @property
    def ratio(self) -> float:
        return self.reference_s / self.ours_s

    @property
    def passes(self) -> bool:
        return self.ratio >= TARGETS[self.what] and self.difference <= CLOSE[self.what]


def clip(n_frames: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A moving picture and the same with noise: uint8 (n, side, side, 3) each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    real = np.stack([120 + 60 * np.sin(x / 17 + t / 5) + 50 * np.cos(y / 11 - t / 9) for t in range(n_frames)])[..., None]
    real = np.clip(real + rng.normal(0, 6, (*real.shape[:3], 3)), 0, 255).astype(np.uint8)
    return real, np.clip(real + rng.normal(0, 10, real.shape), 0, 255).astype(np.uint8)


def sound(seconds: float) -> np.ndarray:
    """Voice-like sound: int16 mono at 16 kHz, a buzz whose pitch and level move, with noise."""
    rng = np.random.default_rng(0)
    t = np.arange(int(16_000 * seconds)) / 16_000
    pitch = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * t)) / 16_000
    buzz = sum(np.sin(k * pitch) / k for k in range(1, 20))
    return (3000 * (1.1 + np.sin(9 * t)) * buzz + 200 * rng.standard_normal(t.size)).clip(-32768, 32767).astype(np.int16)


def ssim(n_frames: int, rounds: int) -> Result:
    """A clip of 256 px frame by frame with scikit-image, and as a clip; one thread each."""
    import cv2
    from skimage.metrics import structural_similarity

    from metrics.image import ssim_clip

    cv2.setNumThreads(1)
    real, made = clip(n_frames)
    same = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}
    return compare("ssim", f"scikit-image, {n_frames} frames", rounds,
                   lambda: np.array([structural_similarity(a, b, **same) for a, b in zip(real, made)]),
                   lambda: ssim_clip(real, made).per_frame)


def mel(seconds: float, rounds: int) -> Result:
    """Wav2Lip's mel spectrogram by librosa (its filter bank made beforehand), and ours."""
    import librosa
    from scipy.signal import lfilter

    from core.audio import mel_wav2lip

    wav = sound(seconds)
    bank = librosa.filters.mel(sr=16_000, n_fft=800, n_mels=80, fmin=55, fmax=7600)

    def reference() -> np.ndarray:
        emphasised = lfilter([1, -0.97], [1], wav / np.float32(32768)).astype(np.float32)
        spectrum = np.abs(librosa.stft(emphasised, n_fft=800, hop_length=200, win_length=800, pad_mode="reflect"))
        db = 20 * np.log10(np.maximum(1e-5, bank @ spectrum)) - 20
        return np.clip(8 * (db + 100) / 100 - 4, -4, 4)

    return compare("mel", f"librosa, {seconds:g} s", rounds, reference, lambda: mel_wav2lip(wav))


def mfcc(seconds: float, rounds: int) -> Result:
    """SyncNet's cepstra by python_speech_features, and ours."""
    import python_speech_features

    from core.mfcc import mfcc_syncnet

    wav = sound(seconds)
    return compare("mfcc", f"python_speech_features, {seconds:g} s", rounds, lambda: python_speech_features.mfcc(wav, 16_000),
                   lambda: mfcc_syncnet(wav))


def compare(what: str, reference: str, rounds: int, theirs: Callable[[], np.ndarray], ours: Callable[[], np.ndarray]) -> Result:
    """Both arms in turn, in CPU seconds, so that other programs do not count; the first round also warms what is made once."""
    best = [np.inf, np.inf]
    for _ in range(rounds):
        values = []
        for arm, run in enumerate((theirs, ours)):
            start = time.process_time()
            values.append(run())
            best[arm] = min(best[arm], time.process_time() - start)
    return Result(what, reference, best[0], best[1], float(np.abs(values[0] - values[1]).max()))


def text(results: list[Result]) -> str:
    lines = [f"{'':6} {'reference':34} {'reference s':>12} {'ours s':>9} {'ratio':>7} {'target':>7} {'largest difference':>19}"]
    lines += [f"{r.what:6} {r.reference:34} {r.reference_s:12.4f} {r.ours_s:9.4f} {r.ratio:7.2f} {TARGETS[r.what]:7.1f} "
              f"{r.difference:19.1e}  {'ok' if r.passes else 'MISSED'}" for r in results]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    results = [ssim(given.frames, given.rounds), mel(given.seconds, given.rounds), mfcc(given.seconds, given.rounds)]
    print(text(results))
    return 0 if all(r.passes for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
