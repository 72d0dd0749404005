"""Diarization: voices of different pitch are told apart, pyannote's own pipeline runs from a folder, what is gated says so."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from models.experts.diarization import (
    ClusterDiarizer,
    PyannoteDiarizer,
    describe,
    named,
    open_diarizer,
    pipeline_folder,
    pitch_hz,
)
from tests.models.test_voice import segmentation_checkpoint

RATE = 16000


def voice(pitch: float, seconds: float, formant: float = 700.0, seed: int = 0) -> np.ndarray:
    """int16: a buzz of one pitch, brightest at one formant, that wavers a little."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * pitch * (t + 0.002 * np.sin(2 * np.pi * 3 * t))
    parts = [np.sin(k * phase) / (1 + ((k * pitch - formant) / 300) ** 2) for k in range(1, int(4000 / pitch))]
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (4000 * (sum(parts) + noise)).astype(np.int16)


def test_pitch_is_that_of_the_voice():
    for hz in (90, 140, 220, 310):
        assert pitch_hz(voice(hz, 1.0)) == pytest.approx(hz, rel=0.03)
    assert describe(voice(220, 1.0))[0] - describe(voice(110, 1.0))[0] == pytest.approx(6, abs=0.3), "an octave"
    assert np.isfinite(pitch_hz(np.zeros(300, np.int16)))


def test_two_voices_are_two_and_one_is_one():
    low, high = voice(105, 2.5), voice(215, 2.5, 1400)
    quiet = np.zeros(RATE // 2, np.int16)
    sound = np.concatenate([low, quiet, high, quiet, low])
    speech = [(0.0, 2.5), (3.0, 5.5), (6.0, 8.5)]
    found = open_diarizer("clusters").voices(sound, speech)
    assert [(round(a, 2), round(b, 2), v) for a, b, v in found] == [(0.0, 2.5, "A"), (3.0, 5.5, "B"), (6.0, 8.5, "A")]
    assert {v for _, _, v in ClusterDiarizer().voices(np.concatenate([low, quiet, low]), [(0, 2.5), (3, 5.5)])} == {"A"}
    assert len({v for _, _, v in ClusterDiarizer(distance=1e9).voices(sound, speech)}) == 1


def test_a_change_of_voice_inside_a_stretch_is_found_and_short_stretches_join_in():
    sound = np.concatenate([voice(105, 3.0), voice(215, 3.0, 1400), np.zeros(RATE, np.int16), voice(215, 0.3, 1400)])
    found = ClusterDiarizer().voices(sound, [(0.0, 6.0), (7.0, 7.3)])
    assert [v for _, _, v in found] == ["A", "B", "B"] and abs(found[0][1] - 3.0) < 0.7
    assert found[0][0] == 0 and found[1][1] == 6.0 and found[1][0] == found[0][1] and found[2][:2] == (7.0, 7.3)
    assert ClusterDiarizer().voices(sound, []) == [] and ClusterDiarizer().voices(sound, [(0.0, 0.2)]) == [(0.0, 0.2, "A")]
    assert named([(0.0, 1.0, "z"), (1.0, 2.0, "a")]) == [(0.0, 1.0, "A"), (1.0, 2.0, "B")]
    with pytest.raises(ValueError, match="int16 mono"):
        ClusterDiarizer().voices(np.zeros(100, np.float32), [])


def pipeline(folder):
    """A folder as the hub holds it: pyannote's own SpeakerDiarization over tiny random networks."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorSincNet

    for part in ("segmentation", "embedding", "plda"):
        (folder / part).mkdir(parents=True)
    segmentation_checkpoint(folder / "segmentation", powerset=True, bias=3.0)
    torch.manual_seed(0)
    net = XVectorSincNet(sincnet={"stride": 10}, dimension=16)
    net.specifications = Specifications(problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=2.0)
    net.setup()
    checkpoint = {"state_dict": net.state_dict(), "hyper_parameters": dict(net.hparams), "pytorch-lightning_version": "2.6.6"}
    net.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "embedding" / "pytorch_model.bin")
    one = np.eye(16)
    np.savez(folder / "plda" / "xvec_transform.npz", mean1=np.zeros(16), mean2=np.zeros(16), lda=one)
    np.savez(folder / "plda" / "plda.npz", mu=np.zeros(16), tr=one, psi=np.linspace(2, 1, 16))
    (folder / "config.yaml").write_text(yaml.safe_dump({
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization",
                     "params": {"segmentation": "$model/segmentation", "embedding": "$model/embedding", "plda": "$model/plda",
                                "clustering": "AgglomerativeClustering"}},
        "params": {"segmentation": {"min_duration_off": 0.0},
                   "clustering": {"method": "centroid", "min_cluster_size": 2, "threshold": 0.7}}}))
    return folder


def test_pyannotes_own_pipeline_runs_in_memory_from_a_folder(tmp_path):
    folder = pipeline(tmp_path / "community")
    for named_ in (str(folder), str(folder / "config.yaml")):
        assert pipeline_folder(named_) == folder
    diarizer = open_diarizer(str(folder))
    sound = np.concatenate([voice(110, 3.0), voice(230, 3.0, 1500)])
    found = diarizer.voices(sound, [])
    assert diarizer.name == "pyannote:community" and found == diarizer.voices(sound, [])
    assert found and found[0][2] == "A" and min(a for a, _, _ in found) < 0.2 and max(b for _, b, _ in found) <= 6.0
    assert diarizer.voices(sound[:0], []) == []


def test_an_older_pipeline_gives_the_annotation_itself():
    from pyannote.core import Annotation, Segment

    def old(file):
        assert file["sample_rate"] == RATE and file["waveform"].shape == (1, RATE)
        said = Annotation()
        said[Segment(0.5, 2.0), "x"], said[Segment(0.0, 0.5), "y"] = "SPEAKER_01", "SPEAKER_00"
        return said

    assert PyannoteDiarizer(old).voices(np.zeros(RATE, np.int16), []) == [(0.0, 0.5, "A"), (0.5, 1.0, "B")]


def test_what_is_no_pipeline_or_not_pyannotes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no pyannote pipeline"):
        pipeline_folder(str(tmp_path / "nowhere"))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"pipeline": {"name": "os.system", "params": {}}}))
    with pytest.raises(ValueError, match="only pipelines of pyannote.audio"):
        open_diarizer(str(tmp_path))


def test_a_gated_pipeline_out_of_reach_says_what_to_do(monkeypatch, tmp_path):
    from core.weights import WeightsMissing

    monkeypatch.setenv("BABELFACE_OFFLINE", "1")
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing, match="(?s)pyannote/speaker-diarization-community-1.*gated, accept its terms.*HF_TOKEN"):
        pipeline_folder("pyannote/speaker-diarization-community-1")
