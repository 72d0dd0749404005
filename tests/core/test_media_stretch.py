"""A stretch of a file's sound is, bit for bit, that stretch of its whole sound; nothing after it is decoded."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from core import media, media_probe
from tests.core.media_clips import mux

LENGTH_S = 5.0
T25 = [i / 25 for i in range(10)]  # the picture may end long before the sound
MPEG4, MPEG2 = ("mpeg4", {}), ("mpeg2video", {})
VP8 = ("libvpx", {"deadline": "realtime", "cpu-used": "8"})
FRAME = Fraction(1, 25)


def noise(rate, channels=1):
    """Coloured noise that is another in every second, so that no stretch of it is like another."""
    rng = np.random.default_rng(rate + channels)
    t = np.arange(round(LENGTH_S * rate)) / rate
    return np.stack([0.2 * rng.normal(size=len(t)).cumsum() % 1 * 0.3 - 0.15 + 0.3 * np.sin(t * (900 + 300 * c) * (1 + t / 9))
                     for c in range(channels)])


CASES = {
    "mp4-aac-44100": ("a.mp4", {}, {"codec": "aac", "rate": 44100}),
    "mp4-aac-stereo-48000": ("a.mp4", {}, {"codec": "aac", "rate": 48000, "layout": "stereo"}),
    "webm-opus": ("a.webm", {"video": VP8}, {"codec": "libopus", "rate": 48000}),
    "mkv-flac-stereo-44100": ("a.mkv", {}, {"codec": "flac", "rate": 44100, "layout": "stereo"}),
    "mkv-flac-late": ("a.mkv", {}, {"codec": "flac", "rate": 22050, "start_s": 0.7}),
    "mkv-aac-hole": ("a.mkv", {}, {"codec": "aac", "rate": 32000, "gaps": [(1.5, 0.4), (4.0, 0.3)]}),
    "avi-mp3": ("a.avi", {"video": MPEG4, "clock": FRAME}, {"codec": "libmp3lame", "rate": 44100}),
    "avi-pcm-16000": ("a.avi", {"video": MPEG4, "clock": FRAME}, {"codec": "pcm_s16le"}),
    "mpg-mp2": ("a.mpg", {"video": MPEG2, "clock": FRAME}, {"codec": "mp2", "rate": 44100, "layout": "stereo"}),
    "wav-11025": ("a.wav", None, {"codec": "pcm_s16le", "rate": 11025}),
    "flac-48000": ("a.flac", None, {"codec": "flac", "rate": 48000, "layout": "stereo"}),
}


def made(tmp_path, case):
    name, video, track = CASES[case]
    track = track | {"samples": noise(track.get("rate", 16000), 2 if track.get("layout") == "stereo" else 1)}
    return mux(tmp_path / name, times_s=None if video is None else T25, tracks=[track], **(video or {}))


@pytest.mark.parametrize("case", CASES)
def test_a_stretch_of_sound_has_the_samples_of_the_whole(case, tmp_path):
    path = made(tmp_path, case)
    whole = media.read_audio(path)
    assert whole[8000:].std() > 100, "there is something to compare"
    for start, stop in ((0, 640), (640, 20000), (9001, 9002), (41600, 50000), (61111, None), (10**7, 10**7 + 640)):
        np.testing.assert_array_equal(media.read_audio(path, start=start, stop=stop), whole[start:stop], f"{start} {stop}")


def test_sound_that_changes_its_rate_keeps_the_samples_of_the_whole(tmp_path):
    """Two transport streams, one after the other, as recorders of broadcasts join them."""
    tracks = {rate: [{"codec": "mp2", "rate": rate, "samples": noise(rate)[:, :rate * 2]}] for rate in (44100, 48000)}
    parts = [mux(tmp_path / f"{rate}.ts", times_s=T25, tracks=tracks[rate],
                 muxer={"output_ts_offset": str(at)}) for rate, at in ((44100, 0), (48000, 2))]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    whole = media.read_audio(path)
    assert media._sound(path, 0, 0.0, 40000, 50000, True) is None, "the rate did change"
    for start, stop in ((20000, 30000), (40000, 50000), (52000, None)):
        np.testing.assert_array_equal(media.read_audio(path, start=start, stop=stop), whole[start:stop])


def test_nothing_after_a_stretch_is_decoded_and_little_before_it_is_turned(tmp_path, monkeypatch):
    path, seen, turned = made(tmp_path, "mkv-flac-stereo-44100"), [], []
    frames, into = media_probe.decode_stream, media._audio_frame
    monkeypatch.setattr(media_probe, "decode_stream",
                        lambda *given: (seen.append(f) or f for f in frames(*given)))
    monkeypatch.setattr(media, "_audio_frame", lambda samples, like: turned.append(samples.size // 2) or into(samples, like))
    media.read_audio(path, start=40000, stop=48000)
    n_decoded = sum(getattr(f, "samples", 0) for f in seen)
    assert 3.0 < n_decoded / 44100 < 3.6, "of 5 s"
    assert sum(turned) / 44100 < 1.6, "the stretch, and half a second before it"
