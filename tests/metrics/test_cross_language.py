"""Robustness across languages on made-up rows whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.cross_language import Cross, correct_gaps
from metrics.robustness import Table

TRAINED = {"a": ["en"], "b": ["en", "zh"]}
# how much each language loses, by system
LOSS = {"a": {"en": 0.1, "de": 0.2, "ru": 0.3, "fi": 0.5, "zh": 0.5},
        "b": {"en": 0.1, "de": 0.2, "ru": 0.3, "fi": 0.4, "zh": 0.1}}


def rows(n_speakers=8, noise=0.02, seed=1, systems=TRAINED, languages=("de", "en", "fi", "ru", "zh"), more=()):
    """Real video with LSE-C 3, shuffled 1, and systems below the real by their loss; opening r is 1 - loss; still faces are far
    off."""
    rng = np.random.default_rng(seed)
    out = []
    for tag in (*languages, *more):
        for s in range(n_speakers):
            voice = noise * rng.standard_normal()
            base = {"track_id": f"{tag}{s}", "clip_id": f"{tag}{s}", "corpus": "c", "language": tag, "cluster": f"speaker:{tag}{s}",
                    "audio_language": tag,
                    "audio_clip_id": f"{tag}{s}", "null_reasons": [], "training_languages": []}
            made = [("real", "self", {"lse_c": 3.0}), ("real", "shuffled", {"lse_c": 1.0}),
                    ("still", "self", {"landmark_distance": 0.4})]
            for system, trained in systems.items():
                loss = LOSS[system].get(tag, 5.0) + voice + noise * rng.standard_normal()
                made.append((system, "self", {"lse_c": 3 - loss, "opening_correlation": 1 - loss, "landmark_distance": loss / 2,
                                              "training_languages": trained}))
            out += [base | {"generated_id": f"{tag}{s}.{who}.{kind}", "system": who, "condition": kind} | v for who, kind,
                    v in made]
    return out


def cross(found, planted=(), **options):
    return Cross(Table(found, resamples=500, **options), planted)


@pytest.mark.parametrize("metric, floor", [("lse_c", 2.0), ("opening_correlation", 1.0), ("landmark_distance", 0.4)])
def test_what_is_kept_is_skill_over_skill(metric, floor):
    spread = cross(rows(noise=0)).spread("b", metric)
    scale = 0.5 if metric == "landmark_distance" else 1.0
    seen, unseen = 1 - scale * 0.1 / floor, 1 - scale * 0.3 / floor
    assert (spread.seen_languages, spread.unseen_languages) == (["en", "zh"], ["de", "fi", "ru"])
    assert spread.skill_seen.mean == pytest.approx(seen) and spread.retention.mean == pytest.approx(unseen / seen)
    assert spread.difference.mean == pytest.approx(scale * 0.2) and spread.worst == "fi"


def test_differences_hold_the_truth_and_say_how_many():
    spread = cross(rows()).spread("a", "lse_c")
    assert spread.difference.low < 0.275 < spread.difference.high and spread.difference.low > 0
    assert (spread.difference.n_clips, spread.difference.n_speakers) == (40, 40)
    assert spread.retention.low < (1 - 0.375 / 2) / (1 - 0.1 / 2) < spread.retention.high < 1
    assert spread.worst in ("fi", "zh") and 0.2 < spread.worst_share < 0.8, "two are equally bad: which is worst is not settled"


def test_planted_languages_are_left_out():
    found = rows(more=["x-gap"])
    assert cross(found).spread("a", "lse_c").worst == "x-gap"
    kept = cross(found, ["x-gap"])
    assert kept.spread("a", "lse_c").worst != "x-gap" and all("x-gap" != p["language"] for s in kept.slopes("lse_c", {})
                                                              for p in s.points)
    assert all(r.language != "x-gap" for r in kept.rankings("lse_c"))


def test_why_there_is_no_retention():
    every = cross(rows(systems={"a": ["de", "en", "fi", "ru", "zh"]})).spread("a", "lse_c")
    assert every.reasons == {"difference": "no_unseen_language", "retention": "no_unseen_language"} and every.unseen is None
    unknown = cross(rows(systems={"a": []})).spread("a", "lse_c")
    assert unknown.reasons["retention"] == "unknown_training"
    assert cross([r for r in rows() if r["condition"] == "self"]).spread("a", "lse_c").reasons["retention"] == "no_floor"
    bad = [r | {"opening_correlation": -0.1 - 0.001 * i} if r["system"] == "a" else r for i, r in enumerate(rows(2))]
    assert cross(bad).spread("a", "opening_correlation").reasons["retention"] == "no_skill_in_seen_languages"
    still = [r | {"landmark_distance": 0.0} if r["system"] == "still" else r for r in rows(2)]
    assert cross(still).spread("a", "landmark_distance").reasons["retention"] == "floor_not_below_real"


def test_two_speakers_give_figures_without_intervals_where_too_few():
    spread = cross(rows(2, languages=("en", "fi"))).spread("a", "lse_c")
    assert spread.difference.mean is not None and spread.difference.low is None and spread.difference.reason == "too_few_speakers"
    assert spread.worst_share is None and spread.reasons["worst_share"] == "too_few_speakers"


def test_the_slope_is_over_distance_from_the_nearest_training_language():
    found = {(s.system, s.kind): s for s in cross(rows()).slopes("lse_c", {})}
    one = found["a", "genealogical"]
    assert [(p["language"], p["nearest"]) for p in one.points] == [(t, "en") for t in ("de", "en", "fi", "ru", "zh")]
    xs, ys = [p["distance"] for p in one.points], [p["gap"].mean for p in one.points]
    assert one.slope.mean == pytest.approx(np.polyfit(xs, ys, 1)[0]) and one.intercept == pytest.approx(np.polyfit(xs, ys, 1)[1])
    assert one.slope.low > 0 and one.slope.n_speakers == 40 and one.p < 0.05
    assert found["b", "genealogical"].points[-1]["distance"] == 0, "Mandarin is one of its own"
    assert (found["a", "visemes"].slope, found["a", "visemes"].missing["fi"]) == (None, "no_truth")
    assert found["a", "visemes"].reason == "too_few_languages"


def test_few_languages_and_unknown_ones_have_no_slope():
    three = cross(rows(languages=("en", "fi", "ru"))).slopes("lse_c", {}, ["genealogical"])[0]
    assert (three.slope, three.reason, len(three.points)) == (None, "too_few_languages", 3)
    odd = cross(rows(languages=("de", "en", "fi", "ru", "qqq"))).slopes("lse_c", {}, ["genealogical"])[0]
    assert odd.missing == {"qqq": "unknown_language"} and odd.slope is not None
    alike = cross(rows(languages=("ru", "fi", "zh", "de"), systems={"a": ["ko"]})).slopes("lse_c", {}, ["genealogical"])[0]
    assert alike.reason == "no_spread_of_distances"


def test_sounds_of_the_corpus_make_distances():
    sounds = {t: {"visemes": {"aa": 1.0, "pp": w}} for t, w in (("en", 0), ("de", 0.2), ("ru", 0.5), ("fi", 1), ("zh", 3))}
    one = cross(rows()).slopes("lse_c", sounds, ["visemes"])[0]
    assert {p["language"]: round(p["distance"], 3) for p in one.points} == {"de": 0.167, "en": 0.0, "fi": 0.5, "ru": 0.333,
                                                                            "zh": 0.75}


def test_a_firm_order_stays_and_a_loose_one_does_not():
    found = {r.language: r for r in cross(rows()).rankings("lse_c")}
    whole = found[None]
    assert whole.order == ["b", "a"] and whole.kept == 1.0 and whole.first == [1.0, 0.0] and whole.n_languages == 5
    assert found["zh"].order == ["b", "a"] and found["zh"].kept == 1.0
    assert min(found[t].kept for t in ("en", "de", "ru")) < 0.95, "where they are equal, chance decides"
    assert sum(found["en"].first) == pytest.approx(1) and found["en"].n_speakers == 8
    few = {r.language: r for r in cross(rows(3)).rankings("lse_c")}
    assert few["en"].reason == "too_few_speakers" and few["en"].kept is None and few[None].kept is not None


def test_one_system_has_no_rank_and_equal_ones_share_the_first_place():
    assert cross(rows(systems={"a": ["en"]})).rankings("lse_c") == []
    same = [r | {"lse_c": 2.0} if r["system"] in TRAINED else r for r in rows()]
    assert cross(same).rankings("lse_c")[0].first == [0.5, 0.5]


def test_the_same_input_gives_the_same_figures_in_any_order():
    one, two = (cross(found) for found in (rows(), rows()[::-1]))
    assert one.spread("a", "lse_c") == two.spread("a", "lse_c") and one.rankings("lse_c") == two.rankings("lse_c")


def gap_cells(found, metric="lse_c", system="a", planted=(), **options):
    cells = Table(found, resamples=500, **options).cells()
    correct_gaps(cells, planted)
    return {c.language: c for c in cells if (c.system, c.condition, c.metric) == (system, "self", metric)}


@pytest.mark.parametrize("n_speakers, shown", [(6, False), (7, False), (8, True)])
def test_intervals_leave_out_zero_where_holm_does_not_show_a_gap(n_speakers, shown):
    cells = gap_cells(rows(n_speakers))
    assert len(cells) == 5 and all(c.gap.low > 0 and c.p_gap <= 0.05 for c in cells.values())
    assert all((c.p_gap_holm <= 0.05) == shown for c in cells.values())
    assert min(c.p_gap_holm for c in cells.values()) == pytest.approx(5 * 2.0 ** (1 - n_speakers))


def test_the_p_of_a_gap_agrees_with_its_interval():
    rng, out = np.random.default_rng(0), []
    for seed in range(12):
        found = rows(int(rng.integers(6, 18)), noise=0.3, seed=seed, systems={"a": []})
        cells = gap_cells(found, "opening_correlation", alpha=0.1)
        out += [((c.gap.low > 0 or c.gap.high < 0), c.p_gap <= 0.1) for c in cells.values()]
    assert all(leaves == small for leaves, small in out) and {leaves for leaves, _ in out} == {True, False}


def test_without_an_interval_and_in_planted_languages_no_gap_is_corrected():
    found = [r for r in rows(8, more=["x"]) if not (r["language"] == "fi" and r["track_id"] > "fi4")]
    cells = gap_cells(found, planted=["x"])
    assert (cells["fi"].p_gap, cells["fi"].p_gap_holm, cells["x"].p_gap_holm) == (None, None, None)
    assert cells["x"].p_gap == pytest.approx(2.0**-7) and cells["en"].p_gap_holm == pytest.approx(4 * 2.0**-7)
    still = gap_cells(found, "landmark_distance", "still", planted=["x"])
    assert still["en"].p_gap_holm == pytest.approx(4 * 2.0**-7), "each system and condition is a family"
