"""What is known of the dataset as it lies here: its version, what it holds per language, who speaks, what was lost. For cards."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from core.digest import digest_file
from core.params import Params
from core.shards import read_json, read_rows, read_shard, shard_path
from core.stage import UserError, out_folder

FPS = 25
_MEN, _WOMEN = {"m", "male", "man", "masculine"}, {"f", "female", "w", "woman", "feminine"}


def facts(params: Params, root: Path = Path(".")) -> dict[str, Any]:
    """{version, corpora, languages, funnel, index, shared, gone}, all plain values. FileNotFoundError before the first build."""
    if not (root / out_folder("split", "all") / "splits").is_dir():
        raise FileNotFoundError(f"{root / out_folder('split', 'all')}: no splits here; run first: babelface build")
    from flows.funnel import collect

    lost = collect(params, root)
    return {"version": version(root), "corpora": corpora(params), "languages": languages(params, root),
            "funnel": lost["steps"], "index": [{k: v for k, v in one.items() if k != "places"} for one in lost["index"]],
            "shared": _shared(root), "gone": gone(params, root)}


def version(root: Path = Path(".")) -> dict[str, Any]:
    """{commit, date, changed, lock, outputs}: the git commit and its day (None without one), whether tracked files differ from
    it, sha256 of dvc.lock, and the hash of every output that dvc.lock names."""
    def git(*words: str) -> str | None:
        ran = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return ran.stdout.strip() if ran.returncode == 0 else None

    path = root / "dvc.lock"
    lock = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
    outputs = {out["path"]: out.get("md5") for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])}
    return {"commit": git("rev-parse", "--verify", "--quiet", "HEAD"), "date": git("show", "-s", "--format=%cs", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
            "lock": digest_file(path) if path.is_file() else None, "outputs": dict(sorted(outputs.items()))}


def corpora(params: Params) -> dict[str, dict[str, Any]]:
    """The card of every corpus in use, and its languages that are built, planted ones apart."""
    from corpora.registry import card_of

    left_out = ("languages", "hours", "hours_note")
    return {name: {k: v for k, v in asdict(card_of(name, entry)).items() if k not in left_out}
            | {"languages": sorted(t for t, e in entry.languages.items() if e.twin_of is None),
               "planted": sorted(t for t, e in entry.languages.items() if e.twin_of is not None)}
            for name, entry in params.corpora.items()}


def gender_of(extra: str | None) -> str:
    """"female", "male" or "unknown", from what the corpus says of a recording, in the JSON of its column `extra`."""
    said = json.loads(extra or "{}")
    word = next((str(v).strip().lower() for k, v in sorted(said.items()) if k.lower() in ("gender", "sex")), "")
    return "male" if word in _MEN else "female" if word in _WOMEN else "unknown"


def languages(params: Params, root: Path = Path(".")) -> list[dict[str, Any]]:
    """Per corpus and language: recordings, bytes, clips, hours (of dealt tracks), speakers, unknown_speakers, largest_speaker
    (share of the hours), per_speaker (`balance` of their clips and of their hours), genders (hours by gender) and splits (tracks,
    speakers and hours of each)."""
    found = []
    for who in params.instances():
        recordings = read_rows(root / out_folder("download", who.name), "recordings", ["recording_id", "bytes", "extra"])
        gender = {r["recording_id"]: gender_of(r["extra"]) for r in recordings}
        clips = read_rows(root / out_folder("segment", who.name), "clips", ["clip_id"])
        path = shard_path(root / out_folder("split", "all"), "splits", who.name)
        rows = read_shard(path).to_pylist() if path.is_file() else []
        splits: dict[str, dict[str, Any]] = {}
        by_speaker: dict[str, float] = defaultdict(float)
        clips_of: dict[str, set[str]] = defaultdict(set)
        by_gender: dict[str, float] = defaultdict(float)
        for r in rows:
            hours = r["n_frames"] / FPS / 3600
            cell = splits.setdefault(r["split"], {"tracks": 0, "speakers": set(), "hours": 0.0})
            cell["tracks"] += 1
            cell["speakers"].add(r["cluster"])
            cell["hours"] += hours
            by_speaker[r["cluster"]] += hours
            clips_of[r["cluster"]].add(r["clip_id"])
            by_gender[gender.get(r["recording_id"], "unknown")] += hours
        total, hours_of_each = sum(by_speaker.values()), balance(list(by_speaker.values()))
        found.append({
            "corpus": who.corpus, "language": who.language, "planted": who.planted, "recordings": len(recordings),
            "bytes": sum(r["bytes"] or 0 for r in recordings), "clips": len(clips), "hours": round(total, 6),
            "speakers": len(by_speaker), "unknown_speakers": sum(1 for name in by_speaker if not name.startswith("speaker:")),
            "largest_speaker": hours_of_each["largest_share"],
            "per_speaker": {"clips": balance([len(c) for c in clips_of.values()]), "hours": hours_of_each},
            "genders": {k: round(v, 6) for k, v in sorted(by_gender.items())},
            "splits": {name: cell | {"speakers": len(cell["speakers"]), "hours": round(cell["hours"], 6)}
                       for name, cell in sorted(splits.items())}})
    return found


def balance(amounts: list[float]) -> dict[str, float | None]:
    """How evenly an amount is spread over speakers: {median, most, largest_share} of one amount per speaker; None of none."""
    if not amounts:
        return {"median": None, "most": None, "largest_share": None}
    return {"median": round(median(amounts), 6), "most": round(max(amounts), 6),
            "largest_share": round(max(amounts) / sum(amounts), 4) if sum(amounts) else None}


def _shared(root: Path) -> dict[str, Any]:
    path = root / out_folder("split", "all") / "leakage.json"
    check = read_json(path) if path.is_file() else {}
    return {"leaks": len(check.get("leaks", [])), **{k: v for k, v in check.get("shared", {}).items() if k != "torn"}}


def gone(params: Params, root: Path = Path(".")) -> dict[str, dict[str, int]]:
    """Per corpus and language how many items are gone for good, by reason. Counts alone: a card must not name who asked to be
    forgotten."""
    from corpora.fetch.ledger import tombstones

    found: dict[str, dict[str, int]] = {}
    for who in params.instances():
        for stone in tombstones(root / out_folder("download", who.name)):
            cell = found.setdefault(who.name, {})
            cell[stone["reason"]] = cell.get(stone["reason"], 0) + 1
    return found


def check_forgotten(params: Params, root: Path = Path(".")) -> None:
    """UserError where the data still holds what forgotten.yaml names: it was not built again since."""
    from corpora.fetch import forgotten

    try:
        entries = forgotten.read(root / forgotten.FILE)
    except forgotten.BadList as error:
        raise UserError(str(error)) from error
    for who in params.instances() if entries else ():
        named = {(e.what, e.name) for e in entries if e.corpus in (None, who.corpus)}
        for r in read_rows(root / out_folder("download", who.name), "recordings", ["recording_id", "speaker", "extra"]):
            video = json.loads(r["extra"] or "{}").get("video")
            if named & {("item", r["recording_id"]), ("speaker", r["speaker"]), ("video", video)}:
                raise UserError(f"{forgotten.FILE} names {r['recording_id']} of {who.name}, which is still in data/; run first: "
                                "babelface build")


def limits(found: dict[str, Any]) -> list[str]:
    """What a user of the dataset has to know before trusting it, one sentence each, from the facts."""
    said = []
    real = [r for r in found["languages"] if not r["planted"]]
    planted = sorted({r["language"] for r in found["languages"] if r["planted"]})
    if planted:
        said.append(f"Planted languages, for tests only and wrong or right on purpose: {', '.join(planted)}.")
    few = [f"{r['language']} ({r['corpus']})" for r in real if r["splits"].get("test", {}).get("speakers", 0) < 6]
    if few:
        said.append(f"Fewer than 6 test speakers, so no interval can be given for them: {', '.join(few)}.")
    unknown = sum(r["unknown_speakers"] for r in real)
    if unknown:
        said.append(f"Of {sum(r['speakers'] for r in real)} speakers {unknown} are unknown: each such recording, or cluster of "
                    "alike ones, counts as a speaker, so one person may be in two splits.")
    one = [f"{r['language']} ({r['corpus']}: {r['largest_speaker']:.0%})" for r in real if (r["largest_speaker"] or 0) > 0.5]
    if one:
        said.append(f"One speaker has more than half of: {', '.join(one)}.")
    hours, blank = sum(sum(r["genders"].values()) for r in real), sum(r["genders"].get("unknown", 0.0) for r in real)
    if hours and blank:
        said.append(f"The gender of the speakers is known for {1 - blank / hours:.0%} of the hours, where the corpus says it.")
    closed = sorted(n for n, c in found["corpora"].items() if c["commercial"] is False)
    if closed:
        said.append(f"Not for commercial use, by the licence of: {', '.join(closed)}.")
    lost = sum(n for cell in found["gone"].values() for n in cell.values())
    if lost:
        said.append(f"{lost} items that earlier versions or the indexes had are gone for good or were taken out on request.")
    if found["version"]["changed"] or found["version"]["commit"] is None:
        said.append("Made from files that are in no commit: this version cannot be built again from one.")
    return said
