"""The data card of a version, in Markdown, and beside it the same for machines (flows.croissant)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.params import Params
from core.records import REASONS
from core.shards import write_bytes, write_json
from corpora.index.census import why
from flows.hours import in_words, lost_hours

OUT = Path(".babelface/card")


def write_card(params: Params, folder: Path, *, root: Path = Path("."), exported: dict[str, Any] | None = None) -> list[Path]:
    """Writes README.md, croissant.json and facts.json into `folder`; their paths. exported: {format, views, samples} of the
    export that lies there; None: a card of the dataset where it was built."""
    from flows.croissant import croissant
    from flows.dataset import facts

    found = facts(params, root)
    head = front_matter(found, exported) if exported and exported["format"] == "datasets" else ""
    paths = [folder / name for name in ("README.md", "croissant.json", "facts.json")]
    write_bytes(paths[0], (head + markdown(found, exported)).encode())
    write_json(paths[2], found)
    write_json(paths[1], croissant(found, folder, exported, root))
    return paths


def front_matter(found: dict[str, Any], exported: dict[str, Any]) -> str:
    """The YAML head by which the Hugging Face hub and `datasets` know languages, licence and which files are which split."""
    tags = sorted({r["language"] for r in found["languages"] if not r["planted"]})
    lines = ["---", "pretty_name: babelface dataset", "language:", *(f"- {tag}" for tag in tags), "license: other",
             "license_name: see-card", "tags:", "- talking-face", "- audio-visual", "configs:", "- config_name: default",
             "  data_files:"]
    for split in exported["samples"]:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    return "\n".join([*lines, "---", ""])


def markdown(found: dict[str, Any], exported: dict[str, Any] | None = None) -> str:
    """The card for people."""
    from flows.dataset import limits

    rows = found["languages"]
    real = [r for r in rows if not r["planted"]]
    version = found["version"]
    commit = (version["commit"] or "none") + (" and changes that are in no commit" if version["changed"] else "")
    text = ["# Data card", "", f"{sum(r['hours'] for r in real):.2f} hours of {sum(r['speakers'] for r in real):,} speakers in "
            f"{len({r['language'] for r in real})} languages, as tracks: one face through a stretch of video, with its sound.",
            "",
            "## Version", "", f"- commit: {commit}", f"- sha256 of dvc.lock: {version['lock'] or 'no dvc.lock here'}",
            f"- outputs: {len(version['outputs'])}, each by its hash in `facts.json`", ""]
    if exported:
        text += [f"Exported as {exported['format']}, "
                 + ", ".join(f"{n:,} samples of {split}" for split, n in exported["samples"].items())
                 + f"; views: {', '.join(exported['views']) or 'none'}.", ""]
    text += ["## Where it comes from", ""]
    for name, card in found["corpora"].items():
        commercial = {True: "allowed", False: "forbidden", None: "not said"}[card["commercial"]]
        text += [f"### {card['title']} (`{name}`)", "", f"- languages: {', '.join(card['languages'])}"
                 + (f"; planted: {', '.join(card['planted'])}" if card["planted"] else ""), f"- licence: {card['licence']}",
                 f"- commercial use: {commercial}", f"- terms: {card['terms']}", f"- consent: {card['consent']}",
                 f"- provenance: {card['provenance']}", f"- access: {card['access']}", f"- citation: {card['citation']}", ""]
    text += ["## What it holds", "", *_table(
        ("corpus", "language", "recordings", "clips", "hours", "speakers", "unknown", "women", "men", "gender unknown"),
        [(r["corpus"], r["language"] + (" (planted)" if r["planted"] else ""), f"{r['recordings']:,}", f"{r['clips']:,}",
          in_words(r["hours"]), f"{r['speakers']:,}", f"{r['unknown_speakers']:,}",
          *(in_words(r["genders"].get(k, 0.0)) for k in ("female", "male", "unknown"))) for r in rows]),
        "", "Speakers and hours are those of the tracks that are in a split; gender in hours, where the corpus says it.", "",
        "## How much of each speaker", "", *_table(
            ("corpus", "language", "speakers", "clips of one: median", "most", "largest share", "hours of one: median", "most",
             "largest share"),
            [(r["corpus"], r["language"], f"{r['speakers']:,}", *_balance(r["per_speaker"])) for r in rows]), ""]
    splits = sorted({s for r in rows for s in r["splits"]})
    text += ["## Splits", "", "No speaker, no video and no two near-duplicates are in two of them.", "", *_table(
        ("corpus", "language", *splits), [(r["corpus"], r["language"], *(_cell(r["splits"].get(s)) for s in splits))
                                          for r in rows]),
        "", "Tracks, speakers and hours.", ""]
    shared = found["shared"]
    if shared.get("links"):
        kinds = ", ".join(f"{n} by {kind}" for kind, n in shared["links"].items())
        text += [f"Links between clips or recordings that share footage: {kinds}. {shared['united']} speakers are dealt together "
                 "with another because of them.", ""]
    text += ["## What was lost", "", *_table(("corpus", "language", "stage", "reason", "items", "hours"),
                                             list(_lost(found["funnel"]))), ""]
    for one in found.get("index", ()):
        if one["not_claimed"]:
            text += [f"- {', '.join(one['corpora'])}: {one['not_claimed']:,} of {one['entries']:,} entries of the index are in "
                     f"no language of this dataset ({why(one)})"]
    for name, cell in found["gone"].items():
        text += [f"- {name}: " + ", ".join(f"{n} {reason} ({REASONS[reason]})" for reason, n in sorted(cell.items()))]
    text += ["", "## Known limits", "", *(f"- {line}" for line in limits(found)), ""]
    return "\n".join(text)


def _lost(steps: list[dict[str, Any]]) -> Iterable[tuple[str, ...]]:
    for step in steps:
        if step["hours"] is None:
            continue
        for reason, n in {**dict.fromkeys(step["hours"]["rejected"], 0), **step["rejected"]}.items():
            if n or step["hours"]["rejected"][reason]:
                lost = lost_hours(step["hours"], reason).replace(" h", "", 1) or "0"
                yield step["corpus"] or "", step["language"], step["stage"], reason, f"{n:,}", lost


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return ["nothing"]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(_plain(c) for c in row)} |" for row in rows)]


def _plain(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _cell(split: dict[str, Any] | None) -> str:
    return "" if split is None else f"{split['tracks']:,} / {split['speakers']:,} / {in_words(split['hours'])}"


def _balance(amounts: dict[str, dict[str, float | None]]) -> Iterable[str]:
    for unit, found in amounts.items():
        for name in ("median", "most"):
            yield "" if found[name] is None else f"{found[name]:,g}" if unit == "clips" else in_words(found[name])
        yield _share(found["largest_share"])


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
