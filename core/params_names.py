"""Names in params.yaml that must agree with one another or with a file, looked up in its plain values: so they are told along with
wrong types and unknown keys.

Adapters, languages, visemes and systems belong to rooms above this one. None is imported: their names are read off their files, of
this project and of the current folder, which may be a workspace with more of them.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def suggest(name: str, known: Any) -> str:
    """'; did you mean ...?' for the nearest known name, or the list of what there is."""
    known = sorted(str(k) for k in known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known) or 'none'}"


def problems(raw: Any, *, min_s: float, max_s: float, view: str) -> list[str]:
    """'PLACE: what is wrong' for every name that agrees with nothing, and for clips whose bounds do not. What is missing or of
    another type than expected is passed over: its own error is told by the model. min_s, max_s, view: where the file gives none."""
    raw = _mapping(raw)
    return [*_of_corpora(raw), *_of_segment(_mapping(raw.get("segment")), min_s, max_s), *_of_crop(_mapping(raw.get("crop"))),
            *_of_train(raw, view), *_of_score(raw)]


def _of_corpora(raw: dict[str, Any]) -> Iterator[str]:
    written = _written()
    for name, corpus in _corpora(raw).items():
        place, given, adapter = f"corpora.{name}", corpus.get("adapter"), _adapter(corpus.get("adapter"))
        if isinstance(given, str) and adapter is None:
            yield f"{place}.adapter: there is no adapter {given!r}{suggest(given, _adapters())}"
        elif adapter not in (None, "synthetic") and not corpus.get("path"):
            yield f"{place}: adapter {adapter} needs `path`: its index or the folder of its data"
        languages, real = _languages(corpus), _real(corpus)
        for tag, language in languages.items():
            here, twin = f"{place}.languages.{tag}", language.get("twin_of")
            if isinstance(twin, str) and twin not in real:
                what = "a twin itself" if twin in languages else "not a language of this corpus"
                yield f"{here}.twin_of: {twin!r} is {what}{suggest(twin, real)}"
            if twin is None and adapter == "synthetic" and tag not in written:
                yield f"{here}: there is no corpora/languages/{tag}.yaml{suggest(tag, written)}"
            for key, value in _mapping(language.get("swap")).items():
                for viseme in (key, value):
                    if isinstance(viseme, str) and viseme not in (known := _literal("corpora/synthetic/visemes.py", "_TARGETS")):
                        yield f"{here}.swap.{key}: {viseme!r} is not a viseme{suggest(viseme, known)}"


def _of_segment(segment: dict[str, Any], min_s: float, max_s: float) -> Iterator[str]:
    try:
        low, high = float(segment.get("min_s", min_s)), float(segment.get("max_s", max_s))
    except (TypeError, ValueError):
        return
    if low > high:
        yield f"segment.min_s: {low:g} is more than segment.max_s, which is {high:g}"


def _of_crop(crop: dict[str, Any]) -> Iterator[str]:
    views = crop.get("views")
    for k, name in _texts(crop.get("store")) if isinstance(views, dict) else ():
        if name not in views:
            yield f"crop.store.{k}: {name!r} is not one of crop.views{suggest(name, views)}"


def _of_train(raw: dict[str, Any], view: str) -> Iterator[str]:
    crop, train = _mapping(raw.get("crop")), _mapping(raw.get("train"))
    stored = {_meant(name, _mapping(crop.get("views"))) for _, name in _texts(crop.get("store"))}
    real = {tag for corpus in _corpora(raw).values() for tag in _real(corpus)}
    experts, systems = (_mapping(train.get(group)) for group in ("experts", "systems"))
    for group, entries in (("experts", experts), ("systems", systems)):
        for name, entry in entries.items():
            place, entry = f"train.{group}.{name}", _mapping(entry)
            looks_at = entry.get("view", view if group == "experts" else None)
            if stored and isinstance(looks_at, str) and looks_at not in stored:
                yield f"{place}.view: {looks_at!r} is not in crop.store{suggest(looks_at, stored)}"
            for k, tag in _texts(entry.get("languages")) if real else ():
                if tag not in real:
                    yield f"{place}.languages.{k}: {tag!r} is not a language to train on{suggest(tag, real)}"
            system = entry.get("system")
            if group == "systems" and isinstance(system, str) and system not in (known := _systems()):
                yield f"{place}.system: there is no models/systems/{system}.py{suggest(system, known)}"
            if name == "controls" or (group == "systems" and name in experts):
                yield f"{place}: {'the controls are' if name == 'controls' else 'an expert is'} called so; take another name"


def _of_score(raw: dict[str, Any]) -> Iterator[str]:
    score, experts = _mapping(raw.get("score")), _mapping(raw.get("train")).get("experts")
    expert, others = score.get("expert"), list(_texts(score.get("ablation_experts")))
    if not isinstance(experts, dict):
        return
    if isinstance(expert, str) and expert not in experts:
        yield f"score.expert: {expert!r} is not one of train.experts{suggest(expert, experts)}"
    for k, name in others:
        if name == expert:
            yield f"score.ablation_experts.{k}: {name!r} is what scores already"
        elif name not in experts:
            yield f"score.ablation_experts.{k}: {name!r} is not one of train.experts{suggest(name, experts)}"
        if name in [other for _, other in others[:k]]:
            yield f"score.ablation_experts.{k}: {name!r} stands there twice"


def _mapping(value: Any) -> dict[str, Any]:
    return {k: v for k, v in value.items() if isinstance(k, str)} if isinstance(value, dict) else {}


def _texts(value: Any) -> Iterator[tuple[int, str]]:
    """(place, text) of the texts in a list."""
    return ((k, v) for k, v in enumerate(value) if isinstance(v, str)) if isinstance(value, list | tuple) else iter(())


def _corpora(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: _mapping(corpus) for name, corpus in _mapping(raw.get("corpora")).items()}


def _languages(corpus: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {tag: _mapping(language) for tag, language in _mapping(corpus.get("languages")).items()}


def _real(corpus: dict[str, Any]) -> set[str]:
    """The languages of a corpus that are no twins, misspelt ones as they are meant: what names them right is right."""
    known = _written() if _adapter(corpus.get("adapter")) == "synthetic" else ()
    return {_meant(tag, known) for tag, language in _languages(corpus).items() if language.get("twin_of") is None}


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return near[0] if near else name


def _adapter(given: Any) -> str | None:
    """The adapter that is meant (corpora/registry.py: LRW-1000 is lrw1000, mTEDx is read by muavic), or None."""
    known = _adapters()
    if not isinstance(given, str) or given in known:
        return given if isinstance(given, str) else None
    plain = re.sub(r"[-_ ]", "", given.lower())
    return {name.replace("_", ""): name for name in known}.get(_literal("corpora/registry.py", "_ALSO").get(plain, plain))


def _adapters() -> set[str]:
    rooms = {path.parent.name for path in _files("corpora/*/adapter.py")}
    return {path.stem for path in _files("corpora/*.py") if path.stem != "registry" and not path.stem.startswith("_")} | rooms


def _written() -> set[str]:
    """The languages that the synthetic corpus can speak."""
    return {path.stem for path in _files("corpora/languages/*.yaml")}


def _systems() -> set[str]:
    rooms = {path.parent.name for path in _files("models/systems/*/__init__.py")}
    return {path.stem for path in _files("models/systems/*.py")} - {"__init__", "base"} | rooms


def _files(pattern: str) -> Iterator[Path]:
    for root in {ROOT, Path.cwd()}:
        yield from root.glob(pattern)


@cache
def _literal(file: str, name: str) -> dict[str, Any]:
    """The mapping that a module of the project gives to a name, read without running it."""
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return ast.literal_eval(node.value)
    raise LookupError(f"{file} gives no {name}, which core/params_names.py reads")
