"""The report's document: two corpora stay apart, and the gallery is drawn fairly."""

from __future__ import annotations

from metrics.robustness import Table
from report.document import gallery, label_corpora, systems_of


def row(corpus, language, clip, system="real", condition="self", speaker="a", **more):
    return {
        "generated_id": f"{corpus}.{clip}.{system}.{condition}",
        "track_id": clip,
        "clip_id": clip,
        "corpus": corpus,
        "language": language,
        "speaker": speaker,
        "cluster": f"speaker:{speaker}",
        "system": system,
        "condition": condition,
        "training": None,
        "training_languages": ["en"] if system == "s" else [],
        "audio_clip_id": clip,
        "audio_language": language,
        "n_frames": 50,
        "sample": 0,
        "source": "controls",
        "null_reasons": [],
        "lse_c": 1.0,
    } | more


def test_one_corpus_keeps_its_tags():
    rows, twins = label_corpora([row("a", "en", "1")], {("a", "x"): "tr"})
    assert rows[0]["language"] == "en" and twins == {"x": "tr"}


def test_one_language_of_two_corpora_is_two_test_sets():
    rows = [row("a", "en", "1"), row("b", "en", "2"), row("a", "en", "1", "s", "cross-language", audio_clip_id="2")]
    out, twins = label_corpora(rows, {("a", "x"): "en"})
    assert [r["language"] for r in out] == ["a/en", "b/en", "a/en"]
    assert out[2]["audio_language"] == "b/en" and twins == {"a/x": "a/en"}
    table = Table(out, resamples=100)
    assert {g[2] for g in table.groups} == {"a/en", "b/en"}
    assert table.cell("s", "cross-language", "b/en", "lse_c").seen is True
    assert next(s for s in systems_of(table) if s["name"] == "s")["training_languages"] == ["en"]


def clips(n_speakers, n_clips):
    return [row("a", "en", f"{s}-{c}", speaker=f"s{s}") for s in range(n_speakers) for c in range(n_clips)]


def test_the_gallery_shows_every_speaker_before_a_second_clip_of_one():
    drawn = gallery(Table(clips(4, 3)), 4, seed=1)
    assert {c["speaker"] for c in drawn} == {"s0", "s1", "s2", "s3"}
    assert len(gallery(Table(clips(4, 3)), 6, seed=1)) == 6 and gallery(Table(clips(4, 3)), 0, seed=1) == []


def test_the_draw_depends_on_the_seed_alone():
    one, again = (gallery(Table(rows), 2, seed=1) for rows in (clips(6, 2), clips(6, 2)[::-1]))
    assert one == again
    assert any(gallery(Table(clips(6, 2)), 2, seed=s) != one for s in range(2, 8))


def test_videos_of_a_clip_are_real_systems_still_shuffled():
    kinds = [("still", "self"), ("s", "shuffled"), ("s", "cross-audio"), ("real", "shuffled"), ("s", "self"), ("real", "self")]
    (clip,) = gallery(Table([row("a", "en", "1", s, c) for s, c in kinds]), 3, seed=1)
    assert [(v["system"], v["condition"]) for v in clip["videos"]] == [
        ("real", "self"),
        ("s", "self"),
        ("still", "self"),
        ("real", "shuffled"),
    ]
