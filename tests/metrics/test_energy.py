"""Mouth opening against speech energy: found where it is, absent where it is not, silent where nobody speaks."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.energy import MAX_BEHIND_FRAMES, energy_correlation, voiced_frames

LOUD = 0.1


def speech(n: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(opening, energy): syllables of random strength; the mouth opens with the level in dB."""
    rng = np.random.default_rng(seed)
    strength = np.convolve(rng.uniform(0, 1, n), np.ones(4) / 4, "same")
    return 0.05 + 0.2 * strength, LOUD * 10 ** ((20 * strength - 20) / 20)


def test_a_mouth_that_moves_with_its_voice():
    opening, energy = speech()
    assert energy_correlation(opening, energy).value == pytest.approx(1, abs=1e-6)
    assert energy_correlation(-opening, energy).value < 0
    stranger = energy_correlation(speech(seed=1)[0], energy).value
    assert stranger < 0.5


@pytest.mark.parametrize("behind", [0, 3, MAX_BEHIND_FRAMES])
def test_the_voice_may_follow_the_lips_but_not_lead_them(behind):
    opening, energy = speech()
    late = np.roll(energy, behind)
    assert energy_correlation(opening[: 150 - behind], late[: 150 - behind]).value > 0.95
    if behind == MAX_BEHIND_FRAMES:
        assert energy_correlation(opening, np.roll(energy, -8)).value < 0.6
        assert energy_correlation(opening, np.roll(energy, 14)).value < 0.6


def test_pauses_do_not_count():
    opening, energy = speech()
    pause = np.zeros(100)
    yawning = np.concatenate([opening, 0.3 + 0.1 * np.sin(np.arange(100))])
    assert energy_correlation(yawning, np.concatenate([energy, pause])).value > 0.85
    assert not voiced_frames(np.concatenate([energy, pause]))[150:].any() and voiced_frames(energy).all()


def test_loudness_does_not_matter():
    opening, energy = speech()
    assert energy_correlation(opening, energy / 8).value == pytest.approx(energy_correlation(opening, energy).value, abs=0.02)


def test_reasons():
    opening, energy = speech()
    assert energy_correlation(opening, np.zeros(150)) == (None, "too_few_voiced_frames")
    assert energy_correlation(opening[:20], energy[:20]).reason == "too_few_voiced_frames"
    assert energy_correlation(np.full(150, 0.1), energy) == (None, "constant_series")
    assert energy_correlation(np.zeros(0), np.zeros(0)).reason == "too_few_voiced_frames"
    with pytest.raises(ValueError, match="one opening and one energy per frame"):
        energy_correlation(opening, energy[:-1])
