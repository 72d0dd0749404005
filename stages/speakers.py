"""Who speaks where the index does not say: recordings without a speaker, clustered by voice or by face. Work of the split
stage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from core.params import Params, Split
from core.records import Reject
from core.shards import read_rows
from core.stage import UserError, out_folder

FACE_LIMIT = 0.637
"""Cosine distance of SFace up to which two faces are one person: OpenCV's own limit, a similarity of 0.363."""
LOOKS = 3
"""Frames of a track that its face is embedded from."""


def named_by(rows: list[dict[str, Any]], params: Params) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """(the rows, those of unknown speakers with the cluster that voice or face give them, hashes of the weights it took); the
    rows as they are where params ask for neither.

    rows: tracks. Corpora and languages are clustered each by itself; a recording in which nothing is heard or seen keeps its own
    cluster. A cluster is called after the first of its recordings: `alike:RECORDING`.
    """
    kind = params.split.cluster_speakers
    unknown = {(r["corpus"], r["language"], r["recording_id"]) for r in rows if r["speaker"] is None and r["kind"] != "generated"}
    if kind == "none" or not unknown:
        return rows, {}
    weights = _weights(params.split)
    named: dict[tuple[str, str, str], str] = {}
    for who in params.instances():
        mine = sorted(r for c, lang, r in unknown if (c, lang) == (who.corpus, who.language))
        if mine:
            found, metric, limit = (voices if kind == "voice" else faces)(who.name, set(mine), params.split)
            named |= {(who.corpus, who.language, r): c for r, c in grouped(found, metric, limit).items()}
    return [r if (key := (r["corpus"], r["language"], r["recording_id"])) not in named or r["speaker"] is not None
            else r | {"cluster": named[key]} for r in rows], weights


def _weights(split: Split) -> dict[str, str]:
    from core.weights import find, use_file
    from models.experts.identity import WEIGHTS

    if split.speaker_model:
        return {"speaker": use_file(split.speaker_model).sha256 if Path(split.speaker_model).is_file() else split.speaker_model}
    return {} if split.cluster_speakers == "voice" else {"speaker": find(WEIGHTS).sha256}


def grouped(vectors: dict[str, np.ndarray], metric: str, limit: float) -> dict[str, str]:
    """recording -> the name of its cluster, from a vector of each. UserError for more recordings than can be clustered at
    once."""
    from metrics.clusters import agglomerate

    names = sorted(vectors)
    if not names:
        return {}
    try:
        labels = agglomerate(np.stack([vectors[n] for n in names]), limit, metric)
    except ValueError as error:
        raise UserError(f"split.cluster_speakers: {error}; set it to none") from error
    first: dict[int, str] = {}
    return {name: f"alike:{first.setdefault(int(label), name)}" for name, label in zip(names, labels, strict=True)}


def voices(instance: str, wanted: set[str], split: Split) -> tuple[dict[str, np.ndarray], str, float]:
    """(recording -> the mean of its clips' voiceprints, metric, limit)."""
    from core.media import decode_flac
    from models.experts.speaker import open_voiceprint

    try:
        model = open_voiceprint(split.speaker_model)
    except ValueError as error:
        raise UserError(f"split.speaker_model: {error}") from error
    found: dict[str, list[np.ndarray]] = {}
    for row in read_rows(out_folder("segment", instance), "clips", ["recording_id", "audio"]):
        if row["recording_id"] in wanted and (vector := model.embed(decode_flac(row["audio"]))) is not None:
            found.setdefault(row["recording_id"], []).append(vector)
    return _means(found), model.metric, split.speaker_distance or model.limit


def faces(instance: str, wanted: set[str], split: Split) -> tuple[dict[str, np.ndarray], str, float]:
    """(recording -> the mean embedding of the largest face in it, metric, limit). WeightsMissing says how to get the network."""
    from core.weights import find
    from models.experts.identity import WEIGHTS, open_recognizer

    try:
        model = open_recognizer(Path(split.speaker_model) if split.speaker_model else find(WEIGHTS).path)
    except ValueError as error:
        raise UserError(f"split.speaker_model: {error}") from error
    best: dict[str, dict[str, Any]] = {}
    columns = ["recording_id", "track_id", "file", "start_frame", "n_frames", "face_px", "boxes", "landmarks",
               "landmark_unit", "meshed"]
    for row in read_rows(out_folder("track", instance), "tracks", columns):
        if row["recording_id"] in wanted and row["face_px"] > best.get(row["recording_id"], {"face_px": -1.0})["face_px"]:
            best[row["recording_id"]] = row
    found = {name: vectors for name, row in sorted(best.items())
             if (vectors := list(_seen(model, row, out_folder("download", instance) / "media")))}
    return _means(found), "cosine", split.speaker_distance or FACE_LIMIT


def _seen(model: Any, row: dict[str, Any], media: Path) -> Iterable[np.ndarray]:
    """Unit embeddings of a track at a few of its frames."""
    from core.media import read_frames
    from core.tracks import load_track
    from models.experts.identity import five_points

    points = five_points(load_track(row).landmarks)
    for k in range(LOOKS):
        at = (2 * k + 1) * row["n_frames"] // (2 * LOOKS)
        try:
            frame = next(iter(read_frames(media / row["file"], start=row["start_frame"] + at, stop=row["start_frame"] + at + 1)),
                         None)
        except Reject:
            return
        if frame is not None:
            vector = model.embed([frame], points[at : at + 1])[0]
            yield vector / max(float(np.linalg.norm(vector)), 1e-9)


def _means(found: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean(vectors, axis=0) for name, vectors in sorted(found.items())}
