"""The named protocols: what a row's string says, and which LSE-C may stand beside which."""

from __future__ import annotations

from typing import get_args

import pytest

from core.params import Score
from metrics.lengths import OTHER_LENGTH, same_length
from metrics.protocols import (
    LENGTHS_DIFFER,
    PROTOCOLS,
    describe,
    is_padded,
    lengths_differ,
    name_in,
    protocol,
)
from metrics.robustness import Table
from metrics.validity import expert_validity

PADDED = "syncnet-v2-decoded(view=syncnet 224x224, vshift=15, min_windows=20, jpeg=no, edges=zeros, sound=file)"
PAIRS = PADDED.replace("zeros", "pairs")


def said(name: str, **changes) -> str:
    given = {"view": "syncnet", "height": 224, "width": 224, "vshift": 15, "min_windows": 20, "finder": "yunet:0123456789abcdef",
             "box_scale": 1.01, "box_shift": -0.02, "sound": "clip"}
    return describe(protocol(name), **given | changes)


def row(system="real", condition="self", track="t0", n_windows=80, lse_c=5.0, text=PADDED, **more):
    return {"generated_id": f"{system}.{condition}.{track}", "track_id": track, "clip_id": track, "corpus": "c", "language": "en",
            "cluster": f"speaker:{track}", "system": system, "condition": condition, "audio_clip_id": track,
            "audio_language": "en",
            "training_languages": [], "protocol": text, "n_windows": n_windows, "lse_c": lse_c, "lse_d": 8.0,
            "null_reasons": []} | more


def test_the_params_know_the_same_protocols():
    literal, _ = get_args(Score.model_fields["protocol"].annotation), None
    assert set(literal) == set(PROTOCOLS) and Score(expert="x").protocol == "syncnet-v2-direct"
    assert Score(expert="x", protocol="syncnet-direct").protocol == protocol("syncnet-direct").name == "syncnet-v2-direct"
    with pytest.raises(KeyError, match="did you mean 'syncnet-v2-tracked'"):
        protocol("syncnet-v2-track")


def test_every_protocol_says_what_it_needs():
    assert [(p.jpeg, p.padded, p.picture) for p in PROTOCOLS.values()] == [
        (True, True, "whole frame"), (True, True, "track"), (False, True, "whole frame"), (False, False, "track")]
    assert all(p.needs and p.about and p.name.startswith("syncnet-v2-") for p in PROTOCOLS.values())


def test_whatever_must_match_is_in_the_string():
    assert said("syncnet-v2-direct") == ("syncnet-v2-direct(view=syncnet 224x224, vshift=15, min_windows=20, "
                                         "finder=yunet:01234567, box=1.01-0.02, jpeg=no, edges=pairs, sound=clip)")
    changes = [{"view": "mouth"}, {"height": 48}, {"width": 64}, {"vshift": 10}, {"min_windows": 30},
               {"finder": "blazeface:0123456789abcdef"},
               {"finder": "yunet:9123456789abcdef"}, {"box_scale": 1.0}, {"box_shift": 0.0}, {"sound": "file"}]
    assert len({said("syncnet-v2-direct"), *(said("syncnet-v2-direct", **c) for c in changes)}) == len(changes) + 1
    assert len({said(name) for name in PROTOCOLS}) == 4 and {name_in(said(name)) for name in PROTOCOLS} == set(PROTOCOLS)
    plain, tracked = said("syncnet-v2-direct"), said("syncnet-v2-tracked")
    assert said("syncnet-v2-direct", precision="bfloat16", reader="me:12") == plain[:-1] + ", precision=bfloat16, reader=me:12)"
    assert "cuts=shots" in tracked and "cuts" not in plain and [p.cuts for p in PROTOCOLS.values()] == [False, True, False, False]
    assert said("syncnet-v2-whole-frame", finder=None) == said("syncnet-v2-whole-frame"), "whole frames need no finder"
    assert [is_padded(said(name)) for name in PROTOCOLS] == [True, True, True, False] and not is_padded(None)


