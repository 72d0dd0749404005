"""The licence guard: what is known to forbid commerce is refused, in a stage where its model is handed out; silence is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import weights
from core.licences import UNSTATED, Refused, Used, check, forbids_commerce, policy, refused, says_nothing, stated, together
from core.stage import run_cli
from core.weights_table import Weight

ROOT = Path(__file__).resolve().parents[2]
CLOSED = "CC BY-NC 4.0"


def test_only_what_is_known_to_forbid_commerce_is_refused():
    for licence, commercial, bad in (("CC BY 4.0", None, False), ("CC BY-NC-SA 4.0", None, True), ("CC-BY-NC 4.0", None, True),
                                     ("for non-commercial research", None, True), ("unknown", None, False),
                                     ("anything", False, True),
                                     ("CC BY-NC by mistake", True, False), ("PolyForm Noncommercial 1.0", None, True)):
        assert forbids_commerce(Used("x", licence, commercial)) is bad, licence
    used = [Used("corpus a", "CC BY 4.0"), Used("corpus b", "terms", False), Used("model m", "CC BY-NC 4.0")]
    text = refused(used, False)
    assert "corpus b (terms)" in text and "model m" in text and "corpus a" not in text and "allow_non_commercial" in text
    assert refused(used, True) is None and refused(used[:1], False) is None


def test_every_adapter_says_whether_it_may_be_sold_or_leaves_it_to_a_person():
    from corpora.registry import adapters, open_corpus

    cards = {name: open_corpus(name).CARD for name in adapters()}
    bad = {name for name, card in cards.items() if forbids_commerce(Used(name, card.licence, card.commercial))}
    assert {"multitalk", "lrs3", "mead"} <= bad and not {"synthetic", "folder", "csv", "grid"} & bad


def test_silence_is_told_from_a_licence():
    for licence, silent in ((UNSTATED, True), ("", True), ("unknown", True), ("other", True), ("see the model's page", True),
                            ("MIT (code); no licence stated for the weights", True), ("MIT", False), (CLOSED, False)):
        assert says_nothing(Used("x", licence)) is silent, licence
    assert not says_nothing(Used("x", "", True)) and refused([Used("x", UNSTATED)], False) is None


@pytest.mark.parametrize("parts, commercial", [
    ([Used("a", "MIT", True), Used("b", "CC BY 4.0", True)], True),
    ([Used("a", "MIT", True), Used("b", "as its owner says")], None),
    ([Used("a", "MIT", True), Used("b", "an agreement", False)], False), ([Used("a", CLOSED), Used("b", "MIT", True)], False),
    ([Used("a", "MIT", True), Used("b", "")], None)])
def test_what_is_made_of_several_is_as_closed_as_the_most_closed_also_by_its_words(tmp_path, parts, commercial):
    whole = together(parts)
    assert whole.commercial is commercial and all(f"{part.name}: {part.licence}" in whole.licence for part in parts)
    (tmp_path / "card.json").write_text(json.dumps({"licence": whole.licence}))
    (tmp_path / "model.pt").write_bytes(b"x")
    beside = Used("model", stated(tmp_path / "model.pt"))
    assert forbids_commerce(beside) is (commercial is False) and says_nothing(beside) is (parts[-1].licence == "")


@pytest.mark.parametrize("name, text, licence", [
    ("card.json", json.dumps({"licence": CLOSED}), CLOSED), ("card.json", json.dumps({"license": "MIT", "licence": ""}), "MIT"),
    ("card.json", "{", UNSTATED), ("card.json", "[1]", UNSTATED), ("card.json", json.dumps({"view": "mouth"}), UNSTATED),
    ("README.md", "---\ntags:\n- speech\nlicense: cc-by-nc-4.0\n---\n# A model\n", "cc-by-nc-4.0"),
    ("README.md", "# A model\n---\nlicense: mit\n---\n", UNSTATED), ("README.md", "---\nlicense: 'mit' # yes\n---\n", "mit"),
])
def test_a_licence_is_read_from_what_lies_beside_a_model(tmp_path, name, text, licence):
    (tmp_path / name).write_text(text)
    (tmp_path / "model.pt").write_bytes(b"x")
    assert stated(tmp_path) == stated(tmp_path / "model.pt") == licence
    assert weights.use_file(tmp_path / "model.pt").licence == licence


def test_a_stage_is_refused_what_it_opens_and_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BABELFACE_MODELS", raising=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "expert.pt").write_bytes(b"expert")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "probe.bin").write_bytes(b"expert")
    digest = weights.sha256_of(tmp_path / "cache" / "probe.bin")
    monkeypatch.setitem(weights.TABLE, "gone", Weight("gone", "gone.bin", None, ("0" * 64,), CLOSED, "test", "not here"))
    text = (ROOT / "params.yaml").read_text()
    opened = []

    def run(use, allow=False, licence=CLOSED):
        said = text.replace("allow_non_commercial: false", f"allow_non_commercial: {allow}".lower())
        (tmp_path / "params.yaml").write_text(said)
        (tmp_path / "mine" / "card.json").write_text(json.dumps({"licence": licence}))
        return run_cli("score", lambda *_: opened.append(use()), ["controls"]), capsys.readouterr().err

    by_file, by_folder = lambda: weights.use_file("mine/expert.pt"), lambda: weights.use_folder("mine")
    by_name = lambda: weights.find("probe")  # noqa: E731
    for use, name in ((by_file, "model mine/expert.pt"), (by_folder, "model mine"), (by_name, "model probe")):
        if use is by_name:
            monkeypatch.setitem(weights.TABLE, "probe", Weight("probe", "probe.bin", None, (digest,), CLOSED, "test", "a file"))
        status, said = run(use)
        assert status == 2 and f"{name} ({CLOSED})" in said and "licences.allow_non_commercial: true" in said and not opened
        assert run(use, allow=True)[0] == 0 and opened.pop()
    assert run(by_file)[0] == 2, "the table's licence counts where the hash is known"
    monkeypatch.delitem(weights.TABLE, "probe")
    assert run(by_file, licence="")[0] == 0 and opened.pop().licence == UNSTATED, "silence is not refused"
    assert "was not found" in run(lambda: weights.find("gone", fetch=False))[1], "what is not here is missing, not refused"
    assert "not for commercial use: model gone" in run(lambda: weights.find("gone"))[1], "and is not fetched either"
    assert by_file().path.is_file(), "outside a stage nothing is refused"


def test_the_policy_ends_with_its_stage():
    bad = Used("model m", CLOSED)
    with pytest.raises(Refused, match="model m"), policy(False):
        check(bad)
    with policy(False), policy(True):
        check(bad)
    check(bad)
