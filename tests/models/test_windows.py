from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import audio
from core.timing import WINDOWS
from models.systems.base import Spec
from models.windows import (STILL_GAP, SYNC_SPAN, Footage, balanced, cut_windows, min_sync_frames, min_system_frames,
                            spread_stills, step_rng, sync_batch, sync_draws, system_batch, system_draws)
from tests.toy_mouth import ToyReader

STILLS = Spec(view="registration", n_stills=3, feature="mfcc_speech2vid", window="speech2vid")


def test_a_step_draws_the_same_again_and_another_step_draws_others():
    toy = ToyReader(8, 60)

    def draw(step, part=0):
        return [(d.track.id, d.starts.tolist()) for d in sync_draws(toy.tracks, 4, 8, step_rng(3, step, part))]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    assert draw(5) != draw(5, part=1)


def test_the_draw_does_not_depend_on_the_order_of_the_tracks():
    toy = ToyReader(8, 60)
    assert balanced(toy.tracks, 6, step_rng(1, 1)) == balanced(toy.tracks[::-1], 6, step_rng(1, 1))


def test_languages_are_even_however_many_clips_each_has():
    tracks = [Footage(f"a{i}", "aa", f"s{i}", 60) for i in range(30)] + [Footage("b0", "bb", "s", 60)]
    seen = Counter(t.language for step in range(50) for t in balanced(tracks, 4, step_rng(0, step)))
    assert seen["aa"] == seen["bb"] == 100


def test_speakers_are_even_within_a_language():
    tracks = [Footage(f"a{i}", "aa", "many", 60) for i in range(30)] + [Footage("z", "aa", "one", 60)]
    seen = Counter(t.speaker for step in range(400) for t in balanced(tracks, 1, step_rng(0, step)))
    assert 140 < seen["one"] < 260


def test_no_track_comes_twice_while_there_are_others():
    toy = ToyReader(8, 60)
    assert len({t.id for t in balanced(toy.tracks, 8, step_rng(0, 0))}) == 8


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(ValueError, match="no track"):
        balanced([], 1, step_rng(0, 0))


@given(st.integers(2, 24), st.integers(0, 40), st.integers(0, 10**6))
def test_sync_windows_lie_inside_the_clip_and_its_sound(windows, more, step):
    windows = min(windows, SYNC_SPAN - 5)
    track = Footage("t", "en", "s", min_sync_frames(windows) + more)
    (draw,) = sync_draws([track], 1, windows, step_rng(0, step))
    assert len(set(draw.starts.tolist())) == windows
    assert draw.starts[0] >= 0 and draw.starts[-1] + 5 <= track.n_frames
    assert 4 * draw.starts[-1] + 20 <= 4 * track.n_frames - 1  # there are 4 F - 1 MFCC rows
    assert draw.starts[-1] - draw.starts[0] + 5 <= SYNC_SPAN


def test_every_start_there_is_gets_drawn():
    track = Footage("t", "en", "s", 40)
    seen = {s for step in range(300) for s in sync_draws([track], 1, 8, step_rng(0, step))[0].starts.tolist()}
    assert seen == set(range(40 - 5))


def test_a_sync_batch_holds_the_frames_and_the_sound_of_its_windows():
    toy = ToyReader(4, 60)
    draws = sync_draws(toy.tracks, 3, 6, step_rng(0, 0))
    batch = sync_batch(draws, toy)
    assert batch["frames"].shape == (3, SYNC_SPAN, 48, 64, 3) and batch["audio"].shape == (3, 6, 20, 13)
    for c, draw in enumerate(draws):
        for w, start in enumerate(draw.starts):
            offset = batch["starts"][c, w]
            frames, sound = toy.frames(draw.track.id, np.arange(start, start + 5)), toy.feature(draw.track.id, "mfcc_syncnet")
            np.testing.assert_array_equal(batch["frames"][c, offset:offset + 5], frames)
            np.testing.assert_array_equal(batch["audio"][c, w], sound[4 * start:4 * start + 20])


@pytest.mark.parametrize("window", ["speech2vid", "syncnet", "davs"])
def test_windows_are_those_of_the_audio_front_end(window):
    feature = np.random.default_rng(0).normal(size=(99, 13)).astype(np.float32)
    np.testing.assert_array_equal(cut_windows(feature, window, np.arange(25)), audio.windows(feature, WINDOWS[window], 25))


def test_speech2vid_window_of_frame_4_is_the_first_35_rows():
    feature = np.arange(99, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(cut_windows(feature, "speech2vid", np.array([4]))[0, :, 0], np.arange(35))


def test_stills_keep_away_from_what_is_to_be_generated():
    toy = ToyReader(4, 60)
    for step in range(60):
        for draw in system_draws(toy.tracks, 4, STILLS, step_rng(0, step)):
            assert np.abs(draw.stills - draw.starts[0]).min() >= STILL_GAP
            assert len(set(draw.stills.tolist())) == 3


def test_the_shortest_track_a_system_takes_can_be_drawn_from():
    for spec in (STILLS, Spec(view="box", image="first", n_stills=0, feature="mel", window="wav2lip", span=7)):
        track = Footage("t", "en", "s", min_system_frames(spec))
        for step in range(30):
            (draw,) = system_draws([track], 1, spec, step_rng(0, step))
            assert draw.starts[0] >= 0 and draw.starts[-1] < track.n_frames and len(draw.starts) == spec.span
            assert len(draw.stills) == (3 if spec.image == "stills" else 1)


def test_a_system_batch_reads_only_the_frames_it_needs():
    toy = ToyReader(4, 60, size=(112, 112))
    draws = system_draws(toy.tracks, 2, STILLS, step_rng(0, 0))
    batch = system_batch(draws, STILLS, toy)
    shapes = {k: v.shape for k, v in batch.items()}
    assert shapes == {"target": (2, 1, 112, 112, 3), "stills": (2, 3, 112, 112, 3), "audio": (2, 1, 35, 12)}
    assert sum(len(frames) for _, frames in toy.seen) == 2 * (1 + 3)


def test_first_frame_comes_just_before_the_target_and_dubbing_gets_the_source():
    toy = ToyReader(2, 40)
    first = Spec(view="box", image="first", n_stills=0, feature="mfcc_speech2vid", window="speech2vid", span=5)
    (draw,) = system_draws(toy.tracks, 1, first, step_rng(0, 0))
    assert draw.stills.tolist() == [draw.starts[0] - 1]
    dub = Spec(view="box", image="source", n_stills=0, drive=("audio", "video"), feature="mfcc_speech2vid", window="speech2vid",
               span=2)
    batch = system_batch(system_draws(toy.tracks, 2, dub, step_rng(0, 0)), dub, toy)
    assert batch["source"].shape == batch["driver"].shape == (2, 2, 48, 64, 3) and "stills" not in batch


def test_stills_at_test_are_spread_and_inside():
    assert spread_stills(100, 4).tolist() == [12, 37, 62, 87]
    assert spread_stills(1, 5).tolist() == [0] * 5
