"""params.yaml as checked values: every knob has a type, unknown names are errors, and all errors come at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from core.params_inspect import Filter, Inspect
from core.params_names import problems, suggest

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]


class ParamsError(ValueError):
    """params.yaml does not fit: the message lists every error with its path in the file."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hard(Section):
    """How hard the synthetic corpus is; every strength 0 is a clean face with a clean voice."""

    timing_jitter_s: float = Field(0.025, ge=0, le=0.2)
    viseme_gain: float = Field(0.25, ge=0, le=1)
    amplitude: tuple[float, float] = (0.4, 0.9)
    head_motion: float = Field(1.0, ge=0, le=3)
    lip_noise: float = Field(0.03, ge=0, le=0.5)
    image_noise: float = Field(4.0, ge=0, le=50)
    blur: float = Field(0.6, ge=0, le=5)
    reverb: float = Field(0.3, ge=0, le=1)
    audio_snr_db: float | None = 25.0


class Language(Section):
    """One language of a corpus. A planted language is the twin of a real one: never trained on, always tested."""

    twin_of: str | None = None
    swap: dict[str, str] = {}
    audio_late_ms: float = Field(0.0, ge=-400, le=400)
    speakers: Count | None = Field(None, description="synthetic: instead of the corpus's number")
    clips_per_speaker: Count | None = Field(None, description="synthetic: instead of the corpus's number")


class Corpus(Section):
    """One corpus. Only `adapter` and `languages` concern every adapter; the others belong to the one they name."""

    adapter: str
    languages: dict[str, Language]
    path: str | None = Field(None, description="the index or the data folder; every adapter but synthetic needs it")
    options: dict[str, Any] = Field({}, description="what one adapter alone understands; docs/corpora.md lists them")
    size: int = Field(256, ge=96, le=1080, description="synthetic: side of the square frame in pixels")
    speakers: Count = 8
    clips_per_speaker: Count = 2
    seed: int = 0
    hard: Hard = Hard()
    licence: str | None = Field(None, min_length=1, exclude_if=lambda said: said is None,
                                description="csv, folder: of the videos, as their owner says; other cards state theirs")
    commercial: bool | None = Field(None, exclude_if=lambda said: said is None,
                                    description="csv, folder: whether it allows commercial use; null: its words decide")


class Executor(Section):
    """Where items are worked on. None of it but codec_threads can change what comes out."""

    kind: Literal["local", "dask"] = "local"
    address: Annotated[str, Field(pattern=r"^(tcp|tls)://\S+:\d+$")] | None = Field(
        None, description="dask: its scheduler, as tcp://host:8786; where null, BABELFACE_DASK names it")
    workers: int = Field(1, ge=1, le=256, description="local: processes per stage. A Dask cluster has as many as its workers "
                         "have threads")
    timeout_s: float = Field(300, gt=0)
    codec_threads: Count = 1


class Fetch(Section):
    """How items are fetched whose source is an address. Only `height` changes what arrives."""

    height: int = Field(1080, ge=144, le=4320, description="the tallest picture asked of a page")
    per_host: int = Field(2, ge=1, le=64, description="fetches from one host at a time")
    per_second: float = Field(1.0, gt=0, le=1000, description="requests begun at one host")
    parallel: int = Field(4, ge=1, le=256, description="processes of an instance whose items lie at addresses, where "
                          "executor.workers is less: most of them wait for a host")
    attempts: int = Field(5, ge=1, le=100, description="that may fail, for one source")
    pause_s: float = Field(2.0, gt=0, le=600, description="before the second attempt; doubles, with jitter")
    stall_s: float = Field(30.0, gt=0, description="longest silence of a server")
    timeout_s: float = Field(3600.0, gt=0, description="for all attempts of one source together")
    max_bytes: Count = 20 << 30
    cookies: str | None = Field(None, description="file of cookies in Netscape's format, for pages that ask who you are")
    store: str = Field(".babelface/fetched", description="folder that whole files are kept in, so that none is fetched twice")
    keep: bool = Field(True, description="keep them after their items are cut out")


class Licences(Section):
    """What the result is for. A corpus or model whose licence forbids commercial use is refused until this allows it."""

    allow_non_commercial: bool = False


