"""Fabricates the outputs of every stage before aggregate: made-up scores with known effects, and tiny videos. Test data only."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from core.media import encode_flac, encode_video
from core.records import columns
from core.shards import shard_path, write_json, write_table
from metrics.lags import LAGS as INJECTED

ROOT = Path(__file__).resolve().parents[2]
N_FRAMES = 25
LAGS = 31
# language -> (how much a system that did not train on it loses, lag of its real video in frames, does the expert hear it)
LANGUAGES = {
    "en": (0.0, 0, True),
    "zh": (0.10, 0, True),
    "tr": (0.15, 0, True),
    "ko": (0.15, 0, False),
    "x-gap": (0.60, 2, True),
    "x-twin": (0.15, 0, True),
}
SYSTEMS = {"fake-en": ["en"], "fake-mix": ["en", "zh"]}
# language -> how often each sound is said, in visemes; a still face is off by STILL, a system by less, but for one sound in
# Turkish
SOUNDS = {"en": "pp ff th aa eh ss", "zh": "kk ch aa oh ss ss", "tr": "dd kk eh ou ss rr", "ko": "kk kk pp oh ou ih"}
STILL = {"pp": 0.02, "aa": 0.09, "eh": 0.07, "oh": 0.08}


def fabricate(folder: Path, *, speakers: int = 7, clips: int = 2, systems: bool = True, seed: int = 3) -> Path:
    """Lays out a whole project in `folder`: params.yaml, links to the code, and data/ of every stage up to score."""
    rng = np.random.default_rng(seed)
    for room in ("core", "corpora", "metrics", "models", "report", "stages"):
        (folder / room).symlink_to(ROOT / room)
    made = SYSTEMS if systems else {}
    (folder / "params.yaml").write_text(yaml.safe_dump(_params(made)))
    tracks = [(tag, s, c) for tag in LANGUAGES for s in range(speakers) for c in range(clips)]
    _sources(folder, tracks, speakers, clips)
    video = (folder / "data/download/synthetic-en/media/a.mp4").read_bytes()
    rows = {name: [] for name in (*made, "controls")}
    for tag, s, c in tracks:
        for name in rows:
            rows[name] += _scores(rng, tag, s, c, name, made.get(name), speakers, clips)
    for name, found in rows.items():
        generated = [
            {k: r.get(k) for k in columns("generated")} | {"video": None if r["system"] == "real" else video} for r in found
        ]
        for row in generated:
            if row["system"] not in ("real", "still") and row["condition"] == "shuffled":
                row["video"], row["video_of"] = None, row["generated_id"].replace("shuffled", "self")
        n = {tag: sum(r["language"] == tag for r in found) for tag in LANGUAGES}
        n_tracks = {tag: speakers * clips for tag in LANGUAGES}
        _stage(folder, "generate", name, {"generated": generated}, n_tracks)
        _stage(folder, "score", name, {"scores": found}, n, weights={"expert": "ab" * 32})
        _sets(folder, name, found)
    _bias(folder, rng, tracks, rows["controls"])
    write_table(shard_path(folder / "data/split/all", "splits", 0), _splits(speakers, clips), "splits")
    for name in ("syncnet", "syncnet-en", *made):
        out = folder / "data/train" / name
        out.mkdir(parents=True)
        curve = 2 * np.exp(-np.arange(300) / 60) + 0.5 + 0.05 * rng.standard_normal(300)
        (out / "losses.csv").write_text("step,loss,lr\n" + "".join(f"{i * 4},{v:.5f},0.001\n" for i, v in enumerate(curve)))
        write_json(
            out / "card.json",
            {
                "name": name,
                "kind": "system",
                "languages": made.get(name, ["en"] if name == "syncnet-en" else ["en", "zh", "tr"]),
                "steps": 1200,
                "n_parameters": 308000,
                "sha256": "cd" * 32,
                "params": {"seed": 1},
                "alarms": [],
                "held_out": {"en": {"accuracy": 0.95, "n": 40}, "all": {"accuracy": 0.93, "n": 80}},
            },
        )
        write_json(out / "fingerprint.json", {"params": {"seed": 1}, "code": "ef" * 32, "weights": {}})
    return folder


def _params(systems: dict) -> dict:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    corpus = raw["corpora"]["synthetic"]
    corpus["languages"] = {tag: {} for tag in LANGUAGES if not tag.startswith("x-")} | {
        "x-gap": {"twin_of": "tr"},
        "x-twin": {"twin_of": "tr"},
    }
    raw["corpora"] = {"synthetic": corpus}
    model = next(iter(raw["train"]["systems"].values()))
    raw["train"]["systems"] = {name: {**model, "languages": tags} for name, tags in systems.items()}
    raw["train"]["experts"]["syncnet-en"] = {**raw["train"]["experts"]["syncnet"], "languages": ["en"]}
    raw["score"]["ablation_experts"] = ["syncnet-en"]
    raw["report"] = {"gallery_per_language": 1, "seed": 3, "bootstrap": 400, "alpha": 0.05}
    return raw


def _bias(folder: Path, rng: np.random.Generator, tracks: list, rows: list[dict]) -> None:
    """An expert that learnt English only: it hears less in every other language."""
    out = []
    for row in rows:
        if row["system"] == "real":
            lead = (2.0 if row["language"] == "en" else 0.8) * (row["condition"] == "self")
            out.append({k: row.get(k) for k in columns("scores")} | {
                "expert": "small:efefefef", "expert_sha256": "ef" * 32, "null_reasons": [], "mean_dist": None,
                "lag_offsets": None, "lse_c": float(1 + lead + 0.3 * rng.standard_normal()), "lse_d": 8.0})
    _stage(folder, "bias", "syncnet-en", {"scores": out}, {tag: sum(r["language"] == tag for r in out) for tag in LANGUAGES})


def _sets(folder: Path, name: str, scores: list[dict]) -> None:
    """Figures of sets without any picture network: recall falls with the language, FID has no weights."""
    groups: dict[tuple, list[dict]] = {}
    for row in scores:
        groups.setdefault((row["system"], row["condition"], row["audio_language"]), []).append(row)
    out = []
    for (system, condition, tag), found in sorted(groups.items()):
        base = {"set_id": f"{system}.{condition}.synthetic.{tag}", "corpus": "synthetic", "language": tag, "system": system,
                "condition": condition, "training": found[0]["training"], "training_languages": found[0]["training_languages"],
                "n_clips": len(found), "n_frames": N_FRAMES * len(found), "region": "face"}
        for metric, unit, needed, reason in (("fid", "frames", 100, "no_weights"), ("fvd", "windows", 16, "no_weights"),
                                             ("lip_diversity", "inputs", 1, "one_sample")):
            out.append(base | {"metric": metric, "n": 0, "unit": unit, "n_needed": needed, "reason": reason})
        for k in (1, 10):
            for way in ("audio_to_video", "video_to_audio"):
                few = len(found) < 2 * k
                value = None if few else 0.05 if condition == "shuffled" else 0.8 - LANGUAGES[tag][0]
                out.append(base | {"metric": "retrieval_recall", "k": k, "direction": way, "n": len(found), "unit": "clips",
                                   "n_needed": 2 * k, "region": "sync view", "network": "small:abababab", "value": value,
                                   "chance": None if few else k / len(found), "reason": "too_few" if few else None})
    _stage(folder, "sets", name, {"sets": out}, {tag: sum(k[2] == tag for k in groups) for tag in LANGUAGES})


def _phonemes(tag: str) -> list[dict]:
    """The sounds of one recording of N_FRAMES frames, one after the other, each 0.12 s."""
    sounds = SOUNDS.get(tag, SOUNDS["tr"]).split()
    return [{"symbol": f"{v[0]}\u02d0", "viseme": v, "start_s": 0.12 * i, "end_s": 0.12 * (i + 1)} for i, v in enumerate(sounds)]


def _viseme_errors(rng: np.random.Generator, tag: str, system: str) -> list[dict]:
    out = []
    for viseme in sorted(set(SOUNDS.get(tag, SOUNDS["tr"]).split())):
        still = STILL.get(viseme, 0.04)
        worse = 1.8 if (system, tag, viseme) == ("fake-en", "tr", "ou") else 0.6
        error = still * (1.0 if system == "still" else worse) + 0.004 * rng.standard_normal()
        out.append({"viseme": viseme, "n_frames": 3, "error": float(abs(error)),
                    "signed": float(error * (-0.8 if system == "still" else 0.7))})
    return out


def _who(tag: str, s: int) -> dict:
    return {"corpus": "synthetic", "language": tag, "speaker": f"{tag}-s{s}", "cluster": f"speaker:{tag}-s{s}", "kind": "real"}


def _ids(tag: str, s: int, c: int) -> dict:
    return {"recording_id": f"{tag}-s{s}-{c}", "clip_id": f"{tag}-s{s}-{c}-000", "track_id": f"{tag}-s{s}-{c}-000-0"}


@lru_cache(maxsize=1)
def _pictures() -> tuple[dict[str, bytes], bytes, int]:
    """Two moving pictures with a beeping tone, as files by name; the tone as FLAC, and its length in samples."""
    t = np.arange(N_FRAMES * 640) / 16000
    sound = (6000 * np.sin(2 * np.pi * 330 * t) * (np.sin(2 * np.pi * 3 * t) > 0)).astype(np.int16)
    y, x = np.mgrid[:96, :80]
    face = (x - 40) ** 2 + ((y - 48) * 0.8) ** 2 < 1000
    files = {}
    for name, red, blue in (("a.mp4", 236, 150), ("b.mp4", 170, 210)):
        frames = []
        for f in range(N_FRAMES):
            mouth = ((x - 40) / 14) ** 2 + ((y - 62) / (9 + 6 * np.sin(f * 0.9))) ** 2 < 1
            picture = np.dstack([np.where(face, 224, red), np.where(face, 188, 200), np.where(face, 160, blue)])
            frames.append(np.where(mouth[..., None], (120, 30, 40), picture).astype(np.uint8))
        files[name] = encode_video(frames, audio=sound)
    return files, encode_flac(sound), len(sound)


def _sources(folder: Path, tracks: list, speakers: int, clips: int) -> None:
    """The same two pictures for all recordings, and the tables that lead to them."""
    files, flac, n_samples = _pictures()
    for tag in LANGUAGES:
        media = folder / f"data/download/synthetic-{tag}/media"
        media.mkdir(parents=True)
        for name, data in files.items():
            (media / name).write_bytes(data)
        own = [(s, c) for g, s, c in tracks if g == tag]
        n = len(own)
        base = [
            {**_ids(tag, s, c), **_who(tag, s), "file": "ab"[c % 2] + ".mp4", "start_frame": 0, "n_frames": N_FRAMES}
            for s, c in own
        ]
        name = f"synthetic-{tag}"
        _stage(
            folder,
            "download",
            name,
            {
                "recordings": [{**b, "bytes": 1, "sha256": "0" * 64} for b in base],
                "truth": [{"recording_id": b["recording_id"], "language": tag, "phonemes": _phonemes(tag)} for b in base],
            },
            {tag: n + 1},
            rejected={tag: {"missing_file": 1}},
        )
        _stage(folder, "segment", name, {"clips": [{**b, "n_samples": n_samples, "audio": flac} for b in base]}, {tag: n})
        _stage(folder, "track", name, {"tracks": [{**b, "track_index": 0} for b in base]}, {tag: n})
        _stage(folder, "inspect", name, {"kept": [{**b, "track_index": 0} for b in base]}, {tag: n})
        _stage(folder, "crop", name, {"views": []}, {tag: n})
        _stage(folder, "features", name, {"features": []}, {tag: n})


def _splits(speakers: int, clips: int) -> list[dict]:
    return [
        {**_ids(tag, s, c), **_who(tag, s), "n_frames": N_FRAMES, "split": "test", "fold": "real"}
        for tag in LANGUAGES
        for s in range(speakers)
        for c in range(clips)
    ]


def _stage(
    folder: Path, stage: str, instance: str, tables: dict, items: dict, rejected: dict | None = None, weights: dict | None = None
) -> None:
    out = folder / "data" / stage / instance
    for table, rows in tables.items():
        if table in ("views", "features"):
            continue
        names = columns(table)
        write_table(shard_path(out, table, 0), [{k: r.get(k) for k in names} for r in rows], table)
    cells = {
        tag: {"in": n, "kept": n - sum((rejected or {}).get(tag, {}).values()), "rejected": (rejected or {}).get(tag, {})}
        for tag, n in items.items()
    }
    kept, total = sum(c["kept"] for c in cells.values()), sum(items.values())
    write_json(
        out / "stats.json",
        {
            "stage": stage,
            "instance": instance,
            "items_in": total,
            "kept": kept,
            "rejected": total - kept,
            "rows": {t: len(r) for t, r in tables.items()},
            "by_language": cells,
        },
    )
    write_json(
        out / "fingerprint.json", {"seal": "12" * 32, "params": {"stage": stage}, "code": "34" * 32, "weights": weights or {}}
    )


def _scores(
    rng: np.random.Generator, tag: str, s: int, c: int, name: str, trained: list[str] | None, speakers: int, clips: int
) -> list[dict]:
    lost, late, heard = LANGUAGES[tag]
    voice = 0.04 * np.sin(2.4 * s + len(tag))  # speakers differ, the same in all their clips
    other = _ids(tag, s, (c + 1) % clips)["clip_id"] if clips > 1 else _ids(tag, (s + 1) % speakers, c)["clip_id"]
    if trained is None:
        kinds = [("real", "self"), ("real", "shuffled"), ("still", "self")]
    else:
        kinds = [(name, k) for k in ("self", "shuffled", "cross-audio", "cross-language")]
    rows = []
    for system, condition in kinds:
        foreign = "en" if tag != "en" else "zh"
        sync = {"real": 0.9, "still": 0.05}.get(system, 0.75 - (lost if tag not in (trained or ()) else 0) * 0.6)
        sync = 0.05 if condition == "shuffled" else sync * (0.9 if condition.startswith("cross") else 1)
        sync = (sync if heard else 0.1) + voice + 0.03 * rng.standard_normal()
        lags = np.arange(LAGS) - LAGS // 2
        best = late if system == "real" else 0
        if sync < 0.3:
            best = int(rng.integers(-12, 13))
        curve = 10 - 3 * max(sync, 0) * np.exp(-((lags - best) ** 2) / 6) + 0.05 * rng.standard_normal(LAGS)
        spoken = foreign if condition == "cross-language" else tag
        row = {
            **_ids(tag, s, c),
            **_who(tag, s),
            "system": system,
            "condition": condition,
            "n_frames": N_FRAMES,
            "sample": 0,
            "generated_id": f"{_ids(tag, s, c)['track_id']}.{system}.{condition}.0",
            "training": name if trained else None,
            "training_languages": trained or [],
            "audio_language": spoken,
            "audio_clip_id": {"self": _ids(tag, s, c)["clip_id"], "cross-language": _ids(foreign, s, c)["clip_id"]}.get(
                condition, other
            ),
            "protocol": "syncnet-v2-direct",
            "expert": "small:abababab",
            "expert_sha256": "ab" * 32,
            "finder": "yunet",
            "loudness_db": -20.0,
            "lse_c": float(np.median(curve) - curve.min()),
            "lse_d": float(curve.min()),
            "offset_frames": int(lags[curve.argmin()]),
            "n_windows": 20,
            "mean_dist": curve.tolist(),
        }
        if system == "real":
            hears = heard and condition == "self"
            guesses = np.random.default_rng([s, c, len(tag), ord(tag[-1])]).integers(-15, 16, len(INJECTED)).tolist()
            row["lag_offsets"] = [lag + late for lag in INJECTED] if hears else guesses
        row |= {"blink_rate": {"real": 15.0 + s % 3, "still": 0.0}.get(system, 6.0 + s % 3),
                "head_motion": {"real": 0.3, "still": 0.0}.get(system, 0.2)}
        nulls = {}
        if system == "real":
            nulls = dict.fromkeys(("ssim", "psnr", "landmark_distance", "opening_correlation"), "is_the_reference")
        else:
            row |= {
                "ssim": float(0.95 - 0.1 * lost + 0.01 * rng.standard_normal()),
                "psnr": float(32 - 4 * lost + rng.standard_normal()),
            }
            if condition == "self" and system != "still":
                row |= {
                    "landmark_distance": float(0.03 + 0.05 * lost + abs(voice) / 20 + 0.003 * rng.standard_normal()),
                    "opening_correlation": float(
                        0.8 - (lost if tag not in trained else 0) + voice + 0.04 * rng.standard_normal()
                    ),
                }
            elif system == "still":
                row["landmark_distance"] = float(0.12 + 0.01 * rng.standard_normal())
                nulls = {"opening_correlation": "constant_series"}
                if tag == "ko":
                    row["blink_rate"], nulls["blink_rate"] = None, "too_short"
            else:
                nulls = dict.fromkeys(("landmark_distance", "opening_correlation"), "other_words")
        if condition == "self" and system != "real":
            row["viseme_errors"] = _viseme_errors(rng, tag, system)
        row["null_reasons"] = [{"metric": m, "reason": r} for m, r in sorted(nulls.items())]
        rows.append(row)
    return rows
