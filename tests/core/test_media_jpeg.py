"""Frames as a reader of their JPEG dump sees them: in step, once lossy, with the rate control of the ffmpeg command."""

from __future__ import annotations

import numpy as np
import pytest
from media_clips import click_track, mux, numbered, number_of

from core import media
from core.records import Reject


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("jpeg") / "a.mp4"
    mux(path, times_s=[i / 25 for i in range(40)], tracks=[{"codec": "aac", "rate": 16000, "samples": click_track([0.5], 1.6)}])
    return path


def test_every_frame_is_there_in_its_place(clip):
    frames, dumped = list(media.read_frames(clip)), list(media.read_frames_jpeg(clip))
    assert [number_of(f) for f in dumped] == [number_of(f) for f in frames] == list(range(40))
    assert all(f.dtype == np.uint8 and f.shape == frames[0].shape and f.flags.c_contiguous for f in dumped)
    again = list(media.read_frames_jpeg(clip))
    assert all(np.array_equal(a, b) for a, b in zip(dumped, again, strict=True)), "the same every time"
    part = list(media.read_frames_jpeg(clip, start=7, stop=12))
    assert [number_of(f) for f in part] == [7, 8, 9, 10, 11] and not list(media.read_frames_jpeg(clip, start=3, stop=3))


def test_quality_is_constant_or_follows_the_rate(tmp_path):
    rng = np.random.default_rng(0)
    busy = [np.clip(numbered(k)[:, :, :] + rng.normal(0, 40, (64, 160, 3)), 0, 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
            for k in range(30)]
    media.write_video(tmp_path / "busy.mp4", busy, crf=10)
    frames = np.stack(list(media.read_frames(tmp_path / "busy.mp4"))).astype(float)

    def errors(**options):
        return np.abs(np.stack(list(media.read_frames_jpeg(tmp_path / "busy.mp4", **options))) - frames).mean((1, 2, 3))

    fine, default = errors(quality=2), errors()
    assert fine.max() < 1.3 * fine.min(), "one quantiser for all"
    assert default[-1] > 1.5 * default[0] > 0, "200 kb/s are too few for this: the pictures get worse"
    assert default[-1] > 1.5 * fine[-1]


def test_what_is_no_video_is_refused(tmp_path):
    media.write_wav(tmp_path / "a.wav", np.ones(1600, np.int16))
    with pytest.raises(Reject, match="no_video"):
        next(media.read_frames_jpeg(tmp_path / "a.wav"))


def test_how_much_sound_had_to_be_filled_in(clip, tmp_path):
    samples, hole_s = media.read_sound(clip)
    assert hole_s < 0.03 and np.array_equal(samples, media.read_audio(clip))
    mux(tmp_path / "late.mp4", times_s=[i / 25 for i in range(40)],
        tracks=[{"codec": "aac", "rate": 16000, "samples": click_track([0.2], 0.8),
                                                                           "start_s": 0.6}])
    assert media.read_sound(tmp_path / "late.mp4")[1] == pytest.approx(0.6, abs=0.07)
