"""Scoring files outside the pipeline: rows per face, the same figures as the pipeline's, and every refusal by its name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from core import media, shards
from core.params import Report
from core.records import columns
from core.stage import UserError
from stages import score_files as work
from stages.figures import METRICS
from stages.score_report import report_document, write_report
from tests.stages.sync_clips import add_expert, inside


@pytest.fixture(scope="module")
def films(talkers, tmp_path_factory):
    """A folder with the two talkers: as they are, coded again, without sound, with silence, with the picture standing still."""
    out = tmp_path_factory.mktemp("films")
    paths = sorted((talkers / "data" / "download" / "synthetic-en" / "media").iterdir())
    for name, path in zip("ab", paths, strict=True):
        frames, sound = list(media.read_frames(path, stop=75)), media.read_audio(path)[:75 * 640]
        media.write_video(out / f"{name}.mp4", frames, audio=sound, crf=10)
        media.write_video(out / f"{name}_again.mp4", frames, audio=sound, crf=34)
        if name == "a":
            media.write_video(out / "mute.mp4", frames, crf=34)
            media.write_video(out / "silent.mp4", frames, audio=np.zeros_like(sound), crf=34)
            media.write_video(out / "brief.mp4", frames[:20], audio=sound[:20 * 640], crf=34)
            media.write_video(out / "small.mp4", [f[::2, ::2] for f in frames], audio=sound, crf=20)
    media.write_video(out / "nobody.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 40,
                      audio=np.resize(np.array([900, -900], np.int16), 40 * 640), crf=30)
    (out / "torn.mp4").write_bytes(b"no video")
    return out


@pytest.fixture(scope="module")
def scorer(talkers, tmp_path_factory):
    """With the untrained small expert, whose view the talkers' params define."""
    folder = tmp_path_factory.mktemp("expert")
    add_expert(folder)
    with inside(talkers) as params:
        return work.Scorer(expert=folder / "data" / "train" / "syncnet" / "model.pt", params=params)


def only(scorer, films, name, **more):
    (row,) = scorer.rows(work.Entry(name, films / name, language="en", **more))
    assert set(row) == set(columns("scores"))
    why = {n["metric"]: n["reason"] for n in row["null_reasons"]}
    assert all((row[m] is None) == (m in why) for m in METRICS)
    return row, why


def test_a_video_alone_has_what_needs_no_reference(scorer, films):
    row, why = only(scorer, films, "a.mp4", speaker="s")
    assert row["lse_d"] > 0 and len(row["mean_dist"]) == 31 and row["n_frames"] == 75 and row["cluster"] == "speaker:s"
    assert {why[m] for m in ("ssim", "landmark_distance", "identity_similarity")} == {"no_reference"}
    assert row["energy_correlation"] is not None and row["jitter"] > 0 and -60 < row["loudness_db"] < 0
    assert row["protocol"].startswith("syncnet-v2-direct(view=mouth 64x48")
    assert "sound=file" in row["protocol"] and row["expert"].startswith("small:")
    assert json.loads(work.json_text([row])) == [row]


def test_a_reference_gives_its_track_and_the_rest_of_the_figures(scorer, films):
    row, why = only(scorer, films, "a_again.mp4", reference=films / "a.mp4", reference_name="a.mp4")
    assert row["track_id"] == "a.mp4-t0" and 0.8 < row["ssim"] < 1
    assert row["psnr"] > 25 and row["lmd"] < 3 and row["opening_correlation"] > 0.5
    assert row["ssim_mouth"] < 1 and row["ssim_frame"] > 0.8
    assert (why["wer"], why["fdd"], why["truth_opening_correlation"]) == ("no_lip_reader", "no_meshes", "no_truth")
    real, why = only(scorer, films, "a.mp4", system="real")
    assert why["ssim"] == "is_the_reference" and real["track_id"] == row["track_id"]
    again, _ = only(scorer, films, "a_again.mp4", reference=films / "a.mp4", reference_name="a.mp4")
    assert work.json_text([again]) == work.json_text([row]), "the same inputs give the same bytes"


