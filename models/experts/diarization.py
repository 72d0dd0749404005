"""Who speaks when, by voice alone: samples and speech in, stretches with a voice's label out, behind one interface.

`clusters` needs no model: cepstra and pitch of windows of speech, grouped by distance. It tells voices of different pitch apart and
little more. Any pyannote.audio pipeline, by the folder or the hub name of its config.yaml, takes its place.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from models.experts.voice import RATE, check_samples

Voices = list[tuple[float, float, str]]
"""(start_s, end_s, voice), sorted by start. A voice is called A, B, ... in the order in which it is first heard."""
WINDOW_S, STEP_S = 1.6, 0.4
LEAST_S = 0.5
"""Shorter stretches of speech take the voice of the nearest longer one."""
DISTANCE = 3.0
"""Average distance above which two groups of windows are two voices; chosen on English by bench.speech."""
LEAST_WINDOWS = 3
"""A group of fewer windows is no voice where there is a larger one: each of its windows joins the nearest of those."""
PITCH_HZ = (70.0, 400.0)
OCTAVE, CEPSTRA = 6.0, 12.0
"""What counts as one unit of distance: 1/OCTAVE octave of pitch, and CEPSTRA of a mean cepstrum."""


class Diarizer:
    """Finds voices. `name` belongs to a track's `diarizer`."""

    name: str

    def voices(self, samples: np.ndarray, speech: list[tuple[float, float]]) -> Voices:
        """Who speaks when. samples: int16 mono, 16 kHz; speech: (start_s, end_s) as a voice detector found it, sorted."""
        raise NotImplementedError


class ClusterDiarizer(Diarizer):
    """Windows of speech by their median pitch and mean cepstra, joined by average linkage while closer than `distance`."""

    name = "clusters"

    def __init__(self, distance: float = DISTANCE):
        self.distance = distance

    def voices(self, samples: np.ndarray, speech: list[tuple[float, float]]) -> Voices:
        check_samples(samples)
        windows = [w for a, b in speech for w in _windows(a, min(b, len(samples) / RATE))]
        if not windows:
            return [(a, b, "A") for a, b in speech]
        about = np.stack([describe(samples[round(a * RATE):round(b * RATE)]) for a, b in windows])
        labels = _without_changes(_grouped(about, self.distance), windows)
        found = []
        for a, b in speech:
            inside = [(w, labels[k]) for k, w in enumerate(windows) if w[0] >= a - 1e-9 and w[1] <= b + 1e-9]
            if not inside:  # too short to be described: as the nearest that is not
                k = min(range(len(windows)), key=lambda k: (abs(sum(windows[k]) - a - b), k))
                found.append((a, b, labels[k]))
                continue
            middles = [(w[0] + w[1]) / 2 for w, _ in inside]
            cuts = [a, *((x + y) / 2 for x, y in zip(middles, middles[1:], strict=False)), b]
            for x, y, (_, label) in zip(cuts, cuts[1:], inside, strict=False):
                if found and found[-1][2] == label and abs(found[-1][1] - x) < 1e-9:
                    found[-1] = (found[-1][0], y, label)
                else:
                    found.append((x, y, label))
        return named(found)


class PyannoteDiarizer(Diarizer):
    """A pyannote.audio pipeline, in memory. It finds speech by itself, and voices may overlap."""

    name = "pyannote"

    def __init__(self, pipeline: Any, name: str = "pyannote"):
        self._pipeline, self.name = pipeline, name

    def voices(self, samples: np.ndarray, speech: list[tuple[float, float]]) -> Voices:
        import torch

        check_samples(samples)
        if not len(samples):
            return []
        wave = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
        said = self._pipeline({"waveform": wave, "sample_rate": RATE, "uri": "clip"})
        said = getattr(said, "speaker_diarization", said)  # pipelines of before 4.0 give the annotation itself
        end_s = len(samples) / RATE
        spans = [(max(0.0, s.start), min(end_s, s.end), str(label)) for s, _, label in said.itertracks(yield_label=True)]
        return named(sorted((round(a, 3), round(b, 3), label) for a, b, label in spans if b > a))


def open_diarizer(named_: str, folder: Path | None = None) -> Diarizer:
    """`clusters`, or the pyannote pipeline of `folder` (what `pipeline_folder` gave for the name)."""
    if named_ == "clusters":
        return ClusterDiarizer()
    return PyannoteDiarizer(_open_pipeline(folder or pipeline_folder(named_)), f"pyannote:{Path(named_).name}")


def pipeline_folder(named_: str) -> Path:
    """The folder that holds a pipeline's config.yaml: a path, its config.yaml, or a hub name like owner/model, which is fetched.

    WeightsMissing says what to do where a model is gated; ValueError for a path that is none.
    """
    from core import weights

    path = Path(named_).expanduser()
    if path.name == "config.yaml" and path.is_file():
        return weights.use_folder(path.parent)
    if (path / "config.yaml").is_file():
        return weights.use_folder(path)
    if not path.is_absolute() and len(path.parts) == 2 and not path.exists() and not path.parent.is_dir():
        return weights.hub_folder(named_)
    raise ValueError(f"{named_}: no pyannote pipeline; name `clusters`, a folder with its config.yaml, or a hub name like "
                     "pyannote/speaker-diarization-community-1")


