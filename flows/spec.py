"""What every stage instance reads, writes and needs: the pipeline as data, computed from params.yaml. Knows nothing of DVC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from core.codehash import closure
from core.params import Corpus, Expert, Params, System, WeightsFile
from corpora.registry import adapter_name

DATA_STAGES = ("download", "segment", "track", "inspect", "crop", "features")
STAGES = (*DATA_STAGES, "split", "train", "generate", "score", "sets", "bias", "aggregate", "report")
CONTROLS = "controls"
FORGOTTEN = "forgotten.yaml"
SUMMARY = "results/summary.json"
PLOTS = "results/plots"
REPORT = "results/report"
# The instance names of one data stage become keys of a DVC group, which takes these characters only.
_SAFE = re.compile(r"[A-Za-z0-9_-]+")

# stage -> the data stages of the same instance that it reads; "stage/table" where one table is all it reads: crop, features and
# what comes after depend on which tracks inspection kept and on their sound, not on every figure it measured
_READS = {"download": (), "segment": ("download",), "track": ("download", "segment"), "inspect": ("download", "segment", "track"),
          "crop": ("download", "track", "inspect/kept"), "features": ("segment", "track", "inspect/kept")}
# stage -> keys of params.yaml that its results depend on; how many workers there are is none of them. DVC does not notice a
# dependency that is gone from the list: split and aggregate track all of `corpora`, and a corpus that goes changes the split.
_PARAMS = {"download": ("shards", "executor.codec_threads", "fetch.height", "licences"), "segment": ("segment", "shards"),
           "track": ("track", "shards"), "inspect": ("inspect", "track.min_mesh_share", "crop.views", "shards"),
           "crop": ("crop", "track.min_mesh_share", "shards"), "features": ("features", "shards"),
           "split": ("split", "filter", "track.min_mesh_share", "train.systems"),
           "train": ("train.seed", "train.torch_threads", "train.precision", "crop.views", "features.store"),
           "generate": ("generate", "crop.views", "shards", "executor.codec_threads", "train.torch_threads"),
           "score": ("score.expert", "score.protocol", "score.vshift", "score.min_windows", "score.precision", "score.lip_reader",
                     "score.lip_reader_weights", "track.landmarker", "track.smooth_frames", "crop.views", "shards"),
           "sets": ("sets", "shards"),
           "bias": ("score.protocol", "score.vshift", "score.min_windows", "score.precision", "crop.views", "shards"),
           "aggregate": ("score.expert_valid_margin", "score.expert", "score.ablation_experts", "report", "train.experts",
                         "train.systems"), "report": ("report",)}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage instance."""

    stage: str
    instance: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]
    meta: dict[str, object] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return f"python -m stages.{self.stage} {self.instance}"


@dataclass(frozen=True, slots=True)
class Group:
    """One data stage over all corpus-languages: what the instances share, and the values that differ, per instance."""

    stage: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]
    meta: dict[str, object]
    items: dict[str, dict[str, str]]


class SpecError(ValueError):
    """params.yaml asks for a graph that cannot be written down."""


def groups(params: Params, root: Path = Path(".")) -> list[Group]:
    """The data stages. `${item...}` and `${key}` stand for the values of an instance."""
    instances = params.instances()
    wrong = [i.name for i in instances if not _SAFE.fullmatch(i.name)]
    if wrong:
        raise SpecError(f"corpora: {', '.join(wrong)}: names of corpora and languages may hold letters, digits, - and _ only")
    found = []
    for stage in DATA_STAGES:
        deps = [_output(above, "${key}") for above in _READS[stage]]
        if stage == "download":
            items, slots = _downloads(params)
            deps = ["${item.source}", "${item.index}", "${item.media}", *code("download", root, adapters=True),
                    *([FORGOTTEN] if (root / FORGOTTEN).is_file() else [])]
            keys = ["corpora.${item.corpus}.languages.${item.language}", *(f"${{item.{slot}}}" for slot in slots)]
        else:
            items, keys = {i.name: {} for i in instances}, []
            deps += code(stage, root) + (_inspectors(params, root) if stage == "inspect" else [])
        found.append(Group(stage, tuple(deps), (*keys, *_present(params, _PARAMS[stage])), (f"data/{stage}/${{key}}",),
                           {"gpu": 0, "cheap": True, "cpus": _workers(params)}, items))
    return found


def plots(params: Params) -> dict[str, dict[str, str]]:
    """file -> how `dvc plots` draws it: the loss of everything that trains, each system's gap to real video by language."""
    losses = {f"{PLOTS}/losses/{name}.csv": {"x": "step", "y": "loss", "title": f"loss of {name}"}
              for name in (*params.train.experts, *params.train.systems)}
    return losses | {f"{PLOTS}/gap/{name}.csv": {"template": "bar_horizontal", "x": "gap", "y": "language", "title": f"gap of {name}"}
                     for name in params.train.systems}