class Segment(Section):
    min_s: float = Field(2.0, gt=0)
    max_s: float = Field(10.0, gt=0)
    merge_gap_s: float = Field(0.7, ge=0)
    pad_s: float = Field(0.3, ge=0)
    voice: Literal["energy", "pyannote"] = "energy"
    voice_model: str | None = None
    shot_threshold: float = Field(3.0, gt=0)


class Track(Section):
    finder: Literal["auto", "yunet", "blazeface"] = "auto"
    landmarker: Literal["auto", "mediapipe", "facemesh"] = "auto"
    every: Count = 5
    min_face_px: float = Field(48, ge=8)
    min_face_share: Share = 0.98
    min_mesh_share: Share = 0.9
    iou: Share = 0.3
    smooth_frames: Count = 3


class View(Section):
    kind: Literal["syncnet", "registration", "box", "mouth"]
    size: Count | tuple[Count, Count]
    scale: float = Field(1.3, gt=0)
    targets: Literal["nose_eyes", "eyes_mouth"] = Field("nose_eyes", exclude_if=lambda points: points == "nose_eyes",
                                                        description="registration: the points that are moved onto fixed places")


class Crop(Section):
    store: list[str]
    jpeg_quality: int = Field(92, ge=1, le=100)
    views: dict[Name, View]


class Features(Section):
    store: list[Literal["mel", "mfcc_syncnet", "mfcc_speech2vid"]]


class Split(Section):
    seed: int = 0
    test_share: Share = 0.375
    validation_share: Share = 0.125
    expert_share: Share = 0.25
    near_duplicates: bool = Field(True, description="look for copies of clips, which one split must hold")
    cluster_speakers: Literal["none", "voice", "face"] = Field("none", description="tell unknown speakers apart by this")
    speaker_model: str | None = Field(None, description="voice: a pyannote embedding model; face: a file of SFace's kind")
    speaker_distance: float | None = Field(None, gt=0, description="up to which two recordings are of one speaker; null: the "
                                           "model's")


class Expert(Section):
    network: Literal["small", "full"] = "small"
    view: str = "mouth"
    languages: Literal["all"] | list[str] = "all"
    steps: Count = 1200
    batch_clips: Count = 12
    windows_per_clip: Count = 16
    learning_rate: float = Field(1e-3, gt=0)
    accumulate: Count = 1
    checkpoint_every: Count = 200


class System(Section):
    system: str
    width: Literal["small", "full"] = "small"
    view: str | None = Field(None, description="one of crop.store; none where the system sees and makes no frames")
    languages: Literal["all"] | list[str]
    steps: Count = 500
    batch: Count = 32
    stills: Count = 3
    learning_rate: float = Field(5e-4, gt=0)
    accumulate: Count = 1
    mouth_weight: float = Field(0.0, ge=0, description="extra weight of the loss inside the mouth region")
    checkpoint_every: Count = 100
    options: dict[str, bool | int | float | str] = Field(
        {}, exclude_if=lambda own: not own, description="what this system alone understands: arguments of its constructor")


class Train(Section):
    seed: int = 0
    torch_threads: Count = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    experts: dict[Name, Expert]
    systems: dict[Name, System]


class Generate(Section):
    seed: int = 0
    conditions: list[Literal["self", "cross-audio", "cross-language"]]
    controls: list[Literal["real", "still", "shuffled"]]
    clips_per_speaker: Count = 2
    samples: Count = 1
    crf: int = Field(12, ge=0, le=51)
    paste_feather_px: int = Field(8, ge=0, le=64)


class WeightsFile(Section):
    weights: str


class Score(Section):
    expert: str | WeightsFile
    protocol: Annotated[Literal["syncnet-v2-direct", "syncnet-v2-tracked", "syncnet-v2-decoded", "syncnet-v2-whole-frame"],
                        BeforeValidator(lambda name: "syncnet-v2-direct" if name == "syncnet-direct"
                                        else name)] = "syncnet-v2-direct"
    vshift: Count = 15
    min_windows: Count = 20
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="what SyncNet's video branch calculates in; bfloat16 is another protocol")
    lip_reader: str | None = Field(None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
                                   description="module:name of a lip reader of your own, for WER and CER")
    lip_reader_weights: str | None = Field(None, description="the file that the reader is opened with")
    expert_valid_margin: float = 0.0
    ablation_experts: list[str] = Field(
        [], description="other experts of train.experts, which score real video and its control too")


