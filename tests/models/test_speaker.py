"""Voiceprints: the statistics on voices known to differ, and pyannote through its real loading and inference code."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.clusters import agglomerate, purity
from models.experts.speaker import SHORTEST, open_voiceprint


def voice(speaker: int, take: int) -> np.ndarray:
    """4 s of vowels of somebody whose formants are their own, with a level that comes and goes."""
    who, rng = np.random.default_rng(speaker), np.random.default_rng((speaker, take))
    t = np.arange(64000) / 16000
    formants = who.uniform([300, 900, 2000, 3000], [800, 1800, 2800, 4200])
    pitch = who.uniform(90, 230)
    phase = 2 * np.pi * np.cumsum(pitch * np.exp(np.interp(t, np.linspace(0, 4, 20), rng.normal(0, 0.08, 20)))) / 16000
    wave = np.zeros_like(t)
    for k in range(1, int(7000 / pitch)):
        gain = sum(np.exp(-(((k * pitch - f) / 180) ** 2)) for f in formants) + 0.01
        wave += gain * np.sin(k * phase)
    level = np.interp(t, np.linspace(0, 4, 30), rng.uniform(0.02, 1, 30))
    return np.rint(9000 * level * wave / np.abs(wave).max() + rng.normal(0, 8, len(t))).astype(np.int16)


def test_statistics_tell_voices_apart():
    model = open_voiceprint()
    who = [(s, k) for s in range(6) for k in range(4)]
    vectors = np.stack([model.embed(voice(*w)) for w in who])
    assert vectors.dtype == np.float32 and vectors.shape == (24, 40)
    clean, whole = purity(agglomerate(vectors, model.limit, model.metric).tolist(), [s for s, _ in who])
    assert clean > 0.9 and whole > 0.9
    assert model.embed(np.zeros(SHORTEST - 1, np.int16)) is None


def checkpoint(folder):
    """A small random embedding network saved the way the library saves one."""
    torch = pytest.importorskip("torch")
    import pyannote.audio
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorMFCC

    torch.manual_seed(0)
    model = XVectorMFCC(dimension=16)
    model.specifications = Specifications(problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=2.0)
    saved = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "pytorch-lightning_version": "2.0.0",
             "epoch": 0,
             "pyannote.audio": {"versions": {"torch": str(torch.__version__), "pyannote.audio": pyannote.audio.__version__},
                                "architecture": {"module": "pyannote.audio.models.embedding", "class": "XVectorMFCC"},
                                "specifications": model.specifications}}
    torch.save(saved, folder / "pytorch_model.bin")
    return folder


def test_pyannote_loads_and_embeds(tmp_path):
    model = open_voiceprint(checkpoint(tmp_path))
    one, two = model.embed(voice(0, 0)), model.embed(voice(1, 0))
    assert one.shape == (16,) and one.dtype == np.float32 and np.isfinite(one).all() and not np.allclose(one, two)
    assert np.array_equal(one, model.embed(voice(0, 0))) and model.metric == "cosine"


def test_a_model_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="no such pyannote embedding checkpoint"):
        open_voiceprint(tmp_path / "nothing.bin")
