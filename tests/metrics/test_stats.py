"""Clustered statistics: coverage, exactness, order independence, and what is said when nothing can be said."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import stats


def clustered(n_clusters: int, seed: int, mean: float = 0.0, per_cluster: tuple[int, int] = (2, 9)):
    """Values that share a speaker's own level, with clusters of different size: float64 (n,) and ids."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(*per_cluster, n_clusters)
    values = np.concatenate([mean + rng.normal() + rng.normal(size=k) for k in sizes])
    return values, [f"s{g}" for g, k in enumerate(sizes) for _ in range(k)]


def test_the_interval_covers_the_truth_as_often_as_it_says():
    def misses(n_clusters: int) -> float:
        trials = [stats.mean_interval(*clustered(n_clusters, 1000 * n_clusters + i), seed=i, n_resamples=500) for i in range(250)]
        return np.mean([not t.low <= 0 <= t.high for t in trials])

    # 5 % with a standard error of 1.4 %; an interval that ignored the speakers would miss over 40 %
    assert misses(6) < 0.095 and misses(14) < 0.095


def test_speakers_widen_the_interval():
    values, clusters = clustered(10, 3)
    wide = stats.mean_interval(values, clusters, 0)
    narrow = stats.mean_interval(values, range(len(values)), 0)
    assert wide.mean == narrow.mean and wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert (wide.n_clips, wide.n_speakers) == (len(values), 10) and narrow.n_speakers == len(values)


def test_with_one_clip_a_cluster_the_interval_is_near_student_s():
    t = pytest.importorskip("scipy.stats").t
    values = np.random.default_rng(0).normal(3, 2, 200)
    e = stats.mean_interval(values, range(200), 1, n_resamples=20_000)
    half = t.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    assert e.mean == pytest.approx(values.mean())
    assert e.low == pytest.approx(values.mean() - half, abs=0.04) and e.high == pytest.approx(values.mean() + half, abs=0.04)


def test_the_interval_is_all_means_that_the_test_does_not_reject():
    values, clusters = clustered(9, 31)
    for level in (0.5, 0.9, 0.95):
        e = stats.mean_interval(values, clusters, 1, level=level)
        inside = np.array([stats.sign_flip_test(values - m, clusters, 1) for m in np.linspace(e.low, e.high, 9)[1:-1]])
        outside = np.array([stats.sign_flip_test(values - m, clusters, 1) for m in (e.low - 1e-6, e.high + 1e-6)])
        assert (inside > 1 - level).all() and (outside <= 1 - level + 1e-6).all()


@given(st.integers(0, 1000), st.integers(6, 20))
@settings(max_examples=20, deadline=None)
def test_interval_and_test_agree_about_zero(seed, n_clusters):
    values, clusters = clustered(n_clusters, seed, mean=0.7)
    e = stats.mean_interval(values, clusters, 3, n_resamples=999)
    p = stats.sign_flip_test(values, clusters, 3, n_resamples=999)
    assert (e.low > 0 or e.high < 0) == (p <= 0.05)
    assert p == pytest.approx(stats.sign_flip_test(-values, clusters, 3, n_resamples=999))


def test_with_six_speakers_the_interval_lies_between_the_two_smallest_typical_values():
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    e = stats.mean_interval(values, range(6))
    # 2 / 64 and 4 / 64 are attained; 5 % is 0.6 of the way from the smallest subset mean (1) to the next ({1, 2}: 1.5)
    assert e.low == pytest.approx(1 + 0.6 * 0.5) and e.high == pytest.approx(32 + 0.6 * (24 - 32))
    assert stats.mean_interval(values, range(6), level=0.99).reason == "too_few_speakers"


