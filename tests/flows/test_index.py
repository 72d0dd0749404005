"""`babelface index` and `babelface corpora` as a person meets them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from core.stage import UserError
from corpora.registry import adapters
from flows.cli import app
from flows.index import read, summary

TABLE = ("video,start_s,end_s,language\nabcdefghijk,0,1800,tr\nabcdefghijk,1800,3600,tr\nABCDEFGHIJK,0,900,fi\nshort,0,1,fi\n"
         "ABCDEFGHIJK,9,3,fi\nABCDEFGHIJK,,,fi\n")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text(TABLE)
    return path


def babelface(*words):
    ran = CliRunner().invoke(app, [str(word) for word in words])
    assert ran.exit_code == 0, ran.output
    return ran


def test_an_index_is_counted_in_all_and_by_language(table):
    found = json.loads(babelface("index", "csv", table, "--json").stdout)
    assert {key: found[key] for key in ("items", "recordings", "hours", "items_without_length", "rejects")} == {
        "items": 4, "recordings": 2, "hours": 1.25, "items_without_length": 1, "rejects": {"bad_time": 1, "bad_url": 1}}
    assert found["languages"]["tr"] == {"items": 2, "recordings": 1, "hours": 1.0, "items_without_length": 0, "rejects": {}}
    one = json.loads(babelface("index", "csv", table, "--language", "tr", "--json").stdout)
    assert (one["items"], one["rejects"], list(one["languages"])) == (2, {}, ["tr"])


def test_a_person_reads_the_same_figures_and_the_rejects_if_they_want(table):
    ran = babelface("index", "csv", table, "--rejects")
    assert all(text in ran.stdout for text in ("items: 4", "hours: 1.25 (and 1 items", "  bad_url: 1", "  fi: 2 items"))
    assert "bad_time: clips.csv line 6: 9 to 3 s" in ran.stderr and "bad_time: clips.csv" not in ran.stdout


def test_a_language_names_what_the_index_leaves_open(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("abcdefghijk,0,3600,0.5,0.5\n")
    assert summary(read("avspeech", path, "ko"))["items"] == summary(read("avspeech", path))["languages"]["und"]["items"] == 1


@pytest.mark.parametrize("words, match", [(("nothing", "."), "no corpus adapter"), (("csv", "nowhere.csv"),
                                                                                    "no file or folder nowhere.csv"),
                                          (("hdtf", "."), "holds none of"), (("csv", "x.csv", "klingonish"), "not a BCP-47")])
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, monkeypatch, words, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("url\n")
    with pytest.raises((UserError, FileNotFoundError), match=match):
        list(read(*words))


def test_every_corpus_has_a_card_to_print():
    text = babelface("corpora").stdout
    assert [line.partition(":")[0] for line in text.splitlines() if not line.startswith(" ")] == adapters()
    card = babelface("corpora", "hdtf").stdout
    assert "licence: " in card and "consent: " in card and "hours: 15.8" in card and "access: " in card
    assert json.loads(babelface("corpora", "LRS3", "--json").stdout)[0]["commercial"] is False
