"""Judges one face in one video: arrays in, a score row's columns out. Not a stage, but what stages.score and stages.score_files
share.

The figures themselves, and where to add one, are in stages/figures.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import UserError
from core.reel import Reel
from stages.figures import FIGURES, METRICS, Null, Take, Unscored, along

if TYPE_CHECKING:
    from core.cells import Cell

TRACK_JPEG_QUALITY = 2  # of the frames in which the published pipeline finds faces
NETWORKS = {"lpips": "lpips_alexnet", "identity": "sface"}  # config key -> name in core.weights: used where the file is here


class Judge:
    """Everything that stays the same from row to row: protocol, expert, mesh, networks.

    config: protocol, vshift, min_windows, view (of core.params.View), expert (`read_expert`; None: LSE is null with `no_expert`),
    mesh (kind, path) or None, smooth_frames, sound ("clip" or "file"), and by name of NETWORKS a file or None. Where they are not
    there: precision float32, reader (`read_reader`) None.
    """

    def __init__(self, config: dict[str, Any]):
        from core.views import ViewTemplate
        from metrics.protocols import protocol

        self.config = config
        self.protocol = protocol(config["protocol"])
        self.template = ViewTemplate(**config["view"])
        self.expert = self.mesh = None
        if config["expert"] is not None:
            import torch

            from core.weights import load_torch
            from models.experts.syncnet import open_sync

            torch.set_num_threads(1)
            check_precision(config["expert"], self.precision)
            self.expert = open_sync("syncnet" if config["expert"]["network"] == "full" else "small",
                                    load_torch(Path(config["expert"]["path"])), self.template.shape, self.precision)
        if config["mesh"] is not None:
            from models.experts.landmarks import open_landmarker

            self.mesh = open_landmarker(Path(config["mesh"][1]), config["mesh"][0])

    @property
    def precision(self) -> str:
        """What the expert's video branch calculates in."""
        return self.config.get("precision", "float32")

    @cached_property
    def reader(self) -> tuple[Any, Any] | None:
        """The lip reader and the view that it is shown, or None where none is named."""
        from core.views import ViewTemplate
        from models.experts.lip_reader import open_lip_reader

        named = self.config.get("reader")
        return None if named is None else (open_lip_reader(named["target"], named["weights"]), ViewTemplate(**named["view"]))

    @cached_property
    def perceptual(self) -> Any:
        """LPIPS, or None where its weights are not here."""
        from models.experts.perceptual import open_perceptual

        path = self.config.get("lpips")
        return None if path is None else open_perceptual(Path(path), "alex")

    @cached_property
    def recognizer(self) -> Any:
        """The face recognizer, or None where its weights are not here."""
        from models.experts.identity import open_recognizer

        path = self.config.get("identity")
        return None if path is None else open_recognizer(Path(path))

    def __call__(self, take: Take) -> dict[str, Any]:
        """The judged columns of a score row: all of METRICS, lag_offsets where they were asked for, protocol, expert,
        finder, loudness_db and null_reasons."""
        from core import audio

        values: dict[str, Any] = dict.fromkeys(METRICS)
        why: dict[str, str] = {}
        for columns, figure in FIGURES:
            try:
                found = figure(self, take)
            except Unscored as unscored:
                why |= dict.fromkeys(columns, unscored.reason)
                continue
            why |= {name: value.reason for name, value in found.items() if isinstance(value, Null)}
            values |= {name: value for name, value in found.items() if not isinstance(value, Null)}
        expert = self.config["expert"] or {}
        return values | {
            "protocol": self.describe(take.finder), "expert": expert.get("name"), "expert_sha256": expert.get("sha256"),
            "finder": take.finder, "loudness_db": None if take.samples is None else audio.loudness_db(take.samples),
            "null_reasons": [{"metric": m, "reason": r} for m, r in sorted(why.items())]}

    def describe(self, finder: str | None) -> str:
        """The protocol string of rows whose boxes come from `finder` (`kind:sha256`)."""
        from metrics.protocols import describe
        from models.experts.finder import s3fd_box

        height, width = self.template.shape
        scale, shift = s3fd_box(finder) if self.template.kind == "syncnet" else (1.0, 0.0)
        return describe(self.protocol, view=self.template.kind, height=height, width=width, vshift=self.config["vshift"],
                        min_windows=self.config["min_windows"], finder=finder, box_scale=scale, box_shift=shift,
                        sound=self.config["sound"], precision=self.precision,
                        reader=(self.config.get("reader") or {}).get("name"))

    def crops(self, take: Take) -> np.ndarray:
        """What the sync expert sees: uint8 (n, height, width, 3). Unscored without a face where the protocol needs one."""
        import cv2

        from core.media import jpeg_roundtrip_mjpeg

        frames = take.frames if take.sync_frames is None else take.sync_frames
        height, width = self.template.shape
        if self.protocol.picture == "whole frame":
            return np.stack([f if f.shape[:2] == (height, width) else cv2.resize(f, (width, height)) for f in frames])
        cut = along(take, self.template, frames)
        return np.stack(list(jpeg_roundtrip_mjpeg(cut) if self.protocol.jpeg else cut))