def singles(params: Params, root: Path = Path(".")) -> list[Stage]:
    """The stages that are no group: split, each training, each generator with its scores, aggregate, report."""
    names = [i.name for i in params.instances()]
    every = lambda *stages: [_output(s, n) for s in stages for n in names]  # noqa: E731
    systems, experts = params.train.systems, params.train.experts
    workers = _workers(params)
    split = "data/split/all"
    found = [Stage("split", "all", (*every("download", "segment", "track", "inspect"), *code("split", root)),
                   (*_present(params, _PARAMS["split"]), "corpora"),
                   (split,), {"gpu": 0, "cheap": False, "cpus": 1})]
    for group, entries in (("experts", experts), ("systems", systems)):
        for name, entry in entries.items():
            reads = [f"data/{s}/{i.name}" for s in ("crop", "features") for i in params.training_instances(entry)]
            dealt = [f"{split}/splits/shard-{i.name}.parquet" for i in params.training_instances(entry)]
            found.append(Stage("train", name, (*reads, *dealt, *code("train", root, system=entry)),
                               (*_present(params, _PARAMS["train"]), f"train.{group}.{name}"), (f"data/train/{name}",),
                               {"gpu": 1, "cheap": False, "cpus": params.train.torch_threads}))
    generators = [CONTROLS, *systems]
    for name in generators:
        entry = systems.get(name)
        reads = every("download", "segment", "track", "inspect/kept")
        reads += [] if entry is None else [*every("features"), f"data/train/{name}"]
        keys = _present(params, _PARAMS["generate"])
        found.append(Stage("generate", name, (*reads, split, *code("generate", root, system=entry)),
                           (*keys, *([] if entry is None else [f"train.systems.{name}"])), (f"data/generate/{name}",),
                           {"gpu": int(entry is not None), "cheap": False, "cpus": workers}))
    for name in generators:
        reads = [f"data/generate/{name}", *every("download", "segment", "track", "inspect/kept"), *_expert(params),
                 *_reader(params, root)]
        found.append(Stage("score", name, (*reads, *code("score", root)),
                           _present(params, _PARAMS["score"]), (f"data/score/{name}",),
                           {"gpu": 1, "cheap": False, "cpus": workers}))
    named = [params.sets.i3d.weights] if params.sets.i3d else []
    for name in generators:
        reads = [f"data/score/{name}", f"data/generate/{name}", *every("download", "track"), *named]
        found.append(Stage("sets", name, (*reads, *code("sets", root)), _present(params, _PARAMS["sets"]), (f"data/sets/{name}",),
                           {"gpu": 0, "cheap": True, "cpus": workers}))
    for name in params.score.ablation_experts:
        reads = [f"data/generate/{CONTROLS}", *every("download", "segment", "track", "inspect/kept"), f"data/train/{name}"]
        found.append(Stage("bias", name, (*reads, *code("bias", root)), _present(params, _PARAMS["bias"]), (f"data/bias/{name}",),
                           {"gpu": 1, "cheap": False, "cpus": workers}))
    made = [*(f"data/{s}/{n}" for s in ("generate", "score") for n in generators),
            *(f"data/bias/{n}" for n in params.score.ablation_experts), *(f"data/train/{n}" for n in (*experts, *systems))]
    funnel = every(*DATA_STAGES)
    found.append(Stage("aggregate", "all", (*made, *(f"data/sets/{n}" for n in generators), split, *funnel,
                                            *code("aggregate", root)),
                       (*_present(params, _PARAMS["aggregate"]), "corpora"),
                       ("data/aggregate/all", PLOTS), {"gpu": 0, "cheap": False, "cpus": 1}, metrics=(SUMMARY,)))
    found.append(Stage("report", "all", ("data/aggregate/all", SUMMARY, *made, split, *funnel, *code("report", root)),
                       _present(params, _PARAMS["report"]), (REPORT,), {"gpu": 0, "cheap": False, "cpus": 1}))
    return found


def code(stage: str, root: Path = Path("."), *, adapters: bool = False, system: Expert | System | None = None) -> list[str]:
    """Files whose change makes a stage's results doubtful: what it imports, its templates, and what it opens by name.

    adapters: also what any corpus adapter imports but adapters themselves, the same list whatever corpora there are, so that
    another corpus changes nobody else's. system: also the file of the talking-face system that the entry names.
    """
    files = set(closure(f"stages.{stage}", root))
    if adapters:
        for name in _adapter_modules(root):
            files |= {f for f in closure(name, root) if not _of_an_adapter(f, root)}
    if isinstance(system, System):
        files |= set(closure(f"models.systems.{system.system}", root))
    for folder in sorted({f.partition("/")[0] for f in files if "/" in f}):
        files |= {f"{folder}/{kind}" for kind in ("templates", "static") if any((root / folder / kind).glob("*"))}
    return sorted(files)


