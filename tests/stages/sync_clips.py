"""Workspaces for the stages' tests, and recordings whose every frame and click has a known time."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import yaml

from core import shards
from core.params import load_params
from core.tracks import N_LANDMARKS, Track, pack_track
from tests.core.media_clips import click_track, mux

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "corpora", "metrics", "models", "stages")

BASE = {
    "shards": 2,
    "executor": {"workers": 1, "timeout_s": 300},
    "track": {"landmarker": "facemesh"},  # a third of the bundle's time; what needs the bundle asks for it
    "crop": {"store": ["mouth"], "jpeg_quality": 92, "views": {
        "mouth": {"kind": "mouth", "size": [48, 64], "scale": 1.1},
        "whole": {"kind": "box", "size": 160, "scale": 1.0},
        "plain96": {"kind": "box", "size": 96, "scale": 1.3}}},
    "features": {"store": ["mel", "mfcc_syncnet", "mfcc_speech2vid"]},
    "train": {"experts": {"syncnet": {"view": "mouth"}}, "systems": {}},
    "generate": {"conditions": ["self"], "controls": ["real", "still", "shuffled"]},
    "score": {"expert": "syncnet"},
}


def workspace(folder: Path, corpora: dict, **sections) -> Path:
    """A folder with params.yaml and the project's rooms (by link: stages hash the code they run, found from where they run)."""
    folder.mkdir(parents=True, exist_ok=True)
    for room in ROOMS:
        if not (folder / room).exists():
            (folder / room).symlink_to(ROOT / room, target_is_directory=True)
    raw = BASE | {"corpora": corpora}
    for name, changes in sections.items():
        raw[name] = raw.get(name, {}) | changes if isinstance(changes, dict) else changes
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    return folder


@contextlib.contextmanager
def inside(folder: Path):
    """Runs in a workspace, with its checked params."""
    with contextlib.chdir(folder):
        yield load_params()


def index(folder: Path, rows: list[dict]) -> Path:
    """Writes the index.csv of a folder corpus."""
    names = ["file", "language", "speaker", "kind"]
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def rows_of(folder: Path, stage: str, instance: str, table: str) -> list[dict]:
    return shards.read_rows(folder / "data" / stage / instance, table)


def rejects_of(folder: Path, stage: str, instance: str) -> dict[str, tuple[str, str]]:
    """item id -> (reason, detail)."""
    return {r["item_id"]: (r["reason"], r["detail"]) for r in rows_of(folder, stage, instance, "rejects")}


def add_expert(folder: Path) -> None:
    """An expert that never learnt anything: its figures mean nothing, but there are some."""
    import torch

    from models.experts.syncnet import SyncNetSmall

    torch.manual_seed(3)
    out = folder / "data" / "train" / "syncnet"
    out.mkdir(parents=True)
    torch.save(SyncNetSmall((48, 64)).eval().state_dict(), out / "model.pt")
    shards.write_json(out / "card.json", {"class": "models.experts.syncnet:SyncNetSmall", "kind": "expert", "width": "small",
                                          "view": "mouth",
                                          "options": {"input_size": [48, 64]}, "languages": ["en"], "sha256": sha_of(folder)})


def sha_of(folder: Path) -> str:
    """The hash of a workspace's expert."""
    return hashlib.sha256((folder / "data" / "train" / "syncnet" / "model.pt").read_bytes()).hexdigest()


# ---- recordings ---------------------------------------------------------------------------------------------------------------
# Somebody hums (harmonics of 140 Hz, so that it counts as speech), with clicks in the pauses.
SHORT = {"length_s": 3.0, "speech": [(0.3, 1.0), (1.3, 2.0), (2.3, 2.8)], "clicks": [1.15, 2.15]}
LONG = {"length_s": 14.0, "speech": [(0.6, 1.6), (1.9, 3.2), (6.1, 7.3), (7.6, 9.0), (11.02, 12.0), (12.3, 13.6)],
        "clicks": [1.75, 7.45, 12.15]}
AVI_MP3_LATE_S = 1105 / 16000  # AVI cannot declare an MP3 encoder's delay: the sound of such a file really is that late
FPS25, NTSC = Fraction(25), Fraction(30000, 1001)