def test_other_words_and_other_sizes_are_not_compared(scorer, films):
    row, why = only(scorer, films, "a_again.mp4", reference=films / "a.mp4", condition="cross-audio", audio=films / "b.mp4",
                    audio_name="b.mp4")
    assert why["ssim"] == why["landmark_distance"] == "other_words" and row["lse_d"] > 0 and row["audio_clip_id"] == "b.mp4"
    own, _ = only(scorer, films, "a_again.mp4", reference=films / "a.mp4")
    assert own["mean_dist"] != row["mean_dist"], "its sound is another"
    row, why = only(scorer, films, "small.mp4", reference=films / "a.mp4", reference_name="a.mp4")
    assert why["ssim"] == why["lmd"] == "sizes_differ"
    assert row["lse_d"] == pytest.approx(own["lse_d"], rel=0.1), "cut where the real face is"


def test_refusals_have_names(scorer, films):
    expected = {"mute.mp4": "no_audio", "silent.mp4": "silent_sound", "brief.mp4": "too_short", "nobody.mp4": "no_face",
                "torn.mp4": "decode_error", "gone.mp4": "missing_file"}
    found = {name: only(scorer, films, name)[1]["lse_d"] for name in expected}
    assert found == expected
    assert [work.scored_at_all(only(scorer, films, name)[0]) for name in ("mute.mp4", "torn.mp4")] == [True, False]


def test_words_are_read_off_files_too(scorer, films, monkeypatch):
    from stages.judge import Judge

    reader = {"target": "tests.stages.stand_in_reader:Reader", "weights": None, "name": "stand-in:0",
              "view": scorer.judge.config["view"]}
    monkeypatch.setattr(scorer, "judge", Judge(scorer.judge.config | {"reader": reader, "expert": None}))
    row, why = only(scorer, films, "a.mp4", transcript="bin blue at f")
    assert (row["wer"], row["cer"], why["lse_d"]) == (0, 0, "no_expert") and "reader=stand-in:0" in row["protocol"]
    for given, wer, cer in (({}, "no_transcript", "no_transcript"), ({"transcript": "..."}, "no_transcript", "no_transcript"),
                            ({"transcript": "a", "audio_language": "tr"}, "language_not_read", "language_not_read"),
                            ({"transcript": "你好", "audio_language": "zh"}, "no_word_spaces", None)):
        _, why = only(scorer, films, "a.mp4", **given)
        assert (why["wer"], why.get("cer")) == (wer, cer)


def test_the_tracked_protocol_follows_no_face_across_a_cut(films, talkers, scorer, tmp_path):
    import torch

    from models.experts.syncnet import SyncNetSmall

    torch.manual_seed(3)
    torch.save(SyncNetSmall((224, 224)).eval().state_dict(), tmp_path / "model.pt")
    shards.write_json(tmp_path / "card.json", {"width": "small", "view": "syncnet"})
    parts = [(list(media.read_frames(path, stop=40)), media.read_audio(path)[:40 * 640])
             for path in (films / "a.mp4", films / "b.mp4")]
    media.write_video(tmp_path / "two.mp4", parts[0][0] + parts[1][0], audio=np.concatenate([p[1] for p in parts]), crf=10)
    entry = work.Entry("two.mp4", tmp_path / "two.mp4", language="en")
    with inside(talkers) as params:
        tracked = work.Scorer("syncnet-v2-tracked", tmp_path / "model.pt", params)
    rows = tracked.rows(entry)
    assert [(tracked.made[r["generated_id"]][1], r["n_frames"], r["n_windows"]) for r in rows] == [(0, 40, 35), (40, 40, 35)]
    assert all(r["lse_d"] > 0 and len(r["mean_dist"]) == 31 and "cuts=shots" in r["protocol"] for r in rows)
    assert all("jpeg=mjpeg, edges=zeros" in r["protocol"] for r in rows)
    assert [r["n_frames"] for r in scorer.rows(entry)] == [80], "else the cut is within one track"


def test_holes_in_picture_sound_and_track_are_refused(scorer, films, monkeypatch):
    film, sound = scorer.film(films / "a.mp4"), scorer.sound(films / "a.mp4")
    entry = work.Entry("a.mp4", films / "a.mp4")
    for changes, reason in (({"no_sync": "gap_in_picture"}, "gap_in_picture"),
                            ({"sound": replace(sound, no_sync="gap_in_sound")}, "gap_in_sound"),
                            ({"faces": [replace(film.faces[0], no_sync="gap_in_track")]}, "gap_in_track")):
        monkeypatch.setattr(scorer, "film", lambda path, changes=changes: replace(film, **changes))
        (row,) = scorer.rows(entry)
        assert {n["metric"]: n["reason"] for n in row["null_reasons"]}["lse_d"] == reason
        assert row["energy_correlation"] is not None


