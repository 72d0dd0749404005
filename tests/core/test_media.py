"""Media: every frame shows its number and every click has a known time, through real muxers and decoders."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_clips import HEIGHT, WIDTH, click_track, clicks_in, mux, number_of

from core import media, media_probe, views
from core.records import Reject

T25 = [i / 25 for i in range(60)]
CLICKS = [0.8, 1.2, 2.0]
X264 = ("libx264", {"preset": "ultrafast", "g": "25"})
WITH_B = ("libx264", {"preset": "veryfast", "g": "25"})
VP8 = ("libvpx", {"deadline": "realtime", "cpu-used": "8"})
MPEG4 = ("mpeg4", {})
FRAME_CLOCK = Fraction(1, 25)


def sound(codec: str, rate: int = 16000, **more) -> dict:
    return {"codec": codec, "rate": rate, "samples": click_track(CLICKS, 2.5, rate), **more}


def check(path, times_s, clicks_s, tolerance_s=0.001):
    """Frames are the nearest in time, and clicks sit where they should after the first displayed frame."""
    shown = np.asarray(times_s) - times_s[0]
    grid = np.arange(int(np.floor(shown[-1] * 25 + 0.1)) + 1) / 25
    numbers = np.array([number_of(f) for f in media.read_frames(path)])
    assert len(numbers) == len(grid) == media.frame_count(path)
    off = np.abs(shown[numbers] - grid)
    best = np.abs(shown[None] - grid[:, None]).min(axis=1)
    assert np.all(off <= best + 0.0011)  # matroska rounds to 1 ms
    assert np.max(np.abs(media.frame_times(path) - shown)) <= 0.0011
    wanted = np.array(clicks_s) - times_s[0]
    assert np.abs(np.array(clicks_in(media.read_audio(path), wanted)) - wanted).max() <= tolerance_s


SOURCES = {
    "mp4-aac": ("a.mp4", {}, sound("aac")),
    "mp4-aac-48k-bframes": ("a.mp4", {"video": WITH_B}, sound("aac", 48000)),
    "mp4-aac-44k": ("a.mp4", {}, sound("aac", 44100)),
    "mp4-opus": ("a.mp4", {}, sound("libopus", 48000)),
    "mp4-mp3": ("a.mp4", {}, sound("libmp3lame")),
    "mkv-aac-bframes": ("a.mkv", {"video": WITH_B}, sound("aac")),
    "mkv-flac": ("a.mkv", {}, sound("flac")),
    "mkv-mp3": ("a.mkv", {}, sound("libmp3lame")),
    "webm-opus": ("a.webm", {"video": VP8}, sound("libopus", 48000)),
    "mpg-mp2": ("a.mpg", {"video": ("mpeg1video", {}), "clock": FRAME_CLOCK}, sound("mp2", 44100)),
    "mpegts-aac": ("a.ts", {"video": WITH_B}, sound("aac")),
    "avi-pcm": ("a.avi", {"video": MPEG4, "clock": FRAME_CLOCK}, sound("pcm_s16le")),
    "avi-pcm-bframes": ("a.avi", {"video": ("mpeg4", {"bf": "2"}), "clock": FRAME_CLOCK}, sound("pcm_s16le")),
    "avi-h264-bframes": ("a.avi", {"video": WITH_B, "clock": FRAME_CLOCK}, sound("pcm_s16le")),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_25_fps_source_passes_one_to_one_with_its_clicks_in_place(case, tmp_path):
    name, options, track = SOURCES[case]
    path = mux(tmp_path / name, times_s=T25, tracks=[track], **options)
    assert [number_of(f) for f in media.read_frames(path)] == list(range(60))
    check(path, T25, CLICKS)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", ["24", "30000/1001", "30", "50", "vfr"])
def test_other_rates_become_25_fps_by_time(rate, suffix, tmp_path):
    if rate == "vfr":
        times = np.round(np.cumsum(np.random.default_rng(7).uniform(0.015, 0.09, 60)), 3).tolist()
    else:
        times = [float(i / Fraction(rate)) for i in range(75)]
    path = mux(tmp_path / f"a{suffix}", times_s=times, clock=Fraction(1, 90000), tracks=[sound("aac")])
    check(path, times, [c for c in CLICKS if c < times[-1]])


LATE = [t + 0.3 for t in T25]
EARLY_SOUND = {"late-video-mp4": ("a.mp4", X264, sound("aac")), "late-video-webm": ("a.webm", VP8, sound("libopus", 48000))}


@pytest.mark.parametrize("case", EARLY_SOUND)
def test_sound_before_the_first_frame_is_dropped(case, tmp_path):
    name, video, track = EARLY_SOUND[case]
    path = mux(tmp_path / name, times_s=LATE, video=video, tracks=[track])
    check(path, LATE, CLICKS)
    assert media.probe(path).start_s == pytest.approx(0.3, abs=0.001)
    assert len(media.read_audio(path)) / 16000 == pytest.approx(2.2, abs=0.07)


@pytest.mark.parametrize("name, codec", [("a.mp4", "aac"), ("a.mkv", "flac")])
def test_a_late_start_of_sound_is_silence(name, codec, tmp_path):
    path = mux(tmp_path / name, times_s=T25, tracks=[sound(codec, start_s=0.5)])
    check(path, T25, [c + 0.5 for c in CLICKS])
    assert not media.read_audio(path)[:7000].any()


@pytest.mark.parametrize("name, codec", [("a.mp4", "aac"), ("a.mp4", "flac"), ("a.mkv", "aac"), ("a.mkv", "flac")])
def test_a_hole_in_the_sound_is_filled(name, codec, tmp_path):
    path = mux(tmp_path / name, times_s=T25, tracks=[sound(codec, gaps=[(1.0, 0.2)])])
    check(path, T25, [0.8, 1.4, 2.2])


def test_mp3_in_avi_is_late_by_the_encoder_delay_that_avi_cannot_declare(tmp_path):
    muxer = {"avoid_negative_ts": "disabled"}  # else the muxer also delays the second and later frames
    path = mux(tmp_path / "a.avi", times_s=T25, clock=FRAME_CLOCK, video=MPEG4, tracks=[sound("libmp3lame")], muxer=muxer)
    late = [round((got - want) * 16000) for got, want in zip(clicks_in(media.read_audio(path), CLICKS), CLICKS, strict=True)]
    assert all(abs(n - 1105) <= 2 for n in late), late


def test_read_audio_takes_the_stream_asked_for(tmp_path):
    other = {"codec": "aac", "samples": click_track([1.5], 2.5)}
    path = mux(tmp_path / "a.mp4", times_s=T25, tracks=[sound("aac"), other])
    assert media.probe(path).n_audio == 2
    check(path, T25, CLICKS)
    assert clicks_in(media.read_audio(path, stream=1), [1.5]) == pytest.approx([1.5], abs=0.001)
    with pytest.raises(Reject) as caught:
        media.read_audio(path, stream=2)
    assert caught.value.reason == "no_audio" and "a.mp4" in caught.value.detail


@pytest.mark.parametrize("channel", [0, 2, 4])  # front left, centre, back left
def test_surround_is_mixed_as_swresample_mixes(channel, tmp_path):
    samples = np.zeros((6, 40000))
    samples[channel] = click_track(CLICKS, 2.5)
    track = {"codec": "flac", "samples": samples, "layout": "5.1"}
    path = mux(tmp_path / "a.mkv", times_s=T25, tracks=[track])
    check(path, T25, CLICKS)
    mixer, blocks = av.AudioResampler(format="s16", layout="mono", rate=16000), []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            blocks += [f.to_ndarray()[0] for f in mixer.resample(frame)]
    blocks += [f.to_ndarray()[0] for f in mixer.resample(None)]
    np.testing.assert_array_equal(media.read_audio(path), np.concatenate(blocks))


def turned(data: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """The mp4 bytes with the first track's display matrix replaced: a, b, c, d of x' = a x + c y, y' = b x + d y (y down)."""
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :]


