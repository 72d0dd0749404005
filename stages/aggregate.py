"""Puts all scores together: means, gaps to real video with intervals, validity of the expert, the funnel."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from core.garbage import no_cycles
from core.params import Params
from core.shards import read_json, read_rows, write_bytes, write_json
from core.stage import UserError, out_folder, run_cli, seal

RESULTS = Path("results")
DRAWN = "lse_d"  # the metric whose gaps `dvc plots` draws
PACKAGES = ("av", "mediapipe", "numpy", "opencv-python", "pyarrow", "scipy", "torch")


def main(instance: str, params: Params) -> dict[str, Any]:
    """The report's content (report.document), written to data/aggregate/all, results/summary.json and results/plots."""
    from metrics.robustness import MixedProtocols
    from report import document as doc
    from report import tables
    from report.funnel import FunnelError, funnel
    from report.plain import csv_text, plain

    rows = score_rows(params)
    if not rows:
        raise UserError("no score rows in data/score: every test clip was rejected; see data/score/*/rejects")
    twins = {
        (name, tag): language.twin_of
        for name, corpus in params.corpora.items()
        for tag, language in corpus.languages.items()
        if language.twin_of
    }
    try:
        with no_cycles():
            document = doc.scores_document(
                rows,
                twins=twins,
                margin=params.score.expert_valid_margin,
                seed=params.report.seed,
                resamples=params.report.bootstrap,
                pinned=doc.is_pinned(rows[0]["expert_sha256"]),
                alpha=params.report.alpha,
                gallery_per_language=params.report.gallery_per_language,
                sounds=sounds(params),
                bias_rows={name: read_rows(out_folder("bias", name), "scores") for name in params.score.ablation_experts},
                experts={name: params.training_languages(entry) for name, entry in params.train.experts.items()},
                expert=params.score.expert if isinstance(params.score.expert, str) else "the expert of this report",
                sets=[{**row, "source": name} for name in score_names(params)
                      for row in read_rows(out_folder("sets", name), "sets")],
            )
        document["funnel"] = funnel(all_stats(params))
    except (MixedProtocols, FunnelError) as error:
        raise UserError(str(error)) from None
    document["training"] = plain(
        [training(name) for name in (*params.train.experts, *params.train.systems) if out_folder("train", name).is_dir()]
    )
    document["splits"] = splits()
    document["provenance"] = provenance(params)
    losses = [row for entry in document["training"] for row in entry["losses"]]

    out = out_folder("aggregate", "all")
    mark = seal("aggregate", {"score": params.score.model_dump(mode="json"), "report": params.report.model_dump(mode="json")})
    kept = {tag: sum(r["language"] == tag for r in rows) for tag in sorted({r["language"] or "und" for r in rows})}
    write_json(out / "report.json", document)
    write_json(out / "fingerprint.json", mark)
    write_json(
        out / "stats.json",
        {
            "stage": "aggregate",
            "instance": "all",
            "items_in": len(rows),
            "kept": len(rows),
            "rejected": 0,
            "rows": {},
            "by_language": {t: {"in": n, "kept": n, "rejected": {}} for t, n in kept.items()},
        },
    )
    write_json(RESULTS / "summary.json", plain(doc.summary(document)))
    for name, table, columns in (
        (
            "gap",
            tables.gap_rows(document),
            ("system", "condition", "language", "metric", "gap", "low", "high", "n_clips", "n_speakers", "reason"),
        ),
        ("matrix", tables.matrix_rows(document), ("system", "trained_on", "tested_on", "metric", "gap", "n_clips", "n_speakers")),
        ("lag", tables.lag_rows(document), ("system", "condition", "language", "lag_frames", "distance")),
        ("losses", losses, ("model", "curve", "step", "value")),
    ):
        write_bytes(RESULTS / "plots" / f"{name}.csv", csv_text(table, columns).encode())
    for name, (table, columns) in drawn(tables.gap_rows(document), losses, params).items():
        write_bytes(RESULTS / "plots" / f"{name}.csv", csv_text(table, columns).encode())
    return document


def drawn(gaps: list[dict[str, Any]], losses: list[dict[str, Any]],
          params: Params) -> dict[str, tuple[list[dict[str, Any]], tuple[str, ...]]]:
    """file -> (rows, columns) of what `dvc plots` draws, which wants a file for each line: losses by step for each model, gaps in
    DRAWN by language for each system. dvc.yaml names these files, so each is there, if only with a header."""
    found = {}
    for name in (*params.train.experts, *params.train.systems):
        steps: dict[float, dict[str, Any]] = {}
        for row in losses:
            if row["model"] == name:
                steps.setdefault(row["step"], {"step": row["step"]})[row["curve"]] = row["value"]
        curves = dict.fromkeys(["step", "loss", *(curve for row in steps.values() for curve in row)])
        found[f"losses/{name}"] = list(steps.values()), tuple(curves)
    for name in params.train.systems:
        rows = [r for r in gaps if (r["system"], r["condition"], r["metric"]) == (name, "self", DRAWN)]
        found[f"gap/{name}"] = rows, ("language", "gap", "low", "high", "n_clips", "n_speakers")
    return found


