"""The LSE benchmark compares two ways to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from bench import box_scale, lse
from core import media


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("bench") / "a.mp4"
    frames = [rng.integers(0, 256, (28, 28, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(22)]
    media.write_video(path, frames, audio=rng.integers(-9000, 9000, 22 * 640).astype(np.int16))
    return path


def test_both_ways_lead_to_the_same_numbers(clip):
    found = lse.measure(clip, 22, 1, 1, False, None)
    assert found["relative_difference"]["float32"] < 1e-3 and found["scores"]["port"][2] == found["scores"]["float32"][2]
    assert set(found["seconds"]) == {"port", "float32"}
    assert min(found["seconds"].values()) > 0 and found["peak"]["share_of_peak"] > 0.05
    assert found["cpu"]


def test_a_crop_tells_where_its_box_was():
    scale, right, down = box_scale.against(np.array([31.5, -0.5, 191.5, 159.5]), 224)
    assert (scale, right, down) == pytest.approx((1, 0, 0), abs=1e-9)
    scale, right, down = box_scale.against(np.array([41.5, 19.5, 121.5, 99.5]), 224)
    assert (scale, right, down) == pytest.approx((2, 30.5 / 80 - 0.5 / 80, 20.5 / 80 - 0.5 / 80), abs=0.01)
