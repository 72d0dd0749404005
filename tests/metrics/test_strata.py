"""Figures across languages against closed forms and one language's own interval, and by simulation; permutations by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from metrics.stats import mean_interval
from metrics.strata import jackknife, permuted_slope, resampled_means, slope, stratum


def sample(rng, n_speakers=6, n_clips=4, mean=0.0, prefix=""):
    voice = rng.standard_normal(n_speakers)
    values = mean + np.repeat(voice, n_clips) + rng.standard_normal(n_speakers * n_clips)
    return values, [f"{prefix}{s}" for s in range(n_speakers) for _ in range(n_clips)]


@pytest.mark.parametrize("n_speakers", [7, 18])
def test_one_language_has_the_interval_of_its_mean(n_speakers):
    values, who = sample(np.random.default_rng(1), n_speakers)
    values, who = values[5:], who[5:]  # unequal numbers of clips
    found = jackknife([stratum((values, who))], lambda m: m[..., 0].mean(-1), seed=3, n_resamples=500)
    same = mean_interval(values, who, 3, 500)
    assert (found.mean, found.low, found.high) == pytest.approx((same.mean, same.low, same.high))
    assert (found.n_clips, found.n_speakers) == (same.n_clips, same.n_speakers) and found.low < found.mean < found.high


def test_a_level_that_flips_of_so_few_cannot_have_is_no_interval():
    one = stratum(sample(np.random.default_rng(1)))
    assert jackknife([one], lambda m: m[..., 0].mean(-1), 0.99).reason == "too_few_speakers"
    assert jackknife([one], lambda m: m[..., 0].mean(-1), 0.9).low is not None


def test_two_languages_are_welchs_t():
    rng = np.random.default_rng(2)
    one, two = sample(rng, 7, mean=1.0), sample(rng, 9, prefix="b")
    found = jackknife([stratum(one), stratum(two)], lambda m: m[..., 0, 0] - m[..., 1, 0])
    a, b = one[0].reshape(7, 4).mean(1), two[0].reshape(9, 4).mean(1)
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high))


def test_unequal_numbers_of_clips_leave_less_freedom():
    rng = np.random.default_rng(12)
    much = {"a": 24, "b": 2, "c": 2, "d": 2, "e": 2, "f": 2}  # an effective number of 1.9 people: 34^2 / (24^2 + 5 * 2^2)
    one = (rng.standard_normal(34), [name for name, n in much.items() for _ in range(n)])
    two = sample(rng, 6, prefix="z")
    found = jackknife([stratum(one), stratum(two)], lambda m: m[..., 0, 0])  # the second has no part in it
    deviations = one[0] - one[0].mean()
    left = [deviations[np.array(one[1]) != name].mean() for name in much]
    se = np.sqrt(5 / 6 * np.sum((left - np.mean(left)) ** 2))
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 1.0) * se), "never below one degree"
    much = {name: n for name, n in zip("abcdef", (9, 5, 4, 4, 2, 2), strict=True)}
    one = (rng.standard_normal(26), [name for name, n in much.items() for _ in range(n)])
    found = jackknife([stratum(one), stratum(two)], lambda m: m[..., 0, 0])
    left = [np.mean(one[0][np.array(one[1]) != name]) for name in much]
    se = np.sqrt(5 / 6 * np.sum((left - np.mean(left)) ** 2))
    df = 26**2 / (81 + 25 + 16 + 16 + 4 + 4) - 1
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, df) * se)


def test_the_order_of_the_rows_changes_no_bit():
    values, who = sample(np.random.default_rng(3), 8, 5)
    order = np.random.default_rng(4).permutation(len(values))
    one, two = stratum((values, who)), stratum((values[order], [who[i] for i in order]))
    assert np.array_equal(one.sums, two.sums) and one.names == two.names


def test_intervals_of_a_slope_and_of_a_ratio_hold_what_they_promise():
    rng = np.random.default_rng(5)
    x = np.array([0.0, 0.0, 0.5, 0.7, 1.0])
    hits = np.zeros(2)
    for _ in range(400):
        voices = rng.standard_normal((5, 6))  # one number per speaker and language is all that a cluster is
        strata = [stratum((3 + 2 * d + v, [f"{tag}{k}" for k in "abcdef"])) for tag, d, v in zip("vwxyz", x, voices, strict=True)]
        grown = jackknife(strata, lambda m: slope(x, m[..., 0]))
        ratio = jackknife(strata, lambda m: m[..., 2:, 0].mean(-1) / m[..., :2, 0].mean(-1))
        hits += [grown.low <= 2 <= grown.high, ratio.low <= (3 + 2 * x[2:].mean()) / 3 <= ratio.high]
    assert (hits / 400 > 0.925).all() and (hits / 400 < 0.98).all(), hits / 400


def test_too_few_speakers_and_undefined_ratios_have_reasons():
    two = stratum((np.array([1.0, 2.0]), ["a", "b"]))
    assert jackknife([two, two], lambda m: m[..., 0].mean(-1)).reason == "too_few_speakers"
    one = stratum((np.array([1.0] * 6), ["a"] * 6))
    many = stratum((np.arange(9.0), list("abcdefghi")))
    assert jackknife([one, many], lambda m: m[..., 0].mean(-1)).reason == "too_few_speakers", "one speaker in one language"
    zero = jackknife([many], lambda m: m[..., 0].mean(-1) / np.zeros(m.shape[:-2]))
    assert (zero.mean, zero.reason) == (None, "not_defined")


def test_a_slope_and_its_permutations():
    x, y = np.array([0, 0.2, 0.6, 1.0]), np.array([1.0, 1.1, 1.6, 1.9])
    assert slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0])
    steep = [abs(np.polyfit(x[list(p)], y, 1)[0]) for p in permutations(range(4))]
    assert permuted_slope(x, y, 1) == pytest.approx(np.mean(np.array(steep) >= slope(x, y) - 1e-9))
    assert permuted_slope(np.ones(4), y, 1) is None
    long = permuted_slope(np.arange(10.0), np.arange(10.0), 1, 999)
    assert long == pytest.approx(1 / 1000, abs=2e-3) and long == permuted_slope(np.arange(10.0), np.arange(10.0), 1, 999)


def test_resampled_means_spread_like_the_speakers_do():
    values, who = sample(np.random.default_rng(6), 12)
    one = stratum((values, who), (values + 1, who))
    two = stratum((values, [f"b{w}" for w in who]), (values + 1, [f"b{w}" for w in who]))
    draws = resampled_means([one, two], 7, 4000)
    assert draws.shape == (4000, 2, 2) and np.allclose(draws[..., 1] - draws[..., 0], 1), "one draw serves all kinds"
    speakers = values.reshape(12, 4).mean(1)
    assert draws[:, 0, 0].std() == pytest.approx(speakers.std() / 12**0.5, rel=0.06)
    assert abs(np.corrcoef(draws[:, 0, 0], draws[:, 1, 0])[0, 1]) < 0.06, "languages are drawn apart"


def difference(m):
    return m[..., 0, 0] - m[..., 1, 0]


def test_who_speaks_both_languages_is_one_person_and_the_difference_is_paired():
    rng = np.random.default_rng(8)
    voice, who = rng.standard_normal(9), list("abcdefghi")
    one, two = voice + 0.1 * rng.standard_normal(9), voice + 0.5 + 0.1 * rng.standard_normal(9)
    found = jackknife([stratum((one, who)), stratum((two, who))], difference)
    paired, both = mean_interval(one - two, who), mean_interval((one + two) / 2, who)
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high))
    assert (found.n_speakers, found.n_clips) == (9, 18)
    mean = jackknife([stratum((one, who)), stratum((two, who))], lambda m: m[..., 0].mean(-1))
    assert (mean.low, mean.high) == pytest.approx((both.low, both.high))


def test_intervals_hold_with_some_people_in_both_languages():
    rng, hits, apart = np.random.default_rng(9), np.zeros(2), 0
    for _ in range(250):
        voices = rng.standard_normal(12)
        one, two = voices[:8] + 0.3 * rng.standard_normal(8), 1 + voices[2:] + 0.3 * rng.standard_normal(10)
        names = [f"p{k}" for k in range(12)]
        strata = [stratum((one, names[:8])), stratum((two, names[2:]))]
        as_two = [strata[0], stratum((two, [f"other {n}" for n in names[2:]]))]
        mean = jackknife(strata, lambda m: m[..., 0].mean(-1))
        gap, naive = jackknife(strata, difference), jackknife(as_two, lambda m: m[..., 0].mean(-1))
        hits += [mean.low <= 0.5 <= mean.high, gap.low <= -1 <= gap.high]
        apart += naive.low <= 0.5 <= naive.high
    assert (hits / 250 > 0.915).all() and apart / 250 < 0.9, (hits / 250, apart / 250)


def test_people_of_two_languages_are_weighed_alike_in_both():
    values, who = sample(np.random.default_rng(10), 12)
    one, other = stratum((values, who)), stratum((values, [f"b{w}" for w in who]))
    together, apart = resampled_means([one, one], 7, 4000), resampled_means([one, other], 7, 4000)
    assert np.isfinite(together).all() and np.array_equal(together[:, 0], together[:, 1])
    assert together[:, 0].std() == pytest.approx(apart[:, 0].std(), rel=0.1)
