"""Per-viseme errors on openings small enough to see, and their cells over speakers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.robustness import Table
from metrics.visemes import viseme_cells, viseme_errors, viseme_of_frames

SAID = [{"viseme": "pp", "start_s": 0.0, "end_s": 0.08}, {"viseme": "aa", "start_s": 0.08, "end_s": 0.2},
        {"viseme": "sil", "start_s": 0.24, "end_s": 0.28}]


def test_a_frame_has_the_sound_of_its_moment():
    assert viseme_of_frames(SAID, 8) == ["pp", "pp", "aa", "aa", "aa", None, "sil", None]
    assert viseme_of_frames(SAID, 3, first_frame=4) == ["aa", None, "sil"]
    assert viseme_of_frames([{"viseme": "aa", "start_s": 0.041, "end_s": 0.079}], 3) == [None, None, None], "shorter than a frame"


def test_errors_are_means_of_sizes_and_signs():
    real = np.zeros(8)
    shown = np.array([0.1, 0.3, -0.2, 0.1, 0.1, 9.0, 0.0, 9.0])
    found = {e["viseme"]: e for e in viseme_errors(shown, real, SAID)}
    assert sorted(found) == ["aa", "pp", "sil"]
    assert (found["pp"]["n_frames"], found["pp"]["error"], found["pp"]["signed"]) == (2, pytest.approx(0.2), pytest.approx(0.2))
    assert (found["aa"]["n_frames"], found["aa"]["error"], found["aa"]["signed"]) == (3, pytest.approx(0.4 / 3), pytest.approx(0))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(-1, 1))
def test_a_face_like_the_real_one_has_no_error_and_a_shift_is_all_sign(values, shift):
    real = np.array(values)
    said = [{"viseme": "aa", "start_s": 0.0, "end_s": len(values) / 25}]
    (same,) = viseme_errors(real, real, said)
    assert same == {"viseme": "aa", "n_frames": len(values), "error": 0.0, "signed": 0.0}
    (moved,) = viseme_errors(real + shift, real, said)
    assert moved["signed"] == pytest.approx(shift, abs=1e-9) and moved["error"] == pytest.approx(abs(shift), abs=1e-9)


@pytest.mark.parametrize("shown", [np.zeros((2, 2)), np.zeros(3), np.array([0.0, np.nan])])
def test_other_shapes_are_refused(shown):
    with pytest.raises(ValueError, match="opening"):
        viseme_errors(shown, np.zeros(2), SAID)


def rows(n_speakers, good, bad):
    out = []
    for s in range(n_speakers):
        for tag in ("tr", "fi"):
            for system, aa, pp in (("real", None, None), ("still", 0.1, 0.02), ("s", good + 0.002 * s, bad + 0.001 * s)):
                errors = None if aa is None else [{"viseme": v, "n_frames": 4, "error": e, "signed": -e} for v,
                                                  e in (("aa", aa), ("pp", pp))]
                out.append({"generated_id": f"{tag}{s}.{system}", "track_id": f"{tag}{s}", "clip_id": f"{tag}{s}", "corpus": "c",
                            "language": tag,
                            "cluster": f"speaker:{tag}{s}", "system": system, "condition": "self", "training_languages": [],
                            "audio_clip_id": f"{tag}{s}",
                            "audio_language": tag, "null_reasons": [], "viseme_errors": errors})
    return out


def test_sounds_are_held_against_a_still_face():
    cells = {(c.system, c.language, c.viseme): c for c in viseme_cells(Table(rows(10, 0.05, 0.06), resamples=200))}
    good, bad = cells["s", "tr", "aa"], cells["s", "tr", "pp"]
    assert good.gain.low > 0 > bad.gain.high and max(good.p_holm, bad.p_holm) < 0.02
    assert (good.n_frames, good.error.n_clips, good.error.n_speakers) == (40, 10, 10)
    assert good.still == pytest.approx(0.1) and good.gain.mean == pytest.approx(0.1 - 0.059)
    assert good.signed == pytest.approx(-0.059)
    assert cells["s", None, "aa"].error.n_speakers == 20 and cells["still", "tr", "aa"].gain is None
    without = {(c.system, c.language, c.viseme): c
               for c in viseme_cells(Table(rows(10, 0.05, 0.06), resamples=200), planted=["fi"])}
    assert without["s", None, "aa"].error.n_speakers == 10 and ("s", "fi", "aa") in without


def test_few_speakers_have_no_p():
    cells = viseme_cells(Table(rows(3, 0.05, 0.06), resamples=200))
    assert all(c.p is None and c.error.low is None for c in cells if c.language is not None)


def test_rows_without_truth_have_no_cells():
    bare = [{**r, "viseme_errors": None} for r in rows(3, 0.05, 0.06)]
    assert viseme_cells(Table(bare, resamples=200)) == []
