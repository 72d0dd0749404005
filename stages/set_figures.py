"""Figures of a set of clips, of one system in one condition and language: FID, FVD, retrieval, diversity over samples.

Not a stage, but what stages.sets and `babelface score --index` share. Scoring a clip leaves its `remains`; pictures go through
the networks clip by clip (`pictures`), and `set_rows` makes the figures of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stages.figures import BATCH, Null, Take, Unscored, face_pairs

# The fewest a figure is given for: below it, it says more about which clips were drawn than about the system.
MIN_FRAMES, MIN_WINDOWS, MIN_INPUTS = 100, 16, 1
CANDIDATES_PER_K = 2  # clips per K that recall needs, so that chance is one half at most
TOO_FEW, ONE_SAMPLE = "too_few", "one_sample"
DIRECTIONS = ("audio_to_video", "video_to_audio")
PICTURES = ("fid", "fvd")

Pair = tuple[np.ndarray, np.ndarray]


def find_networks(i3d: Path | None) -> tuple[dict[str, tuple[str, str] | None], dict[str, str]]:
    """(config, fingerprint marks) of the picture networks on this machine: config has `fid` and `fvd`, each (kind, file) or None.
    None is fetched. i3d: the user's file for FVD, else VideoMAE. UserError where the user's file is not there."""
    from core.stage import UserError
    from core.weights import WeightsMissing, find, use_file
    config: dict[str, tuple[str, str] | None] = {}
    marks: dict[str, str] = {}
    for metric, kind, name in (("fid", "inception", "inception_fid"), ("fvd", "videomae", "videomae_g_ssv2")):
        try:
            if metric == "fvd" and i3d is not None:
                kind, found = "i3d", use_file(i3d)
            else:
                found = find(name, fetch=False)
        except WeightsMissing as error:
            if metric == "fvd" and i3d is not None:
                raise UserError(f"sets.i3d: {error}") from None
            config[metric], marks[metric] = None, "none"
        else:
            config[metric], marks[metric] = (kind, str(found.path)), f"{kind}:{found.sha256}"
    return config, marks


class Networks:
    """The picture networks, opened when they are first asked. config: fid, fvd (`find_networks`) and every (core.params.Sets)."""

    def __init__(self, config: dict[str, Any], names: dict[str, str]):
        self.config = config
        self.names = {metric: None if names[metric] == "none" else _short(names[metric]) for metric in PICTURES}

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return any(self.config[metric] for metric in PICTURES)

    @cached_property
    def fid(self) -> Any:
        """Frames to features, or None."""
        from models.experts.inception import open_inception

        found = self.config["fid"]
        return None if found is None else open_inception(Path(found[1]))

    @cached_property
    def fvd(self) -> Any:
        """Short clips to features, or None."""
        from models.experts.video_features import open_video_features

        found = self.config["fvd"]
        return None if found is None else open_video_features(Path(found[1]), found[0])


def _short(mark: str) -> str:
    kind, _, digest = mark.partition(":")
    return f"{kind}:{digest[:8]}"


def remains(row: dict[str, Any], take: Take, *, lips: bool) -> dict[str, Any]:
    """A row of the table `embeddings` from a take and the score row it gave. lips: whether its input has several samples."""
    from core.shards import pack
    from metrics.diversity import mouth_and_eyes
    from metrics.retrieval import in_parts

    video, audio = (None, None) if take.embedded is None else (in_parts(e) for e in take.embedded)
    has_lips = lips and isinstance(take.points, np.ndarray)
    # an expert that was asked and has none: the clip has fewer windows than parts
    missing = next((n["reason"] for n in row["null_reasons"] if n["metric"] == "lse_c"), "too_short")
    return {"generated_id": row["generated_id"], "video": None if video is None else pack(video),
            "audio": None if audio is None else pack(audio), "no_sync": missing if video is None else None,
            "lips": pack(mouth_and_eyes(take.points).astype(np.float32)) if has_lips else None}


def pictures(nets: Networks, take: Take) -> dict[str, Pair | str]:
    """metric -> (features of the real pictures, of the shown ones) of one clip's face, float32 (n, D) each, or why there are
    none."""
    if take.source is None:
        return dict.fromkeys(PICTURES, take.no_source)
    if not nets.any:
        return dict.fromkeys(PICTURES, "no_weights")
    try:
        pairs = list(face_pairs(take))
    except Unscored as unscored:
        return dict.fromkeys(PICTURES, unscored.reason)
    real, shown = (np.stack(side) for side in zip(*pairs, strict=True))
    out: dict[str, Pair | str] = dict.fromkeys(PICTURES, "no_weights")
    if nets.fid is not None:
        every = nets.config["every"]
        out["fid"] = nets.fid.embed(real[::every]), nets.fid.embed(shown[::every])
    if nets.fvd is not None:
        from models.experts.video_features import windows

        cut = [windows(side, nets.fvd.n_frames) for side in (real, shown)]
        out["fvd"] = tuple(nets.fvd.embed(c) for c in cut) if len(cut[0]) else "too_short"
    return out


@dataclass(slots=True)
class Member:
    """One video of a set. row: its score row; kept: its row of `embeddings`, or None; seen: its `pictures`."""

    row: dict[str, Any]
    kept: dict[str, Any] | None
    seen: dict[str, Pair | str] = field(default_factory=lambda: dict.fromkeys(PICTURES, "no_weights"))


def set_of(row: dict[str, Any], corpora: dict[str, str]) -> tuple[str, str, str, str]:
    """(system, condition, corpus, language) of the set that a row belongs to: those of its sound, as in all tables. corpora: clip
    id -> corpus."""
    corpus = corpora.get(row["audio_clip_id"], row["corpus"])
    return row["system"], row["condition"], corpus, row["audio_language"] or row["language"] or "und"


def sets_in(rows: Sequence[dict[str, Any]], corpora: dict[str, str]) -> dict[tuple[str, str, str, str], list[dict[str, Any]]]:
    """The rows by the set they belong to, sets and rows sorted."""
    out: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: r["generated_id"]):
        out.setdefault(set_of(row, corpora), []).append(row)
    return dict(sorted(out.items()))


def set_rows(key: tuple[str, str, str, str], members: Sequence[Member], nets: Networks, expert: str | None,
             recall: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of the table `sets` of one set: FID, FVD, R@K in both directions, diversity; each with a value or its reason.

    expert: the name of the sync expert whose embeddings the members have.
    """
    system, condition, corpus, language = key
    first = members[0].row
    base = {"set_id": f"{system}.{condition}.{corpus}.{language}", "corpus": corpus, "language": language, "system": system,
            "condition": condition, "training": first.get("training"),
            "training_languages": list(first.get("training_languages") or ()), "k": None, "direction": None, "value": None,
            "chance": None, "reason": None}
    rows = [*(_frechet(metric, members, nets) for metric in PICTURES), *_retrieval(members, expert, recall), _diversity(members)]
    return [base | row for row in rows]


