"""Deals speakers into splits: test, validation and train for systems, and speakers of their own for the sync expert.

INSTANCE is `all`. No speaker (or recording of an unknown speaker) is in two splits; planted languages and generated video are
only ever tested. A leakage check is printed and stored.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from typing import Any

from core.digest import digest_of
from core.params import Params, Split
from core.executor import recover, swap
from core.records import carry
from core.shards import read_rows, shard_path, write_json, write_table
from core.stage import UserError, out_folder, run_cli, seal

COLUMNS = ["track_id", "clip_id", "recording_id", "corpus", "language", "speaker", "cluster", "kind", "n_frames", "mesh_share"]


def main(instance: str, params: Params) -> dict[str, Any]:
    """The leakage check of one finished split."""
    rows, planted = [], set()
    for who in params.instances():
        found = read_rows(out_folder("track", who.name), "tracks", COLUMNS)
        rows += found
        if who.planted:
            planted.add((who.corpus, who.language))
    dealt = deal(rows, planted, params)
    check = leakage(dealt)
    out = out_folder("split", "all")
    recover(out)
    following = out.with_name(f".{out.name}.next")
    following.mkdir(parents=True)
    for who in params.instances():  # a shard of its own each: who trains on one language need not care for another
        mine = [r for r in dealt if (r["corpus"], r["language"]) == (who.corpus, who.language)]
        write_table(shard_path(following, "splits", who.name), mine, "splits")
    write_json(following / "leakage.json", check)
    by_language = {}
    for row in dealt:
        cell = by_language.setdefault(row["language"], {"in": 0, "kept": 0, "rejected": {}})
        cell["in"] += 1
        cell["kept"] += 1
    write_json(following / "stats.json", {"stage": "split", "instance": "all", "items_in": len(dealt), "kept": len(dealt), "rejected": 0,
                                          "tables": ["splits"], "rows": {"splits": len(dealt)}, "by_language": by_language})
    mark = seal("split", params.split.model_dump() | {"trained": {n: e.languages for n, e in params.train.systems.items()}})
    write_json(following / "fingerprint.json", {"seal": digest_of(mark), "of": mark})
    swap(following, out)
    print_check(check)
    if check["leaks"]:
        raise UserError(f"{len(check['leaks'])} clusters or recordings stand in two splits: {check['leaks'][:5]}")
    return check


def deal(rows: list[dict[str, Any]], planted: set[tuple[str, str]], params: Params) -> list[dict[str, Any]]:
    """Rows of the splits table, sorted by track. Which split a speaker gets depends on its name, the seed and how many there are."""
    where: dict[str, str] = {}
    by_language: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["kind"] != "generated":
            by_language.setdefault((row["corpus"], row["language"]), set()).add(row["cluster"])
    for key, clusters in sorted(by_language.items()):
        order = sorted(clusters, key=lambda c: hashlib.sha256(f"{params.split.seed}/{c}".encode()).hexdigest())
        if key in planted:
            where |= dict.fromkeys(order, "test")
            continue
        trained = any(key[1] in params.training_languages(entry) for entry in params.train.systems.values())
        for cluster, split in zip(order, _quota(len(order), params.split, trained), strict=True):
            where.setdefault(cluster, split)  # a speaker of two languages keeps the split of the first
    dealt = []
    for row in sorted(rows, key=lambda r: r["track_id"]):
        split = where.get(row["cluster"], "test")
        if row["kind"] == "generated":
            split = "generated"
        elif row["mesh_share"] < params.track.min_mesh_share:
            split = "unmeshed"  # no aligned view of it exists
        dealt.append(carry(row, "splits") | {"split": split, "fold": "planted" if (row["corpus"], row["language"]) in planted else "real"})
    return dealt


def _quota(n: int, shares: Split, trained: bool) -> list[str]:
    """The splits of the n speakers of a language. Test comes first: a language with one speaker is only tested. Where no system trains
    on the language, the expert sees all the others."""
    test = min(n, max(1, round(n * shares.test_share)))
    expert = min(n - test, round(n * shares.expert_share)) if trained else n - test
    held_out = min(max(expert - 1, 0), max(1, round(expert * shares.validation_share)))
    rest = n - test - expert
    validation = min(max(rest - 1, 0), round(rest * shares.validation_share))
    return (["test"] * test + ["expert_train"] * (expert - held_out) + ["expert_validation"] * held_out
            + ["validation"] * validation + ["train"] * (rest - validation))


def leakage(dealt: list[dict[str, Any]]) -> dict[str, Any]:
    """Speakers, tracks and minutes per language and split, and every cluster or recording that stands in two splits."""
    seen: dict[tuple[str, str], set[str]] = {}
    tracks, frames, speakers = Counter(), Counter(), {}
    for row in dealt:
        if row["split"] in ("generated", "unmeshed"):
            continue
        key = (row["language"], row["split"])
        tracks[key] += 1
        frames[key] += row["n_frames"]
        speakers.setdefault(key, set()).add(row["cluster"])
        for name in ("cluster", "recording_id"):
            owner = row["cluster"] if name == "cluster" else f"{row['corpus']}/{row['language']}/{row['recording_id']}"
            seen.setdefault((name, owner), set()).add(row["split"])
    leaks = sorted(f"{name} {value}: {', '.join(sorted(splits))}" for (name, value), splits in seen.items() if len(splits) > 1)
    cells = [{"language": tag, "split": split, "speakers": len(speakers[tag, split]), "tracks": n,
              "minutes": round(frames[tag, split] / 1500, 2)} for (tag, split), n in sorted(tracks.items())]
    return {"cells": cells, "leaks": leaks, "clusters_checked": sum(name == "cluster" for name, _ in seen)}


def print_check(check: dict[str, Any]) -> None:
    """Prints who is where, and whether anybody is in two places."""
    for cell in check["cells"]:
        print(f"  {cell['language']:>8} {cell['split']:<18} {cell['speakers']:>4} speakers {cell['tracks']:>6} tracks {cell['minutes']:>8} min")
    print(f"leakage check: {check['clusters_checked']} speakers, {len(check['leaks'])} in two splits")


if __name__ == "__main__":
    sys.exit(run_cli("split", main, doc=__doc__))