def test_where_holes_are_seen(tmp_path, scorer):
    from fractions import Fraction

    from tests.core.media_clips import click_track, mux

    times = [i / 25 for i in range(50) if not 20 <= i < 30]
    mux(tmp_path / "still.mp4", times_s=times, clock=Fraction(1, 25),
        tracks=[{"codec": "aac", "rate": 16000, "samples": click_track([0.5], 2.0)}])
    assert scorer.film(tmp_path / "still.mp4").no_sync == "gap_in_picture"
    mux(tmp_path / "late.mp4", times_s=[i / 25 for i in range(50)],
        tracks=[{"codec": "aac", "rate": 16000, "samples": click_track([0.5], 1.0), "start_s": 0.6}])
    assert scorer.sound(tmp_path / "late.mp4").no_sync == "gap_in_sound"


def test_without_any_expert_the_rest_is_scored(films, tmp_path, monkeypatch):
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path / "none"))
    from core import weights

    real_find = weights.find
    monkeypatch.setattr(weights, "find", lambda name, fetch=True: real_find(name, fetch=False) if name != "syncnet_v2" else
                        (_ for _ in ()).throw(weights.WeightsMissing("model 'syncnet_v2' (...)")))
    bare = work.Scorer("syncnet-v2-whole-frame")
    row, why = only(bare, films, "a.mp4")
    assert why["lse_d"] == "no_expert" and row["expert"] is None
    assert row["protocol"].startswith("syncnet-v2-whole-frame(view=syncnet 224x224")
    assert any("no_expert" in note for note in bare.notes) and work.scored_at_all(row)
    entries = work.with_controls([work.Entry("b_again.mp4", films / "b_again.mp4", films / "b.mp4", "b.mp4", "en", "b", "coded")])
    page = write_report([r for e in entries for r in bare.rows(e)], bare.made, tmp_path / "report", Report(bootstrap=100))
    assert "There was no sync expert, so there is no LSE" in page.read_text()


def test_a_small_expert_cannot_see_whole_frames(scorer, films):
    import stages.judge

    other = stages.judge.Judge(scorer.judge.config | {"protocol": "syncnet-v2-whole-frame"})
    film, sound = scorer.film(films / "a.mp4"), scorer.sound(films / "a.mp4")
    row = other(scorer._take(work.Entry("a.mp4", films / "a.mp4"), film, film, sound, None, 0, 75))
    assert {n["metric"]: n["reason"] for n in row["null_reasons"]}["lse_d"] == "wrong_view"
    with pytest.raises(UserError, match="only a params.yaml defines"):
        work.view_of({"view": "mouth", "path": "model.pt"}, None)