def _frechet(metric: str, members: Sequence[Member], nets: Networks) -> dict[str, Any]:
    """The distance between the real pictures and the shown ones of the same clips; of several samples the first."""
    from metrics.distribution import frechet_of_parts

    unit, needed = ("frames", MIN_FRAMES) if metric == "fid" else ("windows", MIN_WINDOWS)
    some = [m for m in members if not m.row.get("sample")]
    known = [m for m in some if not isinstance(m.seen[metric], str)]
    n = sum(len(m.seen[metric][0]) for m in known)
    out = {"metric": metric, "n": n, "unit": unit, "n_needed": needed, "n_clips": len(known), "region": "face",
           "n_frames": sum(m.row["n_frames"] for m in known), "network": nets.names[metric]}
    if not known:
        return out | {"reason": _commonest([m.seen[metric] for m in some]), "n_clips": 0}
    if n < needed:
        return out | {"reason": TOO_FEW}
    return out | {"value": frechet_of_parts(*([m.seen[metric][side] for m in known] for side in (0, 1)))}


def _retrieval(members: Sequence[Member], expert: str | None, recall: Sequence[int]) -> list[dict[str, Any]]:
    """Recall at every K, of clips that all have sounds of their own: of two videos with one sound, the first counts."""
    from core.shards import unpack
    from metrics.retrieval import PARTS, retrieval

    of_sound: dict[str, Member] = {}
    missing: list[str] = []
    for m in members:
        if m.kept is None or m.kept["video"] is None:
            missing.append("not_scored" if m.kept is None else m.kept["no_sync"])
        elif not m.row.get("sample"):
            of_sound.setdefault(m.row["audio_clip_id"], m)
    known = list(of_sound.values())
    audio, video = (np.stack([unpack(m.kept[name], np.float32, (-1,)) for m in known]) if known else np.zeros((0, PARTS))
                    for name in ("audio", "video"))
    out = []
    for k in sorted(set(recall)):
        row = {"metric": "retrieval_recall", "k": k, "n": len(known), "unit": "clips", "n_needed": CANDIDATES_PER_K * k,
               "n_clips": len(known), "n_frames": sum(m.row["n_frames"] for m in known), "region": "sync view", "network": expert}
        if len(known) < max(2, row["n_needed"]):
            reason = _commonest(missing) if not known and missing else TOO_FEW
            out += [row | {"direction": d, "reason": reason} for d in DIRECTIONS]
            continue
        found = retrieval(audio, video, (k,), "l2")
        out += [row | {"direction": d, "value": getattr(found, d)[k], "chance": found.chance[k]} for d in DIRECTIONS]
    return out


def _diversity(members: Sequence[Member]) -> dict[str, Any]:
    """The mean over inputs of the lips' distance between an input's samples."""
    from core.shards import unpack
    from metrics.diversity import diversity_of_points

    inputs: dict[tuple[str, str], list[Member]] = {}
    for m in members:
        inputs.setdefault((m.row["track_id"], m.row["audio_clip_id"]), []).append(m)
    several = [some for some in inputs.values() if len(some) > 1]
    known = [[m for m in some if m.kept is not None and m.kept["lips"] is not None] for some in several]
    known = [some for some in known if len(some) > 1]
    out = {"metric": "lip_diversity", "n": len(known), "unit": "inputs", "n_needed": MIN_INPUTS, "n_clips": len(known),
           "region": "lips", "n_frames": sum(some[0].row["n_frames"] for some in known), "network": None}
    if not known:
        return out | {"reason": "no_mesh" if several else ONE_SAMPLE}
    points = [[unpack(m.kept["lips"], np.float32, (-1, 22, 2)) for m in some] for some in known]
    values = [diversity_of_points(np.stack([p[:min(map(len, some))] for p in some])) for some in points]
    return out | {"value": float(np.mean(values))}


def _commonest(reasons: Sequence[str]) -> str:
    """The most frequent reason; of equals the first by name."""
    return min(set(reasons), key=lambda r: (-reasons.count(r), r))
