import numpy as np
import pytest
import torch

from models.systems import base
from models.systems.base import Spec, System, make_system, options_of, seeded, system_names

SEVEN = {
    "speech2vid": Spec(view="registration", n_stills=5, feature="mfcc_speech2vid", window="speech2vid"),
    "davs": Spec(view="registration", n_stills=1, drive=("audio", "video"), feature="mfcc_davs", window="davs", span=6,
                 critic=True),
    "stochastic": Spec(view="box", image="first", n_stills=0, feature="mfcc_stochastic", window="stochastic", span=75,
                       whole=True, sampled=True),
    "amie": Spec(view="registration", n_stills=1, feature="mfcc_stochastic", window="stochastic", critic=True),
    "song": Spec(view="box", image="source", n_stills=0, feature="mel", window="wav2lip", span=5, critic=True,
                 speech_from="text"),
    "si": Spec(view="box", image="none", n_stills=0, feature="mel", window="wav2lip", span=16, whole=True, sampled=True,
               critic=True),
    "learn2talk": Spec(view=None, image="none", n_stills=0, feature="samples", span=100, whole=True, output="motion"),
}


def test_the_interface_can_say_what_each_of_the_seven_needs_and_tells_them_apart():
    assert len(set(SEVEN.values())) == 7


@pytest.mark.parametrize("wrong", [
    dict(view="box", n_stills=1),  # driven by audio, of which nothing is said
    dict(view="box", n_stills=0, feature="mel"),  # stills, but none
    dict(view="box", n_stills=1, feature="mel", drive=("video",)),
    dict(view="box", n_stills=1, feature="mel", drive=()),
    dict(view="box", n_stills=1, feature="mel", span=0),
    dict(view=None, image="none", n_stills=0, feature="mel"),  # pixels without a view
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
    assert options_of("echo", {"width": "small", "stills": 3}) == {"width": "small"}


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
        options_of("nothing", {})
    assert base.system_names()
