"""The benchmarks of windows, of a build with nothing to do and of orchestration, at a size for tests."""

from __future__ import annotations

import pytest

from bench import nothing_to_do, orchestration, windows


def test_every_layout_gives_the_same_pixels_and_its_size():
    found = windows.measure(32, tracks=2, batches=1, rounds=1)
    assert set(found["windows_per_s"]) == {"files", "stored", "raw"} and found["times"]["files"] == 1.0
    assert found["gb_per_hour"]["raw"] == pytest.approx(32 * 32 * 3 * 90_000 / 1e9)


def test_one_more_item_costs_its_own_and_no_other(tmp_path):
    from core import shards

    found = nothing_to_do.stage(300, 50)
    assert found["shard_s"] == pytest.approx(300 / 4 * 0.1)
    assert found["share"] == pytest.approx(found["one_more_s"] / found["shard_s"])
    names = [f"c{k}" for k in range(40)]
    nothing_to_do.made_up(tmp_path / "out", names, "s", {}, 10)
    assert sorted(r["track_id"] for r in shards.read_rows(tmp_path / "out", "features")) == sorted(names)


def test_two_builds_make_a_line():
    small, large = ({"clips": c, "stages_s": 20 + 3.0 * c, "else_s": 30 + 0.1 * c} for c in (4, 10))
    hour = orchestration.drawn_on(small, large, jobs=2)
    assert hour["stage_s_per_clip"] == pytest.approx(3.0) and hour["else_s_fixed"] == pytest.approx(30.0)
    assert hour["clips"] * 3.1 + 50 == pytest.approx(7200) and hour["share"] == pytest.approx((30 + 0.1 * hour["clips"]) / 7200)
    assert orchestration.drawn_on(small, {**large, "else_s": 20.0}, jobs=2)["share"] == pytest.approx(
        orchestration.drawn_on(small, {**large, "else_s": 20.0}, jobs=2)["else_s_fixed"] / 7200), "less is taken for none"
