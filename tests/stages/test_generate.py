from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from core import media
from core.licences import policy
from core.params import check_params
from core.shards import pack, read_json, read_rows, shard_path, write_json, write_table
from core.stage import UserError
from core.timing import n_samples_for_frames
from core.tracks import Track, pack_track
from models.systems.base import make_system
from stages import generate
from stages.generate import partner

ROOT = Path(__file__).resolve().parents[2]
SIZE, PLANTED = 160, "x-bad"


def rows(*specs):
    """Track rows from (id, language, recording, n_frames), each of a speaker of its own, or (..., speaker)."""
    return [{"track_id": i, "language": tag, "recording_id": rec, "n_frames": n, "corpus": "toy",
             "cluster": f"speaker:{(*who, rec)[0]}",
             "fold": "planted" if tag == PLANTED else "real"} for i, tag, rec, n, *who in specs]


TRACKS = rows(("a", "en", "r1", 50), ("b", "en", "r1", 90), ("c", "en", "r2", 40), ("d", "en", "r3", 60), ("e", "en", "r4", 70),
              ("f", "sw", "r5", 80), ("g", PLANTED, "r6", 99), ("h", PLANTED, "r7", 99))


@pytest.mark.parametrize("condition", ["cross-audio", "shuffled"])
def test_a_partner_speaks_the_same_language_in_another_recording_and_is_long_enough(condition):
    assert partner(TRACKS[0], TRACKS, condition, 0)["track_id"] in ("d", "e")
    assert partner(TRACKS[1], TRACKS, condition, 0)["track_id"] == "e"  # none is as long as b: the longest


def test_shuffled_sound_is_the_same_voice_saying_something_else_where_that_is_long_enough():
    some = rows(("a", "en", "r1", 50, "anna"), *((f"x{k}", "en", f"x{k}", 60) for k in range(20)), ("b", "en", "r2", 50, "anna"),
                ("c", "en", "r3", 40, "anna"))
    assert {partner(some[0], some, "shuffled", seed)["track_id"] for seed in range(5)} == {"b"}
    assert partner(some[0], [*some[:-2], some[-1]], "shuffled",
                   0)["track_id"][0] == "x", "a whole clip of another rather than half a one"
    assert any(partner(some[0], some, "cross-audio", seed)["track_id"] != "b"
               for seed in range(5)), "another's voice is wanted there"


def test_another_language_is_another_one_and_not_a_planted_one():
    assert partner(TRACKS[0], TRACKS, "cross-language", 0)["track_id"] == "f"
    assert partner(TRACKS[6], TRACKS, "cross-language", 0)["language"] in ("en", "sw")
    assert partner(TRACKS[6], TRACKS, "cross-audio", 0)["track_id"] == "h"


def test_partners_do_not_depend_on_order_and_change_with_the_seed():
    many = rows(*[(f"t{i}", "en", f"r{i}", 50) for i in range(30)])
    chosen = [[partner(t, some, "shuffled", seed)["track_id"] for t in many]
              for seed, some in ((0, many), (0, many[::-1]), (1, many))]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) > 10  # not the same sound for everybody


def test_another_clip_changes_the_partner_of_few():
    many = rows(*[(f"t{i}", "en", f"r{i}", 50) for i in range(40)])
    before = [partner(t, many[:-1], "shuffled", 0)["track_id"] for t in many[:-1]]
    after = [partner(t, many, "shuffled", 0)["track_id"] for t in many[:-1]]
    assert sum(a != b for a, b in zip(before, after, strict=True)) < 8


def test_nobody_to_borrow_from():
    assert partner(TRACKS[5], TRACKS, "cross-audio", 0) is None
    assert partner(TRACKS[0], TRACKS, "still", 0) is None


def params_of(**more):
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["corpora"] = {"toy": {"adapter": "synthetic", "languages": {"en": {}, "sw": {}}}}
    raw["executor"] = {"workers": 1, "timeout_s": 120}
    raw["train"]["systems"] = {"s2v": {"system": "speech2vid", "view": "speech2vid", "languages": ["en"], "stills": 2}}
    raw["generate"] |= {"clips_per_speaker": 2} | more
    return check_params(raw)


