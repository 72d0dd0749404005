"""The Frechet distance against torchmetrics, closed forms, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import distribution as d


def features(seed: int, n: int = 40, dim: int = 6, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (n, dim)) @ rng.normal(0, 1, (dim, dim))


@pytest.mark.parametrize(("n", "m", "dim"), [(40, 50, 6), (5, 7, 20), (30, 9, 12), (2, 2, 3)])
def test_equals_torchmetrics(n, m, dim):
    torch = pytest.importorskip("torch")
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = features(1, n, dim), features(2, m, dim, 0.5)
    moments = [(torch.from_numpy(x.mean(0)), torch.from_numpy(np.cov(x, rowvar=False))) for x in (a, b)]
    expected = float(fid._compute_fid(*moments[0], *moments[1]))
    # few samples make a singular product, whose roots torchmetrics takes from rounding noise
    assert d.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6 if min(n, m) > dim else 1e-4)


@pytest.mark.parametrize("n", [3, 21, 40, 41, 55])
def test_parts_give_what_the_whole_gives(n, monkeypatch):
    monkeypatch.setattr(d, "FOLD_AT", 20)
    a, b = features(1, n, 6), features(2, 30, 6, 0.5)
    # Fewer samples than dimensions: a square root of what should be zero, as above.
    expected = pytest.approx(d.frechet_distance(a, b), rel=1e-9 if n > 6 else 1e-6)
    assert d.frechet_of_parts([a[:1], a[1:2], a[2:]], [b]) == expected
    assert d.frechet_of_parts(iter([a[:-1], a[-1:]]), iter([b[:25], b[25:]])) == expected
    with pytest.raises(ValueError, match="at least 2 samples"):
        d.frechet_of_parts([], [b])


def test_few_samples_of_one_distribution_seem_far_apart_and_more_do_not():
    """What docs/metrics.md says of small n: the distance of a distribution from itself, over its variance."""
    found = []
    for n in (50, 200, 800):
        rng = np.random.default_rng(5)
        spread = 1 / np.sqrt(np.arange(1, 129))
        a, b = (rng.normal(size=(n, 128)) * spread for _ in range(2))
        found.append(d.frechet_distance(a, b) / np.square(spread).sum())
    assert found[0] > 0.25 > found[1] > 0.05 > found[2] > 0


def test_features_of_a_seeded_stand_in_network_through_torchmetrics_own_fid():
    torch = pytest.importorskip("torch")
    fid = pytest.importorskip("torchmetrics.image.fid")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net = net.double()
    net.num_features = 8
    rng = np.random.default_rng(0)
    real, made = torch.from_numpy(rng.random((30, 3, 16, 16))), torch.from_numpy(rng.random((24, 3, 16, 16)) ** 2)
    metric = fid.FrechetInceptionDistance(feature=net, normalize=True, input_img_size=(3, 16, 16)).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(made, real=False)
    with torch.no_grad():
        ours = [net(x).numpy() for x in (real, made)]
    assert d.frechet_distance(*ours) == pytest.approx(float(metric.compute()), rel=1e-5)


def test_two_normal_distributions_in_closed_form():
    a = d.Moments(100, np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = d.Moments(100, np.array([1.0, 2.0, 0.0]), np.diag([4.0, 4.0, 1.0]))
    # variances that commute: (sigma - sigma')^2, summed
    assert d.frechet_of_moments(a, b) == pytest.approx(5 + 1 + 0 + 4)


def test_a_shift_alone_is_its_square():
    a = features(3, 50, 4)
    assert d.frechet_distance(a, a + [3, 0, 4, 0]) == pytest.approx(25)
    assert d.frechet_distance(a[:3], a[:3] + [3, 0, 4, 0]) == pytest.approx(25)


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(2, 12), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_zero_to_itself_never_negative_symmetric_and_both_ways_agree(seed, n, m, dim):
    a, b = features(seed, n, dim), features(seed + 1, m, dim, 1.0)
    assert d.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    forth, back = d.frechet_distance(a, b), d.frechet_distance(b, a)
    assert forth >= 0 and forth == pytest.approx(back, rel=1e-6, abs=1e-9)
    assert forth == pytest.approx(d.frechet_of_moments(d.moments(a), d.moments(b)), rel=1e-5, abs=1e-6)
    order = np.random.default_rng(seed).permutation(n)
    assert d.frechet_distance(a[order], b) == pytest.approx(forth, rel=1e-6, abs=1e-9)


def test_moments_of_shards_merge_to_those_of_the_whole():
    a = features(5, 31, 4)
    whole, parts = d.moments(a), d.merged([d.moments(a[:7]), d.moments(a[7:9]), d.moments(a[9:])])
    assert parts.n == 31
    np.testing.assert_allclose(parts.mean, whole.mean)
    np.testing.assert_allclose(parts.covariance, whole.covariance)
    np.testing.assert_allclose(whole.covariance, np.cov(a, rowvar=False))


def test_unusable_features_are_refused():
    good = features(1)
    for bad, match in ((good[:1], "at least 2"), (good[0], "at least 2"), (good * np.nan, "NaN")):
        with pytest.raises(ValueError, match=match):
            d.frechet_distance(good, bad)
    with pytest.raises(ValueError, match="different networks"):
        d.frechet_distance(good, good[:, :3])
    with pytest.raises(ValueError, match="different networks"):
        d.frechet_of_moments(d.moments(good), d.moments(good[:, :3]))
    with pytest.raises(ValueError, match="no moments"):
        d.merged([])
