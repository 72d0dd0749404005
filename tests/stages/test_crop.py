"""Crop: stored views are cuts of the source frames, at the right frame, read at random or in order."""

from __future__ import annotations

import numpy as np
import pytest

from core import media, views
from core.params import load_params
from core.records import Reject
from core.shards import ViewStore
from core.tracks import load_track
from stages.crop import Mapper
from tests.core.media_clips import number_of
from tests.stages.sync_clips import RECORDINGS, rows_of


def source_frames(folder, instance, row):
    path = folder / "data" / "download" / instance / "media" / row["file"]
    return list(media.read_lazy_frames(path, start=row["start_frame"], stop=row["start_frame"] + row["n_frames"]))


@pytest.fixture(scope="module")
def store(talkers):
    return ViewStore(talkers / "data" / "crop" / "synthetic-en")


@pytest.fixture(scope="module")
def tracks(talkers):
    return rows_of(talkers, "track", "synthetic-en", "tracks")


@pytest.mark.parametrize("view", ["mouth", "plain96"])
def test_views_are_cuts_of_the_source_frames_as_jpeg(talkers, store, tracks, view):
    params = load_params(talkers / "params.yaml")
    template = views.ViewTemplate(**params.crop.views[view].model_dump())
    assert store.ids(view) == sorted(t["track_id"] for t in tracks)
    for row in tracks:
        track, frames = load_track(row), source_frames(talkers, "synthetic-en", row)
        moves = views.view_transforms(template, track.boxes, track.landmarks)
        assert np.array_equal(store.transforms(row["track_id"], view), moves.astype(np.float32))
        stored = store.frames(row["track_id"], view, 0, row["n_frames"])
        assert stored.shape == (row["n_frames"], *template.shape, 3)
        for f in range(0, row["n_frames"], 7):
            cut = views.cut(frames[f], moves[f], template.shape, interpolation=template.interpolation)
            assert np.array_equal(stored[f], media.decode_jpeg(media.encode_jpeg(cut, params.crop.jpeg_quality)))
            assert np.abs(stored[f].astype(int) - cut).mean() < 6
            whole = views.cut(np.asarray(frames[f]), moves[f], template.shape, interpolation=template.interpolation)
            assert np.abs(whole.astype(int) - cut).max() <= 1, "only how the place of a pixel is rounded"
        facts = store.row(row["track_id"], view)
        assert (facts["height"], facts["width"], facts["n_frames"],
                facts["clip_id"]) == (*template.shape, row["n_frames"], row["clip_id"])


def test_random_access_equals_reading_in_order(store, tracks):
    row = tracks[0]
    whole = store.frames(row["track_id"], "mouth", 0, row["n_frames"])
    for f in np.random.default_rng(1).permutation(row["n_frames"])[:15]:
        stop = min(row["n_frames"], f + 3)
        assert np.array_equal(store.frames(row["track_id"], "mouth", int(f), stop), whole[f:stop])


def test_what_is_not_stored_is_said(store, tracks):
    with pytest.raises(KeyError, match="crop.store"):
        store.frames(tracks[0]["track_id"], "syncnet", 0, 1)
    n = tracks[0]["n_frames"]
    for start, stop in ((0, n + 1), (-1, 1), (3, 3)):
        with pytest.raises(IndexError, match=tracks[0]["track_id"]):
            store.frames(tracks[0]["track_id"], "mouth", start, stop)


@pytest.mark.parametrize("name", RECORDINGS)
def test_views_show_the_frame_of_their_index(sync, name):
    store = ViewStore(sync.folder / "data" / "crop" / "sync-en")
    for clip in sync.clips:
        if sync.of[clip["recording_id"]] == name:
            frames = store.frames(f"{clip['clip_id']}-t0", "whole", 0, clip["n_frames"])
            assert np.abs(frames[:, :40].astype(int) - 110).max() <= 3, "grey outside the frame"
            sync.check_numbers(clip, [number_of(f[48:112]) for f in frames])


def crop_mapper(folder, instance, store, min_mesh_share=0.9):
    params = load_params(folder / "params.yaml")
    return Mapper({"views": {n: params.crop.views[n].model_dump() for n in store}, "min_mesh_share": min_mesh_share,
                   "jpeg_quality": 92, "media": str(folder / "data" / "download" / instance / "media"), "threads": 1})


def test_a_track_without_a_mesh_has_no_aligned_view(sync):
    row = rows_of(sync.folder, "track", "sync-en", "tracks")[0] | {"mesh_share": 0.5}
    with pytest.raises(Reject) as caught:
        crop_mapper(sync.folder, "sync-en", ["whole", "mouth"])(row)
    assert caught.value.reason == "no_mesh" and row["track_id"] in caught.value.detail and "50%" in caught.value.detail
    assert len(crop_mapper(sync.folder, "sync-en", ["whole"])(row)["views"]) == 1, "a plain box needs no mesh"


@pytest.mark.parametrize(("finder", "scale"), [("yunet:0", 1.01), ("blazeface:0", 1.185)])
def test_syncnets_crop_is_cut_around_the_box_that_s3fd_would_draw(talkers, tracks, finder, scale):
    row = tracks[0] | {"finder": finder}
    config = {"views": {"whole": {"kind": "syncnet", "size": 32}}, "min_mesh_share": 0.0, "jpeg_quality": 80,
              "media": str(talkers / "data" / "download" / "synthetic-en" / "media"), "threads": 1}
    made = Mapper(config)(row)["views"][0]
    moves = np.frombuffer(made["transforms"], np.float32).reshape(-1, 2, 3)
    boxes = load_track(row).boxes
    side = (boxes[:, 2:] - boxes[:, :2]).max(1)
    # 1.4 boxes wide; the first number of a move is pixels of the view per source pixel
    assert np.median(moves[:, 0, 0] * side * 1.4) == pytest.approx(32 / scale, rel=0.02)
