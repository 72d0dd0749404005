"""Recall at K against torchmetrics and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.retrieval import in_parts, retrieval


def pair(n: int = 12, dim: int = 5, noise: float = 0.8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    audio = rng.normal(size=(n, dim))
    return audio, audio + noise * rng.normal(size=(n, dim))


@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize("k", [1, 3])
def test_equals_torchmetrics(distance, k):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.retrieval")
    audio, video = pair(noise=1.6)
    if distance == "l2":
        score = -np.linalg.norm(audio[:, None] - video[None], axis=-1)
    else:
        score = (audio @ video.T) / np.linalg.norm(audio, axis=1)[:, None] / np.linalg.norm(video, axis=1)
    score = torch.from_numpy(score)
    own = torch.eye(len(audio), dtype=torch.bool)
    forth = np.mean([float(functional.retrieval_hit_rate(s, t, top_k=k)) for s, t in zip(score, own)])
    back = np.mean([float(functional.retrieval_hit_rate(s, t, top_k=k)) for s, t in zip(score.T, own)])
    found = retrieval(audio, video, (k,), distance)
    assert found.audio_to_video[k] == pytest.approx(forth) and found.video_to_audio[k] == pytest.approx(back)
    assert 0 < forth < 1


def test_perfect_pairs_and_chance():
    audio, _ = pair(20)
    found = retrieval(audio, audio, (1, 5, 50))
    assert found.audio_to_video == found.video_to_audio == {1: 1, 5: 1, 50: 1}
    assert found.chance == {1: 0.05, 5: 0.25, 50: 1} and found.n == 20
    assert found.median_rank_audio == found.median_rank_video == 1


def test_embeddings_that_are_all_alike_find_nothing():
    alike = np.ones((6, 3))
    for distance in ("l2", "cosine"):
        found = retrieval(alike, alike, (1, 5, 6), distance)
        assert found.audio_to_video == {1: 0, 5: 0, 6: 1} and found.median_rank_audio == 6
    assert retrieval(np.zeros((4, 2)), np.zeros((4, 2))).audio_to_video[1] == 0


@given(st.integers(0, 500), st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_grows_with_k_turns_with_direction_and_ignores_order(seed, n):
    audio, video = pair(n, seed=seed, noise=2)
    found, turned = retrieval(audio, video, (1, 2, 5)), retrieval(video, audio, (1, 2, 5))
    values = list(found.audio_to_video.values())
    assert values == sorted(values) and all(0 <= v <= 1 for v in values)
    assert turned.video_to_audio == found.audio_to_video
    order = np.random.default_rng(seed).permutation(n)
    assert retrieval(audio[order], video[order], (1, 2, 5)).audio_to_video == found.audio_to_video


def test_unusable_embeddings_are_refused():
    audio, video = pair()
    with pytest.raises(ValueError, match="same N"):
        retrieval(audio, video[:-1])
    with pytest.raises(ValueError, match="same N"):
        retrieval(audio[:1], video[:1])
    with pytest.raises(ValueError, match="NaN"):
        retrieval(audio * np.nan, video)
    with pytest.raises(ValueError, match="K must"):
        retrieval(audio, video, (0,))
    with pytest.raises(ValueError, match="distance"):
        retrieval(audio, video, distance="dot")


def test_parts_are_means_side_by_side():
    embeddings = np.arange(40.0).reshape(20, 2)
    parts = in_parts(embeddings, 5)
    assert parts.dtype == np.float32 and parts.shape == (5, 2)
    np.testing.assert_allclose(parts[0], embeddings[:4].mean(0))
    np.testing.assert_allclose(parts.mean(0), embeddings.mean(0))
    assert in_parts(embeddings, 21) is None and np.array_equal(in_parts(embeddings, 20), embeddings)
    with pytest.raises(ValueError, match="N, D"):
        in_parts(np.zeros(4))


def test_parts_find_what_one_mean_cannot():
    """Clips whose sound follows the picture in time, but with one mean: only the order of their parts tells them apart."""
    rng = np.random.default_rng(4)
    pieces = rng.normal(size=(16, 8)) * 3
    video = [pieces[rng.permutation(16)].repeat(4, 0) + rng.normal(size=(64, 8)) for _ in range(12)]
    audio = [v + rng.normal(size=v.shape) for v in video]
    by = {n: retrieval(*(np.stack([in_parts(e, n).ravel() for e in some]) for some in (audio, video)), (1,), "l2")
          for n in (1, 16)}
    assert by[16].audio_to_video[1] == 1.0 and by[1].audio_to_video[1] < 0.8
