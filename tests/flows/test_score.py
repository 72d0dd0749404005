"""`babelface score`: what may be named, what an index must hold, and what a script can rely on."""

from __future__ import annotations

import json

import pytest

from core.records import columns
from flows import score
from flows.score import ScoreError, read_index, videos
from stages.figures import METRICS


def test_folders_become_their_videos(tmp_path):
    for name in ("b/x.mp4", "a/y.webm", "a/notes.txt", "z.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [name for name, _ in videos([tmp_path])] == ["a/y.webm", "b/x.mp4", "z.avi"]
    assert [name for name, _ in videos([tmp_path / "z.avi", tmp_path / "z.avi"])] == [(tmp_path / "z.avi").as_posix()]
    with pytest.raises(ScoreError, match="nothing.mp4: no such file"):
        videos([tmp_path / "nothing.mp4"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScoreError, match="no videos in this folder"):
        videos([tmp_path / "empty"])


def index(folder, text):
    (folder / "index.csv").write_text(text, encoding="utf-8-sig")
    return folder / "index.csv"


def test_an_index_is_read(tmp_path):
    first, second = read_index(index(tmp_path, "generated,reference,language,speaker,system,condition,training_languages\n"
                                               "m/a.mp4,/far/away/r.mp4,tr,ada,ours,,en zh\nb.mp4,,,,,,\n"))
    assert (first.name, first.generated) == ("m/a.mp4", tmp_path / "m/a.mp4")
    assert (first.reference, first.reference_name) == (tmp_path / "/far/away/r.mp4", "r.mp4")
    assert (first.language, first.speaker, first.system, first.condition,
            first.training_languages) == ("tr", "ada", "ours", "self", ("en", "zh"))
    assert (second.reference, second.system, second.language, second.speaker) == (None, "unnamed", None, None)


@pytest.mark.parametrize(("text", "message"), [
    ("file\na.mp4\n", "no column `generated`"), ("generated,condition\na.mp4,own\n",
                                                 "line 2: condition 'own'; expected one of self"),
    ("generated,language\n,tr\n", "line 2: `generated` is empty"), ("generated\n", "no rows"),
    ("generated\na.mp4\na.mp4\n", "a.mp4 is listed twice"),
    ("generated,condition\na.mp4,shuffled\n", "needs `audio`"), ("generated,sample\na.mp4,one\n", "sample 'one' is no number")])
def test_an_index_that_cannot_be_meant(tmp_path, text, message):
    with pytest.raises(ScoreError, match=message):
        read_index(index(tmp_path, text))


def test_files_of_one_name_are_told_apart():
    assert score._names(["/a/x/1.mp4", "/b/x/1.mp4", "/c/y/1.mp4", "x/1.mp4"]) == {
        "/a/x/1.mp4": "1.mp4", "/b/x/1.mp4": "x/1.mp4", "/c/y/1.mp4": "y/1.mp4", "x/1.mp4": "x/1.mp4"}


class Fake:
    """Gives rows without any model: `good.mp4` has figures, anything else has none."""

    made: dict = {}
    notes = ["a note"]

    def __init__(self, protocol, expert, params):
        self.protocol = protocol

    def rows(self, entry, sets=False):
        row = dict.fromkeys(columns("scores")) | {"generated_id": f"{entry.system}/{entry.name}-t0",
                                                  "protocol": f"{self.protocol}()", "n_frames": 75}
        if entry.name == "good.mp4":
            return [row | dict.fromkeys(METRICS, 1.5) | {"offset_frames": -2, "null_reasons": [], "expert": "small:1",
                                                         "mean_dist": [1.0]}]
        return [row | {"null_reasons": [{"metric": m, "reason": "decode_error"} for m in METRICS]}]


def call(paths, **more):
    given = dict.fromkeys(("reference", "language", "speaker", "index", "expert", "out",
                           "report")) | {"protocol": "syncnet-direct", "as_json": False}
    return score.score(paths, **given | more)


def test_status_table_and_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stages.score_files.Scorer", Fake)
    good, bad = tmp_path / "good.mp4", tmp_path / "bad.mp4"
    good.touch()
    bad.touch()
    assert call([good]) == 0
    text, notes = capsys.readouterr()
    assert "LSE-D*" in text and "-2" in text and "mean |offset| 2.00 frames, within 1 frame 0%" in text
    assert "protocol: syncnet-v2-direct" in text
    assert "a note" in notes
    assert call([good, bad], as_json=True, out=tmp_path / "rows.json") == 1
    text, notes = capsys.readouterr()
    rows = json.loads(text)
    written = json.loads((tmp_path / "rows.json").read_text())
    names = ["unnamed/good.mp4-t0", "unnamed/bad.mp4-t0"]
    assert [r["generated_id"] for r in rows] == names == [r["generated_id"] for r in written]
    assert "bad.mp4-t0: no figure at all: decode_error" in notes
    assert call([good, bad]) == 1
    assert "1 without LSE: decode_error 1" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "message"), [
    ({"paths": []}, "name videos or folders, or an --index"), ({"protocol": "syncnet"}, "no protocol is called 'syncnet'"),
    ({"out": "rows.txt"}, "expected a name ending in .json"), ({"report": "r"}, "--report needs an --index"),
    ({"expert": "none.model"}, "--expert .*none.model: no such file"),
    ({"index": "i.csv", "paths": [], "language": "tr"}, "stand in the columns")])
def test_calls_that_cannot_be_meant(tmp_path, more, message):
    (tmp_path / "a.mp4").touch()
    more = {k: tmp_path / v if k in ("out", "report", "expert", "index") else v for k, v in more.items()}
    with pytest.raises(ScoreError, match=message):
        call(more.pop("paths", [tmp_path / "a.mp4"]), **more)


def test_the_protocols_are_listed(capsys):
    score.print_protocols()
    text = capsys.readouterr().out
    assert text.count("needs: ") == 4 and text.startswith("syncnet-v2-whole-frame\n")
