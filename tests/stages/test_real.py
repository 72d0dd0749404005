"""The data stages over every real clip there is: each file accounted for, each refusal for its own reason. Takes minutes."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter

import av
import numpy as np
import pytest

from core.shards import ViewStore
from core.tracks import load_track
from tests.stages.sync_clips import inside, rejects_of, rows_of, workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
TAGS = ("en", "es", "fr", "it", "pt", "und")
STAGES = ("download", "segment", "track", "inspect", "crop", "features")
SLIDES, SLIDES_S = "clips/noface_slides.mp4", 25.0  # of its two minutes in 1080p, half of what segment had to do


@pytest.fixture(scope="module")
def listed(shared):
    """The index of the corpus here."""
    with open(shared / "real" / "index.csv", newline="") as file:
        return [row | ({"seconds": SLIDES_S} if row["file"] == SLIDES else {}) for row in csv.DictReader(file)]


def beginning(source, target, seconds):
    """Copies the packets of a video's first seconds."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        streams = {s.index: part.add_stream_from_template(s) for s in (whole.streams.video[0], whole.streams.audio[0])}
        for packet in whole.demux(list(whole.streams)):
            if packet.stream_index in streams and packet.dts is not None and packet.pts * packet.time_base < seconds:
                packet.stream = streams[packet.stream_index]
                part.mux(packet)


@pytest.fixture(scope="module")
def folder_of_clips(shared, listed, tmp_path_factory):
    """All real clips and their index; the slides are their beginning."""
    folder = tmp_path_factory.mktemp("clips")
    for name in (row["file"] for row in listed):
        (folder / name).parent.mkdir(exist_ok=True)
        if name == SLIDES:
            beginning(shared / "real" / name, folder / name, SLIDES_S)
        else:
            shutil.copyfile(shared / "real" / name, folder / name)  # links out of a corpus are refused
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, listed[0])
        writer.writeheader()
        writer.writerows(listed)
    return folder


@pytest.fixture(scope="module")
def real(shared, folder_of_clips, tmp_path_factory):
    """The workspace after all data stages over all real clips: one run for all tests here."""
    import stages.crop
    import stages.download
    import stages.features
    import stages.inspect
    import stages.segment
    import stages.split
    import stages.track

    folder = workspace(tmp_path_factory.mktemp("real"),
                       {"real": {"adapter": "folder", "path": str(folder_of_clips), "languages": {t: {} for t in TAGS}}},
                       executor={"workers": 1, "timeout_s": 600}, track={"finder": "yunet", "landmarker": "mediapipe"})
    with pytest.MonkeyPatch.context() as patch, inside(folder) as params:
        patch.setenv("BABELFACE_MODELS", str(shared / "models"))
        for stage in (stages.download, stages.segment, stages.track, stages.inspect, stages.crop, stages.features):
            for tag in TAGS:
                stage.main(f"real-{tag}", params)
        stages.split.main("all", params)
    return folder


def stats(folder, stage, tag):
    return json.loads((folder / "data" / stage / f"real-{tag}" / "stats.json").read_text())


def every(folder, stage, table):
    return [r for tag in TAGS for r in rows_of(folder, stage, f"real-{tag}", table)]


def name_of(file):
    return file.removesuffix("." + file.split(".")[-1]).replace("/", "_")


def test_every_file_is_a_recording_or_a_reject(real, listed):
    kept = {r["recording_id"] for r in every(real, "download", "recordings")}
    refused = {i: v for tag in TAGS for i, v in rejects_of(real, "download", f"real-{tag}").items()}
    assert kept | set(refused) == {name_of(r["file"]) for r in listed} and not kept & set(refused) and len(listed) == 28
    assert {i: reason for i, (reason, _) in refused.items()} == {"clips_noaudio_face": "no_audio"}
    assert "clips/noaudio_face.mp4" in refused["clips_noaudio_face"][1]


