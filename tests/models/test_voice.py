"""Voice activity: the energy detector against known truths, and the pyannote one through its real loading and inference code."""

from __future__ import annotations

import os

import numpy as np
import pytest

from core import media
from models.experts.voice import RATE, levels, open_voice, speech_regions

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*torchcodec is not installed correctly")

GRID_WORDS_S = (0.49, 2.21)  # first and last word of grid_id2_swwp2s.align (1/25000 s units)


def voiced(rng: np.random.Generator, spans: list[tuple[float, float]], length_s: float) -> np.ndarray:
    """Harmonic bursts with a moving pitch and a syllable rhythm, peak about 1."""
    wave = np.zeros(int(length_s * RATE))
    for start_s, end_s in spans:
        n = int((end_s - start_s) * RATE)
        t = np.arange(n) / RATE
        pitch = rng.uniform(90, 260) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(2, 5) * t))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        tone = sum(np.sin(k * phase) / k for k in range(1, 12)) / 2
        edge = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / 320)
        wave[int(start_s * RATE):][:n] = tone * edge * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t) ** 2)
    return wave


def random_spans(rng: np.random.Generator, length_s: float = 10.0) -> list[tuple[float, float]]:
    spans, t = [], 0.4
    while t < length_s - 1:
        end = min(t + rng.uniform(0.25, 1.8), length_s - 0.4)
        spans.append((t, end))
        t = end + rng.uniform(0.35, 1.2)
    return spans


def on_grid(spans: list[tuple[float, float]], length_s: float) -> np.ndarray:
    t = np.arange(0, length_s, 0.01)
    return np.any([(t >= a) & (t < b) for a, b in spans] or [np.zeros(len(t), bool)], axis=0)


def pcm(wave: np.ndarray, peak: float = 12000) -> np.ndarray:
    return (wave / np.abs(wave).max() * peak).astype(np.int16)


@pytest.mark.parametrize(("snr_db", "colour"),
                         [(40, "white"), (20, "white"), (10, "white"), (5, "white"), (10, "brown"), (0, "brown")])
def test_bursts_are_found_in_noise(snr_db, colour):
    right = found = true = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        spans = random_spans(rng)
        wave = voiced(rng, spans, 10)
        noise = rng.standard_normal(len(wave))
        if colour == "brown":
            noise = np.cumsum(noise)
            noise -= np.convolve(noise, np.ones(2000) / 2000, "same")
        noise *= np.sqrt((wave[wave != 0] ** 2).mean() / (noise**2).mean() / 10 ** (snr_db / 10))
        truth, guess = on_grid(spans, 10), on_grid(speech_regions(pcm(wave + noise)), 10)
        right, found, true = right + (truth & guess).sum(), found + guess.sum(), true + truth.sum()
    assert right / true > 0.97, "recall"
    assert right / found > 0.85, "precision (each end is padded by 50 ms on purpose)"


def test_what_is_not_speech_is_not_found():
    rng = np.random.default_rng(0)
    n = 10 * RATE
    white = rng.standard_normal(n)
    gated = white * (np.arange(n) % RATE < 5000) * 4000 + rng.standard_normal(n) * 30
    clicks = np.where(np.arange(n) % 8000 < 20, 20000.0, 0.0)
    hum = 3000 * np.sin(2 * np.pi * 120 * np.arange(n) / RATE)
    rumble = 9000 * np.sin(2 * np.pi * 20 * np.arange(n) / RATE) * (np.arange(n) % RATE < 8000)
    for sound in (np.zeros(n), white * 2000, white * 2, gated, clicks, hum, rumble):
        assert speech_regions(sound.astype(np.int16)) == []


def test_known_word_times_in_a_real_recording(shared):
    samples = media.read_audio(shared / "real" / "clips" / "grid_id2_swwp2s.mpg")
    (start_s, end_s), = speech_regions(samples)
    assert abs(start_s - GRID_WORDS_S[0]) < 0.1 and abs(end_s - GRID_WORDS_S[1]) < 0.25


def test_real_speech_in_eight_languages(shared):
    shares = {}
    for path in sorted((shared / "real" / "speech").glob("*.wav")):
        samples = media.read_wav(path)
        regions = speech_regions(samples)
        shares[path.name] = sum(b - a for a, b in regions) / (len(samples) / RATE)
        level_db, _ = levels(samples)
        guess = on_grid(regions, len(level_db) / 100)[:len(level_db)]
        assert np.median(level_db[guess]) > np.median(level_db[~guess]) + 10, path.name
    assert len(shares) == 8 and min(shares.values()) > 0.6 and max(shares.values()) < 0.99


