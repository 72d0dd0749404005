from __future__ import annotations

import json
from pathlib import Path

import pytest

import core.choose
from core.choose import choose, other_models
from core.params import Track
from core.weights import Found, WeightsMissing

NAMES = {"best": "best-file", "second": "second-file"}


@pytest.fixture
def world(monkeypatch):
    """Sets which files are here and which can be fetched; records what was asked."""
    asked = []

    def make(here=(), fetchable=()):
        def find(name, *, fetch=True):
            asked.append((name, fetch))
            if name in here or (fetch and name in fetchable):
                return Found(Path(name), f"sha of {name}", "cache", "MIT")
            raise WeightsMissing(f"no {name}")

        def is_here(name):
            asked.append((name, False))
            return name in here

        monkeypatch.setattr(core.choose, "find", find)
        monkeypatch.setattr(core.choose, "is_here", is_here)
        return asked

    return make


def test_the_best_that_is_here_is_taken_and_nothing_fetched(world):
    asked = world(here=("best-file", "second-file"))
    assert choose("auto", NAMES)[0] == "best" and asked == [("best-file", False)]


def test_a_second_best_that_is_here_beats_a_best_to_fetch(world):
    asked = world(here=("second-file",), fetchable=("best-file",))
    kind, found = choose("auto", NAMES)
    assert (kind, found.sha256) == ("second", "sha of second-file") and not any(fetch for _, fetch in asked)


def test_else_the_best_that_can_be_fetched(world):
    world(fetchable=("best-file", "second-file"))
    assert choose("auto", NAMES)[0] == "best"
    world(fetchable=("second-file",))
    assert choose("auto", NAMES)[0] == "second"


def test_a_named_kind_is_that_or_nothing(world):
    asked = world(here=("best-file",))
    with pytest.raises(WeightsMissing, match="second-file"):
        choose("second", NAMES)
    assert asked == [("second-file", True)]
    with pytest.raises(WeightsMissing):
        world()
        choose("auto", NAMES)


def test_tracks_made_with_what_is_no_longer_the_best_are_named(world, tmp_path):
    asked = world(here=("yunet", "blazeface", "mesh"))
    for name, finder, mesh in (("c-en", "blazeface", "facemesh"), ("c-ru", "yunet", "facemesh"), ("c-tr", "yunet", "mediapipe")):
        (tmp_path / name).mkdir()
        marks = {"finder": f"{finder}:1", "landmarker": f"{mesh}:2"}
        (tmp_path / name / "fingerprint.json").write_text(json.dumps({"of": {"weights": marks}}))
    assert other_models(Track(), tmp_path) == {"c-en": "finder blazeface, now yunet",
                                               "c-tr": "landmarker mediapipe, now facemesh"}
    assert other_models(Track(finder="blazeface", landmarker="mediapipe"), tmp_path) == {}, "what is named is DVC's to see"
    assert not any(fetch for _, fetch in asked) and other_models(Track(), tmp_path / "nothing") == {}
