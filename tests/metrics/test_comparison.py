"""Two runs against each other: pairing, verdicts, thresholds, protocols; on rows small enough to work out by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest

from metrics.comparison import DifferentProtocols, check_protocols, compare, completed
from metrics.robustness import MixedProtocols
from tests.metrics.test_robustness import row


def run(gaps: dict[str, float] | None = None, *, speakers: int = 10, clips: int = 2, noise: float = 0.02, seed: int = 0,
        system: str = "s", languages: tuple[str, ...] = ("en", "tr", "zh")):
    """Rows of one system with the same speakers and clips every time, and noise of its own; `gaps`: what a language loses."""
    rng, base = np.random.default_rng(seed), np.random.default_rng(99)
    rows = []
    for tag in languages:
        for i in range(speakers):
            level = base.normal(0.7, 0.05)
            shift = (gaps or {}).get(tag, 0.0) + noise * rng.normal()
            for k in range(clips):
                rows.append(row(system, track=f"{tag}-{i}-{k}", language=tag, speaker=f"{tag}{i}",
                                opening_correlation=level - shift + noise * rng.normal(), ssim=0.9))
    return rows


def of(comparison, metric="opening_correlation"):
    return {c.language: c for c in comparison.changes if c.metric == metric}


def test_a_planted_regression_is_found_and_nothing_else():
    found = compare(run(seed=1), run({"tr": 0.15}, seed=2))
    assert [(c.language, c.metric, c.system) for c in found.regressions] == [
        ("tr", "opening_correlation", "s"), ("*", "opening_correlation", "s")]
    tr, en = of(found)["tr"], of(found)["en"]
    assert tr.change.high < 0 and tr.change.mean == pytest.approx(-0.15, abs=0.03) and tr.better is False
    assert (tr.change.n_clips, tr.change.n_speakers) == (20, 10) and tr.p_holm <= 0.05
    assert en.verdict == "open" and en.p_holm > 0.05 and en.detectable > 0
    assert found.improvements == []
    back = compare(run({"tr": 0.15}, seed=2), run(seed=1))
    assert [(c.language, c.verdict) for c in back.improvements] == [("tr", "better"), ("*", "better")] and back.regressions == []
    assert of(back)["tr"].change.mean == -tr.change.mean and of(back)["tr"].p == pytest.approx(tr.p)


def test_noise_alone_seldom_raises_an_alarm():
    nights = [bool(compare(run(seed=2 * i), run(seed=2 * i + 1)).regressions) for i in range(60)]
    assert np.mean(nights) < 0.12  # one side of 5 % for three languages after Holm; the standard error is 2 %


def test_the_same_run_twice_has_no_change_anywhere():
    found = compare(run(), run())
    assert {c.verdict for c in found.changes} == {"same"} and found.regressions == [] == found.worst(5)
    assert {c.change.mean for c in found.changes} == {0.0}
    assert {k for c in found.clips for k in c.kinds.values()} == {"unchanged"}


def test_the_order_of_the_rows_changes_nothing():
    a, b = run(seed=1), run({"tr": 0.1}, seed=2)
    shuffled = a[:], b[:]
    for rows in shuffled:
        random.Random(3).shuffle(rows)
    one, two = compare(a, b), compare(*shuffled)
    assert one.changes == two.changes and one.clips == two.clips


def test_all_languages_together_are_a_test_of_their_own():
    found = compare(run(seed=1), run(dict.fromkeys(("en", "tr", "zh"), 0.04), seed=2))
    every = of(found)["*"]
    assert every.change.n_speakers == 30 and every.verdict == "worse" and every in found.regressions
    assert "*" not in of(compare(run(languages=("en",)), run(languages=("en",), seed=1)))
    gone = [r if r["language"] == "en" else r | {"opening_correlation": None} for r in run(seed=1)]
    assert "*" not in of(compare(run(), gone)), "what is left is one language"


def test_a_collapse_of_every_language_is_a_regression_although_none_of_them_can_pass_the_correction():
    languages = tuple("en zh tr ko ru ar fi sw".split())
    found = compare(run(speakers=7, clips=1, seed=1, languages=languages),
                    run(dict.fromkeys(languages, 0.5), speakers=7, clips=1, seed=2, languages=languages),
                    metrics=["opening_correlation"])
    assert {c.verdict for c in found.changes} == {"hint", "worse"} and [c.language for c in found.regressions] == ["*"]
    assert {(c.language, c.change.n_speakers, c.speakers_needed) for c in found.too_few} == {(tag, 7, 9) for tag in languages}
    back = compare(run(dict.fromkeys(languages, 0.5), speakers=7, seed=2, languages=languages),
                   run(speakers=7, seed=1, languages=languages), metrics=["opening_correlation"])
    assert back.regressions == [] and [c.language for c in back.improvements] == ["*"]


def test_languages_without_an_interval_say_how_many_speakers_it_takes_too_and_the_same_run_has_nothing_to_say():
    a, b = run(speakers=5, seed=1), run(speakers=5, seed=2)
    assert {(c.language, c.speakers_needed) for c in compare(a, b, metrics=["opening_correlation"]).too_few} == {
        ("en", 7), ("tr", 7), ("zh", 7)}
    assert compare(a, a).too_few == compare(run(seed=1), run(seed=2)).too_few == []


def test_beside_an_lse_stand_the_offsets_of_both_runs():
    a, b = ([row("s", track=str(i), speaker=str(i), lse_d=8.0 + i, ssim=0.5, offset_frames=at(i)) for i in range(8)]
            for at in (lambda i: -i % 2, lambda i: -3))
    found = {c.metric: c for c in compare(a, b, metrics=["lse_d", "ssim"]).changes}
    assert (found["lse_d"].offsets_a, found["lse_d"].offsets_b) == ((0.5, 1.0), (3.0, 0.0))
    assert found["ssim"].offsets_a is None
    (bare,) = compare(a, [r | {"offset_frames": None} for r in b], metrics=["lse_d"]).changes
    assert bare.offsets_a == (0.5, 1.0) and bare.offsets_b is None


def test_five_speakers_are_too_few_and_six_cannot_pass_the_correction():
    few = of(compare(run(speakers=5), run({"tr": 0.3}, speakers=5, seed=1)))["tr"]
    assert (few.verdict, few.change.reason, few.p) == ("no_claim", "too_few_speakers", None)
    six = of(compare(run(speakers=6), run({"tr": 0.3}, speakers=6, seed=1)))["tr"]
    assert (six.verdict, six.speakers_needed) == ("hint", 7) and six.change.high < 0
    assert of(compare(run(speakers=7), run({"tr": 0.3}, speakers=7, seed=1)))["tr"].verdict == "worse"


def test_figures_of_each_run_are_those_of_its_own_report():
    a, b = run(seed=1), run(seed=2)[:-4]  # B lost two speakers' worth of clips: its mean is over what it has
    zh = of(compare(a, b))["zh"]
    for rows, mean, n in ((a, zh.mean_a, zh.n_a), (b, zh.mean_b, zh.n_b)):
        values = [r["opening_correlation"] for r in rows if r["language"] == "zh"]
        assert mean == pytest.approx(np.mean(values)) and n == len(values)
    assert zh.change.n_clips == 16 and zh.clips["only_a"] == 4 and zh.gap_a == pytest.approx(1 - zh.mean_a)


def test_every_clip_is_of_one_kind():
    a, b = run(noise=0), run(noise=0)
    b[0] = b[0] | {"opening_correlation": None, "null_reasons": [{"metric": "opening_correlation", "reason": "no_mesh"}]}
    a[1] = a[1] | {"opening_correlation": None}
    b[2] = b[2] | {"opening_correlation": b[2]["opening_correlation"] - 0.2}
    b[3] = b[3] | {"opening_correlation": b[3]["opening_correlation"] + 0.2}
    b[4] = b[4] | {"opening_correlation": b[4]["opening_correlation"] - 0.0004}  # shows in no table
    del a[5], b[6]
    found = compare(a, b)
    en = of(found)["en"].clips
    assert en == {"regressed": 1, "fixed": 1, "moved": 0, "unchanged": 14, "lost": 1, "gained": 1, "only_a": 1, "only_b": 1,
                  "other_length": 0}
    (worst,) = found.worst(3)
    assert (worst.track_id, worst.worst_metric) == ("en-1-0", "opening_correlation")
    assert worst.worst == pytest.approx(0.2 / 0.0005)


def test_what_counts_as_moved_follows_the_noise():
    quiet, loud = (compare(run(noise=n, seed=1), run(noise=n, seed=2)) for n in (0.005, 0.05))
    low, high = (of(f)["en"].threshold for f in (quiet, loud))
    assert high == pytest.approx(10 * low, rel=0.2)
    moved = [k for c in loud.clips for m, k in c.kinds.items() if m == "opening_correlation"]
    assert moved.count("regressed") + moved.count("fixed") <= 0.05 * len(moved)


def test_a_shift_of_everything_is_no_noise():
    found = compare(run(noise=0.01, seed=1), run(dict.fromkeys(("en", "tr", "zh"), 0.3), noise=0.01, seed=2))
    assert {c.kinds["opening_correlation"] for c in found.clips} == {"regressed"}


def test_for_a_distance_lower_is_better():
    a = [row("s", track=str(i), speaker=str(i), landmark_distance=0.05) for i in range(8)]
    b = [r | {"landmark_distance": 0.08 + 0.001 * i} for i, r in enumerate(a)]
    (change,) = compare(a, b).changes
    assert change.change.mean > 0 and change.better is False and change.verdict == "worse"


@pytest.mark.parametrize("column", ["protocol", "expert", "expert_sha256", "finder"])
def test_other_protocols_are_refused_with_what_differs(column):
    with pytest.raises(DifferentProtocols) as error:
        compare(run(), [r | {column: "other"} for r in run()])
    assert f"{column}: " in str(error.value) and "other in B" in str(error.value)
    with pytest.raises(MixedProtocols):
        check_protocols(run(), [run()[0] | {column: "other"}, *run()[1:]])


def test_an_expert_that_cannot_judge_here_is_not_believed_in_either_run():
    def scored(shuffled):
        made = [row("s", track=str(i), speaker=str(i), lse_c=3.0 + 0.1 * i) for i in range(8)]
        real = [row(track=str(i), speaker=str(i), lse_c=5.0) for i in range(8)]
        return [*made, *real, *(row(condition="shuffled", track=str(i), speaker=str(i), lse_c=shuffled) for i in range(8))]

    found = compare(scored(1.0), scored(9.0), metrics=["lse_c"])
    assert found.invalid == {"tr": ["B"]} and {c.verdict for c in found.changes} == {"no_claim"}
    assert compare(scored(1.0), scored(1.0), metrics=["lse_c"]).invalid == {}
    # without controls, as in a file of scores, nothing says that the expert is wrong
    assert compare(scored(1.0)[:8], scored(1.0)[:8], metrics=["lse_c"]).changes[0].verdict == "same"


def test_controls_are_compared_but_shuffled_sound_is_no_regression():
    a = [row(c, k, track=str(i), speaker=str(i), lse_c=5.0) for i in range(8) for c, k in (("still", "self"), ("real", "self"))]
    b = [r | {"lse_c": 4.0 - 0.01 * int(r["track_id"])} for r in a]
    found = compare(a, b)
    assert {c.system: c.verdict for c in found.changes} == {"still": "worse", "real": "worse"}
    assert [c.system for c in found.regressions] == ["real"]
    assert {c.condition for c in compare(run(), run(), conditions=None).changes} == {"self"}


def test_two_runs_with_one_system_each_are_compared_under_any_name():
    found = compare(run(system="old"), run(system="new", seed=1))
    assert found.pairs == {"old": "new"} and {c.system for c in found.changes} == {"new"} and found.only_a == []
    apart = compare(run(system="old"), run(system="new"), pairs={})
    assert (apart.only_a, apart.only_b) == (["old"], ["new"]) and all(c.change is None for c in apart.changes)
    assert all(c.verdict == "no_claim" for c in apart.changes)


def test_padded_lse_c_is_not_compared_across_lengths():
    a = [row("s", track=str(i), speaker=str(i), lse_c=5.0, lse_d=8.0, n_windows=50 + i, protocol="p(edges=zeros)")
         for i in range(8)]
    b = [r | {"lse_c": 4.0 - 0.01 * i, "n_windows": r["n_windows"] + (i == 0)} for i, r in enumerate(a)]
    found = {c.metric: c for c in compare(a, b).changes}
    assert found["lse_c"].clips["other_length"] == 1 and found["lse_c"].change.n_clips == 7 and found["lse_c"].mean_a is None
    assert found["lse_d"].change.n_clips == 8 and found["lse_c"].verdict == "worse"
    assert found["lse_c"].nulls_a == {"lengths_differ": 8}


def test_lse_c_without_padding_is_compared_within_a_tenth_of_the_length():
    a = [row("s", track=str(i), speaker=str(i), lse_c=5.0 + 0.01 * i, lse_d=8.0, n_windows=100, protocol="p(edges=pairs)")
         for i in range(9)]
    b = [r | {"lse_c": 4.0 + 0.02 * i, "n_windows": 90 - (i < 2)} for i, r in enumerate(a)]
    found = {c.metric: c for c in compare(a, b).changes}
    assert found["lse_c"].clips["other_length"] == 2 and found["lse_c"].change.n_clips == 7 and found["lse_c"].n_b == 9
    assert found["lse_d"].change.n_clips == 9 and found["lse_c"].verdict == "worse"


def test_what_has_no_better_side_moves_and_neither_regresses_nor_improves():
    """Blinks and head motion: each run's mean, how far from real video, the change with its interval, and why there is none."""
    short = {"blink_rate": None, "null_reasons": [{"metric": "blink_rate", "reason": "too_short"}]}

    def run_of(blinks, lost=0, moves=0.1):
        real = [row(track=str(i), speaker=str(i), blink_rate=15.0 + i % 2, head_motion=0.1) for i in range(8)]
        made = [row("s", track=str(i), speaker=str(i), blink_rate=blinks + i % 3, head_motion=moves) for i in range(8)]
        return real + [r | short if i < lost else r for i, r in enumerate(made)]

    found = compare(run_of(2.0), run_of(9.0, lost=1))
    at = {(c.system, c.metric): c for c in found.changes}
    blinks, head = at["s", "blink_rate"], at["s", "head_motion"]
    assert (blinks.verdict, blinks.better, blinks.change.mean, blinks.change.n_clips) == ("moved", None, 7.0, 7)
    assert blinks.mean_a == pytest.approx(np.mean([2 + i % 3 for i in range(8)])) and blinks.change.low == blinks.change.high == 7
    assert blinks.gap_a == pytest.approx(blinks.mean_a - 15.5) and blinks.gap_b > blinks.gap_a
    assert (blinks.nulls_a, blinks.nulls_b) == ({}, {"too_short": 1}) and blinks.clips["moved"] == 7 and blinks.clips["lost"] == 1
    assert (head.verdict, head.change.mean, head.gap_a) == ("same", 0.0, 0.0) and at["real", "blink_rate"].gap_a is None
    assert found.regressions == found.improvements == found.worst(9) == []
    assert [c.metric for c in compare(run_of(2.0), run_of(9.0), metrics=["head_motion"]).changes] == ["head_motion"] * 2
    gone = {c.metric: c for c in compare(run_of(2.0), run_of(9.0, lost=8)).changes if c.system == "s"}["blink_rate"]
    assert (gone.mean_b, gone.change, gone.nulls_b, gone.verdict) == (None, None, {"too_short": 8}, "no_claim")


