"""The limits on the rendered faces: each can be missed, and what could not be measured is missed too."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from bench import realism


def row(value: float, n_frames: int = 100, n_missed: int = 0) -> dict:
    return {"min": value, "mean": value + 0.01, "by_speaker": [value], "n_frames": n_frames, "n_missed": n_missed}


GOOD = {"n_identities": 2, "first_seed": 1000,
        "landmarks": {"mean": 0.03, "n_frames": 100, "n_missed": 0, "by_pose": {"+0,+0": 0.03}, "by_group": {"chin": 0.04},
                      "by_identity": [0.03], "by_point": {"33": 0.03}},
        "gap": row(0.97), "spoken": {"drawn": {"en": row(0.96), "tr": row(0.97)}, "as_built": {"en": row(0.92)}},
        "visemes": {"accuracy": 0.95, "accuracy_without_centring": 0.8, "n": 10, "n_visemes": 15, "confusions": {}}}


def changed(*path: str, to: object) -> dict:
    result = copy.deepcopy(GOOD)
    at = result
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return result


def test_what_holds_holds_and_a_hard_corpus_has_no_limit_on_its_correlation():
    assert realism.failures(GOOD) == [] and "MISSED" not in realism.report(GOOD)
    assert realism.failures(changed("spoken", "as_built", "en", to=row(0.2))) == []


@pytest.mark.parametrize(("path", "value", "says"), [
    (("landmarks", "mean"), 0.051, "landmark error"), (("landmarks", "mean"), math.nan, "landmark error"),
    (("landmarks", "n_missed"), 3, "3.0% of the frames of the poses"),
    (("gap", "min"), 0.94, "of an identity"), (("gap", "min"), math.nan, "of an identity"),
    (("gap", "n_missed"), 4, "the speaking identities"),
    (("spoken", "drawn", "tr", "min"), 0.949, "a speaker of tr"), (("spoken", "drawn", "tr", "min"), math.nan, "a speaker of tr"),
    (("spoken", "drawn", "en", "n_missed"), 5, "en drawn"), (("spoken", "as_built", "en", "n_missed"), 5, "en as built"),
    (("visemes", "accuracy"), 0.89, "viseme accuracy"), (("visemes", "accuracy"), math.nan, "viseme accuracy")])
def test_each_limit_can_be_missed(path, value, says):
    result = changed(*path, to=value)
    (line,) = realism.failures(result)
    assert says in line and f"MISSED: {line}" in realism.report(result)


@pytest.fixture
def motions(monkeypatch) -> list:
    """What was asked to be rendered; black frames are what comes, for drawing takes long."""
    asked = []

    def render(person, motion, size=256, **_):
        asked.append(motion)
        return (np.zeros((size, size, 3), np.uint8) for _ in range(len(motion.open)))

    monkeypatch.setattr(realism, "render", render)
    return asked


def test_a_landmarker_that_finds_nothing_misses_every_limit_that_it_has_a_part_in(motions, monkeypatch, recwarn):
    monkeypatch.setattr(realism, "POSES", ((0, 0),))
    monkeypatch.setattr(realism, "MOUTHS", ({},))
    people = realism.identities(2, 4000)
    result = GOOD | {"landmarks": realism.landmark_errors(people, lambda frame: None, 96),
                     "gap": realism.gap_correlations(people, lambda frame: None, 3, 4000)}
    assert (result["landmarks"]["n_missed"], result["gap"]["n_missed"], result["gap"]["n_frames"]) == (2, 6, 0)
    assert math.isnan(result["landmarks"]["mean"]) and math.isnan(result["gap"]["min"])
    assert len(realism.failures(result)) == 4 and not recwarn.list


def test_one_identity_that_cannot_be_read_is_not_hidden_by_the_others(monkeypatch):
    """min() of numbers and NaN depends on their order."""
    told = iter([(0.99, 3), (math.nan, 0), (0.98, 3)])
    monkeypatch.setattr(realism, "lip_gap_correlation", lambda frames, gap, read: next(told))
    found = realism.gap_correlations(realism.identities(3), None, 3)
    assert math.isnan(found["min"]) and (found["n_frames"], found["n_missed"]) == (6, 3)


def test_other_seeds_are_other_people_and_other_movements(motions):
    people = realism.identities(3, 3000)
    assert people[1:] == realism.identities(2, 3001) and people[0] != realism.identities(1)[0]
    for first in (3000, 3000, 3001):
        realism.viseme_accuracy(people[:2], 1, first)
        realism.gap_correlations(people[:2], lambda frame: None, 5, first)
    assert len(motions) == 12  # two people, mouths and speech, three times
    for k in range(4):
        assert np.array_equal(motions[k].yaw, motions[k + 4].yaw) and not np.array_equal(motions[k].yaw, motions[k + 8].yaw)


def test_the_nearest_centroid_is_that_of_the_other_people():
    a, b = np.zeros((2, 2)), np.ones((2, 2))
    truth, guess = realism._nearest_centroid([(0, a), (1, b)], [(0, a + 0.2), (1, b - 0.2), (1, a + 0.4)], 2)
    assert truth.tolist() == [0, 1, 1] and guess.tolist() == [0, 1, 0]
