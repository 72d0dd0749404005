"""`babelface score`: what may be named, what an index must hold, and what a script can rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.records import columns
from flows import score
from flows.score import ScoreError, read_index, videos
from stages.figures import METRICS

ROOT = Path(__file__).resolve().parents[2]


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
    names = "generated,reference,language,speaker,system,condition,training_languages,transcript"
    full = "m/a.mp4,/far/away/r.mp4,tr,ada,ours,,en zh,iyi akşamlar"
    first, second = read_index(index(tmp_path, f"{names}\n{full}\nb.mp4,,,,,,,\n"))
    assert (first.name, first.generated) == ("m/a.mp4", tmp_path / "m/a.mp4")
    assert (first.reference, first.reference_name) == (tmp_path / "/far/away/r.mp4", "r.mp4")
    assert (first.language, first.speaker, first.system, first.condition,
            first.training_languages) == ("tr", "ada", "ours", "self", ("en", "zh"))
    assert first.transcript == "iyi akşamlar" and second.transcript is None
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


def test_an_index_in_another_encoding_names_the_byte(tmp_path):
    path = tmp_path / "index.csv"
    path.write_bytes("generated,speaker\na.mp4,Jos\u00e9\n".encode("latin-1"))
    with pytest.raises(ScoreError, match=r"index.csv: byte 27 is not UTF-8; save the table"):
        read_index(path)


def test_files_of_one_name_are_told_apart():
    assert score._names(["/a/x/1.mp4", "/b/x/1.mp4", "/c/y/1.mp4", "x/1.mp4"]) == {
        "/a/x/1.mp4": "1.mp4", "/b/x/1.mp4": "x/1.mp4", "/c/y/1.mp4": "y/1.mp4", "x/1.mp4": "x/1.mp4"}


class Fake:
    """Gives rows without any model: `good.mp4` has figures, `mute.mp4` all but LSE, anything else cannot be read."""

    made: dict = {}
    notes = ["a note"]

    def __init__(self, protocol, expert, params):
        self.protocol = protocol

    def set_rows(self):
        return []

    def rows(self, entry, sets=False):
        row = dict.fromkeys(columns("scores")) | {"generated_id": f"{entry.system}/{entry.name}-t0",
                                                  "protocol": f"{self.protocol}()", "n_frames": 75}
        row |= {"expert": "small:ab", "expert_sha256": "ab" * 32}
        if entry.name in ("good.mp4", "mute.mp4"):
            row |= dict.fromkeys(METRICS, 1.5) | {"offset_frames": -2, "null_reasons": [], "mean_dist": [1.0]}
            nulls = [{"metric": m, "reason": "no_audio"} for m in ("lse_c", "lse_d")]
            return [row | ({"lse_d": None, "lse_c": None, "null_reasons": nulls} if entry.name == "mute.mp4" else {})]
        return [row | {"n_frames": 0, "null_reasons": [{"metric": m, "reason": "decode_error"} for m in METRICS]}]


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
    assert "protocol: syncnet-v2-direct" in text and "expert: small, sha256 abababababab; not SyncNet v2's public weights" in text
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


def test_the_status_says_that_asked_for_lse_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stages.score_files.Scorer", Fake)
    good, mute = tmp_path / "good.mp4", tmp_path / "mute.mp4"
    good.touch()
    mute.touch()
    assert call([mute], protocol=None) == 0 and call([good, mute]) == 0
    assert "LSE was asked for" not in capsys.readouterr().err
    for more in ({}, {"protocol": None, "expert": good}):
        assert call([mute], **more) == 1
        assert "LSE was asked for, and no video has it: no_audio 1" in capsys.readouterr().err


def test_an_index_goes_by_params_and_survives_torn_files(tmp_path, monkeypatch, capsys):
    import yaml

    calls = []
    monkeypatch.setattr("stages.score_files.Scorer", Fake)
    monkeypatch.setattr("stages.score_report.write_report", lambda *given, **more: calls.append((given, more)))
    monkeypatch.chdir(tmp_path)
    listed = index(tmp_path, "generated\ngood.mp4\ntorn.mp4\n")
    assert call([], index=listed) == 1
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    raw["report"]["alpha"], raw["score"]["expert_valid_margin"] = 0.01, 0.25
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    assert call([], index=listed) == 1
    (rows, _, _, settings, margin), _ = calls[0]
    assert (len(rows), settings, margin) == (2, None, 0.0)
    (_, _, folder, settings, margin), _ = calls[1]
    assert (folder, settings.alpha, margin) == (tmp_path / "index-report", 0.01, 0.25)
    capsys.readouterr()
    assert call([], index=index(tmp_path, "generated\ntorn.mp4\n")) == 1 and len(calls) == 2
    assert "no report: none of the videos could be read" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["text", "other", "nested"])
def test_a_wrong_expert_is_named_with_what_was_expected(tmp_path, monkeypatch, capsys, kind):
    import torch

    from core.weights import WeightsMissing
    from flows import cli

    def nowhere(*_):
        raise WeightsMissing("model (...)")

    (tmp_path / "a.mp4").touch()
    file = tmp_path / f"{kind}.model"
    if kind == "text":
        file.write_text("not a model")
    else:
        torch.save({"weight": torch.zeros(3)} if kind == "other" else {"state_dict": {"weight": torch.zeros(3)}}, file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("core.choose.choose", nowhere)
    monkeypatch.setattr("sys.argv", ["babelface", "score", "a.mp4", "--expert", str(file)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err.strip().splitlines()
    expected = "not a torch file of plain tensors; save the model's" if kind == "text" else "not the weights of syncnet"
    assert ended.value.code == 2 and len(said) == 1 and str(file) in said[0] and expected in said[0]


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
