"""Inspect: quality of every track, turns, silent faces, languages, offsets, marks; and filters, which only the split applies."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import stages.inspect
import stages.split
from core import media
from core.cells import filled
from core.params import check_params, load_params
from core.params_inspect import Filter, Inspect
from core.params import Track as TrackParams
from core.records import Reject, columns
from core.sound import in_step, kept_tracks, light_sounds
from core.stage import UserError
from metrics.sync import lse
from metrics.turns import right_share
from stages.inspect import Mapper
from tests.stages.sync_clips import BASE, inside, rejects_of, rows_of

HERE = Path(__file__).parent


def config(**changes):
    return Inspect(**changes).model_dump() | {"min_mesh_share": 0.9, "threads": 1}


@pytest.fixture(scope="module")
def rows(talkers):
    return rows_of(talkers, "inspect", "synthetic-en", "inspected")


def test_every_track_is_looked_at_and_goes_on(talkers, rows):
    tracks = {t["track_id"]: t for t in rows_of(talkers, "track", "synthetic-en", "tracks")}
    assert set(tracks) == {r["track_id"] for r in rows} and list(rows[0]) == columns("inspected")
    with inside(talkers):
        assert kept_tracks("synthetic-en") == set(tracks)
    for row in rows:
        assert row["face_px"] == tracks[row["track_id"]]["face_px"] and row["occlusion"] == 1 - row["mesh_share"]
        assert row["sharpness"] > 1 and 0.1 < row["brightness"] < 0.9 and 0 < row["contrast"] < 0.5
        assert max(row["yaw_deg"], row["pitch_deg"], row["roll_deg"]) < 30 and 0 <= row["clipped_share"] < 0.5
        assert 0.3 < row["speech_share"] <= 1 and -40 < row["loudness_db"] < 0
        assert row["marks"] == [] and row["offset_frames"] is None and row["turn_share"] is None
        why = {r["metric"]: r["reason"] for r in row["null_reasons"]}
        assert why["turn_share"] == "one_face" and why["offset_frames"] == "no_expert"
        assert (why["voices"], why["spoken_language"]) == ("off", "no_identifier")
    assert rows_of(talkers, "inspect", "synthetic-en", "turns") == []
    stats = json.loads((talkers / "data" / "inspect" / "synthetic-en" / "stats.json").read_text())
    assert stats["items_in"] == stats["kept"] == stats["rows"]["kept"] == len(tracks)


def test_the_same_again_and_only_changed_params_work_again(talkers):
    folder = talkers / "data" / "inspect" / "synthetic-en"
    before = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with inside(talkers) as params:
        stages.inspect.main("synthetic-en", params)
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


# ---- who speaks ---------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def two_speakers(shared):
    """(clip, tracks, Mapper.__call__ per track) of two_speakers.mp4 as one clip, with speech as the voice detector finds it."""
    from core import audio
    from models.experts.voice import open_voice
    from stages.track import Mapper as Tracker

    path = shared / "real" / "clips" / "two_speakers.mp4"
    settings = TrackParams().model_dump() | {
        "media": str(path.parent), "threads": 1, "names": {"finder": "yunet:x", "landmarker": "mediapipe:x"},
        "finder": ("yunet", str(shared / "models" / "yunet_n_dynamic.onnx")),
        "mesh": ("mediapipe", str(shared / "models" / "face_landmarker_v2_with_blendshapes.task"))}
    n, samples = media.frame_count(path), media.read_audio(path)
    clip = {"clip_id": "two-c0", "recording_id": "two", "corpus": "real", "language": "en", "speaker": None,
            "cluster": "recording:two", "kind": "real", "file": path.name, "start_frame": 0, "n_frames": n}
    tracks = Tracker(settings)(clip)["tracks"]
    speech = open_voice("energy").regions(samples)
    clip |= {"speech": [{"start_s": a, "end_s": b} for a, b in speech], "speech_s": sum(b - a for a, b in speech),
             "n_samples": len(samples), "loudness_db": audio.loudness_db(samples), "audio": media.encode_flac(samples)}
    weights = shared / "models" / "light_asd_finetuning_TalkSet.model"
    return clip, tracks, Mapper(config() | {"media": str(path.parent), "speaker": str(weights)})


def test_the_speech_of_two_people_goes_to_the_one_who_speaks(two_speakers):
    clip, (left, right), mapper = two_speakers
    with pytest.raises(Reject) as caught:
        mapper({"track_id": left["track_id"], "clip": clip, "tracks": [left, right]})
    assert caught.value.reason == "silent_face" and left["track_id"] in caught.value.detail
    assert " 0% of the speech" in caught.value.detail
    made = mapper({"track_id": right["track_id"], "clip": clip, "tracks": [left, right]})
    with open(HERE / "turns_two_speakers.csv", newline="") as file:
        truth = [(float(r["start_s"]), float(r["end_s"]), ["left", "right"].index(r["who"])) for r in csv.DictReader(file)]
    turns = [(t["start_s"], t["end_s"], 1) for t in made["turns"]]
    share = right_share(turns, truth)
    assert share >= 0.9, f"{share:.1%} of the speech went to the right face"
    row = made["inspected"][0]
    assert row["turn_share"] == 1 and row["speaker_expert"] == "light_asd"
    assert row["marks"] == [], "a masked mouth cannot be seen to be silent"
    assert [t["track_id"] for t in made["kept"]] == [right["track_id"]]


class Speaker:
    """Says of every face what it is told, in the order in which they are asked about."""

    name = "told"

    def __init__(self, *values):
        self._values = list(values)

    def scores(self, faces, mfcc):
        assert faces.shape[1:] == (112, 112) and faces.dtype == np.uint8
        return np.full(len(faces), self._values.pop(0), np.float32)


def inspect_two(sync, values, kind="real", **changes):
    """What becomes of two fabricated tracks of one clip, when a speaker expert gives them these scores."""
    clip = next(c for c in sync.clips if sync.of[c["recording_id"]] == "mp4-aac") | {"kind": kind}
    one = next(t for t in rows_of(sync.folder, "track", "sync-en", "tracks") if t["clip_id"] == clip["clip_id"]) | {"kind": kind}
    tracks = [one, one | {"track_id": one["track_id"][:-1] + "1", "track_index": 1}][:len(values)]
    mapper = Mapper(config(**changes) | {"media": str(sync.media(clip).parent)})
    mapper._speaker = Speaker(*values) if values[0] is not None else None
    found = []
    for t in tracks:
        try:
            found.append(mapper({"track_id": t["track_id"], "clip": clip, "tracks": tracks}))
        except Reject as reject:
            found.append(reject.reason)
    return found


def test_without_an_expert_both_faces_go_on(sync):
    made = inspect_two(sync, (None, None))
    assert [m["kept"][0]["track_id"][-2:] for m in made] == ["t0", "t1"] and not made[0]["turns"]
    assert {r["metric"]: r["reason"] for r in made[1]["inspected"][0]["null_reasons"]}["turn_share"] == "no_weights"


def test_a_silent_face_is_rejected_beside_one_that_speaks(sync):
    silent, talking = inspect_two(sync, (-1.0, 2.0))
    assert silent == "silent_face" and talking["inspected"][0]["speaking_share"] == 1 and len(talking["turns"]) >= 1
    assert {t["score"] for t in talking["turns"]} == {2.0}


def test_generated_video_is_never_left_out_for_its_silence(sync):
    silent, talking = inspect_two(sync, (-1.0, 2.0), kind="generated")
    assert silent["inspected"][0]["turn_share"] == 0 and silent["turns"] == [] and silent["kept"]


def test_speech_without_a_speaking_face_is_marked_voice_over(sync):
    silent, other = inspect_two(sync, (-2.0, -1.0))
    assert silent == "silent_face" and other["inspected"][0]["marks"] == ["voice_over"]
    alone, = inspect_two(sync, (-2.0,), active_speaker="light-asd")
    assert alone["inspected"][0]["marks"] == ["voice_over"] and alone["inspected"][0]["turn_share"] == 1
    unasked, = inspect_two(sync, (-2.0,))
    assert unasked["inspected"][0]["marks"] == [], "by default a lone face is not asked about"


# ---- language, voices, offset -------------------------------------------------------------------------------------------------
class Polyglot:
    """Hears what its model is called."""

    def __init__(self, model="en"):
        self.name, self._model = f"polyglot:{model}", model

    def identify(self, samples):
        return {self._model: 0.8, "xx": 0.2}


@pytest.mark.parametrize("model, marks", [("en", []), ("en-GB", []), ("tr", ["language_mismatch"])])
def test_the_spoken_language_is_checked_against_the_label(sync, model, marks):
    made, = inspect_two(sync, (2.0,), language_identifier="tests.stages.test_inspect:Polyglot", language_model=model,
                        diarization="clusters")
    row = made["inspected"][0]
    assert row["marks"] == marks and row["spoken_language"] == model[:2] and row["spoken_share"] == 1
    assert row["identifier"] == f"polyglot:{model}"
    assert row["voices"] == 1 and row["diarizer"] == "clusters" and row["voice_turns"][0]["voice"] == "A"


def test_a_clip_in_two_languages_is_marked(sync, monkeypatch):
    from models.experts import language

    monkeypatch.setattr(language, "spoken_language", lambda *_: language.Spoken("en", 0.7, {"en": 0.7, "tr": 0.3}))
    made, = inspect_two(sync, (2.0,), language_identifier="tests.stages.test_inspect:Polyglot")
    assert made["inspected"][0]["marks"] == ["code_switched"] and made["inspected"][0]["second_share"] == pytest.approx(0.3)


@pytest.mark.parametrize("offset", [-7, -1, 3, 12])
def test_the_correction_undoes_the_offset_that_the_expert_measures(offset):
    rng = np.random.default_rng(0)
    recording = rng.integers(-9000, 9000, 640 * 200).astype(np.int16)
    code = recording.reshape(200, 640)[:, :8] / 9000.0  # an "embedding" that knows the samples of each frame
    video = code[60:160]
    early = np.roll(recording, -640 * offset)  # > 0: the sound comes earlier in the file
    heard = early.reshape(200, 640)[60:160, :8] / 9000.0
    score = lse(video, heard, padded=False)
    assert score.offset_frames == offset and score.lse_d < 1e-4
    assert np.array_equal(in_step(early, 60, 100, score.offset_frames), recording[640 * 60:640 * 160])


def test_beyond_the_file_there_is_silence_before_and_nothing_after():
    sound = np.arange(1, 640 * 10 + 1, dtype=np.int16)
    assert np.array_equal(in_step(sound, 0, 5, 2), np.concatenate([np.zeros(1280, np.int16), sound[:1920]]))
    assert np.array_equal(in_step(sound, 5, 5, -2), sound[640 * 7:]) and len(in_step(sound, 5, 5, -9)) == 0
    assert np.array_equal(in_step(sound, 0, 2, 5), np.zeros(1280, np.int16))


def test_a_sure_offset_shifts_the_sound_of_the_clip_where_params_say_so(sync, monkeypatch, tmp_path):
    found = {"offset_frames": 3, "sync_confidence": 6.0, "sync_distance": 7.0, "sync_expert": "told"}
    monkeypatch.setattr(Mapper, "_step", lambda self, crops, samples, moves: (dict(found), {}))
    clip = next(c for c in sync.clips if sync.of[c["recording_id"]] == "mp4-aac")
    plain, = inspect_two(sync, (2.0,))
    assert plain["kept"][0]["audio"] is None and plain["inspected"][0]["corrected_frames"] is None
    moved, = inspect_two(sync, (2.0,), correct_offset=True)
    assert moved["inspected"][0]["corrected_frames"] == 3 and moved["kept"][0]["n_samples"] == 640 * clip["n_frames"]
    before, after = media.decode_flac(clip["audio"]), media.decode_flac(moved["kept"][0]["audio"])
    assert np.array_equal(after[1920:], before[:len(after) - 1920])
    unsure, = inspect_two(sync, (2.0,), correct_offset=True, correct_confidence=6.5)
    assert unsure["kept"][0]["audio"] is None
    late, = inspect_two(sync, (2.0,), dubbed_below=6.5)
    assert late["inspected"][0]["marks"] == ["dubbed"]
    from core import shards

    for stage, table, made in (("segment", "clips", [clip]), ("inspect", "kept", moved["kept"])):
        shards.write_table(shards.shard_path(tmp_path / "data" / stage / "sync-en", table, 0), made, table)
    monkeypatch.chdir(tmp_path)
    assert filled(light_sounds("sync-en")[clip["clip_id"]]["audio"]) == moved["kept"][0]["audio"]


def test_a_sync_expert_measures_an_offset_or_says_why_not(sync, tmp_path):
    import torch

    from models.experts.syncnet import open_sync

    torch.manual_seed(0)
    torch.save(open_sync("small", None, (48, 64)).state_dict(), tmp_path / "model.pt")
    (tmp_path / "card.json").write_text(json.dumps({"width": "small", "view": "mouth"}))
    raw = BASE | {"corpora": {"sync": {"adapter": "folder", "path": "x", "languages": {"en": {}}}},
                  "inspect": {"sync_expert": {"weights": str(tmp_path / "model.pt")}, "active_speaker": "none"}}
    opened, marks = stages.inspect.experts(check_params(raw))
    assert set(marks) == {"sync", "view"}
    clip = next(c for c in sync.clips if sync.of[c["recording_id"]] == "mp4-aac")
    track = next(t for t in rows_of(sync.folder, "track", "sync-en", "tracks") if t["clip_id"] == clip["clip_id"])
    mapper = Mapper(config(active_speaker="none") | opened | {"media": str(sync.media(clip).parent)})
    row = mapper({"track_id": track["track_id"], "clip": clip, "tracks": [track]})["inspected"][0]
    assert abs(row["offset_frames"]) <= 15 and row["sync_confidence"] >= 0 and row["sync_expert"].startswith("small:")
    why = {r["metric"]: r["reason"] for r in row["null_reasons"]}
    assert "offset_frames" not in why and why["turn_share"] == "off"
    blind = track | {"mesh_share": 0.2, "track_id": "blind-t0", "clip_id": "blind"}
    row = mapper({"track_id": "blind-t0", "clip": clip | {"clip_id": "blind"}, "tracks": [blind]})["inspected"][0]
    assert {r["metric"]: r["reason"] for r in row["null_reasons"]}["sync_confidence"] == "no_mesh" and row["yaw_deg"] is None


@pytest.mark.parametrize("asked, says", [
    ({"active_speaker": "light-asd"}, "inspect.active_speaker.*light_asd"), ({"diarization": "nothing"}, "no pyannote pipeline"),
    ({"language_identifier": "no.such:Thing"}, "cannot be opened"),
    ({"sync_expert": {"weights": "gone.pt"}}, "gone.pt: no such file")])
def test_an_expert_that_cannot_be_had_is_the_users_to_mend(asked, says, monkeypatch, tmp_path):
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path))
    monkeypatch.delenv("BABELFACE_MODELS", raising=False)
    monkeypatch.setenv("BABELFACE_OFFLINE", "1")
    raw = BASE | {"corpora": {"sync": {"adapter": "folder", "path": "x", "languages": {"en": {}}}}, "inspect": asked}
    with pytest.raises(UserError, match=f"(?s){says}"):
        stages.inspect.experts(check_params(raw))
    assert stages.inspect.experts(check_params(raw | {"inspect": {}})) == ({}, {}), "auto goes without"


# ---- filters ------------------------------------------------------------------------------------------------------------------
def test_thresholds_leave_out_what_does_not_pass_or_was_not_measured():
    row = {"face_px": 80.0, "yaw_deg": 20.0, "offset_frames": -4, "sync_confidence": None, "marks": ["dubbed"],
           "null_reasons": [{"metric": "sync_confidence", "reason": "no_expert"}]}
    assert Filter().failures(row) == {}
    limits = Filter(min_face_px=100, max_yaw_deg=25, max_offset_frames=3, min_sync_confidence=2, without=["dubbed", "voice_over"])
    assert limits.failures(row) == {"min_face_px": "face_px 80", "max_offset_frames": "offset_frames -4",
                                    "min_sync_confidence": "not measured (no_expert)", "without dubbed": "marked dubbed"}
    known = set(columns("inspected"))
    assert all(name[4:] in known for name in Filter.model_fields if name != "without"), "every threshold has its column"


def test_a_filter_changes_the_split_alone(talkers, rows, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(talkers, copy, symlinks=True, ignore=shutil.ignore_patterns("crop", "features", ".babelface"))
    small, large = sorted(rows, key=lambda r: r["sharpness"])
    raw = yaml.safe_load((copy / "params.yaml").read_text())
    limits = {"min_sharpness": (small["sharpness"] + large["sharpness"]) / 2, "min_sync_confidence": None}
    (copy / "params.yaml").write_text(yaml.safe_dump(raw | {"filter": limits}))
    with inside(copy) as params:
        stages.split.main("all", params)
    assert [d["track_id"] for d in rows_of(copy, "split", "all", "splits")] == [large["track_id"]]
    (reason, detail), = [rejects_of(copy, "split", "all")[small["track_id"]]]
    assert reason == "filtered" and detail.startswith("min_sharpness: sharpness")
    stats = json.loads((copy / "data/split/all/stats.json").read_text())
    assert (stats["items_in"], stats["kept"], stats["rejected"]) == (2, 1, 1)
    assert stats["by_language"]["en"]["rejected"] == {"filtered": 1}
    (copy / "params.yaml").write_text(yaml.safe_dump(raw | {"filter": {"min_sync_confidence": 1.0}}))
    with inside(copy) as params:
        stages.split.main("all", params)
        from flows.funnel import filters

        assert filters(copy) == ["split: filter keeps en 0 of 2 tracks", "filter min_sync_confidence keeps en 0% of 2"]
    assert "keeps en 0% of 2" in capsys.readouterr().out
    assert load_params(copy / "params.yaml").inspect == Inspect()
