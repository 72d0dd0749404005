"""Segment: where clips begin and end, and that sound and picture stay together in every container."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stages.segment
from core import audio, media
from core.params import Segment
from stages.segment import cut_spans, find_shots
from tests.core.media_clips import clicks_in, number_of
from tests.stages.conftest import drifting
from tests.stages.sync_clips import RECORDINGS, inside, rejects_of, rows_of

CONFIG = Segment().model_dump()
LEAST, MOST = 50, 250


@st.composite
def recordings(draw):
    """(n_frames, shots, speech): speech in 10 ms steps, sorted and apart, as a voice detector gives it."""
    n_frames = draw(st.integers(1, 1500))
    shots = sorted(draw(st.sets(st.integers(1, 1500), max_size=4)))
    marks = sorted(draw(st.sets(st.integers(0, n_frames * 4), max_size=24)))
    return n_frames, shots, [(a / 100, b / 100) for a, b in zip(marks[::2], marks[1::2], strict=False)]


@given(recordings())
@settings(max_examples=400, deadline=None)
def test_spans_lie_in_one_shot_in_order_apart_and_of_allowed_length(case):
    n_frames, shots, speech = case
    spans = cut_spans(n_frames, shots, speech, CONFIG)
    edges = [0, *[s for s in shots if s < n_frames], n_frames]
    for start, stop in spans:
        assert LEAST <= stop - start <= MOST
        assert any(a <= start and stop <= b for a, b in zip(edges, edges[1:], strict=False)), "a clip crosses a cut"
        assert any(a < stop / 25 and b > start / 25 for a, b in speech), "nobody speaks in it"
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


@given(recordings())
@settings(max_examples=200, deadline=None)
def test_speech_long_enough_for_a_clip_is_not_lost(case):
    n_frames, shots, speech = case
    spans = cut_spans(n_frames, shots, speech, CONFIG)
    edges = [0, *[s for s in shots if s < n_frames], n_frames]
    for a, b in speech:
        inside_one = any(e <= a * 25 and b * 25 <= f for e, f in zip(edges, edges[1:], strict=False))
        if inside_one and 2.1 <= b - a <= 3:
            assert any(s < b * 25 and t > a * 25 for s, t in spans), (a, b)


@given(st.integers(LEAST, MOST), st.floats(0, 1.5), st.floats(0.1, 0.4))
def test_a_recording_of_one_fitting_shot_stays_whole(n_frames, start_s, length_s):
    assert cut_spans(n_frames, [], [(start_s, start_s + length_s)], CONFIG) == [(0, n_frames)]
    assert cut_spans(n_frames, [], [], CONFIG) == []


def test_speech_is_padded_and_close_speech_is_one_clip():
    far = [(20.0, 23.0)]
    assert cut_spans(1000, [], [(5.0, 6.5), (7.19, 9.0), *far], CONFIG) == [(117, 233), (492, 583)]  # 0.69 s are bridged
    assert cut_spans(1000, [], [(5.0, 7.2), (7.92, 10.0), *far], CONFIG) == [(117, 188), (190, 258), (492, 583)]
    assert cut_spans(1000, [], [(5.0, 6.2), (7.2, 9.0), *far], CONFIG) == [(172, 233), (492, 583)]  # the first is too short alone


def test_long_speech_is_cut_at_its_longest_pause():
    spans = cut_spans(1000, [], [(2.0, 7.0), (7.2, 9.4), (9.9, 16.0)], CONFIG)
    assert spans == [(42, 241), (241, 408)]


def test_speech_after_the_last_picture_is_nobodys():
    assert cut_spans(75, [], [(5.0, 8.8)], CONFIG) == []


def test_hard_cuts_are_found_and_slow_motion_is_not():
    frames = [(f, (256, 192)) for k, n in enumerate((70, 80, 75)) for f in drifting(k, n)]
    n, cuts, size = find_shots(frames, 3.0)
    assert (n, size) == (225, (256, 192)) and cuts == [70, 150]
    assert find_shots([(f, (256, 192)) for f in drifting(1, 100)], 3.0)[1] == []
    assert find_shots([], 3.0) == (0, [], (0, 0))


def test_a_recording_with_two_cuts_gives_a_clip_per_shot(odd):
    clips = sorted((r for r in rows_of(odd, "segment", "odd-en", "clips") if r["recording_id"] == "cuts"),
                   key=lambda r: r["start_frame"])
    assert [(c["clip_id"], c["start_frame"], c["start_frame"] + c["n_frames"]) for c in clips] == [
        ("cuts-c0", 0, 70), ("cuts-c1", 70, 150), ("cuts-c2", 150, 225)]
    assert all((c["width"], c["height"]) == (128, 96) for c in clips)


@pytest.mark.parametrize("name, reason", [("brief", "too_short"), ("quiet", "no_speech"), ("torn", "decode_error"),
                                          ("late", "no_speech")])
def test_what_cannot_be_cut_is_refused_by_name(odd, name, reason):
    got, detail = rejects_of(odd, "segment", "odd-en")[name]
    assert got == reason and f"{name}.mp4" in detail


def test_a_clip_knows_who_it_is_and_how_loud(odd):
    clip = next(r for r in rows_of(odd, "segment", "odd-en", "clips") if r["recording_id"] == "good")
    sound = media.decode_flac(clip["audio"])
    assert (clip["kind"], clip["speaker"], clip["cluster"], clip["corpus"]) == ("generated", "made", "speaker:made", "odd")
    assert (clip["start_frame"], clip["n_frames"], clip["n_samples"]) == (0, 75, len(sound)) and len(sound) == 48000
    assert clip["loudness_db"] == pytest.approx(audio.loudness_db(sound))
    assert clip["speech_s"] == pytest.approx(sum(s["end_s"] - s["start_s"]
                                                 for s in clip["speech"])) and 1.5 < clip["speech_s"] < 2.7


# ---- sound and picture --------------------------------------------------------------------------------------------------------
def of(sync, name):
    clips = [c for c in sync.clips if sync.of[c["recording_id"]] == name]
    assert len(clips) == (3 if "long" in name else 1)
    return clips


@pytest.mark.parametrize("name", RECORDINGS)
def test_clicks_stay_within_a_millisecond(sync, name):
    for clip in of(sync, name):
        wanted = sync.clicks(clip)
        assert len(wanted) == (1 if "long" in name else 2)
        got = clicks_in(media.decode_flac(clip["audio"]), wanted)
        assert np.abs(np.array(got) - wanted).max() <= 0.001, (clip["clip_id"], got, wanted)


@pytest.mark.parametrize("name", RECORDINGS)
def test_frames_stay_within_half_a_source_frame(sync, name):
    for clip in of(sync, name):
        stop = clip["start_frame"] + clip["n_frames"]
        sync.check_numbers(clip, [number_of(f) for f in media.read_frames(sync.media(clip), start=clip["start_frame"],
                                                                          stop=stop)])


def test_long_recordings_are_cut_around_speech(sync):
    for clip in sync.clips:
        if "long" in sync.of[clip["recording_id"]]:
            first, last = clip["speech"][0], clip["speech"][-1]
            assert 0.28 <= first["start_s"] <= 0.36 and 0.28 <= clip["n_frames"] / 25 - last["end_s"] <= 0.36


@pytest.mark.parametrize("name", ["mp4-aac", "ntsc-long"])
def test_a_generated_video_keeps_its_clicks_and_frames(sync, name, tmp_path):
    for clip in of(sync, name)[:1]:
        start, stop = clip["start_frame"], clip["start_frame"] + clip["n_frames"]
        frames = list(media.read_frames(sync.media(clip), start=start, stop=stop))
        data = media.encode_video(frames, crf=12, audio=media.decode_flac(clip["audio"]))
        sync.check_numbers(clip, [number_of(f) for f in media.read_frames(data)])
        wanted = sync.clicks(clip)
        assert np.abs(np.array(clicks_in(media.read_audio(data), wanted)) - wanted).max() <= 0.001


def test_what_a_recording_is_called_does_not_stay_stale(tmp_path):
    """A video that turns out to be generated must not go on as real, though its file is the same."""
    import stages.download
    from tests.core.media_clips import mux
    from tests.stages.sync_clips import SHORT, hum, index, workspace

    source = tmp_path / "source"
    source.mkdir()
    mux(source / "a.mp4", times_s=[i / 25 for i in range(75)], tracks=[{"codec": "aac", "samples": hum(SHORT)}])
    index(source, [{"file": "a.mp4", "language": "en", "kind": "real"}])
    workspace(tmp_path, {"own": {"adapter": "folder", "path": str(source), "languages": {"en": {}}}},
              segment={"shot_threshold": 1000})
    with inside(tmp_path) as params:
        for kind in ("real", "generated"):
            index(source, [{"file": "a.mp4", "language": "en", "kind": kind}])
            stages.download.main("own-en", params)
            stages.segment.main("own-en", params)
            assert [r["kind"] for r in rows_of(tmp_path, "segment", "own-en", "clips")] == [kind]
