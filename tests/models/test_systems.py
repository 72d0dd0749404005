import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from core.params import ParamsError, check_params
from core.params import System as Entry
from models.systems.base import Spec, System, disagreements, make_system, options_of, seeded, system_names

ROOT = Path(__file__).resolve().parents[2]

SEVEN = {
    "speech2vid": Spec(view="registration", n_stills=5, feature="mfcc_speech2vid", window="speech2vid"),
    "davs": Spec(view="registration", targets="eyes_mouth", n_stills=1, drive=("audio", "video"), feature="mfcc_davs",
                 window="davs", span=6, critic=True),
    "stochastic": Spec(view="box", image="first", n_stills=0, feature="mfcc_stochastic", window="stochastic", span=75,
                       whole=True, sampled=True),
    "amie": Spec(view="registration", n_stills=1, feature="mfcc_stochastic", window="stochastic", critic=True),
    "song": Spec(view="box", image="source", n_stills=0, feature="mel", window="wav2lip", span=5, critic=True,
                 speech_from="text"),
    "si": Spec(view="box", image="none", n_stills=0, feature="mel", window="wav2lip", span=16, whole=True, sampled=True,
               critic=True),
    "learn2talk": Spec(view=None, image="none", n_stills=0, feature="samples", span=100, whole=True, output="motion"),
}

OWN = {"davs": "speech_gain=1.0", "amie": "symmetric=True", "stochastic": "latent=64, divergence_weight=1e-4",
       "song": "shifted_negatives=False", "si": "distillation_weight=0.5", "learn2talk": "points='mesh'"}


def rows():
    """system -> (its view in crop.views, its entry in train.systems), as the second table of docs/systems.md shows them."""
    found = {}
    for line in (ROOT / "docs/systems.md").read_text().splitlines():
        cells = [yaml.safe_load(c) for c in re.findall(r"`([^`]+)`", line)]
        if line.startswith("|") and isinstance(cells[-1] if cells else None, dict) and "system" in cells[-1]:
            found[cells[-1]["system"]] = (cells[0] if len(cells) > 1 else {}, cells[-1])
    return found


def params_of(view, entry):
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["crop"]["views"] |= view
    raw["crop"]["store"] += [name for name in view if name not in raw["crop"]["store"]]
    raw["train"]["systems"] = {"one": entry | {"languages": ["en"]}}
    return check_params(raw)


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """A file for each of the six that are not built: its Spec, the options of its own, and no network."""
    import models.systems

    folder = tmp_path / "models/systems"
    folder.mkdir(parents=True)
    for name, own in OWN.items():
        (folder / f"{name}.py").write_text(
            "from models.systems.base import Spec, System as Base\nclass System(Base):\n"
            f"    def __init__(self, {own}):\n        super().__init__()\n        self.spec = {SEVEN[name]!r}\n"
            "        self.own = {k: v for k, v in locals().items() if k not in ('self', '__class__')}\n")
    monkeypatch.setattr(models.systems, "__path__", [*models.systems.__path__, str(folder)])
    monkeypatch.chdir(tmp_path)  # where core.params looks for systems, too
    yield
    for name in OWN:
        sys.modules.pop(f"models.systems.{name}", None)


def opened(view, entry):
    params = params_of(view, entry)
    system = make_system(entry["system"], **options_of(params.train.systems["one"]))
    return system, disagreements(system.spec, params.train.systems["one"], params)


def test_the_interface_can_say_what_each_of_the_seven_needs_and_tells_them_apart():
    assert len(set(SEVEN.values())) == 7 and set(rows()) == set(SEVEN)


@pytest.mark.parametrize("name", SEVEN)
def test_each_of_the_seven_is_one_file_and_one_entry_of_params_as_its_page_shows(stand_ins, name):
    view, entry = rows()[name]
    system, wrong = opened(view, entry)
    lacks = SEVEN[name].feature if name in ("davs", "amie", "stochastic") else None
    assert wrong == ([f"system: {name} listens to {lacks!r}, which is not in features.store"] if lacks else [])
    assert system.spec == SEVEN[name]
    if name in OWN:
        assert system.own == entry["options"] and {k: type(v) for k, v in system.own.items()} == {
            k: type(v) for k, v in entry["options"].items()}


NOSE, MOUTH = "kind 'registration', targets 'nose_eyes'", "kind 'registration', targets 'eyes_mouth'"


@pytest.mark.parametrize(("name", "view", "change", "message"), [
    ("speech2vid", {}, {"view": "mouth"}, f"speech2vid takes a view of {NOSE}, 'mouth' is of kind 'mouth'"),
    ("speech2vid", {}, {"view": None}, f"speech2vid takes a view of {NOSE}; name one of crop.store"),
    ("davs", {"davs": {"kind": "registration", "size": 256}}, {}, f"davs takes a view of {MOUTH}, 'davs' is of {NOSE}"),
    ("speech2vid", rows()["davs"][0], {"view": "davs"}, f"speech2vid takes a view of {NOSE}, 'davs' is of {MOUTH}"),
    ("learn2talk", {}, {"view": "mouth"}, "learn2talk sees and makes no frames; leave out 'mouth'"),
])
def test_an_entry_that_gives_a_system_another_view_is_refused(stand_ins, name, view, change, message):
    shown, entry = rows()[name]
    assert f"view: {message}" in opened(shown | view, entry | change)[1]