MATRICES = [(0, (1, 0, 0, 1)), (90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (270, (0, -1, 1, 0))]


@pytest.mark.parametrize("clockwise, matrix", MATRICES)
def test_rotation_flags_are_applied(clockwise, matrix, tmp_path):
    data = mux(tmp_path / "a.mp4", times_s=T25[:5]).read_bytes()
    info = media.probe(turned(data, matrix))
    assert info.rotation == clockwise
    assert (info.width, info.height) == ((WIDTH, HEIGHT) if clockwise in (0, 180) else (HEIGHT, WIDTH))
    for plain, shown in zip(media.read_frames(data), media.read_frames(turned(data, matrix)), strict=True):
        np.testing.assert_array_equal(shown, np.rot90(plain, -clockwise // 90))
        assert shown.flags.c_contiguous


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "gray", "rgb24"])
def test_small_frames_are_the_frames_averaged_over_areas(pixels):
    import cv2

    buffer = io.BytesIO()
    y, x = np.mgrid[:120, :300]
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 300, 120, {"rgb24": "bgr0"}.get(pixels, pixels)
        for k in range(4):
            rgb = np.stack([128 + 90 * np.sin((x + 9 * k) / 15), 128 + 90 * np.cos(y / 11), (x + y + k) % 200],
                           -1).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=stream.pix_fmt)))
        out.mux(stream.encode(None))
    whole = list(media.read_frames(buffer))
    small = list(media.read_small_frames(buffer, 64))
    assert len(small) == len(whole) == 4
    for frame, (little, size) in zip(whole, small, strict=True):
        assert size == (300, 120) and little.shape == (26, 64, 3) and little.dtype == np.uint8
        wanted = cv2.resize(frame, (64, 26), interpolation=cv2.INTER_AREA)
        grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(int) for p in (wanted, little)]
        assert np.abs(grey[0] - grey[1]).mean() < 3
        video = av.VideoFrame.from_ndarray(wanted, format="rgb24").reformat(format="yuv420p").to_ndarray(format="rgb24")
        assert np.abs(video.astype(int) - little).mean() < 4, "colours have half the resolution, as in most video"
    assert [f.shape for f, _ in media.read_small_frames(buffer, 1000)] == [(120, 300, 3)] * 4, "never enlarged"


