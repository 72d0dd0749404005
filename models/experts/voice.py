"""Voice activity: samples in, the stretches where somebody speaks out, behind one interface for every kind of detector.

`energy` needs no model: level above a tracked noise floor, and voicing. It takes any voiced sound above the noise for speech,
music included. `pyannote` runs a pyannote.audio segmentation model that the user names.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

RATE = 16000
HOP = 160
"""Samples between two decisions (10 ms)."""
FRAME = 512
"""Samples per decision (32 ms): two periods of a voice at 62 Hz."""
BAND_HZ = (80.0, 4000.0)
PITCH_HZ = (70.0, 400.0)
ENTER_DB, STAY_DB = 9.0, 5.0
"""Level above the noise floor at which speech begins, and below which it ends."""
FLOOR_SPAN_S = 6.0
FLOOR_SHARE = 0.1
"""The noise floor at a time is this quantile of the band's level within the span around it."""
QUIET_DB = -70.0
"""Band level below which nothing is speech, in dB of a full-scale sine."""
MIN_PERIODICITY = 0.5
MIN_VOICED_S = 0.05
MIN_SPEECH_S, MIN_SILENCE_S, PAD_S = 0.15, 0.2, 0.05


class Voice:
    """Finds speech. `name` belongs to a protocol."""

    name: str

    def regions(self, samples: np.ndarray) -> list[tuple[float, float]]:
        """Speech as (start_s, end_s), sorted and apart, within the clip. samples: int16 mono, 16 kHz; empty ones have none."""
        raise NotImplementedError


class EnergyVoice(Voice):
    """Speech by level and voicing: hysteresis around a noise floor that follows the recording, and enough voicing in each region.

    The voicing measure is the normalised autocorrelation at the best pitch lag (Boersma, 1993: divided by the window's own).
    """

    name = "energy"

    def regions(self, samples: np.ndarray) -> list[tuple[float, float]]:
        check_samples(samples)
        if len(samples) < FRAME:
            return []
        level_db, periodicity = levels(samples)
        above_db = level_db - _floor_db(level_db)
        loud = level_db > QUIET_DB
        stay = loud & (above_db > STAY_DB)
        voiced = loud & (above_db > ENTER_DB) & (periodicity > MIN_PERIODICITY)
        kept = [(a, b) for a, b in _runs(stay) if voiced[a:b].sum() * HOP >= MIN_VOICED_S * RATE]
        # A decision stands for the hop in the middle of its frame.
        at_s = (FRAME - HOP) / 2 / RATE
        spans = [(a * HOP / RATE + at_s, b * HOP / RATE + at_s) for a, b in kept]
        return _tidy(spans, len(samples) / RATE)


class PyannoteVoice(Voice):
    """Speech by a pyannote.audio segmentation model, through its VoiceActivityDetection pipeline, in memory."""

    name = "pyannote"

    def __init__(self, path: Path | str):
        local = checkpoint_file(path, "segmentation")
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # the library reports its use over the network otherwise
        with warnings.catch_warnings():  # it warns at length that it cannot decode files, which it never has to here
            warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
            from pyannote.audio import Model
            from pyannote.audio.pipelines import VoiceActivityDetection
        _refuse_code(local)
        model = Model.from_pretrained(local).eval()
        pipeline: Any = VoiceActivityDetection(segmentation=model)
        settings = {"min_duration_on": MIN_SPEECH_S, "min_duration_off": MIN_SILENCE_S}
        if not model.specifications.powerset:
            settings |= {"onset": 0.5, "offset": 0.5}  # a powerset model has its decision built in
        self._pipeline = pipeline.instantiate(settings)

    def regions(self, samples: np.ndarray) -> list[tuple[float, float]]:
        import torch

        check_samples(samples)
        if len(samples) < FRAME:
            return []
        wave = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
        speech = self._pipeline({"waveform": wave, "sample_rate": RATE, "uri": "clip"}).get_timeline().support()
        return _clip([(s.start, s.end) for s in speech], len(samples) / RATE)


def open_voice(kind: Literal["energy", "pyannote"] = "energy", path: Path | str | None = None) -> Voice:
    """A detector, with its model loaded. `path`, for pyannote, is a checkpoint file, a folder with pytorch_model.bin, or a hub
    name like owner/model (fetched with the token in HF_TOKEN). ValueError for another kind, or a path missing or not needed."""
    if kind == "energy" and path is None:
        return EnergyVoice()
    if kind == "pyannote" and path is not None:
        return PyannoteVoice(path)
    if kind not in ("energy", "pyannote"):
        raise ValueError(f"no voice detector is called {kind!r}; expected 'energy' or 'pyannote'")
    raise ValueError("voice detector 'pyannote' needs the path or hub name of a segmentation model" if kind == "pyannote" else
                     f"voice detector 'energy' has no model, yet {path} was given; leave the path out or choose 'pyannote'")