def test_samples_of_one_input_are_one_clip():
    a = [row("s", track="t", sample=k, ssim=v) for k, v in enumerate((0.2, 0.4))]
    b = [row("s", track="t", sample=k, ssim=v) for k, v in enumerate((0.5, 0.7, 0.9))]
    (change,) = compare(a, b).changes
    assert change.change.mean == pytest.approx(0.4) and (change.n_a, change.n_b, change.change.n_clips) == (1, 1, 1)


def test_rows_of_a_file_are_completed():
    assert completed({"generated_id": "x", "speaker": None})["cluster"] == "recording:x"
    full = completed({"generated_id": "x", "speaker": "s", "track_id": "t"})
    assert (full["track_id"], full["clip_id"], full["audio_clip_id"], full["cluster"]) == ("t", "t", "t", "speaker:s")
    with pytest.raises(ValueError, match="cannot be paired"):
        completed({"lse_d": 1.0})
    with pytest.raises(KeyError, match="no metric is called 'ssmi'"):
        compare(run(), run(), metrics=["ssmi"])


def test_who_speaks_two_languages_counts_once_in_all_of_them_together():
    def bilingual(rows):
        return [r | {"cluster": r["cluster"].replace("en", "").replace("tr", "")} for r in rows]

    languages = ("en", "tr")
    apart = of(compare(run(seed=1, languages=languages), run({"tr": 0.05}, seed=2, languages=languages)))["*"]
    both = (bilingual(run(gaps, seed=seed, languages=languages)) for gaps, seed in ((None, 1), ({"tr": 0.05}, 2)))
    once = of(compare(*both))["*"]
    assert (apart.change.n_speakers, once.change.n_speakers) == (20, 10) and apart.change.n_clips == once.change.n_clips == 40
    assert apart.change.mean == pytest.approx(once.change.mean)