class Sets(Section):
    """Figures of sets of clips: FID, FVD, retrieval, diversity. A network whose weights are not on this machine gives none."""

    every: Count = Field(5, description="frames between two whose pictures FID sees: neighbours are nearly the same")
    recall: list[Count] = Field([1, 5, 10], description="the K of R@K", min_length=1)
    i3d: WeightsFile | None = Field(None, description="I3D's weights for FVD, which have no published hash; null: VideoMAE, "
                                    "where it is")


class Report(Section):
    gallery_per_language: int = Field(2, ge=0)
    seed: int = 0
    bootstrap: int = Field(2000, ge=100)
    alpha: float = Field(0.05, gt=0, lt=1)


@dataclass(frozen=True, slots=True)
class CorpusLanguage:
    """One instance of the data stages."""

    name: str
    corpus: str
    language: str
    planted: bool


class Params(Section):
    """The whole of params.yaml."""

    corpora: dict[Name, Corpus]
    shards: int = Field(4, ge=1, le=1000)
    executor: Executor = Executor()
    fetch: Fetch = Fetch()
    licences: Licences = Licences()
    segment: Segment = Segment()
    track: Track = Track()
    inspect: Inspect = Inspect()
    crop: Crop
    features: Features
    filter: Filter = Filter()
    split: Split = Split()
    train: Train
    generate: Generate
    score: Score
    sets: Sets = Sets()
    report: Report = Report()

    def instances(self) -> list[CorpusLanguage]:
        """Every corpus and language, in the order of the file: the instances of download to features."""
        return [CorpusLanguage(f"{corpus}-{tag}", corpus, tag, language.twin_of is not None)
                for corpus, entry in self.corpora.items() for tag, language in entry.languages.items()]

    def instance(self, name: str) -> CorpusLanguage:
        """The corpus and language that `name` means. ParamsError with a suggestion where there is none."""
        found = {i.name: i for i in self.instances()}
        if name not in found:
            raise ParamsError(f"no instance {name!r}{suggest(name, found)}")
        return found[name]

    def training_languages(self, entry: Expert | System) -> list[str]:
        """The language tags that one expert or system trains on; `all` leaves the planted ones out."""
        real = list(dict.fromkeys(i.language for i in self.instances() if not i.planted))
        return real if entry.languages == "all" else [tag for tag in real if tag in entry.languages]

    def training_instances(self, entry: Expert | System) -> list[CorpusLanguage]:
        """The data instances that one expert or system reads."""
        tags = self.training_languages(entry)
        return [i for i in self.instances() if i.language in tags and not i.planted]


def load_params(path: str | Path = "params.yaml") -> Params:
    """The checked content of `path`. ParamsError names the file and lists every error with its place and a suggestion."""
    path = Path(path)
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; run from the project's root, where params.yaml lies")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from error
    return check_params(raw, str(path))


def check_params(raw: Any, where: str = "params") -> Params:
    """Params from plain values; ParamsError as `load_params`."""
    params, wrong = None, []
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        for one in error.errors():
            place = ".".join(str(p) for p in one["loc"]) or "(whole file)"
            if one["type"] == "extra_forbidden":
                text = f"unknown name{suggest(one['loc'][-1], _siblings(one['loc']))}"
            else:
                text = one["msg"].removeprefix("Value error, ")
            wrong.append(f"{place}: {text}")
    segment = Segment()
    wrong += problems(raw, min_s=segment.min_s, max_s=segment.max_s, view=Expert().view)
    if params is None or wrong:
        raise ParamsError("\n  ".join([f"{where}: {len(wrong)} error{'s' * (len(wrong) > 1)}", *wrong]))
    return params


def _siblings(loc: tuple[Any, ...]) -> list[str]:
    """The names that would have been known where an unknown one stood; a key of a mapping leads to what the mapping holds."""
    model: type[BaseModel] = Params
    for part in loc[:-1]:
        if part in model.model_fields:
            models = [t for t in _flatten(model.model_fields[part].annotation) if isinstance(t, type)
                      and issubclass(t, BaseModel)]
            if not models:
                return []
            model = models[0]
    return list(model.model_fields)


def _flatten(note: Any) -> list[Any]:
    args = getattr(note, "__args__", None)
    return [x for a in args for x in _flatten(a)] if args else [note]


def json_schema() -> dict[str, Any]:
    """The JSON schema of params.yaml, for editors."""
    return Params.model_json_schema()