@pytest.mark.parametrize(("width", "height", "pixels"), [(300, 120, "yuv420p"), (601, 521, "yuv420p"), (646, 482, "yuv420p"),
                                                         (646, 522, "yuv422p"), (644, 482, "yuv444p"), (640, 480, "bgr0")])
def test_parts_of_lazy_frames_have_the_bytes_of_the_whole(width, height, pixels):
    buffer = io.BytesIO()
    y, x = np.mgrid[:height, :width]
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for k in range(2):
            rgb = np.stack([128 + 90 * np.sin((x + 9 * k) / 5), (7 * x * y + k) % 255, (x + y + k) % 200], -1).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixels)))
        out.mux(stream.encode(None))
    rng = np.random.default_rng(0)
    pairs = list(zip(media.read_frames(buffer), media.read_lazy_frames(buffer), strict=True))
    assert len(pairs) == 2
    for frame, lazy in pairs:
        assert lazy.shape == frame.shape and lazy.dtype == np.uint8 and lazy.ndim == 3
        assert lazy.has_parts == (pixels != "bgr0" and width % 2 == 0 and width * height > 200_000)
        for _ in range(30):
            top, left = (int(rng.integers(0, n)) for n in frame.shape[:2])
            part = slice(top, top + int(rng.integers(1, 60))), slice(left, left + int(rng.integers(1, 60)))
            assert np.array_equal(lazy[part], frame[part])
        assert (lazy._whole is None) == lazy.has_parts, "parts are had without the whole"
        assert lazy[5:5, 3:9].shape == (0, 6, 3) and np.array_equal(lazy[:, :], frame)
        assert np.array_equal(np.asarray(lazy), frame) and np.array_equal(lazy[3:9, 4:8], frame[3:9, 4:8])
        fresh = next(media.read_lazy_frames(buffer))
        for away in (-900.0, 900.0):  # to either side of the frame
            beyond = np.array([[1.0, 0, away], [0, 1, 0]])
            assert np.array_equal(views.cut(fresh, beyond, 64), np.full((64, 64, 3), views.PAD, np.uint8))
        with pytest.raises(IndexError, match="whole stretches"):
            lazy[::2, :]


def test_missing_streams_are_rejected_by_name(tmp_path):
    silent = mux(tmp_path / "silent.mp4", times_s=T25[:5])
    blind = mux(tmp_path / "blind.mp4", tracks=[sound("aac")])
    assert media.probe(silent).has_audio is False and media.probe(blind).has_video is False
    assert clicks_in(media.read_audio(blind), CLICKS) == pytest.approx(CLICKS, abs=0.001)
    for call, reason, path in [
        (media.read_audio, "no_audio", silent),
        (media.frame_count, "no_video", blind),
        (lambda p: next(media.read_frames(p)), "no_video", blind),
    ]:
        with pytest.raises(Reject) as caught:
            call(path)
        assert caught.value.reason == reason and path.name in caught.value.detail


NO_MEDIA = [("a.mp4", b""), ("a.txt", b"just words\n" * 400), ("a.m3u8", b"#EXTM3U\n#EXTINF:5,\nb.ts\n")]


