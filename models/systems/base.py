"""What a talking-face system needs, learns and gives: one small interface for systems as different as a frame-by-frame
generator and a model of mesh motion. docs/systems.md shows how each of seven published systems fits.

A system is one file in models/systems/ that has a class `System`, and one entry under `train.systems` in params.yaml. It gets
arrays and gives arrays; it never sees a file, a clip or a corpus.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from core.params import Params, suggest
from core.params import System as Entry

SHARED = ("width", "stills", "mouth_weight")  # keys of train.systems.* that any system may take; `options` holds its own
WAVEFORM = "samples"  # the sound itself, which no stage has to compute


@dataclass(frozen=True, slots=True)
class Spec:
    """What a system asks for; the stages read it to cut training batches and test inputs, and to choose the metrics.

    view: kind of view its frames are cut by (a `kind` of crop.views in params.yaml); None where it sees and makes no frames.
    targets: the points that a view of kind "registration" moves onto fixed places (`targets` of crop.views).
    image: what shows it the face. "stills": n_stills frames of the same track, the same for the whole clip. "first": the frame
        before the first one asked for. "source": the frames to be dubbed, one for each frame asked for. "none": no image.
    drive: what moves the mouth: audio features, frames of another video in the same view, or either.
    feature, window: the audio feature (a column of the features table; "samples" for the waveform) and the name of its window in
        core.timing.WINDOWS; window None gives the feature whole, uncut.
    span: consecutive frames in one training sample: 1 works frame by frame; a sequence model asks for more.
    whole: True where the frames of a clip must be generated in one call, because state runs from frame to frame.
    output: "pixels" frames of the view, or "motion" points moved (mesh vertices or landmarks), to be scored in their
        own space; no stage reads, pastes or scores points yet.
    sampled: True where noise makes another answer each time; `samples` in params.yaml then asks for several.
    critic: True where a network is trained against it in the same loop (see System.critic_losses).
    speech_from: "speech", or "text" where speech is synthesised first; the system itself gets speech either way. No stage makes
        speech from text yet.
    """

    view: str | None
    image: Literal["stills", "first", "source", "none"] = "stills"
    n_stills: int = 1
    drive: tuple[Literal["audio", "video"], ...] = ("audio",)
    feature: str | None = None
    window: str | None = None
    span: int = 1
    whole: bool = False
    output: Literal["pixels", "motion"] = "pixels"
    sampled: bool = False
    critic: bool = False
    speech_from: Literal["speech", "text"] = "speech"
    targets: Literal["nose_eyes", "eyes_mouth"] = "nose_eyes"

    def __post_init__(self) -> None:
        if ("audio" in self.drive) != (self.feature is not None):
            raise ValueError("Spec: `feature` must be given exactly when audio drives the system")
        if not self.drive or self.span < 1 or (self.image == "stills") != (self.n_stills > 0):
            raise ValueError("Spec: something must drive it, span >= 1, and n_stills > 0 exactly when image is 'stills'")
        if self.view is None and (self.output == "pixels" or self.image != "none" or "video" in self.drive):
            raise ValueError("Spec: a system that sees or makes frames needs a view")
        if self.view != "registration" and self.targets != "nose_eyes":
            raise ValueError("Spec: `targets` are those of a view of kind 'registration'")

    def card(self) -> dict[str, Any]:
        """The fields as card.json keeps them; `targets` only where they are not the usual ones."""
        fields = asdict(self)
        return fields if self.targets != "nose_eyes" else {k: v for k, v in fields.items() if k != "targets"}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What `generate` gets for one clip of T frames. What the Spec does not ask for is None.

    audio: float32 (T, rows, coefficients), one window per frame, or the whole feature where the Spec names no window.
    stills: uint8 (K, H, W, 3): the stills, or one first frame. source, driver: uint8 (T, H, W, 3): frames to dub; driving video.
    seed: what a sampled system draws its noise from.
    """

    n_frames: int
    audio: np.ndarray | None = None
    stills: np.ndarray | None = None
    source: np.ndarray | None = None
    driver: np.ndarray | None = None
    seed: int = 0


