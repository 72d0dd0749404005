"""The licence guard before anything starts: all corpora and models that a params.yaml uses, and what forbids commercial use of
the result. The stages themselves are guarded where core/weights.py hands out a model (core/licences.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.licences import UNSTATED, Used, forbids_commerce, refused, says_nothing, stated
from core.params import Params, WeightsFile
from core.stage import UserError

# Networks that a score or a set's figures use where their files are on this machine: names in core.weights.
SCORE_NETWORKS = ("lpips_alexnet", "sface")
SET_NETWORKS = {"fid": "inception_fid", "fvd": "videomae_g_ssv2"}
SPEAKER, FACES = "light_asd", "sface"


def guard(params: Params) -> None:
    """Raises UserError where corpora or models forbid commercial use and params do not allow that; it names all of them."""
    against = None if params.licences.allow_non_commercial else refused(used(params), False)
    if against:
        raise UserError(against)


def unstated(params: Params) -> list[Used]:
    """The corpora and models that params use and whose licence is not stated: they are not refused, and somebody has to judge."""
    from corpora.registry import open_corpus

    silent = [Used(f"corpus {name} (corpora.{name}.licence)", UNSTATED) for name, entry in params.corpora.items()
              if getattr(open_corpus(entry.adapter), "OWNED", False) and entry.licence is None and entry.commercial is None]
    return silent + [model for model in models(params) if says_nothing(model)]


def used(params: Params) -> Iterator[Used]:
    """Every corpus and model that a build of these params would use, with its licence."""
    from corpora.registry import card_of

    for name, entry in params.corpora.items():
        card = card_of(name, entry)
        yield Used(f"corpus {name}", card.licence, card.commercial)
    yield from models(params)


def models(params: Params) -> list[Used]:
    """The models: those that params name, and those that their choices load. One that is used only where its file is here is
    looked for where its licence matters, and left out where it is not here."""
    found = [Used(f"model {value} ({param})", _licence(value)) for param, value in named(params).items()]
    chosen = [_first(param, names, needed) for param, names, needed in _of_the_table(params)]
    return found + [entry for entry in chosen if entry is not None]


def named(params: Params) -> dict[str, str]:
    """param -> the file, folder or hub name of the user's that it names, for the models that a build would open."""
    asked = {
        "segment.voice_model": params.segment.voice == "pyannote" and params.segment.voice_model,
        "inspect.diarization": params.inspect.diarization not in ("none", "clusters") and params.inspect.diarization,
        "inspect.language_model": params.inspect.language_identifier and params.inspect.language_model,
        "inspect.sync_expert": params.inspect.sync_expert and params.inspect.sync_expert.weights,
        "split.speaker_model": params.split.cluster_speakers != "none" and params.split.speaker_model,
        "score.expert": isinstance(params.score.expert, WeightsFile) and params.score.expert.weights,
        "score.lip_reader_weights": params.score.lip_reader_weights,
        "sets.i3d": params.sets.i3d and params.sets.i3d.weights,
    }
    return {param: value for param, value in asked.items() if value}


def _licence(value: str) -> str:
    """Of a file by its hash, else by what stands beside it; of a folder by what lies in it; a hub's is not asked for here."""
    from core.weights import licence_of

    path = Path(value).expanduser()
    return licence_of(path) if path.is_file() else stated(path) if path.is_dir() else UNSTATED


def _of_the_table(params: Params) -> Iterator[tuple[str, list[str], bool]]:
    """(param, names in core.weights of which the first that is here is used, whether one is fetched where none is)."""
    from core.choose import FINDERS, MESHES

    track = params.track
    for param, asked, kinds in (("track.finder", track.finder, FINDERS), ("track.landmarker", track.landmarker, MESHES)):
        yield param, [name for kind, name in kinds.items() if asked in ("auto", kind)], True
    if params.inspect.active_speaker != "none":
        yield "inspect.active_speaker", [SPEAKER], params.inspect.active_speaker != "auto"
    if params.split.cluster_speakers == "face" and params.split.speaker_model is None:
        yield "split.cluster_speakers", [FACES], True
    for name in SCORE_NETWORKS:
        yield "score", [name], False
    for figure, name in SET_NETWORKS.items():
        if figure != "fvd" or params.sets.i3d is None:
            yield "sets", [name], False


def _first(param: str, names: list[str], needed: bool) -> Used | None:
    """The model that would be used; None where none would, or where its licence lets everybody use it."""
    from core.weights import is_here, lookup

    entries = [Used(f"model {name} ({param})", lookup(name).licence) for name in names]
    if not any(forbids_commerce(entry) or says_nothing(entry) for entry in entries):
        return None
    here = next((entry for name, entry in zip(names, entries, strict=True) if is_here(name)), None)
    chosen = here or (entries[0] if needed else None)
    return chosen if chosen and (forbids_commerce(chosen) or says_nothing(chosen)) else None