def _adapter_modules(root: Path) -> list[str]:
    folder = root / "corpora"
    files = [p for p in (*folder.glob("*.py"), *folder.glob("*/adapter.py")) if p.stem not in ("__init__", "registry")]
    return sorted(".".join(p.relative_to(root).with_suffix("").parts) for p in files)


def _of_an_adapter(file: str, root: Path) -> bool:
    """Whether a file is an adapter, or lies in the folder of one: corpora/folder.py, but not corpora/index/tables.py."""
    room, *folders, _ = file.split("/")
    return room == "corpora" and (not folders or (root / room / folders[0] / "adapter.py").is_file())


def _downloads(params: Params) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Per instance the values of the download group, and the names of its slots for the corpus's own settings.

    DVC gives every instance of a group the same number of params, so a corpus with fewer settings repeats its last one.
    """
    settings = {name: sorted(entry.model_fields_set - {"languages"}) for name, entry in params.corpora.items()}
    slots = [f"setting{n}" for n in range(1, max(map(len, settings.values())) + 1)]
    items = {}
    for i in params.instances():
        keys = settings[i.corpus]
        keys += [keys[-1]] * (len(slots) - len(keys))
        entry = params.corpora[i.corpus]
        own = {slot: f"corpora.{i.corpus}.{key}" for slot, key in zip(slots, keys, strict=True)}
        items[i.name] = {"corpus": i.corpus, "language": i.language, "source": _source(entry), "index": _index(entry, i.language),
                         "media": _media(entry, i.language), **own}
    return items, slots


def _source(entry: Corpus) -> str:
    try:
        folder = Path("corpora") / adapter_name(entry.adapter)
    except ValueError as error:
        raise SpecError(str(error)) from None
    return folder.as_posix() if folder.is_dir() else f"{folder.as_posix()}.py"


def _index(entry: Corpus, language: str) -> str:
    """What lists the recordings of one language: a file or folder of the user's, or a file of corpora/languages."""
    return entry.path or f"corpora/languages/{entry.languages[language].twin_of or language}.yaml"


def _media(entry: Corpus, language: str) -> str:
    """Where the files lie that the index names: options.media, for a table its folder, for anything else the index itself."""
    beside = Path(entry.path or "").parent
    if entry.options.get("media"):
        return str(entry.options["media"])
    return beside.as_posix() if entry.adapter == "csv" and beside not in (Path("."), Path("/")) else _index(entry, language)


def _expert(params: Params) -> list[str]:
    """The sync expert that scores: a trained one's folder, or the user's file with the card beside it, where there is one."""
    expert = params.score.expert
    if not isinstance(expert, WeightsFile):
        return [f"data/train/{expert}"]
    card = Path(expert.weights).with_name("card.json")
    return [expert.weights, *([card.as_posix()] if card.is_file() else [])]


def _output(of: str, instance: str) -> str:
    """The output folder of a data stage ("track"), or of one table of it ("inspect/kept")."""
    stage, _, table = of.partition("/")
    return f"data/{stage}/{instance}" + (f"/{table}" if table else "")


def _inspectors(params: Params, root: Path) -> list[str]:
    """The files of the user's that inspection opens by name: a sync expert and its card, a pipeline's folder, an identifier's
    module."""
    asked, found = params.inspect, []
    if asked.sync_expert is not None:
        card = Path(asked.sync_expert.weights).with_name("card.json")
        found += [asked.sync_expert.weights, *([card.as_posix()] if (root / card).is_file() else [])]
    if Path(asked.diarization).exists():
        found.append(asked.diarization)
    module = (asked.language_identifier or "").partition(":")[0].replace(".", "/") + ".py"
    return [*found, *([module] if (root / module).is_file() and module != "models/experts/language.py" else [])]


def _reader(params: Params, root: Path) -> list[str]:
    """The files of the user's lip reader: its module, where it lies in the project, and its weights."""
    module = (params.score.lip_reader or "").partition(":")[0].replace(".", "/") + ".py"
    weights = params.score.lip_reader and params.score.lip_reader_weights
    return [*([module] if (root / module).is_file() else []), *([weights] if weights else [])]


def _workers(params: Params) -> object:
    """The cpus of a stage that runs worker processes: a reference into params.yaml where it stands there."""
    return "${executor.workers}" if "workers" in params.executor.model_fields_set else params.executor.workers


def _present(params: Params, keys: Iterable[str]) -> tuple[str, ...]:
    """Those of `keys` that params.yaml spells out: DVC refuses to track a key that is left to its default."""
    found = []
    for key in keys:
        value: object = params
        for part in key.split("."):
            value = getattr(value, part) if part in getattr(value, "model_fields_set", ()) else None
        if value is not None:
            found.append(key)
    return tuple(found)