def hum(plan: dict, rate: int = 16000) -> np.ndarray:
    """float64 in [-1, 1]: voiced where plan["speech"] says, a click at each of plan["clicks"]."""
    t = np.arange(round(plan["length_s"] * rate)) / rate
    gate = sum(np.clip(np.minimum(t - a, b - t) / 0.02, 0, 1) for a, b in plan["speech"])
    voice = sum(np.sin(2 * np.pi * 140 * k * t + k) for k in (1, 2, 3)) * 0.12
    return gate * voice + click_track(plan["clicks"], plan["length_s"], rate)


def _times(plan: dict, rate: Fraction | None) -> list[float]:
    if rate is not None:
        return [float(i / rate) for i in range(round(plan["length_s"] * rate))]
    steps = np.random.default_rng(3).uniform(0.015, 0.09, 400)  # variable frame rate
    times = np.concatenate([[0.0], np.round(np.cumsum(steps), 3)])
    return times[times < plan["length_s"]].tolist()


_VP8 = {"video": ("libvpx", {"deadline": "realtime", "cpu-used": "8"})}
_MPEG1 = {"video": ("mpeg1video", {}), "clock": Fraction(1, 25)}
_AVI = {"video": ("mpeg4", {}), "clock": Fraction(1, 25), "muxer": {"avoid_negative_ts": "disabled"}}
_FINE = {"clock": Fraction(1, 90000)}
# name -> (file, what is said when, frame rate or None, codec and rate of the sound, mux options, known lateness)
RECORDINGS = {
    "mp4-aac": ("a.mp4", SHORT, FPS25, ("aac", 44100), {}, 0.0),
    "webm-opus": ("b.webm", SHORT, FPS25, ("libopus", 48000), _VP8, 0.0),
    "avi-mp3": ("c.avi", SHORT, FPS25, ("libmp3lame", 16000), _AVI, AVI_MP3_LATE_S),
    "mpg-mp2": ("d.mpg", SHORT, FPS25, ("mp2", 44100), _MPEG1, 0.0),
    "vfr": ("e.mp4", SHORT, None, ("aac", 16000), _FINE, 0.0),
    "ntsc": ("f.mp4", SHORT, NTSC, ("aac", 48000), _FINE, 0.0),
    "ntsc-long": ("g.mp4", LONG, NTSC, ("aac", 48000), _FINE, 0.0),
    "webm-long": ("h.webm", LONG, FPS25, ("libopus", 48000), _VP8, 0.0),
}


def record(folder: Path, name: str) -> list[float]:
    """Writes one of RECORDINGS; returns the display time of every source frame in seconds."""
    file, plan, rate, (codec, hz), options, _ = RECORDINGS[name]
    times = _times(plan, rate)
    mux(folder / file, times_s=times, tracks=[{"codec": codec, "rate": hz, "samples": hum(plan, hz)}], **options)
    return times


def fabricated_track(clip: dict, box: tuple[float, float, float, float], rng: np.random.Generator) -> dict:
    """A row of the tracks table for a clip without a face: a still box, and landmarks that stand still as well."""
    n, half = clip["n_frames"], (box[2] - box[0]) / 2
    points = rng.uniform(-0.3, 0.3, (N_LANDMARKS, 2)) * half + ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    points[[33, 263, 61, 291]] = points.mean(0) + np.array([(-0.3, -0.2), (0.3, -0.2), (-0.15, 0.2), (0.15, 0.2)]) * half
    track = Track(np.tile(np.float32(box), (n, 1)), np.tile(np.float32(points), (n, 1, 1)), np.ones(n, bool))
    kept = {k: clip[k] for k in ("clip_id", "recording_id", "corpus", "language", "speaker", "cluster", "kind", "file",
                                 "start_frame", "n_frames")}
    return kept | pack_track(track) | {"track_id": f"{clip['clip_id']}-t0", "track_index": 0, "face_share": 1.0,
                                       "mesh_share": 1.0, "face_px": 2 * half, "finder": "none", "landmarker": "none"}