def speech_regions(samples: np.ndarray, kind: str = "energy", model: Voice | None = None) -> list[tuple[float, float]]:
    """Speech as (start_s, end_s) in int16 samples at 16 kHz, by an opened detector, or by one opened for this call."""
    return (model or open_voice(kind)).regions(samples)  # type: ignore[arg-type]


def check_samples(samples: np.ndarray) -> None:
    """Raises ValueError unless samples are one channel of int16."""
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"expected int16 mono samples at 16 kHz, got {samples.dtype} of shape {samples.shape}")


def levels(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per hop, float64 (n,): the level of 80..4000 Hz in dB of a full-scale sine, and the periodicity 0..1 at a voice's pitch."""
    frames = np.lib.stride_tricks.sliding_window_view(_without_rumble(samples), FRAME)[::HOP]
    window = np.hanning(FRAME)
    size = 2 * FRAME
    hz = np.fft.rfftfreq(size, 1 / RATE)
    band = (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])
    lags = slice(int(RATE / PITCH_HZ[1]), int(RATE / PITCH_HZ[0]) + 1)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[lags]
    full_scale = 32768.0 ** 2 / 2 * (window**2).sum() * size / 2
    level_db, periodicity = np.empty(len(frames)), np.empty(len(frames))
    for start in range(0, len(frames), 1000):  # ten seconds at a time: memory does not grow with the recording
        block = frames[start:start + 1000].astype(np.float64)
        power = np.abs(np.fft.rfft((block - block.mean(axis=1, keepdims=True)) * window, size)) ** 2 * band
        total = power.sum(axis=1)
        level_db[start:start + 1000] = 10 * np.log10(total / full_scale + 1e-12)
        correlation = np.fft.irfft(power)
        scale = np.maximum(correlation[:, :1], 1e-9) / (window**2).sum()
        periodicity[start:start + 1000] = np.clip((correlation[:, lags] / (scale * own)).max(axis=1), 0, 1)
    return level_db, periodicity


def _without_rumble(samples: np.ndarray) -> np.ndarray:
    """float32: the samples above BAND_HZ[0]. A 32 ms frame cannot tell 20 Hz from 80 Hz, a filter over the recording can."""
    from scipy.signal import butter, sosfilt

    sections = butter(4, BAND_HZ[0], "highpass", fs=RATE, output="sos")
    out, state = np.empty(len(samples), np.float32), np.zeros((len(sections), 2))
    for start in range(0, len(samples), 60 * RATE):
        out[start:start + 60 * RATE], state = sosfilt(sections, samples[start:start + 60 * RATE], zi=state)
    return out


def _floor_db(level_db: np.ndarray) -> np.ndarray:
    from scipy.ndimage import percentile_filter

    span = min(int(FLOOR_SPAN_S * RATE / HOP), len(level_db)) | 1
    # Digital silence is no noise floor: it would put every breath far above it.
    return percentile_filter(np.maximum(level_db, QUIET_DB - ENTER_DB), FLOOR_SHARE * 100, size=span, mode="nearest")


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _tidy(spans: list[tuple[float, float]], end_s: float) -> list[tuple[float, float]]:
    """Spans with short gaps closed, short ones dropped, and a little room left around each."""
    merged: list[tuple[float, float]] = []
    for a, b in spans:
        if merged and a - merged[-1][1] < MIN_SILENCE_S:
            merged[-1] = merged[-1][0], b
        else:
            merged.append((a, b))
    return _clip([(a - PAD_S, b + PAD_S) for a, b in merged if b - a >= MIN_SPEECH_S], end_s)


def _clip(spans: list[tuple[float, float]], end_s: float) -> list[tuple[float, float]]:
    inside = [(round(max(0.0, a), 3), round(min(end_s, b), 3)) for a, b in spans]
    return [(a, b) for a, b in inside if b > a]


def checkpoint_file(path: Path | str, kind: str) -> Path:
    """The pyannote checkpoint that a file, a folder with pytorch_model.bin or a hub name means; ValueError where none is there."""
    from core import weights

    local = Path(path).expanduser()
    if local.is_dir():
        local = local / "pytorch_model.bin"
    if local.is_file():
        return local
    if not Path(path).is_absolute() and len(Path(path).parts) == 2 and not local.parent.is_dir():
        return weights.from_hub(str(path), "pytorch_model.bin").path
    raise ValueError(f"{path}: no such pyannote {kind} checkpoint; name a file, a folder with pytorch_model.bin, "
                     "or a hub name")


def _refuse_code(path: Path) -> None:
    """Raises ValueError for a checkpoint of more than tensors and pyannote's own description: the library runs what it holds."""
    import pickle

    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications

    try:
        with torch.serialization.safe_globals([Specifications, Problem, Resolution, torch.torch_version.TorchVersion]):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a pyannote checkpoint of plain tensors, so it is not opened "
                         f"({(str(error).splitlines() or [type(error).__name__])[0]})") from error
    if not isinstance(held, dict) or "pyannote.audio" not in held:
        raise ValueError(f"{path}: a torch file, but not a pyannote.audio checkpoint; name a model's file")