@given(st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_the_interval_never_leaves_the_range_of_the_speakers(seed):
    values, clusters = clustered(7, seed)
    means = [values[np.array(clusters) == c].mean() for c in set(clusters)]
    e = stats.mean_interval(values, clusters)
    assert min(means) <= e.low < e.mean < e.high <= max(means)


def test_a_wider_level_is_wider_and_contains_the_narrower():
    data = clustered(9, 5)
    inner, outer = (stats.mean_interval(*data, seed=2, level=level) for level in (0.8, 0.99))
    assert outer.low < inner.low < inner.mean < inner.high < outer.high


@given(st.integers(0, 1000), st.integers(6, 12), st.floats(-5, 5), st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_intervals_move_and_scale_with_the_values(seed, n_clusters, shift, scale):
    values, clusters = clustered(n_clusters, seed)
    one, two = stats.mean_interval(values, clusters, 4), stats.mean_interval(scale * values + shift, clusters, 4)
    expected = scale * np.array([one.mean, one.low, one.high]) + shift
    np.testing.assert_allclose([two.mean, two.low, two.high], expected, rtol=1e-6, atol=1e-6)


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_rows_changes_no_bit(random):
    values, clusters = clustered(8, 11)
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = values[order], [clusters[i] for i in order]
    assert stats.mean_interval(*shuffled, seed=5) == stats.mean_interval(values, clusters, seed=5)
    assert stats.sign_flip_test(*shuffled) == stats.sign_flip_test(values, clusters)


def test_the_seed_and_nothing_else_decides_the_draws():
    data = clustered(20, 1)
    assert stats.mean_interval(*data, seed=1) == stats.mean_interval(*data, seed=1) != stats.mean_interval(*data, seed=2)
    assert stats.sign_flip_test(*data, seed=1) == stats.sign_flip_test(*data, seed=1)


@pytest.mark.parametrize("n_clusters", range(1, stats.MIN_CLUSTERS))
def test_too_few_speakers_have_a_mean_and_a_reason(n_clusters):
    values, clusters = clustered(n_clusters, 0)
    e = stats.mean_interval(values, clusters)
    assert e.mean == pytest.approx(values.mean()) and (e.low, e.high, e.reason) == (None, None, "too_few_speakers")
    assert e.n_speakers == n_clusters
    assert stats.mean_interval(*clustered(stats.MIN_CLUSTERS, 0)).reason is None


def test_missing_values_are_counted_and_left_out():
    values, clusters = clustered(8, 2)
    with_holes = [*values, None, float("nan")], [*clusters, "s0", "new"]
    e, full = stats.mean_interval(*with_holes), stats.mean_interval(values, clusters)
    assert (e.mean, e.low, e.high, e.n_clips, e.n_speakers) == (full.mean, full.low, full.high, full.n_clips, full.n_speakers)
    assert e.n_missing == 2 and full.n_missing == 0


def test_nothing_gives_null_and_not_zero():
    assert stats.mean_interval([], []) == stats.Estimate(None, None, None, 0, 0, "no_clips")
    assert stats.mean_interval([None], ["a"]) == stats.Estimate(None, None, None, 0, 0, "no_clips", 1)
    assert stats.sign_flip_test([None], ["a"]) is None
    assert stats.cluster_permutation([1.0], ["a"], [], []) is None


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e7])
def test_equal_values_have_an_interval_of_no_width(value):
    e = stats.mean_interval([value] * 30, [i % 7 for i in range(30)])
    assert e.low == e.mean == e.high == pytest.approx(value)


@pytest.mark.parametrize(
    "values, clusters, match",
    [([1.0], [], "1 values but 0"), ([1.0], [None], "unknown speaker"), ([float("inf")], ["a"], "infinite")],
)
def test_unusable_input_is_an_error(values, clusters, match):
    with pytest.raises(ValueError, match=match):
        stats.mean_interval(values, clusters)


def test_unusable_settings_are_an_error():
    for options in ({"level": 1.0}, {"n_resamples": 1}):
        with pytest.raises(ValueError, match="level"):
            stats.mean_interval([1.0], ["a"], **options)


def test_paired_differences():
    values, clusters = clustered(8, 6)
    other = values - 0.5
    e = stats.paired_interval(values, other, clusters, 3)
    assert e.mean == pytest.approx(0.5) and e.low == pytest.approx(0.5) and e.high == pytest.approx(0.5)
    assert stats.paired_interval([*values, 1.0, None], [*other, None, 2.0], [*clusters, "x", "y"], 3).n_missing == 2
    with pytest.raises(ValueError, match="differ in number"):
        stats.paired_interval([1.0], [], ["a"])


def flips_by_hand(sums: list[float]) -> float:
    observed = abs(sum(sums))
    patterns = [abs(sum(s * x for s, x in zip(signs, sums))) for signs in product((1, -1), repeat=len(sums))]
    return sum(p >= observed - 1e-9 for p in patterns) / len(patterns)


