"""LSE-D and LSE-C: against the definition in torch, the reference scorer's own curves, and degenerate clips."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import Reject
from metrics import sync


def pair(n: int, lag: int, dim: int = 64, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings in which video i belongs to audio i + lag: two float32 (n, dim)."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(n + 2 * abs(lag) + 1, dim))
    video = true[abs(lag) + lag : abs(lag) + lag + n] + noise * rng.normal(size=(n, dim))
    return video.astype(np.float32), true[abs(lag) : abs(lag) + n].astype(np.float32)


@pytest.mark.parametrize("n", [1, 7, 15, 16, 40, 120])
def test_the_curve_equals_torch_s_pairwise_distance(n):
    torch = pytest.importorskip("torch")
    video, audio = pair(n, 3, dim=1024)
    padded = torch.nn.functional.pad(torch.from_numpy(audio), (0, 0, 15, 15))
    distance, frames = torch.nn.functional.pairwise_distance, torch.from_numpy(video)
    rows = [distance(frames[[i]].repeat(31, 1), padded[i : i + 31]) for i in range(n)]
    expected = torch.stack(rows, 1).mean(1)
    score = sync.lse(video, audio)
    np.testing.assert_allclose(score.mean_dist, expected.numpy(), rtol=1e-5)
    assert score.lse_d == pytest.approx(expected.min().item(), rel=1e-5)
    assert score.lse_c == pytest.approx((expected.median() - expected.min()).item(), rel=1e-3, abs=1e-4)
    assert score.offset_frames == 15 - int(expected.argmin()) and score.n_windows == n


def curves(shared) -> list[tuple[str, dict]]:
    reference = json.loads((shared / "golden" / "syncnet_reference.json").read_text())
    paths = ("jpeg_protocol", "decoded_frames")
    return [(f"{name} {path}", clip[path]) for name, clip in reference["clips"].items() for path in paths]


def test_scores_of_the_reference_scorer_s_curves(shared):
    cases = curves(shared)
    assert len(cases) >= 6
    for name, case in cases:
        score = sync.score_of_curve(case["mean_dist"], case["windows"])
        assert score.lse_d == pytest.approx(case["lse_d"], abs=2e-5), name
        assert score.lse_c == pytest.approx(case["lse_c"], abs=2e-5), name
        assert score.offset_frames == case["offset"], name


@given(st.integers(-12, 12), st.booleans(), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_lag_is_found_with_its_sign(lag, padded, seed):
    score = sync.lse(*pair(60, lag, seed=seed), padded=padded)
    assert score.offset_frames == -lag  # audio index = i - offset
    assert score.lse_c > 0


def test_sound_that_comes_early_has_a_positive_offset():
    sound = np.random.default_rng(0).normal(size=(80, 8))
    early = np.roll(sound, -4, axis=0)  # what the mouth says at 10 is heard at 6
    assert sync.lse(sound, early).offset_frames == 4


def test_unpadded_takes_real_pairs_only():
    video, audio = pair(40, 0)
    score = sync.lse(video, audio, padded=False)
    for k, lag in enumerate(range(-15, 16)):
        real = [np.linalg.norm(video[i] - audio[i + lag] + 1e-6) for i in range(40) if 0 <= i + lag < 40]
        assert len(real) == 40 - abs(lag)
        assert score.mean_dist[k] == pytest.approx(np.mean(real), rel=1e-6)
    assert score.mean_dist[15] == pytest.approx(sync.lse(video, audio).mean_dist[15])
    assert score.lse_c != pytest.approx(sync.lse(video, audio).lse_c, rel=1e-3)


def test_equal_embeddings_have_distance_of_the_eps_only():
    video, _ = pair(50, 0)
    score = sync.lse(video, video)
    assert score.offset_frames == 0 and score.lse_d < 1e-4


def test_shuffled_sound_scores_lower():
    video, audio = pair(200, 0)
    shuffled = np.random.default_rng(1).permutation(audio)
    assert sync.lse(video, audio).lse_c > 3 * sync.lse(video, shuffled, padded=False).lse_c
    assert sync.lse(video, audio).lse_d < sync.lse(video, shuffled).lse_d


def test_a_still_face_has_no_best_lag_inside():
    score = sync.lse(np.ones((50, 8)), np.ones((50, 8)), padded=False)
    assert score.lse_c == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "n, options, needed",
    [(0, {}, 1), (9, {"min_windows": 10}, 10), (15, {"padded": False}, 16), (3, {"padded": False, "vshift": 3}, 4)],
)
def test_too_few_windows_are_rejected(n, options, needed):
    with pytest.raises(Reject, match=f"{n} sync windows, at least {needed}") as caught:
        sync.lse(np.ones((n, 4)), np.ones((n + 5, 4)), **options)
    assert caught.value.reason == "too_short"
    assert sync.lse(np.ones((needed, 4)), np.ones((needed, 4)), **options).n_windows == needed


def test_the_shorter_side_counts():
    video, audio = pair(60, 0)
    np.testing.assert_array_equal(sync.lse(video, audio[:50]).mean_dist, sync.lse(video[:50], audio[:50]).mean_dist)
    assert sync.lse(video[:50], audio).n_windows == 50


@pytest.mark.parametrize(
    "video, audio", [(np.ones((5, 4)), np.ones((5, 3))), (np.ones(5), np.ones(5)), (np.full((5, 4), np.nan), np.ones((5, 4)))]
)
def test_unusable_embeddings_are_an_error(video, audio):
    with pytest.raises(ValueError, match="embeddings"):
        sync.lse(video, audio)


def test_a_curve_must_have_a_middle():
    for bad in ([1.0, 2.0], [1.0, float("nan"), 2.0]):
        with pytest.raises(ValueError, match="mean_dist"):
            sync.score_of_curve(bad, 3)


def test_scores_travel_between_processes():
    score = sync.lse(*pair(40, 2))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(score)).mean_dist, score.mean_dist)


def test_offset_accuracy_counts_what_is_known():
    assert sync.offset_accuracy([0, 1, -1, 2, None, 15]) == 3 / 5
    assert sync.offset_accuracy([4, 6], true_offset=5) == 1
    assert sync.offset_accuracy([0, 1], tolerance_frames=0) == 0.5
    assert sync.offset_accuracy([None]) is None and sync.offset_accuracy([]) is None
    assert sync.chance_accuracy() == pytest.approx(0.097, abs=1e-3) and sync.chance_accuracy(2, 9) == 1
