"""Score: what each kind of row gets, what is null and why, and that only what changed is scored again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import stages.judge
import stages.score
from core import media, shards
from core.stage import UserError
from tests.stages.sync_clips import inside, rows_of, sha_of

COMPARED = ("ssim", "psnr", "landmark_distance", "opening_correlation")
SYNC = ("lse_d", "lse_c", "offset_frames", "n_windows", "mean_dist")


def echoes(folder):
    """Rows of a system that shows the source itself: coded again, beside another's sound, and a track whose words are others'."""
    rows = []
    real = {r["track_id"]: r for r in rows_of(folder, "generate", "controls", "generated")
            if (r["system"], r["condition"]) == ("real", "self")}
    track = rows_of(folder, "track", "synthetic-en", "tracks")[0]
    source = folder / "data" / "download" / "synthetic-en" / "media" / track["file"]
    frames = list(media.read_frames(source, start=track["start_frame"], stop=track["start_frame"] + track["n_frames"]))
    other = next(r for r in real.values() if r["track_id"] != track["track_id"])
    mine = real[track["track_id"]] | {"system": "echo", "training": "echo", "training_languages": ["en"]}
    rows.append(mine | {"generated_id": "echo.self", "video": media.encode_video(frames, crf=12)})
    rows.append(mine | {"generated_id": "echo.shuffled", "condition": "shuffled", "video": None, "video_of": "echo.self",
                        "audio_clip_id": other["audio_clip_id"], "n_frames": min(mine["n_frames"], other["n_frames"])})
    rows.append(mine | {"generated_id": "echo.brief", "n_frames": 20, "video": media.encode_video(frames[:20], crf=12)})
    rows.append(mine | {"generated_id": "echo.torn", "video": media.encode_video(frames[:20], crf=12)})
    shards.write_table(shards.shard_path(folder / "data" / "generate" / "echo", "generated", 0), rows, "generated")


@pytest.fixture(scope="module")
def scored(controls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored") / "work"
    shutil.copytree(controls, folder, symlinks=True)
    with inside(folder) as params:
        echoes(folder)
        stages.score.main("echo", params)
    return folder, sha_of(folder)


@pytest.fixture(scope="module")
def rows(scored):
    folder, _ = scored
    return {r["generated_id"]: r | {"why": {n["metric"]: n["reason"] for n in r["null_reasons"]}}
            for name in ("controls", "echo") for r in rows_of(folder, "score", name, "scores")}


def of(rows, system, condition):
    found = [r for r in rows.values() if (r["system"], r["condition"]) == (system, condition)]
    assert found
    return found


def test_one_row_per_generated_row(scored, rows):
    folder, sha = scored
    made = [r for name in ("controls", "echo") for r in rows_of(folder, "generate", name, "generated")]
    assert set(rows) == {r["generated_id"] for r in made} - {"echo.torn"} and len(made) == 6 + 4
    for row in rows.values():
        assert (row["protocol"].partition("(")[0], row["expert"],
                row["expert_sha256"]) == ("syncnet-v2-direct", f"small:{sha[:8]}", sha)
        assert -60 < row["loudness_db"] < 0 and row["finder"]


def test_a_metric_is_a_number_or_has_a_reason(rows):
    for row in rows.values():
        for name in stages.judge.METRICS:
            assert (row[name] is None) == (name in row["why"]), (row["generated_id"], name, row[name], row["why"])


def test_the_real_clip_has_sync_and_is_its_own_reference(rows):
    for row in of(rows, "real", "self"):
        assert row["lse_d"] > 0 and row["lse_c"] >= 0 and len(row["mean_dist"]) == 31 and abs(row["offset_frames"]) <= 15
        assert row["n_windows"] >= 20 and {row["why"][m] for m in COMPARED} == {"is_the_reference"}
        assert row["lse_d"] == pytest.approx(min(row["mean_dist"]))
        assert row["truth_opening_correlation"] > 0.5, "the tracked mouth follows the drawn one"


def test_another_clips_words_are_not_compared(rows):
    for row in of(rows, "real", "shuffled"):
        assert {row["why"][m] for m in COMPARED} == {"is_the_reference"}
        assert row["why"]["truth_opening_correlation"] == "other_words"
        assert row["lse_d"] > 0
    for row in of(rows, "echo", "shuffled"):
        assert {row["why"][m] for m in COMPARED} == {"other_words"} and row["lse_d"] > 0
    own = {r["track_id"]: r["mean_dist"] for r in of(rows, "real", "self")}
    assert all(r["mean_dist"] != own[r["track_id"]] for r in of(rows, "real", "shuffled")), "its sound is another"


def test_the_source_coded_again_is_nearly_the_source(rows):
    row = rows["echo.self"]
    assert row["ssim"] > 0.95 and row["psnr"] > 35
    assert row["landmark_distance"] < 0.03 and row["opening_correlation"] > 0.9 and row["truth_opening_correlation"] > 0.5
    real = next(r for r in of(rows, "real", "self") if r["track_id"] == row["track_id"])
    assert row["lse_d"] == pytest.approx(real["lse_d"], rel=0.05)


def test_a_still_moves_no_mouth(rows):
    echo = rows["echo.self"]
    for row in of(rows, "still", "self"):
        correlation = row["opening_correlation"]
        assert row["why"].get("opening_correlation") == "constant_series" if correlation is None else abs(correlation) < 0.5
        assert row["ssim"] < echo["ssim"] - 0.02 and row["landmark_distance"] > echo["landmark_distance"]


def test_a_clip_too_short_for_sync_says_so_and_keeps_its_picture(rows):
    row = rows["echo.brief"]
    assert {row["why"][m] for m in SYNC} == {"too_short"} and row["ssim"] > 0.95 and row["n_frames"] == 20


def test_a_video_that_lacks_frames_is_rejected(scored):
    folder, _ = scored
    (reject,) = rows_of(folder, "score", "echo", "rejects")
    assert (reject["item_id"], reject["reason"]) == ("echo.torn", "decode_error") and "20 of" in reject["detail"]


def test_only_a_changed_row_is_scored_again(scored):
    folder, _ = scored
    log = folder / ".babelface" / "logs" / "score-echo.log"
    with inside(folder) as params:
        before = {r["generated_id"]: r for r in rows_of(folder, "score", "echo", "scores")}
        stages.score.main("echo", params)
        assert "total=4 already_done=4" in log.read_text()
        made = rows_of(folder, "generate", "echo", "generated")
        for row in made:
            if row["generated_id"] == "echo.brief":
                row["video"] = media.encode_video(list(media.read_frames(row["video"]))[::-1], crf=12)
        shards.write_table(shards.shard_path(folder / "data" / "generate" / "echo", "generated", 0), made, "generated")
        stages.score.main("echo", params)
    assert "total=4 already_done=3" in log.read_text()
    after = {r["generated_id"]: r for r in rows_of(folder, "score", "echo", "scores")}
    assert {k for k in after if after[k] != before[k]} == {"echo.brief"}
    assert after["echo.brief"]["ssim"] < before["echo.brief"]["ssim"]


def test_generated_mouths_are_measured_with_the_mesh_of_the_tracks():
    assert stages.score.tracked_mesh(["facemesh:aa", "facemesh:aa", None]) == "facemesh"
    assert stages.score.tracked_mesh(["mediapipe:bb"]) == "mediapipe" and stages.score.tracked_mesh([None]) is None
    for several in (["facemesh:aa", "mediapipe:bb"], ["opencv:cc"]):
        with pytest.raises(UserError, match="track.landmarker"):
            stages.score.tracked_mesh(several)


def test_without_an_expert_it_says_what_to_do(talkers):
    with inside(talkers) as params, pytest.raises(UserError, match="no sync expert here; train it: babelface evaluate train-syncnet;"):
        stages.score.main("controls", params)


READER = "tests.stages.stand_in_reader:Reader"


def test_a_lip_reader_reads_whole_recordings_whose_words_are_known(scored, tmp_path, monkeypatch):
    folder, _ = scored
    told = tmp_path / "work"
    shutil.copytree(folder, told, symlinks=True)
    monkeypatch.syspath_prepend(folder.resolve())
    first = rows_of(told, "track", "synthetic-en", "tracks")[0]["recording_id"]
    for path in (told / "data" / "download" / "synthetic-en" / "recordings").glob("*.parquet"):
        rows = [r | {"extra": '{"transcript": "Bin blue, at f now"}' if r["recording_id"] == first else "{}"}
                for r in shards.read_shard(path).to_pylist()]
        shards.write_table(path, rows, "recordings")
    (tmp_path / "words.txt").write_text("bin blue at s now")
    with inside(told) as params:
        def asked(**changes):
            return params.model_copy(update={"score": params.score.model_copy(update=changes)})

        plain = stages.score.prepare("controls", params)
        work, config, mark = stages.score.prepare("controls", asked(lip_reader=READER))
        other = stages.score.prepare("controls", asked(lip_reader=READER, lip_reader_weights=str(tmp_path / "words.txt")))
        assert len({str(p[2]["weights"].get("lip_reader")) for p in (plain, (0, 0, mark), other)}) == 3
        assert "said" not in plain[0][0].payload and plain[2]["params"].keys() == mark["params"].keys()
        assert {w.payload["said"] for w in work if w.payload["track"]["recording_id"] == first
                and w.payload["row"]["condition"] == "self"} == {"Bin blue, at f now"}
        judge = stages.score.Mapper(config)
        heard = {}
        for one in work:
            if one.payload["row"]["system"] == "real" and one.payload["row"]["condition"] == "self":
                (row,) = judge(one.payload)["scores"]
                heard[one.payload["track"]["recording_id"]] = row, {n["metric"]: n["reason"] for n in row["null_reasons"]}
        row, _ = heard.pop(first)
        assert (row["wer"], row["cer"]) == (pytest.approx(1 / 5), pytest.approx(4 / 17))
        assert "reader=stand-in:" in row["protocol"] and {why["wer"] for _, why in heard.values()} == {"no_transcript"}
        for wrong, match in ((READER.replace(":R", ":N"), "cannot be imported"),
                             (READER.replace("Reader", "Elsewhere"), "'profile'")):
            with pytest.raises(UserError, match=match):
                stages.score.prepare("controls", asked(lip_reader=wrong))
        with pytest.raises(UserError, match="lip_reader_weights.*no such file"):
            stages.score.prepare("controls", asked(lip_reader=READER, lip_reader_weights="gone.pt"))
        with pytest.raises(UserError, match="score.precision bfloat16.*small network"):
            stages.score.prepare("controls", asked(precision="bfloat16"))


def test_every_sound_of_the_truth_has_its_error(scored, rows):
    folder, _ = scored
    said = {r["recording_id"]: r["phonemes"] for r in rows_of(folder, "download", "synthetic-en", "truth")}
    echo = rows["echo.self"]
    recording = next(r["recording_id"] for r in rows_of(folder, "track", "synthetic-en", "tracks")
                     if r["track_id"] == echo["track_id"])
    errors = {e["viseme"]: e for e in echo["viseme_errors"]}
    assert set(errors) <= {p["viseme"] for p in said[recording]} and len(errors) >= 5
    assert sum(e["n_frames"] for e in errors.values()) <= echo["n_frames"]
    assert all(abs(e["signed"]) <= e["error"] + 1e-12 for e in errors.values())
    still = next(r for r in of(rows, "still", "self") if r["track_id"] == echo["track_id"])
    wide = {e["viseme"]: e["error"] for e in still["viseme_errors"]}
    assert np.mean([e["error"] for e in errors.values()]) < 0.6 * np.mean(list(wide.values())), "a still mouth misses more"
    assert {r["why"]["viseme_errors"] for r in of(rows, "real", "self")} == {"is_the_reference"}
    assert {r["why"]["viseme_errors"] for r in of(rows, "echo", "shuffled")} == {"other_words"}
