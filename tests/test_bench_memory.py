"""The memory that a long video takes is that of a short one and its sound."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bench import memory
from core import media
from tests.stages.conftest import drifting
from tests.stages.sync_clips import SHORT, hum

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    sound = np.rint(hum(SHORT) * 32000).astype(np.int16)
    media.write_video(path, drifting(0, 75), audio=sound, audio_codec="flac")
    return path


def test_a_repeated_clip_is_the_clip_again_and_again(clip, tmp_path):
    long = memory.repeat(clip, tmp_path / "long.mkv", 10)
    assert media.frame_count(long) == 300 and abs(len(media.read_audio(long)) - 4 * 48000) < 16000 * 0.2
    once, again = list(media.read_frames(clip)), list(media.read_frames(long, start=225))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))


def test_segmenting_minutes_takes_no_more_than_seconds_and_their_sound(clip, tmp_path):
    one, ten = (memory.measure(memory.repeat(clip, tmp_path / f"{s}.mkv", s), ("segment",)) for s in (20, 200))
    assert ten["clips"] > 9 * one["clips"] and ten["seconds"] > 199
    sound_mb = 180 * 16000 * 2 / 1e6
    assert ten["segment"] - one["segment"] < 6 * sound_mb, "frames alone would be 165 MB more"