def _open_pipeline(folder: Path) -> Any:
    import yaml

    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # the library reports its use over the network otherwise
    kind = ((yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) or {}).get("pipeline") or {}).get("name", "")
    if not str(kind).startswith("pyannote.audio.pipelines."):  # whatever stands here is imported and called
        raise ValueError(f"{folder}/config.yaml: pipeline.name is {kind!r}; only pipelines of pyannote.audio itself are opened")
    from models.experts.voice import _refuse_code

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
        from pyannote.audio import Pipeline

        for held in sorted(folder.rglob("pytorch_model.bin")):
            _refuse_code(held)
        return Pipeline.from_pretrained(folder, token=os.environ.get("HF_TOKEN") or None)


def named(spans: Voices) -> Voices:
    """The same stretches with the voices called A, B, ... in the order of their first words; after 26, V26 and so on."""
    order = list(dict.fromkeys(label for _, _, label in sorted(spans, key=lambda s: s[0])))
    names = {label: chr(65 + k) if k < 26 else f"V{k}" for k, label in enumerate(order)}
    return [(a, b, names[label]) for a, b, label in spans]


def describe(samples: np.ndarray) -> np.ndarray:
    """float64 (13,): pitch in units of 1/6 octave, then the mean of cepstra 1 to 12 of the loud half, scaled. int16 samples."""
    from core.mfcc import mfcc_syncnet

    rows = mfcc_syncnet(samples)
    loud = rows[rows[:, 0] >= np.median(rows[:, 0])]
    return np.concatenate([[OCTAVE * np.log2(pitch_hz(samples))], loud[:, 1:].mean(axis=0) / CEPSTRA])


def pitch_hz(samples: np.ndarray, frame: int = 640, hop: int = 320) -> float:
    """The median pitch of the voiced frames of int16 samples, 70 to 400 Hz, by the autocorrelation's best lag (Boersma 1993)."""
    if len(samples) < frame:
        samples = np.pad(samples, (0, frame - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), frame)[::hop]
    window = np.hanning(frame)
    power = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, 2 * frame)) ** 2
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * frame)) ** 2)
    lags = np.arange(int(RATE / PITCH_HZ[1]), int(RATE / PITCH_HZ[0]) + 1)
    match = np.fft.irfft(power)
    strength = match[:, lags] / np.maximum(match[:, :1], 1e-9) * own[0] / own[lags]
    best, weight = lags[strength.argmax(axis=1)], strength.max(axis=1) * np.sqrt(match[:, 0])
    voiced = weight >= np.quantile(weight, 0.5)
    return float(RATE / np.median(best[voiced]))


def _windows(start_s: float, end_s: float) -> list[tuple[float, float]]:
    length = end_s - start_s
    if length < LEAST_S:
        return []
    if length <= WINDOW_S:
        return [(start_s, end_s)]
    n = int((length - WINDOW_S) / STEP_S) + 1
    first = np.linspace(start_s, end_s - WINDOW_S, n + 1) if n > 1 else np.array([start_s, end_s - WINDOW_S])
    return [(float(a), float(a) + WINDOW_S) for a in first]


def _without_changes(labels: list[str], windows: list[tuple[float, float]]) -> list[str]:
    """Labels where a group that is only the windows across one change of voice is shared out between the voices beside it."""
    out, k = list(labels), 0
    while k < len(labels):
        end = k
        while end < len(labels) and labels[end] == labels[k]:
            end += 1
        beside = 0 < k and end < len(labels) and windows[k][0] < windows[k - 1][1] and windows[end][0] < windows[end - 1][1]
        if beside and (end - k) * STEP_S <= WINDOW_S and labels.count(labels[k]) == end - k:
            for i in range(k, end):
                out[i] = labels[k - 1] if 2 * i < k + end else labels[end]
        k = end
    return out


def _grouped(about: np.ndarray, distance: float) -> list[str]:
    if len(about) == 1:
        return ["0"]
    from scipy.cluster.hierarchy import fcluster, linkage

    label = fcluster(linkage(about, "average"), distance, "distance")
    names, sizes = np.unique(label, return_counts=True)
    large = names[sizes >= LEAST_WINDOWS]
    if len(large) and len(large) < len(names):  # what is left over: windows across a change, a laugh
        centres = np.stack([about[label == k].mean(axis=0) for k in large])
        nearest = large[np.linalg.norm(about[:, None] - centres, axis=-1).argmin(axis=1)]
        label = np.where(np.isin(label, large), label, nearest)
    return [str(k) for k in label]
