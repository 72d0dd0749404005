"""Where the expert may judge: its ranks of real and shuffled sound, lags put in, and what becomes of scores where it may not."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.lags import LAGS
from metrics.robustness import null_reason
from metrics.validity import drop_unjudged, expert_validity
from tests.metrics.test_robustness import row


def pairs(real, shuffled, language="tr"):
    out = []
    for i, (a, b) in enumerate(zip(real, shuffled, strict=True)):
        out += [row(track=f"{language}{i}", language=language, speaker=str(i), lse_c=a)]
        out += [row(condition="shuffled", track=f"{language}{i}", language=language, speaker=str(i), lse_c=b)]
    return out


@pytest.mark.parametrize(
    "real, valid",
    [
        ([3] * 16, True),
        ([3] * 12 + [0] * 4, True),  # three quarters are enough
        ([3] * 11 + [0] * 5, False),  # a mean above is not
        ([2] * 12 + [-9] * 4, False),  # nor are the ranks, when the mean is below
        ([1] * 16, False),  # ties are not right
    ],
)
def test_validity_asks_for_three_quarters_and_a_mean_above(real, valid):
    verdict = expert_validity(pairs(real, [1] * 16), 0.0)["tr"]
    assert verdict.valid is valid and verdict.failed is not valid and verdict.n_clips == 16
    assert verdict.reason == (None if valid else "expert_not_valid_here")


def test_validity_respects_the_margin_and_states_chance():
    rows = pairs([3] * 6, [1] * 6)
    assert not expert_validity(rows, 2.0)["tr"].valid
    verdict = expert_validity(rows, 1.9)["tr"]
    assert verdict.valid and verdict.chance == pytest.approx(1 / 64)


@pytest.mark.parametrize("right, n, valid", [(4, 4, False), (5, 5, True), (6, 8, False), (7, 8, True), (1, 1, False)])
def test_ranks_that_a_coin_would_toss_are_not_enough(right, n, valid):
    verdict = expert_validity(pairs([3] * right + [0] * (n - right), [1] * n), 0.0)["tr"]
    assert verdict.valid is valid and (verdict.chance <= 0.05) is valid
    assert verdict.reason == (None if valid else "too_few_clips") and verdict.failed is not valid


def test_unasked_scores_stay():
    rows = [row(lse_c=1.0, lse_d=7.0), row("s", lse_c=0.5, lse_d=8.0)]
    verdict = expert_validity(rows, 0.0)["tr"]
    assert (verdict.valid, verdict.failed, verdict.reason, verdict.n_clips) == (False, False, "no_real_and_shuffled_pairs", 0)
    assert drop_unjudged(rows, {"tr": verdict}) == rows
    assert drop_unjudged(rows, {})[0]["lse_c"] is None, "a language that nobody gave a verdict on"


def test_unjudged_scores_become_null_and_earlier_reasons_stay():
    earlier = [{"metric": "lse_d", "reason": "too_short"}]
    rows = [row(lse_c=1.0, lse_d=None, offset_frames=3, ssim=0.9, mean_dist=[1.0], null_reasons=earlier),
            row(condition="shuffled", lse_c=2.0)]
    out = drop_unjudged(rows, expert_validity(rows, 0.0))[0]
    assert (out["lse_c"], out["offset_frames"], out["mean_dist"], out["ssim"]) == (None, None, None, 0.9)
    assert null_reason(out, "lse_c") == null_reason(out, "abs_offset") == "expert_not_valid_here"
    assert null_reason(out, "lse_d") == "too_short"
    assert rows[0]["lse_c"] == 1.0, "the rows given stay as they are"


def test_valid_languages_keep_theirs_beside_invalid_ones():
    rows = pairs([3] * 5, [1] * 5, "tr") + pairs([1] * 5, [3] * 5, "fi") + [row(language="ar", lse_c=2.0)]
    kept = {r["language"]: r["lse_c"] for r in drop_unjudged(rows, expert_validity(rows, 0.0))}
    assert kept["fi"] is None and kept["tr"] is not None and kept["ar"] == 2.0


def with_lags(n, found, late=0, language="tr", n_guessing=0):
    """n clips that the expert ranks right; in `found` of them the lags are found, `late` frames off."""
    rng = np.random.default_rng(7)
    rows = pairs([3.0] * n, [1.0] * n, language)
    for k, r in enumerate(rows):
        heard = r["condition"] == "self" and k // 2 < found
        r["lag_offsets"] = [lag + late for lag in LAGS] if heard else (rng.permutation([-12, -5, 1, 7, 13]) + k % 2).tolist()
    return rows


def test_lags_that_are_not_found_end_it_where_there_are_clips_enough():
    good, bad = (expert_validity(with_lags(8, found), 0.0)["tr"] for found in (8, 0))
    assert good.valid and good.lags.heard and good.lags.n_found == 8 and good.lags.share == 1 and good.no_lags is None
    assert good.lags_shuffled.n_clips == 8 and good.lags_shuffled.share < 0.4
    assert (bad.valid, bad.reason, bad.share_right, bad.lags.heard) == (False, "expert_not_valid_here", 1.0, False)


def test_few_clips_are_not_condemned_by_their_lags_and_it_is_said():
    few = expert_validity(with_lags(5, 0), 0.0)["tr"]
    assert few.valid and few.no_lags == "too_few_clips" and few.lags.heard is None and few.lags.n_found < 3
    none = expert_validity(pairs([3] * 8, [1] * 8), 0.0)["tr"]
    assert none.valid and none.no_lags == "no_lags" and none.lags.n_clips == 0


def test_found_lags_speak_for_an_expert_of_few_clips():
    assert expert_validity(with_lags(2, 2), 0.0)["tr"].valid, "a quarter by ranks, a tenth by lags: both together are no luck"
    for n, found in ((2, 0), (3, 0), (1, 1), (4, 1)):
        verdict = expert_validity(with_lags(n, found), 0.0)["tr"]
        assert (verdict.valid, verdict.reason) == (False, "too_few_clips"), f"{found} of {n}"
    late = expert_validity(with_lags(2, 2, late=3), 0.0)["tr"]
    assert late.valid and late.lags.n_found == 2


def test_a_deaf_expert_is_seldom_believed_on_few_clips():
    rng, rows = np.random.default_rng(1), []
    for language in range(300):
        for n in (2, 5):
            found = pairs(rng.standard_normal(n), rng.standard_normal(n), f"q{language}x{n}")
            for r in found:
                best = int(rng.integers(-15, 16))  # a wrong match moves along with the lag
                r["lag_offsets"] = [best + k if abs(best + k) <= 15 else int(rng.integers(-15, 16)) for k in LAGS]
            rows += found
    verdicts = expert_validity(rows, 0.0)
    for n in (2, 5):
        believed = np.mean([v.valid for tag, v in verdicts.items() if tag.endswith(f"x{n}")])
        assert 0 < believed < 0.075, n  # 5 % and two standard errors


def test_lags_that_are_not_found_count_where_nothing_was_shuffled():
    rows = [r for r in with_lags(8, 0) if r["condition"] == "self"]
    verdict = expert_validity(rows, 0.0)["tr"]
    assert verdict.failed and verdict.reason == "expert_not_valid_here"
    assert drop_unjudged(rows, {"tr": verdict})[0]["lse_c"] is None


def test_a_corpus_that_is_late_throughout_is_no_fault_of_the_expert():
    assert expert_validity(with_lags(8, 8, late=3), 0.0)["tr"].lags.n_found == 8


def test_found_lags_do_not_save_an_expert_that_ranks_wrongly():
    rows = [r | {"lse_c": -r["lse_c"]} for r in with_lags(8, 8)]
    assert not expert_validity(rows, 0.0)["tr"].valid
