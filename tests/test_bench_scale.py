"""The benchmarks of windows, of indexes, of a build with nothing to do and of orchestration, at a size for tests."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench import index_scale, nothing_to_do, orchestration, windows


def test_every_layout_gives_the_same_pixels_and_its_size_and_filling_is_counted():
    found = windows.measure(32, tracks=2, batches=1, rounds=1)
    assert set(found["windows_per_s"]) == {"files", "stored", "raw"} and found["times"]["files"] == 1.0
    assert found["gb_per_hour"]["raw"] == pytest.approx(32 * 32 * 3 * 90_000 / 1e9)
    assert found["filling"]["n_frames"] == 2 * windows.N_FRAMES and found["filling"]["fill_s"] > 0


def test_a_raw_copy_pays_when_what_it_saves_makes_up_for_filling_it():
    speed = {"files": 100.0, "raw": 1000.0}  # a pass over 500 frames: 1 s from files, 0.1 s from the raw copy
    found = windows.filling(speed, 1.9, 500)
    assert found["pays_after_windows"] == pytest.approx(200) and found["pays_after_passes"] == pytest.approx(2)
    assert found["times_with_filling"] == pytest.approx({1: 1 / 1.9, 10: 10 / 2.8, 100: 100 / 11.8})
    assert windows.filling(speed, 0.5, 500)["pays_after_passes"] == 1
    assert windows.filling({"files": 100.0, "raw": 90.0}, 1.0, 500)["pays_after_windows"] is None


class Nothing:
    """A mapper that does nothing."""

    def __init__(self, config):
        self._row = config["row"]

    def __call__(self, payload):
        return {"features": [self._row | {"track_id": payload["clip_id"]}]}


def test_one_more_item_costs_its_own_and_its_shard():
    row = {"track_id": "t", "clip_id": "c", "language": "en", "n_frames": 100, "mel": b"0123"}
    took = nothing_to_do.one_more(60, {}, {"row": row}, lambda name: row | {"track_id": name}, "features",
                                  f"{__name__}:Nothing", versioned=False)
    assert took["alone_s"] > 0 and took["more_s"] > took["same_s"] > 0 and took["dvc_same_s"] == took["dvc_more_s"] == 0
    found = nothing_to_do.shares({"same_s": 2.0, "dvc_same_s": 1.0, "more_s": 7.0, "dvc_more_s": 4.0, "alone_s": 3.0}, 4000, 0.5)
    assert found == pytest.approx({"planning_s": 3, "added_s": 8, "shard_s": 500, "share": 0.016, "share_of_rows": 0.01})


def test_made_up_rows_are_as_large_as_real_ones_and_each_has_noise_of_its_own():
    points = np.zeros((100, 468, 2), "<i2")
    ids = {"track_id": "t", "clip_id": "c", "recording_id": "r"}
    made = nothing_to_do.like(ids | {"landmarks": points.tobytes(), "face_px": 9.0})
    a, b = made("a"), made("b")
    assert (a["track_id"], b["clip_id"], a["face_px"]) == ("a-t0", "b", 9.0)
    assert len(a["landmarks"]) == len(b["landmarks"]) == points.nbytes and a["landmarks"] != b["landmarks"]
    assert np.abs(np.frombuffer(a["landmarks"], "<i2")).max() <= 4


def test_every_row_of_an_index_is_in_the_plan_and_in_the_ledger(capsys):
    found = index_scale.measure(1200, fresh=5)
    assert found["all_there"] and found["passes"] and (found["items"], found["rejects"], found["fresh"]) == (1199, 1, 5)
    assert set(found["parts"]) >= {*index_scale.JUDGED, "index", "nothing", "counts", "rows", "fresh"}
    assert found["cpu_s"] == pytest.approx(sum(found["parts"][p]["cpu_s"] for p in index_scale.JUDGED))
    assert json.dumps(found) and "targets met" in index_scale.text(found)
    assert "missed" in index_scale.text(found | {"passes": False})


def test_two_builds_make_a_line():
    small, large = ({"clips": c, "stages_s": 20 + 3.0 * c, "else_s": 30 + 0.1 * c} for c in (4, 10))
    hour = orchestration.drawn_on(small, large, jobs=2)
    assert hour["stage_s_per_clip"] == pytest.approx(3.0) and hour["else_s_fixed"] == pytest.approx(30.0)
    assert hour["clips"] * 3.1 + 50 == pytest.approx(7200) and hour["share"] == pytest.approx((30 + 0.1 * hour["clips"]) / 7200)
    assert orchestration.drawn_on(small, {**large, "else_s": 20.0}, jobs=2)["share"] == pytest.approx(
        orchestration.drawn_on(small, {**large, "else_s": 20.0}, jobs=2)["else_s_fixed"] / 7200), "less is taken for none"
