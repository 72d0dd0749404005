"""The benchmark of SSIM and sound features: that both arms compute the same, and that a miss is seen. Nothing is timed."""

from __future__ import annotations

import numpy as np
import pytest

from bench import clip_speed

pytest.importorskip("skimage")


def test_both_arms_give_the_same_numbers(librosa):
    pytest.importorskip("python_speech_features")
    for result in (clip_speed.ssim(2, 1), clip_speed.mel(0.5, 1), clip_speed.mfcc(0.5, 1)):
        assert result.difference <= clip_speed.CLOSE[result.what] and result.ours_s > 0
        assert result.what in clip_speed.text([result])


@pytest.mark.parametrize(("reference_s", "difference", "passes"), [(10.0, 0.0, True), (9.9, 0.0, False), (10.0, 2e-6, False)])
def test_slower_or_other_numbers_miss_the_target(reference_s, difference, passes):
    result = clip_speed.Result("ssim", "scikit-image", reference_s, 1.0, difference)
    assert result.passes is passes and ("MISSED" in clip_speed.text([result])) is not passes


def test_rounds_are_interleaved_and_the_best_counts():
    order = []

    def arm(name: str, value: float):
        return lambda: order.append(name) or np.full(2, value)

    result = clip_speed.compare("mel", "nothing", 2, arm("theirs", 1.0), arm("ours", 3.0))
    assert order == ["theirs", "ours"] * 2 and result.difference == 2


def test_a_miss_ends_in_exit_status_one(monkeypatch, capsys):
    slow = clip_speed.Result("mfcc", "python_speech_features", 1.0, 2.0, 0.0)
    for name in ("ssim", "mel", "mfcc"):
        monkeypatch.setattr(clip_speed, name, lambda *_: slow)
    assert clip_speed.main(["--frames", "1"]) == 1 and "MISSED" in capsys.readouterr().out
