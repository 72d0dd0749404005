"""Every row of an index is somewhere: in a language that params ask for, or counted as what nobody asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import stages.download
from core import media
from core.errors import UserError
from corpora.index import census
from corpora.registry import card_of
from flows import download, funnel, licences
from flows.card import markdown
from flows.cli import app
from flows.index import left_out
from stages.learnt import learnt_from
from tests.stages.sync_clips import inside, rejects_of, rows_of, workspace

TABLE = """id,file,start_s,end_s,language
a,talk.mp4,0,1,en
b,talk.mp4,1,3,en
c,talk.mp4,1,2,english
d,gone.mp4,,,
e,talk.mp4
f,talk.mp4,0,2,tr
"""
WORDS = "not in params: tr 1; bad_language 1, missing_file 1, no_language 1"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A workspace of one table, of which `download` took the English rows, and what it said."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "in").mkdir()
    (folder / "in" / "t.csv").write_text(TABLE)
    rng = np.random.default_rng(0)
    media.write_video(folder / "in" / "talk.mp4", rng.integers(0, 255, (60, 32, 48, 3), np.uint8),
                      audio=rng.integers(-9000, 9000, 60 * 640).astype(np.int16))
    return workspace(folder, {"own": {"adapter": "csv", "path": "in/t.csv", "languages": {"en": {}}}})


def test_what_no_language_of_params_asks_for_is_counted_at_every_place(own, capsys, monkeypatch):
    monkeypatch.setattr("flows.graph.check_graph", lambda params: None)  # no graph is written here
    with inside(own) as params:
        found = download.estimate(params, [])
        assert found["rejected"] == {} and found["left_out"]["own"]["languages"] == {"tr": 1}
        text = "\n".join(download.estimate_lines(found))
        assert f"own: 4 of 6 entries of the index are in no language of params ({WORDS})" in text
        assert found["bytes_of_result"] == round(3 / 3600 * 5e9), "stretches of files that are here are cut, too"
        assert not census.KEPT.exists(), "a dry run leaves nothing"
        capsys.readouterr()
        stages.download.main("own-en", params)
        said = capsys.readouterr().err
        assert f"download own-en: 4 of 6 entries of the index are in no language of params ({WORDS})" in said
        assert "  bad_language: t.csv line 4: 'english' is not a BCP-47" in said and "missing_file: t.csv line 5" in said
        assert "  no_language: e: says no language; options.language may" in said
        ran = CliRunner().invoke(app, ["download", "--status"])
        assert "own-en: 2 of 2 items" in ran.stdout
        assert f"own: 4 of 6 entries of the index are in no language of params ({WORDS})" in ran.stdout
        assert json.loads(CliRunner().invoke(app, ["download", "--status", "--json"]).stdout)[-1]["not_claimed"] == 4
        found = funnel.collect(params)
        (index,) = found["index"]
        assert [index[k] for k in ("entries", "claimed", "not_claimed", "unaccounted")] == [6, 2, 4, 0] and found["adds_up"]
        assert index["entries"] == index["claimed"] + sum(index["languages"].values()) + sum(index["unusable"].values())
        (census.KEPT / "own.json").unlink()
        assert funnel.collect(params)["index"] == found["index"], "a clone has only the index"
    out = funnel.table(found)
    assert [list(c.cells)[0] for c in out.columns][:7] == ["own", "", "index", "entries", "6", "2", "2"]
    card = markdown({"languages": [], "funnel": [], "corpora": {}, "shared": {}, "gone": {}, "index": found["index"],
                     "version": {"commit": None, "changed": False, "lock": None, "outputs": {}}})
    assert f"own: 4 of 6 entries of the index are in no language of this dataset ({WORDS})" in card


def test_an_index_that_changed_since_does_not_add_up_and_another_language_changes_no_output(own):
    stats = own / "data" / "download" / "own-en" / "stats.json"
    with inside(own) as params:
        if not stats.is_file():
            stages.download.main("own-en", params)
        before = {p.relative_to(own): p.read_bytes() for p in sorted((own / "data").rglob("*")) if p.is_file()}
        (own / "in" / "t.csv").write_text(TABLE + "g,talk.mp4,0,1,fi\n")
        stages.download.main("own-en", params)
        after = {p.relative_to(own): p.read_bytes() for p in sorted((own / "data").rglob("*")) if p.is_file()}
        assert after == before and funnel.collect(params)["index"][0]["languages"] == {"fi": 1, "tr": 1}
        (own / "in" / "t.csv").write_text(TABLE + "g,talk.mp4,0,1,en\n")
        (own / census.KEPT / "own.json").unlink()
        found = funnel.collect(params)
        assert not found["adds_up"] and found["index"][0]["unaccounted"] == 1
        (own / "in" / "t.csv").write_text(TABLE)


def test_two_corpora_of_one_index_claim_it_together(own):
    with inside(own) as params:
        mine = params.corpora["own"]
        turkish = mine.model_copy(update={"languages": {"tr": mine.languages["en"]}})
        both = params.model_copy(update={"corpora": {"own": mine, "also": turkish}})
        (one,) = left_out(both, ["own", "also"])
    assert one["corpora"] == ["own", "also"] and (one["claimed"], one["languages"]) == (3, {})


def test_many_languages_are_told_in_a_line():
    left = {"languages": {f"l{k}": k for k in range(1, 10)}, "unusable": {"no_language": 1200}}
    assert census.why(left) == "not in params: l9 9, l8 8, l7 7, l6 6, l5 5 and 10 of 4 more; no_language 1,200"


def test_a_stretch_that_the_source_does_not_hold_is_marked_or_rejected_and_its_hours_are_lost(tmp_path):
    """The video is 2.4 s: one stretch ends with it, one 0.4 s after, one misses less than half, one more, one begins after it."""
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    media.write_video(tmp_path / "in" / "talk.mp4", rng.integers(0, 255, (60, 32, 48, 3), np.uint8),
                      audio=rng.integers(-9000, 9000, 60 * 640).astype(np.int16))
    rows = ("whole,1.4,2.4", "round,1.4,2.8", "part,0.4,3.6", "less,1.4,5.4", "none,5,6")
    (tmp_path / "in" / "t.csv").write_text("id,start_s,end_s,file,language\n" + "".join(f"{r},talk.mp4,en\n" for r in rows))
    workspace(tmp_path, {"own": {"adapter": "csv", "path": "in/t.csv", "languages": {"en": {}}}})
    with inside(tmp_path) as params:
        stages.download.main("own-en", params)
        found = funnel.collect(params)
        text = "".join(str(cell) for column in funnel.table(found).columns for cell in column.cells)
    kept = {r["recording_id"]: (r["n_frames"], json.loads(r["extra"]).get("short_s"))
            for r in rows_of(tmp_path, "download", "own-en", "recordings")}
    assert kept == {"whole": (25, None), "round": (25, None), "part": (50, 1.2)}
    lost = rejects_of(tmp_path, "download", "own-en")
    assert {name: reason for name, (reason, _) in lost.items()} == {"less": "short_source", "none": "short_source"}
    assert "talk.mp4: ends at 2.40 s, and the stretch is from 1.4 to 5.4 s" in lost["less"][1]
    (step,) = found["steps"]
    hours = step["hours"]
    assert hours["rejected"] == {"short_source": pytest.approx((4 + 1 + 1.2) / 3600, abs=1e-6)}
    assert hours["in"] == pytest.approx((1 + 1 + 3.2 + 4 + 1) / 3600, abs=2e-6) and "short_source 2 (0.00172 h)" in text


def test_lost_ends_of_kept_recordings_are_told_without_a_reject():
    step = {"corpus": "c", "instance": "c-en", "language": "en", "stage": "download", "unit": "recordings", "in": 1, "kept": 1,
            "out": 1, "rejected": {}, "unaccounted": 0,
            "hours": {"in": 0.03, "kept": 0.005, "out": 0.005, "rejected": {"short_source": 0.025}, "unknown": 0,
                      "unknown_rejected": {}}}
    cells = [list(column.cells)[0] for column in funnel.table({"steps": [step]}).columns]
    assert cells[-1] == "short_source (0.025 h of what is kept)"
    found = {"languages": [], "funnel": [step], "corpora": {}, "shared": {}, "gone": {},
             "version": {"commit": None, "changed": False, "lock": None, "outputs": {}}}
    assert "| c | en | download | short_source | 0 | 0.025 |" in markdown(found)


def test_the_licence_of_your_own_data_is_read_wherever_a_cards_is(own):
    with inside(own) as params:
        mine = params.corpora["own"]

        def of(**said):
            return params.model_copy(update={"corpora": {"own": type(mine).model_validate(mine.model_dump() | said)}})

        licences.guard(params)
        assert licences.unstated(params)[0].name == "corpus own (corpora.own.licence)"
        closed = of(licence="CC BY-NC 4.0")
        assert not [one for one in licences.unstated(closed) if one.name.startswith("corpus")]
        for refused in (closed, of(commercial=False)):
            with pytest.raises(UserError, match="corpus own.*allow_non_commercial"):
                licences.guard(refused)
            with pytest.raises(UserError, match="corpus own"):
                stages.download.main("own-en", refused)
        licences.guard(of(licence="as agreed: research use only, and with us for sale", commercial=True))
        assert learnt_from(closed, ["own-en"])["commercial"] is False
        from flows.dataset import corpora

        assert corpora(closed)["own"]["licence"] == "CC BY-NC 4.0"
        assert corpora(params)["own"]["licence"] == "as the table's owner says"


def test_a_licence_that_a_card_states_is_not_changed_by_params(own):
    with inside(own) as params:
        theirs = params.corpora["own"].model_copy(update={"adapter": "hdtf", "commercial": True})
        with pytest.raises(UserError, match=r"corpora.talk.commercial: the card of hdtf states the licence already"):
            card_of("talk", theirs)


def test_a_licence_changes_no_recording(own):
    with inside(own) as params:
        mine = params.corpora["own"]
        stages.download.main("own-en", params)
        before = (own / "data" / "download" / "own-en" / "fingerprint.json").read_bytes()
        open_ = params.model_copy(update={"corpora": {"own": mine.model_copy(update={"licence": "MIT", "commercial": True})}})
        stages.download.main("own-en", open_)
        assert (own / "data" / "download" / "own-en" / "fingerprint.json").read_bytes() == before
