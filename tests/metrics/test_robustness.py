"""Gaps and protocols on rows small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.planted import compare, found, lag_curves, real_leads, test_unseen, twin_comparisons
from metrics.robustness import (
    LEVELS,
    METRICS,
    MixedProtocols,
    Table,
    metric_label,
    one_protocol,
    seed_of,
    value_of,
    worse_by,
)
from metrics.stats import cluster_permutation, detectable, sign_flip_test

unseen_test = test_unseen
del test_unseen  # a function of the project, not a test of pytest's


def row(system="real", condition="self", language="tr", track="t0", speaker="a", **scores):
    """A score row; its sound is its own unless `audio` names another clip."""
    audio = scores.pop("audio", track)
    return {
        "generated_id": f"{track}.{system}.{condition}.{scores.get('sample', 0)}.{audio}", "track_id": track, "clip_id": track,
        "corpus": "c", "language": language, "cluster": f"speaker:{speaker}", "system": system, "condition": condition,
        "training_languages": [], "audio_clip_id": audio, "audio_language": language, "sample": 0, "protocol": "p", "expert": "e",
        "expert_sha256": "0", "finder": "f", "null_reasons": [], **scores,
    }  # fmt: skip


def test_gaps_are_taken_clip_by_clip_and_point_to_worse():
    rows = [row(track="t0", lse_c=4.0, lse_d=7.0), row(track="t1", lse_c=2.0, lse_d=9.0)]
    rows += [row("s", track="t0", lse_c=3.0, lse_d=7.5), row("s", track="t1", lse_c=1.5, lse_d=10.0)]
    table = Table(rows, resamples=100)
    cell = table.cell("s", "self", "tr", "lse_c")
    assert cell.value.mean == 2.25 and cell.gap.mean == 0.75 and (cell.gap.n_clips, cell.gap.n_speakers) == (2, 1)
    assert table.cell("s", "self", "tr", "lse_d").gap.mean == 0.75
    assert table.cell("real", "self", "tr", "lse_c").gap is None


def test_a_clip_without_a_real_score_is_left_out_of_the_gap_but_not_of_the_mean():
    rows = [row(track="t0", lse_c=4.0), row(track="t1", lse_c=None)]
    rows += [row("s", track="t0", lse_c=3.0), row("s", track="t1", lse_c=1.0)]
    cell = Table(rows, resamples=100).cell("s", "self", "tr", "lse_c")
    assert cell.value.mean == 2.0 and cell.gap.mean == 1.0 and cell.gap.n_clips == 1


def test_metrics_against_the_real_video_have_their_gap_to_the_ideal():
    rows = [row(), row("s", opening_correlation=0.7, landmark_distance=0.04, psnr=30.0)]
    table = Table(rows, resamples=100)
    assert table.cell("s", "self", "tr", "opening_correlation").gap.mean == pytest.approx(0.3)
    assert table.cell("s", "self", "tr", "landmark_distance").gap.mean == pytest.approx(0.04)
    assert table.cell("s", "self", "tr", "psnr").gap is None


def test_with_foreign_sound_the_reference_is_the_clip_that_sound_comes_from():
    rows = [row(track="t0", lse_c=4.0), row(track="e0", language="en", lse_c=6.0)]
    rows += [row("s", "cross-language", track="t0", audio="e0", lse_c=3.0) | {"audio_language": "en"}]
    cell = Table(rows, resamples=100).cell("s", "cross-language", "en", "lse_c")
    assert cell.gap.mean == 3.0


@pytest.mark.parametrize("faces, voices, n", [(8, 2, 2), (2, 8, 2), (8, 8, 8)])
def test_clusters_are_the_fewer_of_faces_and_voices(faces, voices, n):
    real = [row(track=f"e{i}", language="en", speaker=f"v{i}", lse_c=5.0) for i in range(voices)]
    real += [row(track=f"t{i}", speaker=f"f{i % faces}", lse_c=5.0) for i in range(8)]
    made = [
        row("s", "cross-language", track=f"t{i}", speaker=f"f{i % faces}", audio=f"e{i % voices}", lse_c=float(i))
        | {"audio_language": "en"}
        for i in range(8)
    ]
    cell = Table(real + made, resamples=100).cell("s", "cross-language", "en", "lse_c")
    assert (cell.value.n_clips, cell.value.n_speakers, cell.gap.n_speakers) == (8, n, n)


def test_samples_of_one_input_count_as_one_clip():
    rows = [row(track="t0", lse_c=4.0), *(row("s", track="t0", lse_c=v, sample=i) for i, v in enumerate((1.0, 2.0, 3.0)))]
    cell = Table(rows, resamples=100).cell("s", "self", "tr", "lse_c")
    assert (cell.value.mean, cell.value.n_clips, cell.gap.mean) == (2.0, 1, 2.0)


def test_the_lead_is_over_the_same_video_with_shuffled_sound():
    rows = [row(lse_d=8.0), row("s", lse_d=9.0), row("s", "shuffled", lse_d=12.0)]
    table = Table(rows, resamples=100)
    assert table.cell("s", "self", "tr", "lse_d").over_shuffled.mean == 3.0
    assert table.cell("s", "shuffled", "tr", "lse_d").over_shuffled is None


@pytest.mark.parametrize("column", ["protocol", "expert", "expert_sha256", "finder"])
def test_mixed_protocols_name_both(column):
    rows = [row(), row(track="t1", **{column: "other"})]
    with pytest.raises(MixedProtocols) as error:
        one_protocol(rows)
    assert f"{column} {rows[0][column]}" in str(error.value) and f"{column} other" in str(error.value)
    assert one_protocol(rows[:1])[column] == rows[0][column]


def test_only_pinned_weights_lose_the_star():
    assert metric_label(METRICS["lse_d"], False) == "LSE-D*" and metric_label(METRICS["lse_d"], True) == "LSE-D"
    assert metric_label(METRICS["ssim"], False) == "SSIM"


def test_values_and_directions():
    assert value_of(row(offset_frames=-3), "abs_offset") == 3.0
    assert value_of(row(lse_c=float("nan")), "lse_c") is None and value_of(row(), "lse_c") is None
    assert worse_by(METRICS["lse_c"], 1.0, 3.0) == 2.0 and worse_by(METRICS["lse_d"], 1.0, 3.0) == -2.0


def speakers(language, values, system="real", metric="lse_c", **more):
    return [
        row(system, language=language, track=f"{language}{i}", speaker=f"{language}{i}", **{metric: v}, **more)
        for i, v in enumerate(values)
    ]


def test_a_wrong_twin_is_found_and_a_right_one_is_not():
    rng = np.random.default_rng(1)
    good, same, bad = (3 + 0.1 * rng.standard_normal(8) for _ in range(3))
    rows = [r for tag, v in (("tr", good), ("x-twin", same), ("x-gap", bad + 1)) for r in speakers(tag, v, metric="lse_d")]
    table = Table(rows, resamples=100)
    result = twin_comparisons(table, {"x-gap": "tr", "x-twin": "tr"})
    assert found(result, 0.05) == ["x-gap"]
    (gap, twin) = (next(c for c in result if c.language == tag) for tag in ("x-gap", "x-twin"))
    assert gap.p == pytest.approx(2 / 12870) and gap.p_holm == pytest.approx(
        4 / 12870
    )  # exact: 16 choose 8, two sides, two tests
    assert gap.worse_by == pytest.approx(np.mean(bad + 1) - np.mean(good)) and twin.p_holm > 0.05


def test_a_twin_that_is_better_differs_but_is_not_found():
    rng = np.random.default_rng(1)
    rows = [r for tag, v in (("tr", 4), ("x", 3)) for r in speakers(tag, v + 0.1 * rng.standard_normal(8), metric="lse_d")]
    result = twin_comparisons(Table(rows, resamples=100), {"x": "tr"})
    assert result[0].differs(0.05) and found(result, 0.05) == []


def test_a_twin_in_which_the_expert_hears_nothing_is_found_although_its_scores_are_null():
    rng = np.random.default_rng(4)
    rows = []
    for tag, lead in (("tr", 2.0), ("x-twin", 2.0), ("x-gap", 0.0)):
        for condition, mean in (("self", 1 + lead), ("shuffled", 1.0)):
            rows += [r | {"condition": condition} for r in speakers(tag, mean + 0.2 * rng.standard_normal(8))]
    leads, table = real_leads(rows), Table([r for r in rows if r["language"] != "x-gap"], resamples=100)
    assert {tag: round(float(v.mean())) for tag, (v, _) in leads.items()} == {"tr": 2, "x-gap": 0, "x-twin": 2}
    result = twin_comparisons(table, {"x-gap": "tr", "x-twin": "tr"}, leads)
    assert found(result, 0.05) == ["x-gap"] and found(twin_comparisons(table, {"x-gap": "tr", "x-twin": "tr"}), 0.05) == []
    (gap,) = [c for c in result if c.language == "x-gap" and c.metric == "lead"]
    assert gap.worse_by == pytest.approx(2, abs=0.3) and (gap.n_speakers, gap.n_speakers_against) == (8, 8)


def test_a_system_that_trained_on_the_model_says_nothing_of_its_twin():
    rng = np.random.default_rng(5)
    rows = []
    for tag, mean in (("tr", 0.9), ("x-twin", 0.5)):
        rows += [r | {"training_languages": ["tr"]} for r in speakers(tag, mean + 0.02 * rng.standard_normal(8), "s",
                                                                      "opening_correlation")]
    result = twin_comparisons(Table(rows, resamples=100), {"x-twin": "tr"})
    assert [(c.p, c.reason) for c in result] == [(None, "trained_on_the_model")] and found(result, 0.05) == []
    others = [r | {"training_languages": ["en"]} for r in rows]
    assert found(twin_comparisons(Table(others, resamples=100), {"x-twin": "tr"}), 0.05) == ["x-twin"]


def test_five_speakers_give_a_reason_instead_of_a_p():
    rows = speakers("tr", [3.0] * 8, metric="lse_d") + speakers("x", [9.0] * 5, metric="lse_d")
    (only,) = twin_comparisons(Table(rows, resamples=100), {"x": "tr"})
    assert (only.p, only.reason, only.n_speakers) == (None, "too_few_speakers", 5)


def test_unseen_languages_are_compared_with_seen_ones():
    rng = np.random.default_rng(2)
    rows = []
    for tag, gap in (("en", 0.2), ("fi", 0.2), ("ar", 0.6)):
        rows += speakers(tag, [None] * 8)
        rows += [
            r | {"training_languages": ["en"]}
            for r in speakers(tag, 1 - gap + 0.02 * rng.standard_normal(8), "s", "opening_correlation")
        ]
    table = Table(rows, resamples=100)
    cells = table.cells()
    unseen_test(table, cells)
    p = {c.language: c.p_unseen_holm for c in cells if c.system == "s" and c.metric == "opening_correlation"}
    assert p["en"] is None and p["ar"] < 0.01 and p["fi"] > 0.05


def test_another_system_changes_no_interval():
    rng = np.random.default_rng(3)
    rows = speakers("tr", 3 + rng.standard_normal(8)) + speakers("tr", 2 + rng.standard_normal(8), "a")
    alone = Table(rows, resamples=200).cell("a", "self", "tr", "lse_c")
    beside = Table(rows + speakers("tr", rng.standard_normal(8), "b"), resamples=200).cell("a", "self", "tr", "lse_c")
    assert alone == beside and alone.gap.low is not None


def test_lag_curves_are_means_centred_on_zero():
    rows = [
        row(track="t0", mean_dist=[3.0, 1.0, 3.0]),
        row(track="t1", mean_dist=[5.0, 3.0, 5.0]),
        row(track="t2", mean_dist=None),
    ]
    (curve,) = lag_curves(Table(rows, resamples=100))
    assert curve["lags_frames"] == [-1, 0, 1] and curve["distance"] == [4.0, 2.0, 4.0] and curve["n_clips"] == 2
    assert curve["n_speakers"] == 1


def test_a_speaker_of_two_languages_is_one_cluster_where_languages_are_pooled():
    rows = [row("s", language=tag, track=f"{tag}{i}", speaker=str(i), opening_correlation=0.9) for tag in ("en", "fi")
            for i in range(8)]
    table = Table(rows, resamples=100)
    values, clusters = table.gaps(rows, "opening_correlation")
    assert (len(values), len(set(clusters))) == (16, 8)
    assert table.cell("s", "self", "fi", "opening_correlation").gap.n_speakers == 8
    others = [r | {"corpus": "d"} for r in rows[:8]]
    assert not set(table.gaps(rows, "opening_correlation")[1]) & set(Table(others).gaps(others, "opening_correlation")[1])


def test_people_in_both_samples_are_compared_with_themselves_or_left_out_of_the_second():
    rng, table = np.random.default_rng(6), Table([row()], resamples=500)
    voices, names = rng.standard_normal(20), [f"p{k}" for k in range(20)]
    one, two = voices[:8] + 0.3, voices[:8] + 0.05 * rng.standard_normal(8)
    p, reason = compare(table, (one, names[:8]), (two, names[:8]))
    assert reason is None and p == sign_flip_test(one - two, names[:8], 0, 500) < 0.02
    assert compare(table, (one, names[:8]), (two, [f"q{k}" for k in range(8)]))[0] > 0.3, "as strangers nothing can be told"
    some = voices[6:] + 1.0
    p, _ = compare(table, (one, names[:8]), (some, names[6:]))
    assert p == cluster_permutation(one, names[:8], some[2:], names[8:], seed_of(0, "exchanges"))
    assert compare(table, (one[:5], names[:5]), (two[:5], names[:5])) == (None, "too_few_speakers")


def test_unseen_languages_of_bilingual_speakers_have_a_p():
    rng, rows = np.random.default_rng(7), []
    voice = 0.1 * rng.standard_normal(8)
    for tag, gap in (("en", 0.2), ("fi", 0.3)):
        rows += [row("s", language=tag, track=f"{tag}{i}", speaker=str(i), training_languages=["en"],
                     opening_correlation=1 - gap + voice[i] + 0.005 * rng.standard_normal()) for i in range(8)]
    table = Table(rows, resamples=100)
    cells = table.cells()
    unseen_test(table, cells)
    (fi,) = [c for c in cells if c.language == "fi" and c.metric == "opening_correlation"]
    assert fi.p_unseen == pytest.approx(2 / 2**8) and fi.unseen_reason is None


def test_what_has_no_better_side_is_shown_beside_real_video():
    rows = [row(track=f"t{i}", speaker=str(i), blink_rate=15.0 + i) for i in range(8)]
    rows += [row("s", track=f"t{i}", speaker=str(i), blink_rate=12.0 + i if i else None) for i in range(8)]
    rows[8]["null_reasons"] = [{"metric": "blink_rate", "reason": "too_short"}]
    table = Table(rows, resamples=100)
    real, made = table.levels()
    assert (real.system, real.value.mean, real.from_real, real.nulls) == ("real", 18.5, None, {})
    assert (made.value.mean, made.value.n_clips, made.nulls) == (16.0, 7, {"too_short": 1})
    assert made.from_real.mean == made.from_real.low == -3.0 and made.from_real.n_speakers == 7
    assert "blink_rate" in LEVELS and not set(LEVELS) & set(METRICS) and not table.cells()


def test_a_gap_says_what_it_could_have_shown():
    rng = np.random.default_rng(8)
    values = 0.8 + 0.1 * rng.standard_normal(8)
    table = Table(speakers("tr", values, "s", "opening_correlation"), resamples=200)
    cell = table.cell("s", "self", "tr", "opening_correlation")
    assert cell.detectable == pytest.approx(detectable(1 - values, [f"tr{i}" for i in range(8)]))
    assert cell.detectable > cell.gap.high - cell.gap.mean
    few = Table(speakers("tr", values[:5], "s", "opening_correlation"), resamples=200)
    assert few.cell("s", "self", "tr", "opening_correlation").detectable is None