def test_the_ledger_says_what_the_index_says(real, listed):
    rows = {r["recording_id"]: r for r in every(real, "download", "recordings")}
    for one in listed:
        row = rows.get(name_of(one["file"]))
        if row:
            assert (row["language"], row["kind"], row["speaker"]) == (one["language"] or "und", one["kind"], one["speaker"] or None)


def test_only_the_one_too_short_recording_gives_no_clip(real):
    refused = {i: v for tag in TAGS for i, v in rejects_of(real, "segment", f"real-{tag}").items()}
    clips = Counter(c["recording_id"] for c in every(real, "segment", "clips"))
    assert {i: reason for i, (reason, _) in refused.items() if i != "clips_noface_slides"} == {"clips_av2av_6": "too_short"}
    assert "av2av_6.webm" in refused["clips_av2av_6"][1]
    assert set(clips) | set(refused) == {r["recording_id"] for r in every(real, "download", "recordings")}
    assert clips["clips_noface_slides"] >= 1, "somebody speaks over the slides"


def test_clips_keep_to_their_recording_and_to_the_limits(real, listed):
    decoded = {name_of(r["file"]): float(r["seconds"]) for r in listed}
    for clip in every(real, "segment", "clips"):
        assert 50 <= clip["n_frames"] <= 250 and clip["n_samples"] <= 640 * clip["n_frames"]
        assert (clip["start_frame"] + clip["n_frames"]) / 25 <= decoded[clip["recording_id"]] + 0.1


def test_slides_have_no_face_and_all_else_has_one(real):
    refused = {i: v for tag in TAGS for i, v in rejects_of(real, "track", f"real-{tag}").items()}
    slides = {c["clip_id"] for c in every(real, "segment", "clips") if c["recording_id"] == "clips_noface_slides"}
    assert {i: reason for i, (reason, _) in refused.items()} == dict.fromkeys(slides, "no_face")


def test_both_of_two_speakers_are_tracked_in_the_clip_cut_from_them(real):
    tracks = [t for t in rows_of(real, "track", "real-en", "tracks") if t["recording_id"] == "clips_two_speakers"]
    by_clip: dict[str, list] = {}
    for track in tracks:
        by_clip.setdefault(track["clip_id"], []).append(track)
    assert by_clip and all(len(both) == 2 for both in by_clip.values())
    for left, right in by_clip.values():
        assert load_track(left).boxes[:, 2].max() < load_track(right).boxes[:, 0].min()
        assert left["mesh_share"] > 0.9 and right["mesh_share"] < 0.5, "the man on the right wears a mask"


def test_the_silent_one_of_two_speakers_is_rejected_and_nobody_else(real):
    refused = {i: v for tag in TAGS for i, v in rejects_of(real, "inspect", f"real-{tag}").items()}
    clips = {t["clip_id"] for t in rows_of(real, "track", "real-en", "tracks") if t["recording_id"] == "clips_two_speakers"}
    assert {i: reason for i, (reason, _) in refused.items()} == {f"{c}-t0": "silent_face" for c in clips}
    rows = every(real, "inspect", "inspected")
    assert {r["track_id"] for r in rows} | set(refused) == {t["track_id"] for t in every(real, "track", "tracks")}
    assert all(r["sharpness"] > 0 and 0 < r["brightness"] < 1 and r["offset_frames"] is None for r in rows)


def test_accepted_tracks_see_their_face_throughout(real):
    tracks = every(real, "track", "tracks")
    assert len(tracks) >= 28 and min(t["face_share"] for t in tracks) >= 0.98 and min(t["face_px"] for t in tracks) >= 48
    for row in tracks:
        track = load_track(row)
        assert len(track.boxes) == row["n_frames"] and np.isfinite(track.landmarks).all()
        step = np.abs(np.diff((track.boxes[:, :2] + track.boxes[:, 2:]) / 2, axis=0)).max()
        assert step < 0.5 * row["face_px"], f"{row['track_id']} jumps by {step:.0f} pixels"


@pytest.fixture(scope="module")
def examined(real, shared):
    """What bench.real says of that run."""
    from bench import real as bench

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BABELFACE_MODELS", str(shared / "models"))
        return bench.measure(real)