@given(st.lists(st.integers(-80, 80).map(lambda i: i / 8), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_sign_flips_are_enumerated(sums):
    # every cluster as two clips, whose sum is what counts
    values = [part for s in sums for part in (0.25 * s, 0.75 * s)]
    p, exact = stats.sign_flip_test(values, [i // 2 for i in range(len(values))]), flips_by_hand(sums)
    assert exact - 2 / 2 ** len(sums) - 1e-9 <= p <= exact + 1e-9  # interpolated between the attainable values


def test_the_smallest_p_of_a_sign_flip_is_two_patterns():
    for n in (1, 3, 9):
        assert stats.sign_flip_test([1.0] * n, range(n)) == 2 / 2**n
    assert stats.sign_flip_test([0.0] * 7, range(7)) == 1


def test_drawn_sign_flips_agree_with_enumerated_ones(monkeypatch):
    data = clustered(12, 8, mean=0.6)
    exact = stats.sign_flip_test(*data)
    monkeypatch.setattr(stats, "MAX_EXACT", 1)
    drawn = stats.sign_flip_test(*data, seed=1, n_resamples=20_000)
    assert 0.005 < exact < 0.5 and drawn == pytest.approx(exact, abs=0.015)
    assert stats.sign_flip_test([1.0] * 40, range(40), n_resamples=999) == 1 / 1000  # never zero


def test_permutation_of_one_clip_each_equals_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.8, 1, 6), rng.normal(0, 1, 7)

    def size(x, y, axis):
        return np.abs(x.mean(axis=axis) - y.mean(axis=axis))

    expected = scipy_stats.permutation_test((a, b), size, vectorized=True, n_resamples=np.inf, alternative="greater").pvalue
    ids = [f"a{i}" for i in range(6)], [f"b{i}" for i in range(7)]
    assert stats.cluster_permutation(a, ids[0], b, ids[1]) == pytest.approx(expected)


@given(st.integers(0, 200))
@settings(max_examples=20, deadline=None)
def test_exchanging_the_samples_or_shifting_both_keeps_p(seed):
    (a, ca), (b, cb) = clustered(6, seed), clustered(5, seed + 1000, mean=0.5)
    ca, cb = [f"a{c}" for c in ca], [f"b{c}" for c in cb]
    p = stats.cluster_permutation(a, ca, b, cb, 3)
    assert p == stats.cluster_permutation(b, cb, a, ca, 3)
    assert p == stats.cluster_permutation(a + 1e3, ca, b + 1e3, cb, 3)
    assert 0 < p <= 1


def test_drawn_divisions_agree_with_enumerated_ones(monkeypatch):
    (a, ca), (b, cb) = clustered(7, 1), clustered(7, 50, mean=1.0)
    ca, cb = [f"a{c}" for c in ca], [f"b{c}" for c in cb]
    exact = stats.cluster_permutation(a, ca, b, cb)
    monkeypatch.setattr(stats, "MAX_EXACT", 1)
    assert stats.cluster_permutation(a, ca, b, cb, 1, n_resamples=20_000) == pytest.approx(exact, abs=0.015)


def test_speakers_not_clips_carry_the_evidence():
    # two speakers a side, a hundred clips each: however many clips, one division in three is as extreme
    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 0.1, 200), rng.normal(0, 0.1, 200)
    assert stats.cluster_permutation(a, ["a", "b"] * 100, b, ["c", "d"] * 100) == pytest.approx(2 / 6)
    assert stats.cluster_permutation(a, range(200), b, range(200, 400), n_resamples=999) == 1 / 1000


def test_false_alarms_of_both_tests_are_as_announced():
    alarms = []
    for i in range(200):
        values, clusters = clustered(14, 10_000 + i)
        first = np.array([int(c[1:]) < 7 for c in clusters])
        halves = [[c for c, f in zip(clusters, first) if f == side] for side in (True, False)]
        p = stats.cluster_permutation(values[first], halves[0], values[~first], halves[1], i, n_resamples=499)
        alarms.append((p <= 0.05, stats.sign_flip_test(values, clusters) <= 0.05))
    assert (np.mean(alarms, axis=0) < 0.11).all()  # 5 % with a standard error of 1.5 %


def test_a_real_difference_is_found():
    (a, ca), (b, cb) = clustered(12, 1, mean=2.5), clustered(12, 2)
    assert stats.cluster_permutation(a, [f"a{c}" for c in ca], b, [f"b{c}" for c in cb], n_resamples=1999) < 0.01
    assert stats.sign_flip_test(a, ca) < 0.01 and stats.mean_interval(a, ca).low > 0


def test_a_speaker_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="both samples, the first is 's1'"):
        stats.cluster_permutation([1.0, 2.0], ["s1", "s2"], [1.0, 2.0], ["s1", "s3"])


def test_the_smallest_detectable_difference_is_found_as_often_as_it_says():
    rng = np.random.default_rng(8)
    counts = np.array([2, 3, 4, 5, 6, 7, 8, 9, 10, 12])
    clusters = np.repeat(np.arange(10), counts)
    draws = [rng.normal(size=10)[clusters] + rng.normal(size=len(clusters)) for _ in range(300)]
    size = np.mean([stats.detectable(x, clusters) for x in draws])
    found = np.mean([stats.sign_flip_test(x + size, clusters) <= 0.05 for x in draws])
    assert 0.7 < found < 0.9  # 80 % with a standard error of 2.3 %
    assert stats.detectable(draws[0], clusters, power=0.95) > stats.detectable(draws[0], clusters)
    assert stats.detectable([1.0] * 5, range(5)) is None and stats.detectable([1.0] * 6, range(6)) == pytest.approx(0, abs=1e-9)


def test_how_many_speakers_a_correction_asks_for():
    assert [stats.clusters_needed(n) for n in (1, 2, 8, 10)] == [6, 7, 9, 9]
    for n in range(1, 20):
        g = stats.clusters_needed(n)
        assert stats.holm([stats.smallest_p(g)] + [1.0] * (n - 1))[0] <= 0.05
        assert g == stats.MIN_CLUSTERS or stats.holm([stats.smallest_p(g - 1)] + [1.0] * (n - 1))[0] > 0.05


def test_holm_of_a_known_family():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert stats.holm([]) == [] and stats.holm([None]) == [None] and stats.holm([0.9, 0.8]) == [1, 1]
    with pytest.raises(ValueError, match="p-value"):
        stats.holm([1.2])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_never_lowers(p):
    adjusted = stats.holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, adjusted))
    ranked = [a for _, a in sorted(zip(p, adjusted))]
    assert ranked == sorted(ranked)
    if p:  # the family's smallest pays Bonferroni's full price
        assert min(adjusted) == pytest.approx(min(1, len(p) * min(p)))