def seen_frames(judge: Judge, source: Any, start: int, n: int, threads: int = 1) -> Iterable[np.ndarray] | None:
    """The sync_frames of a Take from a video: JPEG as its protocol has them; None where it looks at the decoded frames."""
    from core import media

    if not judge.protocol.jpeg or judge.expert is None:
        return None
    quality = TRACK_JPEG_QUALITY if judge.protocol.picture == "track" else None
    return Reel(lambda: media.read_frames_jpeg(source, start=start, stop=start + n, quality=quality, threads=threads), n)


def sources(params: Any, rows: list[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], dict[str, Cell]]:
    """(`source_tracks`; clip id -> its sound, a cell) of generated rows."""
    from core.sound import light_sounds

    heard, clips = {r["audio_clip_id"] for r in rows}, {}
    for who in params.instances():
        clips |= {clip_id: r["audio"] for clip_id, r in light_sounds(who.name, heard).items()}
    return source_tracks(params, {r["track_id"] for r in rows}), clips


def source_tracks(params: Any, wanted: set[str], columns: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """track id -> its row (some columns or all) with `media`, the folder of its file, and that file's sha256. Bytes are cells."""
    from core.cells import light_rows
    from core.stage import out_folder

    tracks: dict[str, dict[str, Any]] = {}
    for who in params.instances():
        folder = out_folder("download", who.name)
        rows = list(light_rows(out_folder("track", who.name), "tracks", columns, ("track_id", wanted)))
        shown = {r["recording_id"] for r in rows}
        sha = {r["recording_id"]: r["sha256"]
               for r in light_rows(folder, "recordings", ["recording_id", "sha256"], ("recording_id", shown))}
        tracks |= {r["track_id"]: r | {"media": str(folder / "media"), "sha256": sha[r["recording_id"]]} for r in rows}
    return tracks


def read_expert(path: Path) -> dict[str, Any]:
    """A sync expert's file: path, sha256, network, view (its card's, else syncnet) and name (LSE-D only for the public
    weights)."""
    from core.shards import read_json
    from core.weights import known_name, use_file

    found = use_file(path)
    card_path = path.with_name("card.json")
    card = read_json(card_path) if card_path.is_file() else {}
    network = card.get("width", "full")
    public = known_name(found.sha256) == "syncnet_v2"
    return {"path": str(path), "sha256": found.sha256, "network": network, "view": card.get("view", "syncnet"),
            "name": "syncnet_v2" if public else f"{network}:{found.sha256[:8]}"}


def networks() -> tuple[dict[str, str | None], dict[str, str]]:
    """(config entries, fingerprint marks) of the networks whose files are on this machine already: none is fetched for a
    score."""
    from core.weights import WeightsMissing, find

    config: dict[str, str | None] = {}
    marks: dict[str, str] = {}
    for key, name in NETWORKS.items():
        try:
            found = find(name, fetch=False)
        except WeightsMissing:
            config[key], marks[key] = None, "none"
        else:
            config[key], marks[key] = str(found.path), found.sha256
    return config, marks


def check_precision(expert: dict[str, Any], precision: str) -> None:
    """UserError where an expert (`read_expert`) cannot calculate in what score.precision asks for."""
    if precision != "float32" and expert["network"] != "full":
        raise UserError(f"score.precision {precision}: {expert['path']} is a small network, which calculates in float32 only; "
                        "leave score.precision out, or name SyncNet's weights in score.expert")


def read_reader(score: Any, views: Mapping[str, Any]) -> dict[str, Any] | None:
    """The lip reader that params.score names: target, weights, view (of core.params.View) and name, with a digest of its module
    and weights; None where none is named. UserError where it cannot be opened, or looks at a view that `views` does not have."""
    from core.digest import digest_file, digest_of
    from core.weights import use_file
    from models.experts.lip_reader import open_lip_reader, source_of

    if score.lip_reader is None:
        return None
    weights = None if score.lip_reader_weights is None else Path(score.lip_reader_weights)
    if weights is not None and not weights.is_file():
        raise UserError(f"score.lip_reader_weights: {weights}: no such file; name the one that {score.lip_reader} is opened with")
    try:
        reader = open_lip_reader(score.lip_reader, weights)
    except ValueError as error:
        raise UserError(f"score.lip_reader: {error}") from error
    if reader.view not in views:
        raise UserError(f"score.lip_reader {score.lip_reader}: it looks at the view {reader.view!r}, which params.crop.views "
                        "does not define")
    files = [digest_file(source_of(score.lip_reader)), None if weights is None else use_file(weights).sha256]
    return {"target": score.lip_reader, "weights": weights, "view": views[reader.view].model_dump(),
            "name": f"{reader.name}:{digest_of(files)[:8]}"}
