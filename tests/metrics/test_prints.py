"""Fingerprints: the same footage under other sizes, rates and cuts against other footage of the same kind."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.prints import BIN, COLUMNS, ROWS, SCALE, SPAN, bit_error, dhash, looks, moves, picture_print, sound_print, thumb
from tests.flows.small_dataset import person

people = {seed: person(seed) for seed in (0, 1, 2)}
strips = {seed: picture_print([thumb(f) for f in frames]) for seed, (frames, _) in people.items()}
words = {seed: sound_print(samples) for seed, (_, samples) in people.items()}


def test_shapes_and_units():
    frames, samples = people[0]
    assert strips[0].shape == (len(frames) // BIN, ROWS, COLUMNS) and strips[0].dtype == np.uint16
    assert words[0].dtype == np.uint32 and len(words[0]) == (len(samples) - SPAN) // 400
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (72, 128, 3), dtype=np.uint8)
    grey = cv2.cvtColor(noise, cv2.COLOR_RGB2GRAY).astype(np.float32)
    assert thumb(noise) == pytest.approx(cv2.resize(grey, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA), abs=0.02)
    grey = np.full((40, 50, 3), 130, np.uint8)
    assert thumb(grey) == pytest.approx(np.full((ROWS, COLUMNS), 130), abs=0.01)
    assert (picture_print([thumb(grey)] * BIN) == 130 * SCALE).all()
    assert len(picture_print([thumb(grey)] * (BIN - 1))) == 0


def test_a_stretch_starts_anywhere():
    frames, samples = people[0]
    for first in (3, 9, 17):
        cut = picture_print([thumb(f) for f in frames[first:]])
        alike, shift, n = moves(strips[0], cut, 6)
        assert alike > 0.9 and abs(shift - first / BIN) < 1 and looks(strips[0], cut, shift) < 0.1 and n >= len(cut) - 1
        sound = sound_print(samples[first * 640 + 111 :])
        step = round((first * 640 + 111) / 400)
        assert min(bit_error(words[0], sound, s)[0] for s in (step - 1, step, step + 1)) < 0.15


def test_all_shifts_at_once_are_each_shift_by_itself():
    rng = np.random.default_rng(0)
    for na, nb in ((12, 20), (20, 12), (9, 9)):
        a, b = (rng.integers(0, 16000, (n, ROWS, COLUMNS)).astype(np.uint16) for n in (na, nb))
        b[2:8] = a[1:7]
        best = (0.0, 0, 0)
        for shift in range(6 - nb, na - 6 + 1):
            x, y = (a[shift:], b) if shift >= 0 else (a, b[-shift:])
            n = min(len(x), len(y))
            x, y = (s[:n].reshape(n, -1).astype(float) for s in (x, y))
            best = max(best, (float(np.corrcoef((x - x.mean(0)).ravel(), (y - y.mean(0)).ravel())[0, 1]), shift, n))
        assert moves(a, b, 6) == (pytest.approx(best[0], abs=1e-9), *best[1:])


def test_level_and_brightness_do_not_matter():
    frames, samples = people[0]
    quieter = sound_print((samples * 0.2).astype(np.int16))
    assert bit_error(words[0], quieter, 0)[0] < 0.1
    darker = picture_print([thumb((f * 0.7).astype(np.uint8)) for f in frames])
    assert moves(strips[0], darker, 6)[0] > 0.95 and looks(strips[0], darker, 0) < 0.05


def test_others_are_told_apart():
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert moves(strips[a], strips[b], 8)[0] < 0.8
        assert min(bit_error(words[a], words[b], s)[0] for s in range(-30, 31)) > 0.35


def test_silence_and_stillness_say_nothing():
    assert not sound_print(np.zeros(40000, np.int16)).any()
    assert bit_error(np.zeros(50, np.uint32), words[0], 0) == (1.0, 0)
    still = np.repeat(strips[0][:1], 12, axis=0)
    assert moves(still, still, 6) == (0.0, 0, 0)
    assert len(sound_print(np.zeros(SPAN, np.int16))) == 0


def test_bits_are_counted():
    a = np.array([0b1111, 0b0001, 0, 0b0011], np.uint32)
    b = np.array([0b0001, 0b0001, 5, 0b0001], np.uint32)
    assert bit_error(a, b, 0) == (pytest.approx((3 + 0 + 1) / 3 / 31), 3)
    assert bit_error(a, b[1:], 1)[1] == 2 and bit_error(a[1:], b, -1)[1] == 2
    slope = np.tile(np.arange(COLUMNS, dtype=np.uint16), (1, ROWS, 1))
    assert dhash(slope)[0] == np.uint64(2**64 - 1) and dhash(slope[:, :, ::-1])[0] == 0 and looks(slope, slope[:, :, ::-1],
                                                                                                  0) == 1.0


def test_samples_that_are_none():
    with pytest.raises(ValueError, match="int16 of one channel, not float64"):
        sound_print(np.zeros(8000))