def score_names(params: Params) -> list[str]:
    """The instances of generate and score: every system, and the controls."""
    return [*sorted(params.train.systems), "controls"]


@no_cycles()
def score_rows(params: Params) -> list[dict[str, Any]]:
    """The rows of all score instances, each with `source`, the instance it came from."""
    out = []
    for name in score_names(params):
        own = read_rows(out_folder("score", name), "scores")
        for row in own:
            row["source"] = name
        out += own
    return out


def sounds(params: Params) -> dict[str, Any]:
    """language -> how often each phoneme is said and how long each viseme is shown (metrics.languages.sound_counts), over all
    recordings whose corpus knows; planted languages are left out."""
    from metrics.languages import sound_counts

    found: dict[str, list[Any]] = {}
    for one in params.instances():
        folder = out_folder("download", one.name)
        if not one.planted and (folder / "truth").is_dir():
            found.setdefault(one.language, []).extend(r["phonemes"] for r in read_rows(folder, "truth", ["phonemes"]))
    return {tag: sound_counts(recordings) for tag, recordings in sorted(found.items())}


def all_stats(params: Params) -> list[dict[str, Any]]:
    """stats.json of every stage instance that has one, in a fixed order."""
    paths = [out_folder(stage, instance) / "stats.json" for stage, instance in every_instance(params)]
    return [read_json(path) for path in paths if path.is_file()]


def training(name: str) -> dict[str, Any]:
    """The card of one trained model, and its loss curves as rows of (model, curve, step, value)."""
    folder = out_folder("train", name)
    card = read_json(folder / "card.json") if (folder / "card.json").is_file() else {}
    losses = []
    if (folder / "losses.csv").is_file():
        with open(folder / "losses.csv", newline="", encoding="utf-8") as file:
            for i, row in enumerate(csv.DictReader(file)):
                step = float(row.get("step") or i)
                losses += [
                    {"model": name, "curve": k, "step": step, "value": float(v)}
                    for k, v in row.items()
                    if k != "step" and v and _is_number(v)
                ]
    return {"name": name, "card": card, "losses": losses}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def splits() -> list[dict[str, Any]]:
    """How many tracks and clusters of each language are in each split."""
    if not (out_folder("split", "all") / "splits").is_dir():
        return []
    cells: dict[tuple[str, str], list[str]] = {}
    for row in read_rows(out_folder("split", "all"), "splits", ["language", "split", "cluster"]):
        cells.setdefault((row["language"] or "und", row["split"]), []).append(row["cluster"])
    return [
        {"language": tag, "split": part, "n_tracks": len(c), "n_speakers": len(set(c))}
        for (tag, part), c in sorted(cells.items())
    ]


def provenance(params: Params) -> dict[str, Any]:
    """What the numbers rest on: every stage instance's fingerprint, and package versions. No clock, no path.

    Only what the stages themselves recorded: a digest of all params would go stale with a knob that nobody here reads.
    """
    from core.digest import digest_of

    stages = []
    for stage, instance in every_instance(params):
        path = out_folder(stage, instance) / "fingerprint.json"
        if path.is_file():
            mark = read_json(path)
            stages.append(
                {
                    "stage": stage,
                    "instance": instance,
                    "seal": mark.get("seal") or digest_of(mark),
                    "code": mark.get("code"),
                    "params": digest_of(mark.get("params") or {}),
                    "weights": mark.get("weights") or {},
                }
            )
    return {**versions(), "stages": stages}


def versions() -> dict[str, Any]:
    """The versions of Python and of the packages that figures depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {"python": platform.python_version(), "packages": found}


def every_instance(params: Params) -> list[tuple[str, str]]:
    """(stage, instance) of everything that comes before: from params, since folders of languages long gone may lie about."""
    data = [(stage, i.name) for stage in ("download", "segment", "track", "inspect", "crop", "features")
            for i in params.instances()]
    train = [("train", name) for name in sorted((*params.train.experts, *params.train.systems))]
    scores = [(stage, name) for stage in ("generate", "score", "sets") for name in score_names(params)]
    return [*data, ("split", "all"), *train, *scores, *(("bias", name) for name in params.score.ablation_experts)]


if __name__ == "__main__":
    sys.exit(run_cli("aggregate", main, doc=__doc__))
