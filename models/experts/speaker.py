"""Whose voice: samples in, a vector per recording out, near for one speaker and far for two, behind one interface.

`statistics` needs no model: means and spreads of cepstra of the louder half. It tells voices and microphones apart, so it takes
one speaker in two rooms for two. `pyannote` runs a pyannote.audio embedding model that the user names. """

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

N_CEPSTRA = 20
STATISTICS_LIMIT = 60.0
"""Distance (dB) up to which two voices are one: on 576 clips of 126 synthetic speakers 2 to 4 % of the pairs of two speakers are
nearer."""
COSINE_LIMIT = 0.6
"""For networks, as cosine distance: of the size that pyannote's own pipelines are tuned to. A model's own is a param."""
SHORTEST = 8000
"""Samples (0.5 s) under which no voice is heard."""


class Voiceprint:
    """Embeds voices. `metric`: "euclidean" or "cosine"; `limit`: the distance up to which two are one speaker, by default."""

    name: str
    metric: str
    limit: float

    def embed(self, samples: np.ndarray) -> np.ndarray | None:
        """float32 (d,) of int16 mono 16 kHz samples, or None where there is too little to hear."""
        raise NotImplementedError


class Statistics(Voiceprint):
    """Mean and standard deviation of 20 cepstra of Wav2Lip's mel bands (in dB), over the louder 60 % of the steps."""

    name, metric, limit = "statistics", "euclidean", STATISTICS_LIMIT

    def embed(self, samples: np.ndarray) -> np.ndarray | None:
        from scipy import fft

        from core.audio import mel_wav2lip

        if len(samples) < SHORTEST:
            return None
        mel = mel_wav2lip(samples).T * 12.5  # its 8 units are 100 dB
        level = mel.mean(1)
        cepstra = fft.dct(mel[level >= np.percentile(level, 40)], norm="ortho", axis=1)[:, 1 : N_CEPSTRA + 1]
        return np.concatenate([cepstra.mean(0), cepstra.std(0)]).astype(np.float32)


class Pyannote(Voiceprint):
    """A pyannote.audio embedding model (x-vectors, WeSpeaker), over the whole recording at once, in memory."""

    name, metric, limit = "pyannote", "cosine", COSINE_LIMIT

    def __init__(self, path: Path | str):
        from models.experts.voice import _refuse_code, checkpoint_file

        local = checkpoint_file(path, "embedding")
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # the library reports its use over the network otherwise
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
            from pyannote.audio import Inference, Model
        _refuse_code(local)
        model = Model.from_pretrained(local).eval()
        self._whole: Any = Inference(model, window="whole")

    def embed(self, samples: np.ndarray) -> np.ndarray | None:
        import torch

        if len(samples) < SHORTEST:
            return None
        wave = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
        return np.asarray(self._whole({"waveform": wave, "sample_rate": 16000, "uri": "clip"}), np.float32).reshape(-1)


def open_voiceprint(path: Path | str | None = None) -> Voiceprint:
    """The embedding without a model, or a pyannote one: `path` is a checkpoint file, a folder with pytorch_model.bin, or a hub
    name like owner/model (fetched with the token in HF_TOKEN). ValueError or WeightsMissing where it is none."""
    return Statistics() if path is None else Pyannote(path)