def test_an_index_gets_its_controls_and_a_report(scorer, films, tmp_path):
    entries = work.with_controls([work.Entry(f"{n}_again.mp4", films / f"{n}_again.mp4", films / f"{n}.mp4", f"{n}.mp4",
                                             "en", n, "coded")
                                  for n in "ab"])
    assert [(e.system, e.condition, e.name, e.audio_name) for e in entries[2:]] == [
        ("real", "self", "a.mp4", ""), ("real", "self", "b.mp4", ""), ("real", "shuffled", "a.mp4", "b.mp4"),
        ("real", "shuffled", "b.mp4", "a.mp4")]
    assert work.with_controls(entries) == entries, "nothing is listed twice"
    rows = [r for e in entries for r in scorer.rows(e, sets=True)]
    assert all(r["lag_offsets"] is None for r in rows if r["system"] == "coded")
    assert all(len(r["lag_offsets"]) == 5 for r in rows if r["system"] == "real")
    page = write_report(rows, scorer.made, tmp_path / "report", sets=scorer.set_rows())
    document = shards.read_json(tmp_path / "report" / "report.json")
    sets = {(r["system"], r["metric"], r["k"], r["direction"]): r for r in document["sets"] if r["condition"] == "self"}
    assert sets["coded", "fid", None, None]["reason"] == "no_weights"
    assert sets["real", "fid", None, None]["reason"] == "is_the_reference"
    assert sets["coded", "retrieval_recall", 1, "audio_to_video"]["n"] == 2 and 'id="sets"' in page.read_text()
    cell = next(c for c in document["cells"] if (c["system"], c["condition"], c["metric"]) == ("coded", "self", "ssim"))
    assert cell["value"]["n_clips"] == 2 and 0 < cell["gap"]["mean"] < 0.2 and "coded" in page.read_text()
    assert len(list((tmp_path / "report" / "media").glob("*.mp4"))) >= 4
    assert str(films) not in "".join(p.read_text() for p in (tmp_path / "report").glob("*.json"))
    torn = scorer.rows(work.Entry("torn.mp4", films / "torn.mp4", language="en", system="coded"))
    page = write_report([*rows, *torn], scorer.made, tmp_path / "report", Report(bootstrap=100, alpha=0.1), margin=9.0)
    again = shards.read_json(tmp_path / "report" / "report.json")
    (step,) = again["funnel"]["steps"]
    assert (step["in"], step["kept"], step["rejected"]) == (7, 6, {"decode_error": 1}) and again["funnel"]["adds_up"]
    assert "7 videos went in; 6 videos were scored. 1 item was rejected" in page.read_text()
    assert [c["value"]["n_clips"] for c in again["cells"]] == [c["value"]["n_clips"] for c in document["cells"]]
    assert (again["resamples"], again["alpha"], again["margin"]) == (100, 0.1, 9.0)
    with pytest.raises(UserError, match=r"of 1 videos none could be read \(decode_error 1\)"):
        write_report(torn, scorer.made, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="not empty"):
        write_report(rows, scorer.made, tmp_path / "mine")


def test_without_real_video_scores_stay_and_it_is_said(scorer, films):
    from report.markdown import markdown

    rows = [r for n in "ab" for r in scorer.rows(work.Entry(f"{n}.mp4", films / f"{n}.mp4", language="en", system="coded"))]
    document = report_document(rows, Report(bootstrap=100), 0.0)
    assert [(v["valid"], v["reason"]) for v in document["validity"]] == [(False, "no_real_and_shuffled_pairs")]
    cell = next(c for c in document["cells"] if c["metric"] == "lse_d")
    assert cell["value"]["n_clips"] == 2 and cell["value"]["mean"] > 0 and cell["nulls"] == {}
    said = markdown(document)
    assert "Not checked: no real clip with shuffled sound in en." in said and "rank real sound" not in said


def test_lags_on_real_video_say_where_the_expert_cannot_be_read(scorer, films, tmp_path):
    from bench import lag

    (films / "index.csv").write_text("file,language,speaker,kind\n"
                                     "a.mp4,en,x,real\nb.mp4,en,y,real\nmute.mp4,tr,,real\nsilent.mp4,en,,negative\n")
    found = lag.measure_real(films, scorer, 2.0)
    (row,) = found["languages"]
    assert found["refused"] == {"no_audio": 1} and (row["language"], row["n_clips"], row["n_speakers"]) == ("en", 2, 2)
    assert row["reason"] == "too_few_clips" and row["within_1"] < 0.95
    assert not found["passes"], "an expert that never learnt anything"
    assert "too_few_clips" in lag.text(found)
    assert [lag.reason_of(v) for v in (None, {"heard": False}, {"heard": True})] == ["too_short", "expert_not_valid_here", None]


def test_rows_go_into_files(scorer, films, tmp_path):
    rows = scorer.rows(work.Entry("a.mp4", films / "a.mp4"))
    for suffix in ("json", "csv", "parquet"):
        work.write_rows(rows, tmp_path / f"rows.{suffix}")
    (written,) = json.loads((tmp_path / "rows.json").read_text())
    assert written | {"path": None} == rows[0] | {"path": None} and rows[0]["path"] == str(films / "a.mp4")
    assert (tmp_path / written["path"]).resolve() == films / "a.mp4" and not written["path"].startswith("/")
    assert all(r["path"] == written["path"] for r in shards.read_shard(tmp_path / "rows.parquet").to_pylist())
    assert shards.read_shard(tmp_path / "rows.parquet").to_pylist()[0]["lse_d"] == rows[0]["lse_d"]
    assert (tmp_path / "rows.csv").read_text().splitlines()[0].split(",") == columns("scores")
