"""Written media: reproducible bytes, sound and picture together, nothing half-written left behind."""

from __future__ import annotations

import io
import os

import av
import numpy as np
import pytest
from media_clips import HEIGHT, WIDTH, click_track, clicks_in, number_of, numbered

from core import media
from core.records import Reject

CLICKS = [0.4, 1.0, 1.6]
SOUND = (click_track(CLICKS, 2.0) * 32767).astype(np.int16)


def clip(n=50):
    return (numbered(i) for i in range(n))


KINDS = [(".mp4", "aac"), (".mp4", "flac"), (".mkv", "aac"), (".mkv", "pcm_s16le"), (".mov", "aac")]


@pytest.mark.parametrize("suffix, codec", KINDS)
def test_sound_and_picture_stay_together_and_bytes_repeat(suffix, codec, tmp_path):
    path, again = tmp_path / f"one{suffix}", tmp_path / f"another name{suffix}"
    media.write_video(path, clip(), audio=SOUND, audio_codec=codec)
    media.write_video(again, clip(), audio=SOUND, audio_codec=codec)
    data = path.read_bytes()
    assert data == again.read_bytes() == media.encode_video(clip(), audio=SOUND, audio_codec=codec, suffix=suffix)
    assert b"Lavc" not in data and b"Lavf6" not in data
    assert [number_of(f) for f in media.read_frames(path)] == list(range(50))
    samples = media.read_audio(path)
    assert clicks_in(samples, CLICKS) == pytest.approx(CLICKS, abs=1e-4)
    if codec == "aac":
        assert len(SOUND) <= len(samples) < len(SOUND) + 1024
    else:
        np.testing.assert_array_equal(samples, SOUND)


def test_mp4_is_ready_for_browsers():
    data = media.encode_video(clip(), audio=SOUND)
    assert data.index(b"moov") < data.index(b"mdat")
    # Both tracks carry an edit list: a player that honours it starts the sound 1024 priming samples in.
    assert data.count(b"elst") == 2 and (1024).to_bytes(4, "big") in data[data.rindex(b"elst") :][:24]
    info = media.probe(data)
    assert (info.video_codec, info.audio_codec, info.nominal_fps, info.start_s) == ("h264", "aac", 25.0, 0.0)
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert "creation_time" not in container.metadata


@pytest.mark.parametrize("fps", [24, 29.97, 50])
def test_other_rates_keep_sound_in_place(fps):
    data = media.encode_video(clip(60), audio=SOUND, fps=fps)
    assert np.abs(media.frame_times(data) - np.arange(60) / fps).max() < 1e-4
    assert clicks_in(media.read_audio(data), CLICKS) == pytest.approx(CLICKS, abs=1e-4)


def test_colours_come_back_and_odd_sizes_grow_by_their_last_column_and_row():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128], [250, 250, 250], [200, 120, 90]], np.uint8)
    frame = np.repeat(np.repeat(colours[None], 47, axis=0), 16, axis=1)[:, :-1]
    assert frame.shape == (47, 95, 3)
    back = next(media.read_frames(media.encode_video([frame] * 3, crf=4)))
    assert back.shape == (48, 96, 3)
    for i, colour in enumerate(colours):
        assert np.abs(back[10:-10, i * 16 + 6 : i * 16 + 10].astype(int) - colour).max() <= 6
    assert np.abs(back[-1].astype(int) - back[-2]).max() <= 3 and np.abs(back[:, -1].astype(int) - back[:, -2]).max() <= 3
    assert next(media.read_frames(media.encode_video([frame], pix_fmt="yuv444p"))).shape == frame.shape


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.mp4"
    media.write_video(path, clip(5))
    before = path.read_bytes()

    def failing():
        yield from clip(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        media.write_video(path, failing(), audio=SOUND)
    with pytest.raises(ValueError, match="frame 2 has shape"):
        media.write_video(path, [numbered(0), numbered(1), numbered(2)[:-2]])
    with pytest.raises(Reject, match="no_frames"):
        media.write_video(path, [])
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.mp4"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    "change, words",
    [
        ({"suffix": ".avi"}, "expected one of the suffixes"),
        ({"audio_codec": "mp3"}, "audio_codec 'mp3'"),
        ({"audio": SOUND.astype(np.float32)}, "int16"),
        ({"audio": SOUND, "audio_codec": "flac", "suffix": ".mov"}, "cannot hold flac"),
        ({"frames": [numbered(0).astype(np.float32)]}, "uint8 HxWx3"),
    ],
)
def test_wrong_arguments_say_what_was_expected(change, words):
    with pytest.raises(ValueError, match=words):
        media.encode_video(change.pop("frames", [numbered(0)]), **change)