def test_padded_confidence_of_clips_of_two_lengths_is_nowhere_averaged():
    rows = [row(track="a"), row(track="b", n_windows=24)]
    assert lengths_differ(rows) and not lengths_differ(rows[:1])
    assert not lengths_differ([row(), row(track="b", lse_c=None, n_windows=24)]), "what is null already is compared with nothing"
    assert not lengths_differ([row(text=PAIRS), row(track="b", n_windows=24, text=PAIRS)])


def test_a_report_compares_padded_confidence_within_clips_only():
    rows = [row(track="a"), row(track="b", n_windows=24, lse_c=9.0), row("s", track="a", lse_c=4.0),
            row("s", track="b", n_windows=23, lse_c=2.0)]
    cell = Table(rows, resamples=100).cell("s", "self", "en", "lse_c")
    assert cell.value.n_clips == 0 and cell.nulls == {LENGTHS_DIFFER: 2}
    assert (cell.gap.mean, cell.gap.n_clips) == (1.0, 1), "clip b is one window shorter than its real video"
    assert Table(rows, resamples=100).cell("s", "self", "en", "lse_d").value.n_clips == 2
    same = [r | {"n_windows": 80} for r in rows]
    assert Table(same, resamples=100).cell("s", "self", "en", "lse_c").value.mean == 3.0


def test_without_padding_pairs_may_differ_by_a_tenth_and_others_are_counted():
    rows = [row(track=t, n_windows=n, text=PAIRS) for t, n in (("a", 100), ("b", 100), ("c", 100), ("d", 20))]
    rows += [row("s", track=t, n_windows=n, lse_c=v, text=PAIRS) for t, n, v in (("a", 90, 4.0), ("b", 89, 1.0), ("c", 111, 3.0),
                                                                               ("d", 20, 2.0))]
    rows += [row("s", "shuffled", track=t, n_windows=n, lse_c=0.5, text=PAIRS) for t, n in (("a", 80), ("b", 89), ("d", 18))]
    table = Table(rows, resamples=100)
    cell = table.cell("s", "self", "en", "lse_c")
    assert cell.value.n_clips == 4 and cell.nulls == {}, "each is shown; only pairs are compared"
    assert (cell.gap.mean, cell.gap.n_clips, cell.gap_nulls) == (pytest.approx((1 + 2 + 3) / 3), 3, {OTHER_LENGTH: 1})
    assert (cell.over_shuffled.mean, cell.lead_nulls) == (pytest.approx((0.5 + 1.5) / 2), {OTHER_LENGTH: 1})
    assert table.cell("s", "self", "en", "lse_d").gap_nulls == {} and table.cell("real", "self", "en", "lse_c").gap_nulls == {}
    assert table.cell("s", "self", "en", "lse_d").gap.n_clips == 4


@pytest.mark.parametrize("protocol_text, one, other, same", [
    (PAIRS, 100, 90, True), (PAIRS, 100, 89, False), (PAIRS, 20, 18, True), (PAIRS, 20, 22, True), (PAIRS, 20, 23, False),
    (PAIRS, None, 20, False), (PAIRS, None, None, True), (PADDED, 100, 99, False), (PADDED, 100, 100, True)])
def test_which_lengths_are_one(protocol_text, one, other, same):
    a, b = row(n_windows=one, text=protocol_text), row(n_windows=other, text=protocol_text)
    assert same_length(a, b, "lse_c") is same_length(b, a, "lse_c") is same and same_length(a, b, "lse_d")


def test_the_expert_is_judged_on_pairs_of_one_length():
    rows = [row(track="a"), row(condition="shuffled", track="a", lse_c=1.0), row(track="b"),
            row(condition="shuffled", track="b", lse_c=1.0, n_windows=30)]
    verdict = expert_validity(rows, 0.0)["en"]
    assert (verdict.n_clips, verdict.n_other_length) == (1, 1)
    apart = [r | {"n_windows": 80 if r["condition"] == "self" else 30, "protocol": PAIRS} for r in rows]
    verdict = expert_validity(apart, 0.0)["en"]
    assert (verdict.reason, verdict.failed, verdict.n_other_length) == ("no_real_and_shuffled_pairs", False, 2)
