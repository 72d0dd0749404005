"""Motion: closures are reached, coarticulation blends, noise is bounded, and the same seed gives the same face."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.synthetic.degrade import add_noise, reverberate, spoil_frames
from corpora.synthetic.motion import (Manner, blink_track, draw_manner, face_motion, head_track, mouth_track, shown_visemes,
                                      smooth_noise)
from corpora.synthetic.speech import Phoneme
from corpora.synthetic.state import MOUTH
from corpora.synthetic.visemes import VISEMES

HARD = {"timing_jitter_s": 0.025, "viseme_gain": 0.25, "amplitude": [0.4, 0.9], "head_motion": 1.0, "lip_noise": 0.03}


def said(*symbols: str, start_s: float = 0.2, each_s: float = 0.1) -> list[Phoneme]:
    return [Phoneme(s, start_s + k * each_s, start_s + (k + 1) * each_s) for k, s in enumerate(symbols)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_shapes_types_and_ranges():
    track = mouth_track(said(*"mamafuti"), 40, rng(), HARD, manner=draw_manner(rng(1), HARD))
    assert tuple(track) == MOUTH
    for name, values in track.items():
        assert values.shape == (40,) and values.dtype == np.float32
        assert values.min() >= (-1 if name == "wide" else 0) and values.max() <= 1


def test_a_held_vowel_reaches_its_target_and_silence_is_shut():
    track = mouth_track([Phoneme("a", 1.0, 2.0)], 75, rng())
    assert track["open"][37] == pytest.approx(VISEMES["aa"]["open"], abs=0.01)
    assert track["open"][:20].max() < 0.02 and track["open"][55:].max() < 0.02


def test_the_mouth_anticipates_more_than_it_carries_over():
    track = mouth_track([Phoneme("a", 1.0, 1.4)], 60, rng())["open"]
    before, after = track[24], track[35]  # centres 0.98 s and 1.42 s: 20 ms outside on either side
    assert before > after > 0


def test_a_consonant_takes_the_colour_of_its_vowels():
    wide = [mouth_track(said(v, "k", v), 20, rng())["wide"][8] for v in ("i", "u")]  # frame 8: the middle of k
    assert wide[0] > 0.3 and wide[1] < -0.3


@settings(max_examples=60, deadline=None)
@given(each_s=st.floats(0.015, 0.2), start_s=st.floats(0.0, 0.3), seed=st.integers(0, 999), closer=st.sampled_from(["b", "f"]))
def test_lip_closures_are_reached_however_fast(each_s, start_s, seed, closer):
    phonemes = said("a", closer, "a", start_s=start_s, each_s=each_s)
    track = mouth_track(phonemes, 40, rng(seed), HARD, manner=draw_manner(rng(seed), HARD))
    assert track["press" if closer == "b" else "tuck"].max() == 1.0
    assert track["tuck" if closer == "b" else "press"].max() == 0.0


def test_closure_falls_where_the_sound_is():
    press = mouth_track(said("a", "p", "a"), 20, rng())["press"]
    assert np.flatnonzero(press == 1).tolist() == [7, 8, 9]  # 0.3 to 0.4 s: centres 0.30, 0.34, 0.38


def test_swap_changes_what_is_shown_and_names_what_it_does_not_know():
    phonemes = said("a", "p", "a")
    assert shown_visemes(phonemes, {"pp": "aa", "aa": "pp"}) == ["pp", "aa", "pp"]
    swapped = mouth_track(phonemes, 20, rng(), {"swap": {"pp": "aa", "aa": "pp"}})
    assert swapped["press"][8] < 1 and swapped["press"][5] == 1
    with pytest.raises(ValueError, match="unknown visemes"):
        shown_visemes(phonemes, {"bb": "aa"})


def test_jitter_moves_each_phoneme_on_its_own():
    phonemes = said(*"apapapapapap")
    calm = mouth_track(phonemes, 45, rng(3))["press"]
    moved = mouth_track(phonemes, 45, rng(3), {"timing_jitter_s": 0.025})["press"]
    centre = [np.average(np.arange(5, 45) % 45, weights=press[5:45] + 1e-9) for press in (calm, moved)]
    assert np.abs(calm - moved).max() > 0.2 and abs(centre[0] - centre[1]) < 1.0


def test_manner_scales_open_but_no_closure():
    phonemes = said("a", "a", "a", "p", "a")
    full, small = (mouth_track(phonemes, 25, rng(), manner=Manner(amplitude=a)) for a in (1.0, 0.5))
    np.testing.assert_allclose(small["open"], full["open"] / 2, atol=1e-6)
    np.testing.assert_array_equal(small["press"], full["press"])
    drawn = [draw_manner(rng(seed), HARD) for seed in range(50)]
    assert all(0.4 <= m.amplitude <= 0.9 for m in drawn) and np.std([m.amplitude for m in drawn]) > 0.08
    assert 0.15 < np.std(np.log([g for m in drawn for g in m.gain.values()])) < 0.3
    with pytest.raises(ValueError, match="amplitude"):
        draw_manner(rng(), {"amplitude": [0.9, 0.4]})


def test_same_seed_same_motion():
    phonemes = said(*"mamafuti")
    one, two, other = (face_motion(phonemes, 40, rng(seed), HARD, Manner()) for seed in (5, 5, 6))
    for name in one.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert getattr(one, name).shape == (40,) and getattr(one, name).dtype == np.float32
    assert np.abs(one.yaw - other.yaw).max() > 0.1


def test_head_moves_smoothly_and_holds_still_at_zero():
    still = head_track(100, rng(), 0.0)
    assert all(np.ptp(still[name]) == 0 for name in ("yaw", "pitch", "roll", "dx", "dy", "scale", "light"))
    assert still["scale"][0] == 1 and still["light"][0] == 1
    yaw = np.stack([head_track(200, rng(seed), 1.0)["yaw"] for seed in range(30)])
    assert 4 < yaw.std() < 12 and np.abs(yaw).max() <= 25 and np.abs(np.diff(yaw, axis=1)).max() < 3


def test_blinks_come_about_as_often_as_people_blink():
    blinks = [np.sum((track[1:] >= 0.9) & (track[:-1] < 0.9)) for track in (blink_track(1500, rng(seed)) for seed in range(20))]
    assert 12 < np.mean(blinks) < 22


def test_smooth_noise_has_unit_variance_and_the_length_asked_for():
    noise = smooth_noise(rng(), 20_000, 3.0)
    assert len(noise) == 20_000 and abs(noise.std() - 1) < 0.1
    assert len(smooth_noise(rng(), 0, 3.0)) == 0


def test_frames_are_spoiled_by_the_strength_asked_for_and_the_seed_alone():
    frames = [np.full((64, 64, 3), 128, np.uint8)] * 3
    clean = list(spoil_frames(frames, rng()))
    noisy, again = ([f.copy() for f in spoil_frames(frames, rng(7), noise=4.0)] for _ in range(2))
    assert all((f == 128).all() for f in clean)
    assert all((a == b).all() and a.dtype == np.uint8 for a, b in zip(noisy, again, strict=True))
    assert abs(np.std(np.stack(noisy).astype(float)) - 4.0) < 0.2 and (noisy[0] != noisy[1]).any()
    edge = np.zeros((32, 32, 3), np.uint8)
    edge[:, 16:] = 255
    blurred = next(spoil_frames([edge], rng(), blur=1.0))
    assert 60 < blurred[16, 15, 0] < 120 and blurred[16, 2, 0] == 0


def test_reverberation_adds_a_tail_and_no_delay():
    click = np.zeros(16_000)
    click[1000] = 1.0
    room = reverberate(click, rng(), 0.3, rt60_s=0.3)
    assert len(room) == len(click) and np.abs(room[:999]).max() < 1e-12 and np.argmax(np.abs(room)) == 1000
    np.testing.assert_allclose(np.sum(room[1010:] ** 2), 0.3, rtol=0.01)
    early, late = np.sum(room[1040:1960] ** 2), np.sum(room[4600:5520] ** 2)  # 0.2 s later: 45 dB less
    assert 35 < 10 * np.log10(early / late) < 55
    np.testing.assert_array_equal(reverberate(click, rng(), 0.0), click)


def test_noise_comes_at_the_asked_distance():
    tone = np.sin(np.arange(32_000) / 5) * (np.arange(32_000) < 16_000)
    inside = np.arange(32_000) < 16_000
    noise = add_noise(tone, rng(), 20.0, speech=inside) - tone
    assert 10 * np.log10(np.mean(tone[inside] ** 2) / np.mean(noise**2)) == pytest.approx(20.0, abs=0.01)
    np.testing.assert_array_equal(add_noise(tone, rng(), None), tone)