def test_regions_are_in_order_apart_and_inside_and_do_not_depend_on_the_level(shared):
    samples = media.read_wav(shared / "real" / "speech" / "english.wav")
    regions = speech_regions(samples)
    flat = [t for region in regions for t in region]
    assert len(regions) > 2 and flat == sorted(flat) and flat[0] >= 0 and flat[-1] <= len(samples) / RATE
    half, whole = on_grid(speech_regions(samples // 4), 13), on_grid(regions, 13)
    assert (half != whole).mean() < 0.02
    assert speech_regions(samples) == regions


def test_levels_are_those_of_a_sine_and_periodicity_tells_tones_from_noise():
    t = np.arange(RATE) / RATE
    level_db, periodicity = levels((32767 * np.sin(2 * np.pi * 200 * t)).astype(np.int16))
    assert np.allclose(level_db, 0, atol=0.2) and periodicity.min() > 0.9
    quiet_db, _ = levels((3277 * np.sin(2 * np.pi * 1000 * t)).astype(np.int16))
    assert np.allclose(quiet_db, -20, atol=0.2)
    outside_db, _ = levels((32767 * np.sin(2 * np.pi * 6000 * t)).astype(np.int16))
    assert outside_db.max() < -30
    _, noise = levels((np.random.default_rng(0).standard_normal(RATE) * 3000).astype(np.int16))
    assert np.median(noise) < 0.4


@pytest.mark.parametrize("n", [0, 1, 511, 512, 700])
def test_very_short_clips_have_no_speech_and_no_error(n):
    assert speech_regions((np.sin(np.arange(n)) * 9000).astype(np.int16)) == []


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="int16 mono"):
        speech_regions(np.zeros(RATE, np.float32))
    with pytest.raises(ValueError, match="int16 mono"):
        speech_regions(np.zeros((RATE, 2), np.int16))
    with pytest.raises(ValueError, match="'silero'"):
        open_voice("silero")
    with pytest.raises(ValueError, match="needs the path or hub name"):
        open_voice("pyannote")
    with pytest.raises(ValueError, match="has no model"):
        open_voice("energy", tmp_path)
    with pytest.raises(ValueError, match="nothing.bin: no such pyannote segmentation checkpoint"):
        open_voice("pyannote", tmp_path / "nothing.bin")


def segmentation_checkpoint(folder, *, powerset: bool, bias: float):
    """A small random pyannote network saved the way the library saves one; `bias` tips it towards speech or silence."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    net = PyanNet(sincnet={"stride": 10}, lstm={"hidden_size": 8, "num_layers": 1, "bidirectional": False},
                  linear={"hidden_size": 8, "num_layers": 1})
    net.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION if powerset else Problem.MULTI_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME, duration=2.0, classes=["speaker#1", "speaker#2"],
        powerset_max_classes=2 if powerset else None, permutation_invariant=True)
    net.setup()
    with torch.no_grad():
        net.classifier.weight.zero_()
        net.classifier.bias.fill_(bias)
        if powerset:  # the first class is silence
            net.classifier.bias.copy_(torch.tensor([-bias, bias, 0.0, 0.0]))
    checkpoint = {"state_dict": net.state_dict(), "hyper_parameters": dict(net.hparams), "pytorch-lightning_version": "2.6.6"}
    net.on_save_checkpoint(checkpoint)
    path = folder / "pytorch_model.bin"
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize("powerset", [True, False])
def test_pyannote_loads_and_decides(tmp_path, powerset):
    samples = (np.random.default_rng(0).standard_normal(5 * RATE) * 2000).astype(np.int16)
    talking = open_voice("pyannote", segmentation_checkpoint(tmp_path, powerset=powerset, bias=3.0))
    (start_s, end_s), = speech_regions(samples, model=talking)
    assert start_s < 0.1 and end_s == pytest.approx(5, abs=0.1) and talking.name == "pyannote"
    assert talking.regions(samples) == [(start_s, end_s)] and talking.regions(samples[:100]) == []
    silent = open_voice("pyannote", segmentation_checkpoint(tmp_path, powerset=powerset, bias=-3.0).parent)
    assert silent.regions(samples) == []
    assert os.environ["PYANNOTE_METRICS_ENABLED"] == "0"


def test_a_checkpoint_that_would_run_code_is_not_opened(tmp_path):
    import torch

    path = segmentation_checkpoint(tmp_path, powerset=False, bias=0.0)
    held = torch.load(path, weights_only=False)

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save(held | {"extra": Trap()}, path)
    with pytest.raises(ValueError, match="not a pyannote checkpoint of plain tensors"):
        open_voice("pyannote", path)
    assert not (tmp_path / "sprung").exists()
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="not a pyannote.audio checkpoint"):
        open_voice("pyannote", path)


def test_a_gated_model_out_of_reach_says_what_to_do(monkeypatch, tmp_path):
    from core.weights import WeightsMissing

    monkeypatch.setenv("BABELFACE_OFFLINE", "1")
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing, match="(?s)pyannote/segmentation-3.0.*HF_TOKEN.*name the file"):
        open_voice("pyannote", "pyannote/segmentation-3.0")
