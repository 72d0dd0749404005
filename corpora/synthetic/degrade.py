"""What a camera and a room do: image noise and blur, reverberation, background noise. Each is off at strength 0."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

SAMPLE_RATE = 16_000
GRAIN_ROOM = 61  # how far, in pixels, the noise field moves from frame to frame


def spoil_frames(frames: Iterable[np.ndarray], rng: np.random.Generator, *, noise: float = 0.0,
                 blur: float = 0.0) -> Iterator[np.ndarray]:
    """The same frames, uint8 (H, W, 3), after a Gaussian blur of sigma `blur` pixels, then Gaussian noise of sigma `noise` levels.

    The noise is one field, larger than a frame, of which every frame shows another part: drawing it afresh costs as much as the face.
    """
    import cv2

    field = None
    for frame in frames:
        if blur > 0:
            frame = cv2.GaussianBlur(frame, (0, 0), blur, borderType=cv2.BORDER_REFLECT_101)
        if noise > 0:
            height, width = frame.shape[:2]
            if field is None:
                grain = rng.standard_normal((height + GRAIN_ROOM, width + GRAIN_ROOM, 3), dtype=np.float32)
                field = np.rint(np.clip(grain * np.float32(noise), -120, 120)).astype(np.int16)
            y, x = rng.integers(0, GRAIN_ROOM + 1, 2)
            frame = np.clip(frame + field[y:y + height, x:x + width], 0, 255).astype(np.uint8)
        yield frame


def reverberate(samples: np.ndarray, rng: np.random.Generator, strength: float, *, rt60_s: float | None = None) -> np.ndarray:
    """float64 samples (N,) in a room: the direct sound, undelayed, plus a tail of white noise that decays by 60 dB in `rt60_s`.

    `strength` is the tail's energy over the direct sound's; rt60_s is drawn from 0.15 to 0.5 s when None. The length stays N.
    """
    samples = np.asarray(samples, np.float64)
    if strength <= 0:
        return samples
    from scipy.signal import fftconvolve

    rt60_s = float(rng.uniform(0.15, 0.5)) if rt60_s is None else rt60_s
    time_s = np.arange(int(rt60_s * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    response[: int(0.002 * SAMPLE_RATE)] = 0.0  # nothing comes back from a wall sooner
    response *= np.sqrt(strength / np.maximum((response**2).sum(), 1e-12))
    response[0] = 1.0
    return fftconvolve(samples, response)[: len(samples)]


def add_noise(samples: np.ndarray, rng: np.random.Generator, snr_db: float | None, *,
              speech: np.ndarray | None = None) -> np.ndarray:
    """float64 samples (N,) plus background noise (falling 3 dB an octave above 100 Hz), `snr_db` below the level of the speech.

    speech: bool (N,), the samples that the level is measured over (all when None). snr_db None leaves the samples as they are.
    """
    samples = np.asarray(samples, np.float64)
    if snr_db is None or not len(samples):
        return samples
    level = np.sqrt(np.mean((samples if speech is None else samples[speech]) ** 2))
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency_hz, 100.0)), len(samples))
    noise /= np.maximum(np.sqrt(np.mean(noise**2)), 1e-12)
    return samples + noise * level * 10 ** (-float(snr_db) / 20)