@pytest.mark.parametrize(("name", "options", "message"), [
    ("davs", {"speech_gian": 2.0}, "davs has no option 'speech_gian' of its own; did you mean 'speech_gain'"),
    ("speech2vid", {"layers": 3}, "speech2vid has no option 'layers' of its own; known: none"),
    ("speech2vid", {"stills": 3}, "no option 'stills' of its own"),  # it stands beside `options`
])
def test_an_unknown_option_is_refused_with_those_that_the_system_has(stand_ins, name, options, message):
    view, entry = rows()[name]
    with pytest.raises(KeyError, match=message):
        opened(view, entry | {"options": options})


@pytest.mark.parametrize("wrong", [{"options": {"latent": [1, 2]}}, {"options": {"latent": None}}])
def test_an_option_is_a_text_a_number_or_a_truth(wrong):
    with pytest.raises(ParamsError, match="train.systems.one.options.latent"):
        params_of({}, rows()["speech2vid"][1] | wrong)


def test_what_an_entry_and_a_view_leave_out_is_no_part_of_what_a_result_depends_on():
    """Fingerprints and cards hold these mappings: an option changes them, and one that is not there leaves them as they were."""
    entry = Entry(system="speech2vid", view="speech2vid", languages="all")
    assert set(entry.model_dump()) == {"system", "width", "view", "languages", "steps", "batch", "stills", "learning_rate",
                                       "accumulate", "mouth_weight", "checkpoint_every"}
    assert entry.model_copy(update={"options": {"gain": 2}}).model_dump() == entry.model_dump() | {"options": {"gain": 2}}
    views = params_of(rows()["davs"][0], rows()["speech2vid"][1]).crop.views
    assert views["speech2vid"].model_dump() == {"kind": "registration", "size": 112, "scale": 1.3}
    assert views["davs"].model_dump()["targets"] == "eyes_mouth" == SEVEN["davs"].card()["targets"]
    assert "targets" not in SEVEN["speech2vid"].card()


@pytest.mark.parametrize("wrong", [
    dict(view="box", n_stills=1),  # driven by audio, of which nothing is said
    dict(view="box", n_stills=0, feature="mel"),  # stills, but none
    dict(view="box", n_stills=1, feature="mel", drive=("video",)),
    dict(view="box", n_stills=1, feature="mel", drive=()),
    dict(view="box", n_stills=1, feature="mel", span=0),
    dict(view=None, image="none", n_stills=0, feature="mel"),  # pixels without a view
    dict(view="box", feature="mel", targets="eyes_mouth"),  # a box is not moved onto points
])
def test_a_spec_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ValueError, match="Spec"):
        Spec(**wrong)


def test_systems_are_found_by_their_file():
    assert system_names() == ["speech2vid"]
    assert isinstance(make_system("speech2vid", width="small", stills=1), System)


def test_a_typing_error_gets_a_suggestion():
    with pytest.raises(KeyError, match="did you mean 'speech2vid'"):
        make_system("spech2vid")


def test_base_is_not_a_system():
    with pytest.raises(KeyError, match="one file"):
        make_system("base")


def test_a_new_system_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text("from models.systems.base import Spec, System as Base\n"
                                      "class System(Base):\n    def __init__(self, width='full'):\n        super().__init__()\n"
                                      "        self.spec = Spec(view='box', feature='mel', window='wav2lip')\n")
    import models.systems
    monkeypatch.setattr(models.systems, "__path__", [*models.systems.__path__, str(tmp_path)])
    assert system_names() == ["echo", "speech2vid"]
    assert make_system("echo").spec.feature == "mel"
    assert options_of(Entry(system="echo", view="mouth", languages="all", stills=3)) == {"width": "small"}


def test_a_file_without_a_system_is_refused(tmp_path, monkeypatch):
    (tmp_path / "hollow.py").write_text("")
    import models.systems
    monkeypatch.setattr(models.systems, "__path__", [*models.systems.__path__, str(tmp_path)])
    with pytest.raises(TypeError, match="hollow.py must define"):
        make_system("hollow")


def test_a_system_that_promises_a_critic_and_has_none_says_so():
    with pytest.raises(NotImplementedError, match="critic"):
        System().critic_losses({})


def test_noise_is_the_same_for_the_same_seed():
    a, b, c = (torch.randn(4, generator=seeded(s)).numpy() for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


def test_options_of_a_system_that_is_not_there():
    with pytest.raises(KeyError, match="known: speech2vid|did you mean"):
        options_of(Entry(system="nothing", languages="all"))
