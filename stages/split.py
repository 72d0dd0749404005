"""Deals speakers into splits: test, validation and train for systems, and speakers of their own for the sync expert.

INSTANCE is `all`. No speaker (or recording of an unknown speaker), no video and no two near-duplicates are in two splits; planted
languages and generated video are only ever tested. A track that `filter` leaves out is in no split. A leakage check is printed
and stored, and what clips share (table links).
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from typing import Any

from core.digest import digest_of
from core.params import Filter, Params, Split
from core.executor import recover, swap
from core.records import carry
from core.shards import read_rows, shard_path, write_json, write_table
from core.stage import UserError, out_folder, run_cli, seal
from stages.groups import groups, links, place, summary
from stages.speakers import named_by


def main(instance: str, params: Params) -> dict[str, Any]:
    """The leakage check of one finished split."""
    rows, planted = [], set()
    for who in params.instances():
        found = read_rows(out_folder("inspect", who.name), "inspected")
        rows += found
        if who.planted:
            planted.add((who.corpus, who.language))
    n_tracks, (rows, left_out, sifted) = len(rows), sift(rows, params.filter)
    rows, weights = named_by(rows, params)
    found = links(rows, params)
    group_of = groups(found)
    dealt = deal(rows, planted, params, group_of)
    placed = place(found, dealt)
    check = leakage(dealt) | {"shared": summary(placed, group_of)}
    check["leaks"] = sorted(check["leaks"] + check["shared"]["torn"])
    out = out_folder("split", "all")
    recover(out)
    following = out.with_name(f".{out.name}.next")
    following.mkdir(parents=True)
    for who in params.instances():  # a shard of its own each: who trains on one language need not care for another
        mine = [r for r in dealt if (r["corpus"], r["language"]) == (who.corpus, who.language)]
        write_table(shard_path(following, "splits", who.name), mine, "splits")
    write_table(shard_path(following, "links", 0), placed, "links")
    write_json(following / "leakage.json", check)
    write_table(shard_path(following, "rejects", 0), left_out, "rejects")
    write_json(following / "filter.json", sifted)
    by_language: dict[str, dict[str, Any]] = {}
    for row in [*dealt, *left_out]:
        cell = by_language.setdefault(row["language"], {"in": 0, "kept": 0, "rejected": {}})
        cell["in"] += 1
        if "reason" in row:
            cell["rejected"][row["reason"]] = cell["rejected"].get(row["reason"], 0) + 1
        else:
            cell["kept"] += 1
    write_json(following / "stats.json", {"stage": "split", "instance": "all", "items_in": n_tracks, "kept": len(dealt),
                                          "rejected": len(left_out), "tables": ["splits"], "rows": {"splits": len(dealt)},
                                          "by_language": by_language})
    mark = seal("split", params.split.model_dump() | {"filter": params.filter.model_dump()}
                | {"trained": {n: e.languages for n, e in params.train.systems.items()}}, weights)
    write_json(following / "fingerprint.json", {"seal": digest_of(mark), "of": mark})
    swap(following, out)
    print_check(check)
    for line in sifted["sentences"]:
        print(line)
    if check["leaks"]:
        raise UserError(f"{len(check['leaks'])} clusters, recordings or near-duplicates stand in two splits: "
                        f"{check['leaks'][:5]}")
    return check


def sift(rows: list[dict[str, Any]], limits: Filter) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """(rows that pass every threshold, rows of the rejects table for the others, keep rates per filter and language)."""
    from core.params_inspect import EXPERT_FILTERS
    from metrics.keep_rates import as_json, keep_rates

    failed = {r["track_id"]: limits.failures(r) for r in rows}
    names = [*limits.thresholds(), *(f"without {mark}" for mark in limits.without)]
    left_out = [{"item_id": r["track_id"], **{k: r[k] for k in ("corpus", "language", "speaker")}, "stage": "split",
                 "reason": "filtered",
                 "detail": "; ".join(f"{name}: {why}" for name, why in failed[r["track_id"]].items())}
                for r in rows if failed[r["track_id"]]]
    rates = keep_rates(((r["language"], failed[r["track_id"]]) for r in rows), names)
    together = keep_rates(((r["language"], ["any"] if failed[r["track_id"]] else []) for r in rows), ["any"])["any"]
    return ([r for r in rows if not failed[r["track_id"]]], sorted(left_out, key=lambda r: r["item_id"]),
            as_json(rates, together, EXPERT_FILTERS))


def deal(rows: list[dict[str, Any]], planted: set[tuple[str, str]], params: Params,
         group_of: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Rows of the splits table, sorted by track. Which split a speaker gets depends on its name, the seed and how many there are.

    group_of: cluster -> the name of those it shares footage with, which are dealt as one.
    """
    group = lambda row: (group_of or {}).get(row["cluster"], row["cluster"])  # noqa: E731
    where: dict[str, str] = {}
    by_language: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["kind"] != "generated":
            by_language.setdefault((row["corpus"], row["language"]), set()).add(group(row))
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
        split = where.get(group(row), "test")
        if row["kind"] == "generated":
            split = "generated"
        elif row["mesh_share"] < params.track.min_mesh_share:
            split = "unmeshed"  # no aligned view of it exists
        dealt.append(carry(row, "splits") | {"split": split,
                                             "fold": "planted" if (row["corpus"], row["language"]) in planted else "real"})
    return dealt


def _quota(n: int, shares: Split, trained: bool) -> list[str]:
    """The splits of the n speakers of a language. Test comes first: a language with one speaker is only tested. Where no system
    trains on the language, the expert sees all the others."""
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
        print(f"  {cell['language']:>8} {cell['split']:<18} {cell['speakers']:>4} speakers {cell['tracks']:>6} tracks "
              f"{cell['minutes']:>8} min")
    shared = check["shared"]
    if shared["links"]:
        print("shared: " + ", ".join(f"{kind} {n}" for kind, n in shared["links"].items())
              + f"; {shared['united']} speakers dealt together with another, "
                f"{shared['largest_group']} of them in the largest group")
    print(f"leakage check: {check['clusters_checked']} speakers, {len(check['leaks'])} leaks")


if __name__ == "__main__":
    sys.exit(run_cli("split", main, doc=__doc__))