@pytest.mark.parametrize("name, content", NO_MEDIA)
def test_files_that_are_no_media_are_rejected_by_name(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    for call in (media.probe, media.read_audio, media.frame_count, lambda p: next(media.read_frames(p))):
        for source in (path, content):
            with pytest.raises(Reject) as caught:
                call(source)
            assert caught.value.reason == "decode_error" and media_probe.name_of(source) in caught.value.detail
    with pytest.raises(Reject) as caught:
        media.probe(tmp_path / "absent.mp4")
    assert caught.value.reason == "missing_file"


LONG = [i / 25 for i in range(150)]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """6 s of B-frames and sound, index first."""
    folder = tmp_path_factory.mktemp("long")
    tracks = [{"codec": "aac", "samples": click_track([1, 4], 6)}]
    return mux(folder / "long.mp4", times_s=LONG, video=WITH_B, tracks=tracks, container={"movflags": "+faststart"})


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mpg"])
def test_a_truncated_tail_keeps_what_came_before_and_says_so(suffix, long_clip, tmp_path, caplog):
    path = long_clip
    if suffix != ".mp4":
        video = ("mpeg1video", {}) if suffix == ".mpg" else WITH_B
        path = mux(tmp_path / f"a{suffix}", times_s=LONG, clock=FRAME_CLOCK, video=video)
    data = path.read_bytes()[: int(path.stat().st_size * 0.6)]
    with caplog.at_level(logging.WARNING, "babelface.media"):
        numbers = [number_of(f) for f in media.read_frames(data)]
    assert 20 < len(numbers) < 120 and numbers == list(range(len(numbers)))
    assert len(caplog.records) == 1 and f"<{len(data)} bytes>" in caplog.text


def test_damage_in_the_middle_is_rejected_with_its_time(long_clip, tmp_path):
    data = bytearray(long_clip.read_bytes())
    spans = {"video": [], "audio": []}
    with av.open(str(long_clip)) as container:
        for packet in container.demux():
            if packet.size:
                spans[packet.stream.type].append((packet.pos, packet.size))
    for kind, call in [("video", lambda p: list(media.read_frames(p))), ("audio", media.read_audio)]:
        at, size = spans[kind][len(spans[kind]) // 2]
        broken = bytearray(data)
        broken[at : at + size] = b"\xff" * size
        path = tmp_path / f"{kind}.mp4"
        path.write_bytes(broken)
        with pytest.raises(Reject) as caught:
            call(path)
        detail = caught.value.detail
        assert caught.value.reason == "decode_error" and str(path) in detail and f"{kind} data at " in detail
        assert float(detail.split(" data at ")[1].split()[0]) == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("start, stop", [(0, 3), (60, 70), (99, 101), (100, None), (149, 150), (149, 400), (150, None), (7, 7)])
def test_a_range_equals_the_same_range_of_the_full_decode(start, stop, long_clip):
    whole = list(media.read_frames(long_clip))
    part = list(media.read_frames(long_clip, start=start, stop=stop))
    assert len(part) == len(whole[start:stop])
    assert all(np.array_equal(a, b) for a, b in zip(part, whole[start:stop], strict=True))


def test_seeking_really_skips_and_a_lying_index_is_survived(long_clip, monkeypatch):
    decoded = []
    original = media_probe.decode_stream

    def counting(*arguments):
        for frame in original(*arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(media_probe, "decode_stream", counting)
    assert number_of(next(media.read_frames(long_clip, start=140))) == 140
    assert len(decoded) < 60
    monkeypatch.setattr(media, "SEEK_MARGIN_S", -1.2)  # as if the index pointed behind the target
    assert number_of(next(media.read_frames(long_clip, start=118))) == 118


def test_sources_in_memory_and_threads_give_the_same(long_clip):
    data = long_clip.read_bytes()
    assert media.probe(data) == media.probe(io.BytesIO(data)) == media.probe(str(long_clip))
    np.testing.assert_array_equal(media.read_audio(data), media.read_audio(long_clip))
    pairs = zip(media.read_frames(io.BytesIO(data), stop=30, threads=2), media.read_frames(long_clip, stop=30), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@given(st.lists(st.floats(0.0, 0.2), min_size=0, max_size=60), st.sampled_from([25, 24, Fraction(30000, 1001)]))
def test_nearest_grid_takes_the_nearest_frame(steps, fps):
    times = np.concatenate([[0.0], np.cumsum(steps)])
    chosen = media.nearest_grid(times, fps)
    grid = np.arange(len(chosen)) / float(fps)
    distance = np.abs(times[None] - grid[:, None])
    assert np.all(distance[np.arange(len(grid)), chosen] <= distance.min(axis=1) + 2e-6)
    assert np.all(np.diff(chosen) >= 0) and np.all((chosen == 0) | (times[chosen] > times[chosen - 1]))
    assert grid[-1] <= times[-1] + 0.11 / float(fps) and grid[-1] + 1 / float(fps) > times[-1]


@given(st.integers(1, 400), st.floats(-0.012, 0.012), st.integers(0, 2**31))
def test_nearest_grid_passes_a_jittery_25_fps_source_one_to_one(n, last_jitter, seed):
    jitter = np.random.default_rng(seed).uniform(-0.012, 0.012, n)
    jitter[0], jitter[-1] = 0, max(jitter[-1] if n > 1 else 0, -0.0039)
    np.testing.assert_array_equal(media.nearest_grid(np.arange(n) / 25 + jitter), np.arange(n))


def test_nearest_grid_ties_go_to_the_earlier_and_nonsense_is_refused():
    np.testing.assert_array_equal(media.nearest_grid(np.arange(4) * 0.08), [0, 0, 1, 1, 2, 2, 3])
    np.testing.assert_array_equal(media.nearest_grid(np.array([0, 0.04, 0.04, 0.08])), [0, 1, 3])
    for wrong in ([], [0.1, 0.0], [[0.0]]):
        with pytest.raises(ValueError, match="times_s"):
            media.nearest_grid(np.array(wrong))


REAL = [
    ("syncnet_example.avi", 317, 202880),
    ("vox_00010.mp4", 106, 68608),
    ("vox_00086.mp4", 130, 83968),
    ("grid_bbaf2n.mpg", 75, 47648),
]


@pytest.mark.parametrize("name, n_frames, n_samples", REAL)
def test_reference_counts_of_real_clips(name, n_frames, n_samples, shared):
    path = shared / "real" / "clips" / name
    assert sum(1 for _ in media.read_frames(path)) == media.frame_count(path) == n_frames
    assert len(media.read_audio(path)) == n_samples


def test_pcm_is_bit_identical_and_rgb_is_bgr_reversed(shared):
    path = shared / "real" / "clips" / "syncnet_example.avi"
    with av.open(str(path)) as container:
        raw = b"".join(bytes(packet) for packet in container.demux(audio=0))
    np.testing.assert_array_equal(media.read_audio(path), np.frombuffer(raw, "<i2"))
    with av.open(str(path)) as container:
        for frame, rgb in zip(container.decode(video=0), media.read_frames(path, stop=20), strict=False):
            np.testing.assert_array_equal(frame.to_ndarray(format="bgr24")[..., ::-1], rgb)


def test_every_real_clip_has_the_frames_that_decode(shared):
    rows = list(csv.DictReader((shared / "real" / "index.csv").open()))
    assert len(rows) == 28
    for row in rows:
        path = shared / "real" / row["file"]
        times = media.frame_times(path)
        assert len(times) == int(row["frames_decoded"]), row["file"]
        if len(times) <= 350 and int(row["width"]) < 1000:  # a raw decode of all would take too long
            with media_probe.open_media(path) as container:
                decoded = sum(1 for _ in container.decode(video=0))
            assert decoded == len(times), row["file"]
        # `seconds` there is the time of the last frame, to the millisecond or to a frame
        assert abs(media.frame_count(path) - 1 - 25 * float(row["seconds"])) <= 1.6, row["file"]
        info = media.probe(path)
        assert (info.width, info.height) == (int(row["width"]), int(row["height"])), row["file"]
        assert info.has_audio == (row["file"] != "clips/noaudio_face.mp4")


SEEKABLE = ["two_speakers.mp4", "av2av_5.webm", "desynced_1.mp4", "vfr_1.mp4", "fps30_4.mp4", "vox_00086.mp4"]


@pytest.mark.parametrize("name", SEEKABLE)
def test_seeking_in_real_clips_equals_the_full_decode(name, shared):
    path = shared / "real" / "clips" / name
    digests = [hashlib.sha1(f).digest() for f in media.read_frames(path)]
    for start in (51, len(digests) * 2 // 3, len(digests) - 2):
        part = [hashlib.sha1(f).digest() for f in media.read_frames(path, start=start, stop=start + 4)]
        assert part == digests[start : start + 4], (name, start)
