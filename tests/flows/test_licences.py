"""The licence guard before anything starts: it knows every model that the stages would open, and names every culprit at once."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from core import weights
from core.params import check_params
from core.stage import UserError
from core.weights_table import Weight
from flows import doctor, licences
from flows.cli import app
from flows.workspace import merged

CLOSED = "CC BY-NC 4.0"


@pytest.fixture
def place(tmp_path, root, monkeypatch):
    """A function that gives the project's params with changes, in a folder of its own with models of closed licences in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BABELFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BABELFACE_MODELS", raising=False)
    (tmp_path / "cache").mkdir()
    for folder in ("closed", "open", "silent"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.pt").write_bytes(folder.encode())
    (tmp_path / "closed" / "card.json").write_text(json.dumps({"licence": CLOSED}))
    (tmp_path / "open" / "card.json").write_text(json.dumps({"licence": "MIT"}))
    raw = yaml.safe_load((root / "params.yaml").read_text())

    def make(changes):
        changed = merged(raw, changes)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed))
        return check_params(changed)

    return make


NAMED = [("segment.voice_model", {"segment": {"voice": "pyannote", "voice_model": "W"}}),
         ("inspect.diarization", {"inspect": {"diarization": "closed"}}),
         ("inspect.language_model", {"inspect": {"language_identifier": "a:B", "language_model": "closed"}}),
         ("inspect.sync_expert", {"inspect": {"sync_expert": {"weights": "W"}}}),
         ("split.speaker_model", {"split": {"cluster_speakers": "voice", "speaker_model": "W"}}),
         ("score.expert", {"score": {"expert": {"weights": "W"}}}),
         ("sets.i3d", {"sets": {"i3d": {"weights": "W"}}})]


@pytest.mark.parametrize("param, changes", NAMED, ids=[name for name, _ in NAMED])
def test_every_model_that_params_can_name_is_asked_for_its_licence(place, param, changes):
    closed = json.loads(json.dumps(changes).replace('"W"', '"closed/model.pt"'))
    with pytest.raises(UserError, match=rf"model closed\S* \({param}\) \(CC BY-NC 4.0\)"):
        licences.guard(place(closed))
    licences.guard(place(closed | {"licences": {"allow_non_commercial": True}}))
    licences.guard(place(json.loads(json.dumps(changes).replace('"W"', '"open/model.pt"').replace('"closed"', '"open"'))))


def test_no_param_that_names_a_model_is_forgotten(root):
    """Every field of the schema that is called after a model is one of those above, or none of the user's files."""
    schema = json.loads((root / "docs" / "params.schema.json").read_text())
    found = {f"{name}.{key}" for name, one in [("", schema), *schema["$defs"].items()]
             for key in one.get("properties", {}) if "model" in key or key == "weights"}
    assert found == {"Segment.voice_model", "Inspect.language_model", "Split.speaker_model", "WeightsFile.weights",
                     "SyncFile.weights"}


def test_the_default_params_and_their_models_are_free(place, monkeypatch):
    params = place({})
    licences.guard(params)
    assert not licences.named(params) and not licences.unstated(params)


def test_models_that_a_choice_loads_are_the_stages_own(place, monkeypatch):
    from core.choose import FINDERS, MESHES
    from models.experts import identity, inception, video_features
    from stages import inspect, judge

    assert set(licences.SCORE_NETWORKS) == set(judge.NETWORKS.values()) and licences.SPEAKER == inspect.SPEAKER
    assert licences.SET_NETWORKS == {"fid": inception.WEIGHTS, "fvd": video_features.WEIGHTS["videomae"]}
    assert identity.WEIGHTS == licences.FACES
    params = place({"split": {"cluster_speakers": "face"}, "inspect": {"active_speaker": "light-asd"}})
    asked = {name for _, names, _ in licences._of_the_table(params) for name in names}
    assert asked == {*FINDERS.values(), *MESHES.values(), *licences.SCORE_NETWORKS, *licences.SET_NETWORKS.values(),
                     "light_asd", "sface"}


def test_a_model_of_the_table_counts_where_it_would_be_used(place, tmp_path, monkeypatch):
    body = b"a network"
    (tmp_path / "network.bin").write_bytes(body)
    digest = weights.sha256_of(tmp_path / "network.bin")
    for name in ("inception_fid", "yunet", "light_asd"):
        monkeypatch.setitem(weights.TABLE, name, Weight(name, f"{name}.bin", None, (digest,), CLOSED, "test", "closed"))
    with pytest.raises(UserError, match=r"model yunet \(track.finder\)") as refused:
        licences.guard(place({}))
    said = str(refused.value)
    assert "inception_fid" not in said and "light_asd" not in said, "they are not here, and not needed"
    licences.guard(place({"track": {"finder": "blazeface"}}))
    (tmp_path / "cache" / "inception_fid.bin").write_bytes(body)
    (tmp_path / "cache" / "light_asd.bin").write_bytes(body)
    with pytest.raises(UserError, match=r"light_asd.*inception_fid \(sets\)"):
        licences.guard(place({"track": {"finder": "blazeface"}}))
    with pytest.raises(UserError, match=r"inception_fid"):
        licences.guard(place({"track": {"finder": "blazeface"}, "inspect": {"active_speaker": "none"}}))


def test_corpora_and_models_are_named_at_once(place):
    talk = {"corpora": {"talk": {"adapter": "lrs3", "path": "talk", "languages": {"en": {}}}}}
    params = place(talk | {"score": {"expert": {"weights": "closed/model.pt"}}})
    with pytest.raises(UserError, match=r"corpus talk.*model closed/model\.pt \(score\.expert\).*allow_non_commercial: true"):
        licences.guard(params)


def test_the_doctor_mentions_silence_and_what_is_refused(place):
    place({"score": {"expert": {"weights": "silent/model.pt"}}, "inspect": {"diarization": "owner/pipeline"}})
    said = list(doctor._licences())
    assert [f.level for f in said] == ["note", "note"] and "no licence stated" in said[0].text
    assert "owner/pipeline (inspect.diarization)" in said[0].text and "silent/model.pt (score.expert)" in said[1].text
    place({"sets": {"i3d": {"weights": "closed/model.pt"}}})
    assert [f.level for f in doctor._licences()] == ["bad"]


@pytest.mark.parametrize("words", [["plan"], ["build"], ["evaluate"], ["download"], ["download", "--dry-run"]], ids=" ".join)
def test_nothing_starts_that_the_guard_is_against(place, words, monkeypatch):
    monkeypatch.setattr("flows.graph.check_graph", lambda params: None)  # there is no code here that a graph could name
    place({"score": {"expert": {"weights": "closed/model.pt"}}})
    ran = CliRunner().invoke(app, words)
    assert isinstance(ran.exception, UserError) and "closed/model.pt (score.expert)" in str(ran.exception)
