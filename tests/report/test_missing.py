"""What cannot be judged any more is named: languages, systems, the expert, clips; what was missed here and there is not."""

from __future__ import annotations

from metrics.comparison import compare
from report.missing import missing
from tests.metrics.test_comparison import run
from tests.metrics.test_robustness import row

METRIC = "opening_correlation"
METRICS = [METRIC]


def night(**languages: tuple[str, ...]) -> dict:
    """A record: which systems have figures in which language."""
    return {"figures": [{"system": s, "language": tag, "metric": METRIC, "mean": 0.5} for tag, some in languages.items()
                        for s in some], "metrics": [{"name": METRIC}], "expert": dict.fromkeys(languages)}


def names(*given, **options) -> list[str]:
    return [m["name"] for m in missing(*given, **options)]


def against(a, b, **options) -> list[dict]:
    return missing({}, {}, compare(a, b, metrics=options.pop("metrics", METRICS), pairs={}), **options)


def test_languages_and_systems_without_a_figure_are_named_once():
    before = night(en=("a", "b"), tr=("a", "b"), zh=("a", "b"))
    assert names(before, before) == [] and names(None, before) == []
    assert names(before, night(en=("a", "b"), tr=("a", "b"))) == ["language zh"]
    assert names(before, night(en=("a",), tr=("a",), zh=("a",))) == ["system b"]
    assert names(before, night(en=("a", "b"), tr=("a",), zh=("a", "b"))) == ["b in tr"]
    assert names(before, {}) == ["language en", "language tr", "language zh"]
    assert names(night(en=("a",)), before) == [], "more is no loss"


def test_a_second_corpus_gives_languages_other_names_and_loses_none():
    both = night(**{"one/en": ("a",), "two/en": ("a",), "one/tr": ("a",)})
    assert names(night(en=("a",), tr=("a",)), both) == [] and names(both, night(en=("a",), tr=("a",))) == []
    assert names(both, night(en=("a",))) == ["language tr"]
    assert names(both, night(**{"one/en": ("a",), "one/tr": ("a",)})) == ["language two/en"]


def test_an_expert_that_can_no_longer_judge_is_named_with_the_reason():
    before, now = night(en=("a",), tr=("a",)), night(en=("a",), tr=("a",))
    now["expert"]["tr"] = "no_real_and_shuffled_pairs"
    (lost,) = missing(before, now)
    assert lost["name"] == "the sync expert in tr" and "not checked: no real clip with shuffled sound" in lost["why"]
    assert names(now, now) == [] and names(now, before) == [], "it could not judge it then either"


def test_the_expert_fails_in_the_comparison_of_a_record_that_does_not_know():
    def scored(shuffled):
        made = [row("s", track=str(i), speaker=str(i), lse_c=3.0 + 0.1 * i) for i in range(8)]
        real = [row(track=str(i), speaker=str(i), lse_c=5.0) for i in range(8)]
        return [*made, *real, *(row(condition="shuffled", track=str(i), speaker=str(i), lse_c=shuffled) for i in range(8))]

    (lost,) = against(scored(1.0), scored(9.0), metrics=["lse_c"])
    assert lost["name"] == "the sync expert in tr"
    assert against(scored(1.0), scored(1.0), metrics=["lse_c"]) == []


def test_a_language_whose_scores_are_null_or_whose_clips_are_others_is_named():
    a = run(speakers=6)
    why = {METRIC: None, "null_reasons": [{"metric": METRIC, "reason": "no_mesh"}]}
    nulls = [r if r["language"] != "tr" else r | why for r in a]
    (lost,) = against(a, nulls)
    assert lost["name"] == "s in tr"
    assert lost["why"] == "opening r: 0 of 12 clips could be compared; 12 have no score now (no face mesh was found)"
    names_of = ("track_id", "clip_id", "generated_id", "audio_clip_id")
    others = [r if r["language"] != "tr" else r | {k: f"new-{r[k]}" for k in names_of} for r in a]
    (lost,) = against(a, others)
    assert lost["name"] == "s in tr" and lost["why"].endswith("0 of 12 clips could be compared; 12 were not scored now")
    assert [m["name"] for m in against(a, [r | {"system": "new"} for r in a])] == ["s in en", "s in tr", "s in zh"]


def test_a_clip_missed_here_and_there_is_no_loss_and_a_quarter_is():
    a = run(speakers=10)  # twenty clips a language
    assert against(a, a) == [] and against(a, a[4:]) == []
    assert [m["name"] for m in against(a, a[5:])] == ["s in en"]
    assert against(a[5:], a) == []


def test_too_few_speakers_left_for_an_interval_is_a_loss():
    a = run(speakers=6)
    (lost,) = against(a, a[2:])  # one of the six speakers: a sixth of the clips
    assert lost["name"] == "s in en" and "10 of 12 clips" in lost["why"]
    few = run(speakers=5)
    assert against(few, few[2:]) == [], "there was no interval then either"


def test_what_is_told_of_a_whole_language_is_not_told_again_clip_by_clip():
    a = run(speakers=6)
    b = [r for r in a if r["language"] != "tr"]
    found = compare(a, b, metrics=METRICS, pairs={})
    every = ("s",)
    assert names(night(en=every, tr=every, zh=every), night(en=every, zh=every), found) == ["language tr"]
    assert names({}, {}, found) == ["s in tr"]


def test_a_metric_asked_for_by_name_that_nothing_has_is_missing_from_the_first_night_on():
    (lost,) = missing(None, night(en=("a",)), named=[METRIC, "wer"])
    assert lost["name"] == "metric wer" and lost["why"].endswith("it needs lip reader and transcript")
    a = run(speakers=6)
    assert [m["name"] for m in against(a, a, metrics=[METRIC, "wer"], named=[METRIC, "wer"])] == ["metric wer"]