def test_read_frames_gives_fresh_arrays_even_for_repeats():
    data = media.encode_video(clip(4), fps=5)
    expected = [f.copy() for f in media.read_frames(data)]
    assert [number_of(f) for f in expected] == [0] * 3 + [1] * 5 + [2] * 5 + [3] * 3
    for frame, plain in zip(media.read_frames(data), expected, strict=True):
        np.testing.assert_array_equal(frame, plain)
        frame[:] = 0


def test_flac_and_wav_are_lossless_and_repeatable(tmp_path):
    noise = np.random.default_rng(0).integers(-32768, 32768, 20001).astype(np.int16)
    for samples in (SOUND, noise, noise[:1], noise[:640]):
        data = media.encode_flac(samples)
        assert data == media.encode_flac(samples)
        np.testing.assert_array_equal(media.decode_flac(data), samples)
        media.write_wav(tmp_path / "a.wav", samples)
        np.testing.assert_array_equal(media.read_wav(tmp_path / "a.wav"), samples)
    assert len(media.encode_flac(SOUND)) < SOUND.nbytes / 2 and os.listdir(tmp_path) == ["a.wav"]
    with pytest.raises(ValueError, match="int16"):
        media.write_wav(tmp_path / "a.wav", noise.astype(float))


def photo(index=0):
    y, x = np.mgrid[: HEIGHT * 2, : WIDTH * 2] + index
    return np.stack([127 + 100 * np.sin(x / 17), 127 + 100 * np.cos(y / 11), (x + y) % 256 // 2 + 50], axis=-1).astype(np.uint8)


def test_jpeg_keeps_colour_resolution_and_refuses_other_bytes():
    data = media.encode_jpeg(photo())
    back = media.decode_jpeg(data)
    assert back.shape == photo().shape and back.dtype == np.uint8 and data == media.encode_jpeg(photo())
    assert np.abs(back.astype(int) - photo()).mean() < 1.5
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200  # one-pixel red and blue columns die under 4:2:0
    assert np.abs(media.decode_jpeg(media.encode_jpeg(stripes)).astype(int) - stripes).mean() < 8
    for junk in (b"", b"no jpeg"):
        with pytest.raises(Reject, match="decode_error"):
            media.decode_jpeg(junk)


def test_mjpeg_roundtrip_is_one_lossy_generation_in_step():
    frames = [photo(i * 3) for i in range(12)]
    back = list(media.jpeg_roundtrip_mjpeg(iter(frames)))
    assert len(back) == 12 and all(np.array_equal(a, b) for a, b in zip(back, media.jpeg_roundtrip_mjpeg(frames), strict=True))
    errors = np.array([[np.abs(b.astype(int) - f).mean() for f in frames] for b in back])
    np.testing.assert_array_equal(errors.argmin(axis=1), np.arange(12))
    own = errors.diagonal()
    assert own.min() > 0.3 and own.max() < 12  # lossy, in full range (a limited-range slip would be off by 16 at both ends)
    greys = [np.full((32, 32, 3), v, np.uint8) for v in (0, 255)]
    for grey in greys:
        assert np.abs(next(media.jpeg_roundtrip_mjpeg([grey])).astype(int) - grey).max() <= 6