class System(nn.Module):
    """Base of every system. Subclasses set `spec` in __init__ and define `losses` and `generate`."""

    spec: Spec
    card: ClassVar[Mapping[str, Any]] = {}  # paper, what differs from it: written into card.json of a training run

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalar losses by name; "loss" is minimised, the others are for the curves.

        batch holds what the Spec asks for: target uint8 (B, S, H, W, 3); stills uint8 (B, K, H, W, 3); audio float32 (B, S,
        rows, coefficients); source, driver as target; motion float32 (B, S, P). S is Spec.span.
        """
        raise NotImplementedError

    def critic_losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalar losses of the critic, "loss" minimised over `critic_parameters` alone, once after each step of `losses`."""
        raise NotImplementedError(f"{type(self).__module__} says critic=True but defines no critic_losses")

    def critic_parameters(self) -> list[nn.Parameter]:
        """The critic's parameters; all others belong to the generator."""
        return []

    def generate(self, inputs: Inputs) -> np.ndarray:
        """uint8 (T, h, w, 3) frames of the view, or float32 (T, P, D) points for output "motion". Deterministic given the seed.

        h, w may be smaller than the view by `margin` on the left and top: see `margin`.
        """
        raise NotImplementedError

    @property
    def margin(self) -> tuple[int, int]:
        """(top, left) pixels of the view that the output leaves out; what it leaves out elsewhere follows from its size."""
        return 0, 0


def system_names() -> list[str]:
    """Names of the systems there are: the files of models/systems/, sorted."""
    package = importlib.import_module("models.systems")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "base")


def make_system(name: str, **options: Any) -> System:
    """A new System from the file models/systems/<name>.py. KeyError with a suggestion where there is no such file."""
    return _system_class(name)(**options)


def options_of(entry: Entry) -> dict[str, Any]:
    """What the constructor of an entry's system gets: width, stills and mouth_weight where it knows them (a system without stills
    has no use for their number), and all of the entry's `options`. KeyError where it does not know one, or there is no system.
    """
    arguments = inspect.signature(_system_class(entry.system)).parameters.values()
    known = [a.name for a in arguments if a.kind in (a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)]
    own = [k for k in known if k not in SHARED]
    for option in entry.options:
        if option not in own:
            raise KeyError(f"{entry.system} has no option {option!r} of its own{suggest(option, own)}")
    return {k: getattr(entry, k) for k in SHARED if k in known} | entry.options


def disagreements(spec: Spec, entry: Entry, params: Params) -> list[str]:
    """What one entry of train.systems gives its system otherwise than `spec` asks for, each as "KEY: what and what instead"."""
    view, wrong = None if entry.view is None else params.crop.views[entry.view], []
    asked = _view_words(spec.view, spec.targets)
    if view is None and spec.view is not None:
        wrong.append(f"view: {entry.system} takes a view of {asked}; name one of crop.store")
    elif view is not None and spec.view is None:
        wrong.append(f"view: {entry.system} sees and makes no frames; leave out {entry.view!r}")
    elif view is not None and _view_words(view.kind, view.targets) != asked:
        wrong.append(f"view: {entry.system} takes a view of {asked}, {entry.view!r} is of {_view_words(view.kind, view.targets)}")
    if spec.feature not in (None, WAVEFORM, *params.features.store):
        wrong.append(f"system: {entry.system} listens to {spec.feature!r}, which is not in features.store")
    return wrong


def _view_words(kind: str | None, targets: str) -> str:
    return f"kind {kind!r}" + (f", targets {targets!r}" if kind == "registration" else "")


def _system_class(name: str) -> type[System]:
    if name not in system_names():
        raise KeyError(f"no system {name!r}{suggest(name, system_names())}; a system is one file in models/systems/")
    module = importlib.import_module(f"models.systems.{name}")
    if not isinstance(getattr(module, "System", None), type):
        raise TypeError(f"models/systems/{name}.py must define a class `System`")
    return module.System


def seeded(seed: int) -> torch.Generator:
    """A CPU generator for a sampled system's noise: the same seed gives the same noise on every device."""
    return torch.Generator().manual_seed(seed)