def test_the_benchmark_accounts_for_each_file_by_itself(examined, listed):
    ends = {name: {e["reason"] for e in some} for name, some in examined["files"].items()}
    assert set(ends) == {r["file"] for r in listed} and examined["passes"], examined["problems"]
    wanted = {"noaudio_face.mp4": {"no_audio"}, "noface_slides.mp4": {"no_face"}, "av2av_6.webm": {"too_short"},
              "two_speakers.mp4": {"silent_face", "no_mesh"}}
    assert ends == {r["file"]: wanted.get(r["file"].partition("/")[2], {None}) for r in listed}


def test_a_face_is_seen_or_found_when_looked_for_in_nearly_all_frames(examined):
    faces = examined["faces"]
    assert len(faces) >= 28 and min(f["found"] for f in faces) >= 0.98
    (masked,) = [f for f in faces if f["seen"] < 0.9]
    assert masked["file"] == "clips/two_speakers.mp4" and masked["meshed"] < 0.5 and masked["longest_unseen"] <= 25
    assert all(f["meshed"] <= f["seen"] <= f["found"] <= 1 and f["seen"] <= f["counted"] for f in faces)


def test_every_face_has_a_row_in_the_sheets_of_each_view_that_can_be_cut(real, examined):
    import cv2

    from bench.real import CELL_PX, ROWS

    assert {name.rpartition("-")[0] for name in examined["sheets"]} == {"results/bench/real-mouth"}  # the one view stored there
    n_rows = sum(len(cv2.imread(str(real / name))) for name in examined["sheets"]) // CELL_PX
    assert n_rows == sum(f["end"] == "kept" for f in examined["faces"]) and len(examined["sheets"]) == -(-n_rows // ROWS)


def test_views_are_stored_for_all_tracks_with_a_mesh(real):
    tracks = {t["track_id"]: t for t in every(real, "inspect", "inspected")}
    refused = {i: v for tag in TAGS for i, v in rejects_of(real, "crop", f"real-{tag}").items()}
    stored = {i for tag in TAGS for i in ViewStore(real / "data" / "crop" / f"real-{tag}").ids("mouth")}
    assert stored | set(refused) == set(tracks) and not stored & set(refused)
    assert all(reason == "no_mesh" and tracks[i]["mesh_share"] < 0.9 for i, (reason, _) in refused.items())
    assert {tracks[i]["recording_id"] for i in refused} <= {"clips_two_speakers"}
    assert {f["track_id"] for f in every(real, "features", "features")} == set(tracks)


def test_the_funnel_adds_up_stage_by_stage(real, listed):
    for tag in TAGS:
        before = None
        for stage in STAGES:
            one = stats(real, stage, tag)
            assert one["items_in"] == one["kept"] + one["rejected"]
            assert sum(n for cell in one["by_language"].values() for n in cell["rejected"].values()) == one["rejected"]
            table = one["tables"][0]
            if before is not None:
                assert one["items_in"] == before, f"{stage} {tag} takes in what the stage before it gave out"
            before = one["rows"]["kept" if stage == "inspect"
                                 else table] if stage in ("download", "segment", "track", "inspect") else before
    assert sum(stats(real, "download", t)["items_in"] for t in TAGS) == len(listed)
    assert len(rows_of(real, "split", "all", "splits")) == len(every(real, "inspect", "inspected"))


def test_generated_video_is_kept_out_of_training_and_speakers_apart(real):
    dealt = rows_of(real, "split", "all", "splits")
    assert {d["split"] for d in dealt if d["kind"] == "generated"} == {"generated"}
    where: dict[str, set[str]] = {}
    for d in dealt:
        if d["split"] not in ("generated", "unmeshed"):
            where.setdefault(d["cluster"], set()).add(d["split"])
    assert all(len(splits) == 1 for splits in where.values()) and len(where["speaker:syncnet"]) == 1
    assert {d["recording_id"] for d in dealt if d["split"] == "unmeshed"} <= {"clips_two_speakers"}