def landmarks(n):
    """A face whose eyes and nose stand where the view expects them, moving one pixel to the right per frame."""
    from core.views import _MEAN_FACE, NOSE_AND_EYES

    mesh = np.full((n, 468, 2), 80, np.float32)
    mesh[:, NOSE_AND_EYES] = _MEAN_FACE * 0.4 + 35
    mesh[..., 0] += np.arange(n)[:, None]
    return mesh


@pytest.fixture(scope="module")
def toy_data(tmp_path_factory):
    """data/ as the stages before leave it: 2 speakers with 2 clips each of en, one clip of sw, all tested."""
    root, rng = tmp_path_factory.mktemp("generate"), np.random.default_rng(0)
    clips = [("en-a0", "en", "a", 30), ("en-a1", "en", "a", 26), ("en-b0", "en", "b", 34), ("en-b1", "en", "b", 30),
             ("sw-c0", "sw", "c", 28)]
    tables = {}
    for name, language, speaker, n in clips:
        texture = np.kron(rng.integers(40, 216, (SIZE // 8, SIZE // 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
        sound = rng.normal(0, 2000, n_samples_for_frames(n)).astype(np.int16)
        folder = root / f"data/download/toy-{language}/media"
        folder.mkdir(parents=True, exist_ok=True)
        media.write_video(folder / f"{name}.mp4", [np.roll(texture, f, 1) for f in range(n)], audio=sound, crf=10)
        who = {"recording_id": name, "clip_id": name, "track_id": name, "corpus": "toy", "language": language, "speaker": speaker,
               "cluster": f"speaker:{speaker}", "kind": "real", "file": f"{name}.mp4", "start_frame": 0, "n_frames": n,
               "sha256": name}
        mfcc = rng.normal(size=(4 * n - 2, 12)).astype(np.float32) * 10
        boxes = np.tile(np.array([40, 40, 120, 130], np.float32), (n, 1))
        cells = {("download", "recordings"): who, ("segment", "clips"): who | {"audio": media.encode_flac(sound)},
                 ("track", "tracks"): who | pack_track(Track(boxes, landmarks(n), np.ones(n, bool))),
                 ("inspect", "kept"): who,
                 ("features", "features"): who | {"mfcc_speech2vid": pack(mfcc)}}
        for (stage, table), row in cells.items():
            tables.setdefault((root / f"data/{stage}/toy-{language}", table), []).append(row)
        tables.setdefault((root / "data/split/all", "splits"), []).append(who | {"split": "test", "fold": "real"})
    for (folder, table), found in tables.items():
        from core.records import columns
        full = [{c: row.get(c) for c in columns(table)} for row in found]
        write_table(shard_path(folder, table, 0), full, table)
    torch.manual_seed(0)
    model = make_system("speech2vid", width="small", stills=2, mouth_weight=0.0)
    out = root / "data/train/s2v"
    out.mkdir(parents=True)
    torch.save(model.state_dict(), out / "model.pt")
    write_json(out / "card.json", {"class": "models.systems.speech2vid:System", "options": {"width": "small", "stills": 2},
                                   "view": "speech2vid", "feature": "mfcc_speech2vid", "languages": ["en"], "sha256": "0" * 64})
    for name in ("core", "models", "stages", "corpora", "metrics", "tests"):
        (root / name).symlink_to(ROOT / name)
    return root


@pytest.fixture(scope="module")
def made(toy_data):
    import os

    here = os.getcwd()
    os.chdir(toy_data)
    try:
        stats = {name: generate.main(name, params_of()) for name in ("s2v", "controls")}
        found = {name: read_rows(Path("data/generate") / name, "generated") for name in stats}
        return {name: {r["generated_id"]: r for r in rows} for name, rows in found.items()}, stats
    finally:
        os.chdir(here)


def frames_of(row, toy_data):
    return np.stack(list(media.read_frames(row["video"])))


def test_every_test_clip_has_every_condition_it_can_have(made):
    rows, stats = made
    conditions = {t: sorted(r["condition"] for r in rows["s2v"].values() if r["track_id"] == t) for t in ("en-a0", "sw-c0")}
    assert conditions == {"en-a0": ["cross-audio", "cross-language", "self", "shuffled"], "sw-c0": ["cross-language", "self"]}
    assert stats["s2v"]["items_in"] == stats["s2v"]["kept"] == 5 and stats["s2v"]["rejected"] == 0
    of = {(r["system"], r["training"], tuple(r["training_languages"])) for r in rows["s2v"].values()}
    assert of == {("s2v", "s2v", ("en",))}


def test_lengths_are_the_shorter_of_picture_and_sound(made, toy_data):
    n = {"en-a0": 30, "en-a1": 26, "en-b0": 34, "en-b1": 30, "sw-c0": 28}
    for row in made[0]["s2v"].values():
        assert row["n_frames"] == min(n[row["track_id"]], n[row["audio_clip_id"]])
        if row["video"] is not None:
            assert len(frames_of(row, toy_data)) == row["n_frames"]


def test_a_shuffled_row_shares_the_video_of_its_self_row(made):
    row = made[0]["s2v"]["en-a0.s2v.shuffled.0"]
    assert row["video"] is None and row["video_of"] == "en-a0.s2v.self.0" and row["audio_clip_id"] != "en-a0"


def test_only_the_face_is_changed(made, toy_data):
    source = np.stack(list(media.read_frames(toy_data / "data/download/toy-en/media/en-a0.mp4")))
    result = frames_of(made[0]["s2v"]["en-a0.s2v.self.0"], toy_data)
    change = np.abs(result.astype(int) - source).mean((0, 3))
    assert change[:20].mean() < 4 and change[:, :20].mean() < 4  # codec loss only
    assert change[60:110, 75:105].mean() > 15  # an untrained network paints grey


def test_the_pasted_face_lies_where_it_was_cut(toy_data, monkeypatch):
    """A system that gives back what it was shown must leave the frame as it was, in spite of its smaller output."""
    monkeypatch.chdir(toy_data)
    from core.tracks import load_track
    from core.views import view_transforms

    params = params_of()
    config = {"name": "s2v", "wanted": ["self"], "crf": 10, "feather_px": 8, "samples": 1, "seed": 0, "threads": 1,
              "torch_threads": 1, "view": params.crop.views["speech2vid"].model_dump(), "downloads": "data/download",
              "model": "data/train/s2v"}
    mapper = generate.Mapper(config)
    row = read_rows(Path("data/track/toy-en"), "tracks")[0]
    source = list(media.read_frames(Path("data/download/toy-en/media") / row["file"]))
    # Smooth frames: cutting and pasting resamples twice, and would blur any texture.
    y, x = np.mgrid[:SIZE, :SIZE]
    smooth = [np.stack([(x + f) % 255, y, 255 - y], -1).astype(np.uint8) for f in range(len(source))]
    face = load_track(row)
    moves = view_transforms(mapper._template, face.boxes, face.landmarks)
    shown = np.stack([mapper._template.cut(frame, move) for frame, move in zip(smooth, moves, strict=True)])
    monkeypatch.setattr(mapper._system, "generate", lambda inputs: shown[:, 1:110, 1:110])
    sound = {"feature": pack(np.zeros((4 * len(source), 12), np.float32))}
    result = np.stack(list(mapper.generate(smooth, len(smooth), moves, sound, 0)))
    assert np.abs(result.astype(int) - np.stack(smooth)).max() <= 4


def test_a_flash_and_its_click_stay_together_through_paste_and_encoding(toy_data, monkeypatch, tmp_path):
    """A clip that starts at frame 5 of its recording flashes at its own frame 12 and clicks in the middle of it. A system that
    gives back what it was shown must give back both, at that time, in the video that somebody would watch."""
    from media_clips import click_track, clicks_in

    monkeypatch.chdir(toy_data)
    from core.tracks import load_track
    from core.views import view_transforms

    params, n, first, at = params_of(), 30, 5, 12
    config = {"name": "s2v", "wanted": ["self"], "crf": 14, "feather_px": 8, "samples": 1, "seed": 0, "threads": 1,
              "torch_threads": 1, "view": params.crop.views["speech2vid"].model_dump(), "downloads": str(tmp_path),
              "model": "data/train/s2v"}
    mapper = generate.Mapper(config)
    row = next(r for r in read_rows(Path("data/track/toy-en"), "tracks") if r["n_frames"] == n)
    folder = tmp_path / "toy-en" / "media"
    folder.mkdir(parents=True)
    frames = [np.full((SIZE, SIZE, 3), 230 if f == first + at else 60, np.uint8) for f in range(first + n)]
    middle_s = (at + 0.5) / 25
    sound = (click_track([middle_s], n / 25) * 30000).astype(np.int16)
    media.write_video(folder / "flash.mkv", frames, audio=np.concatenate([np.zeros(first * 640, np.int16), sound]), crf=10,
                      audio_codec="flac")
    track = row | {"file": "flash.mkv", "start_frame": first}
    face = load_track(row)
    moves = view_transforms(mapper._template, face.boxes, face.landmarks)
    shown = np.stack([mapper._template.cut(frame, move) for frame, move in zip(frames[first:], moves, strict=True)])
    monkeypatch.setattr(mapper._system, "generate", lambda inputs: shown[:, 1:110, 1:110])
    own = {"clip_id": row["clip_id"], "language": "en", "n_frames": n, "audio": media.encode_flac(sound),
           "feature": pack(np.zeros((4 * n, 12), np.float32))}
    (made,) = mapper({"instance": "toy-en", "track": track, "sounds": {"self": own}})["generated"]
    bright = np.array([f.mean() for f in media.read_frames(made["video"])])
    assert len(bright) == n and bright.argmax() == at and np.partition(bright, -2)[-2] < 100
    (click_s,) = clicks_in(media.read_audio(made["video"]), [middle_s])
    assert abs(click_s - middle_s) <= 0.001


def test_controls_are_the_real_clip_its_shuffled_sound_and_a_still(made, toy_data):
    rows = {r["generated_id"]: r for r in made[0]["controls"].values() if r["track_id"] == "en-a0"}
    assert sorted(rows) == ["en-a0.real.self.0", "en-a0.real.shuffled.0", "en-a0.still.self.0"]
    real, shuffled, still = (rows[k] for k in sorted(rows))
    assert real["video"] is real["video_of"] is shuffled["video"] is None and real["training"] is None
    assert shuffled["audio_clip_id"] != "en-a0" and still["audio_clip_id"] == "en-a0"
    frames = frames_of(still, toy_data)
    assert len(frames) == 30 and np.abs(frames - frames[:1].astype(int)).mean() < 1.5
    source = next(iter(media.read_frames(toy_data / "data/download/toy-en/media/en-a0.mp4")))
    assert np.abs(frames[0].astype(int) - source).mean() < 4


def test_videos_carry_the_sound_they_were_driven_by(made):
    row = made[0]["s2v"]["en-a0.s2v.cross-audio.0"]
    assert abs(len(media.read_audio(row["video"])) - n_samples_for_frames(row["n_frames"])) < 2048


def test_the_same_again_gives_the_same_bytes(made, toy_data, monkeypatch):
    monkeypatch.chdir(toy_data)
    asked = {}
    monkeypatch.setattr(generate, "run_stage", lambda *a, config, **k: asked.update(work=a[2], config=config))
    generate.main("s2v", params_of())
    mapper = generate.Mapper(asked["config"])
    for item in asked["work"][:2]:
        for row in mapper(item.payload)["generated"]:
            assert row == made[0]["s2v"][row["generated_id"]]


def test_clips_beyond_the_limit_are_counted(toy_data, monkeypatch):
    monkeypatch.chdir(toy_data)
    chosen, beyond = generate.test_tracks(params_of(clips_per_speaker=1))
    assert len(chosen) == 3 and len({(r["language"], r["speaker"]) for r in chosen}) == 3
    assert len(beyond) == 2 and {b[1] for b in beyond} == {"beyond_limit"}


def test_a_model_that_learnt_from_a_closed_corpus_makes_nothing_that_is_sold(toy_data, tmp_path, monkeypatch):
    out = tmp_path / "data" / "train" / "s2v"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for folder in (toy_data / "data").iterdir():
        if folder.name not in ("train", "generate"):
            (tmp_path / "data" / folder.name).symlink_to(folder)
    card = read_json(toy_data / "data/train/s2v/card.json")
    write_json(out / "card.json", card | {"licence": "an agreement", "commercial": False})
    with policy(False), pytest.raises(UserError, match=r"commercial use: model s2v \(an agreement\).*allow_non_commercial"):
        generate.main("s2v", params_of())
    assert not (tmp_path / "data" / "generate").exists()


def test_a_system_that_is_not_trained_is_trained_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/train/s2v/card\.json: no trained system here; run: babelface evaluate train-s2v$"):
        generate.main("s2v", params_of())
