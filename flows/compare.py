"""`babelface compare`: two runs read, compared, and shown in the terminal, as JSON and as a page with videos."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.stage import UserError
from flows.changes import changes
from flows.revisions import Run, open_run, set_rows, settings


class CompareError(UserError):
    """Two runs cannot be compared; the message says why."""


class OtherProtocol(CompareError):
    """Each run is sound, and the two were scored by different protocols."""


@dataclass(slots=True)
class Compared:
    """Two runs and what there is to say about them: the metrics.comparison.Comparison, and a document of plain values."""

    a: Run
    b: Run
    comparison: Any
    document: dict[str, Any]


def compare(a: str | Run, b: str | Run, *, root: Path = Path("."), metrics: Collection[str] | None = None,
            conditions: Collection[str] | None = ("self",), pairs: Mapping[str, str] | None = None, alpha: float | None = None,
            n_worst: int = 12) -> Compared:
    """What changed from run A to run B; each is a word for flows.revisions.open_run, or a run that is open already.

    alpha, seed and draws are those of B's params.yaml (report), else the defaults. CompareError where the protocols differ, and
    for a metric there is none of; flows.revisions.RevisionError where a run cannot be read.
    """
    from report import comparison as doc
    from report.set_comparison import NAMES, compare_sets

    of_sets = None if metrics is None else [m for m in metrics if m in NAMES]
    metrics = None if metrics is None else [m for m in metrics if m not in NAMES]
    runs = [open_run(r, root) if isinstance(r, str) else r for r in (a, b)]
    margins = [float((settings(r).get("score") or {}).get("expert_valid_margin") or 0.0) for r in runs]
    own = settings(runs[1]).get("report") or {}
    for run in runs:
        nameless = [k for k, row in enumerate(run.rows, 1) if not any(row.get(name) for name in doc.NAMED_BY)]
        if nameless:
            raise CompareError(f"{run.label}: row {nameless[0]} has none of {', '.join(doc.NAMED_BY)}, so it cannot be paired "
                               "with a row of the other run; make such files with: babelface score ... --out FILE")
    try:
        found = doc.compare_runs(runs[0].rows, runs[1].rows, margin_a=margins[0], margin_b=margins[1], conditions=conditions,
                                 metrics=metrics, pairs=pairs, alpha=alpha or own.get("alpha", 0.05), seed=own.get("seed", 0),
                                 resamples=max(int(own.get("bootstrap", 2000)), 100))
    except (doc.DifferentProtocols, doc.MixedProtocols) as error:
        kind = OtherProtocol if isinstance(error, doc.DifferentProtocols) else CompareError
        raise kind(f"{runs[0].label} (A) and {runs[1].label} (B): {error}") from None
    except KeyError as error:
        raise CompareError(error.args[0]) from None
    about = [{"label": r.label, "kind": r.kind, "detail": r.detail} for r in runs]
    tables, why = zip(*(set_rows(r) for r in runs), strict=True)
    sets = compare_sets(found, (runs[0].rows, runs[1].rows), tables, {s: w for s, w in zip("AB", why, strict=True) if w},
                        conditions=conditions, metrics=of_sets)
    return Compared(*runs, found, doc.document(found, *about, changes(*runs), n_worst=n_worst, sets=sets))


def check(found: Compared, metrics: Collection[str] = ()) -> list[str]:
    """Why `--check` fails, a sentence each: what got worse, and what A could judge and B cannot. metrics: asked for by name.
    CompareError where there is nothing to judge at all."""
    from report.comparison_text import worse
    from report.missing import missing

    changes = found.comparison.changes
    gone = missing({}, {}, found.comparison, metrics) if changes else []
    if not gone and all(c.change is None for c in changes):
        raise nothing(found, metrics)
    return worse(found.comparison, found.document) + [f"missing in B: {m['name']}: {m['why']}" for m in gone]


def nothing(found: Compared, metrics: Collection[str] = ()) -> CompareError:
    """Says why no score of A can be compared with one of B. metrics: asked for by name."""
    from report.missing import unscored

    sides = {f"{run.label} ({side})": run.rows for side, run in (("A", found.a), ("B", found.b))}
    return CompareError(f"nothing to compare: {unscored(found.comparison, sides, metrics)}")


def write_page(compared: Compared, dest: Path) -> Path:
    """Writes the page and the videos of its worst clips into the folder `dest`, replacing a page that this made; its index.html.
    CompareError where the folder holds something else."""
    from core.executor import recover, swap
    from core.shards import write_bytes, write_json
    from flows.compare_media import write_videos
    from report.comparison_page import STATIC, render
    from report.page import HERE

    dest = Path(dest)
    if dest.exists() and (not dest.is_dir() or (any(dest.iterdir()) and not (dest / "comparison.json").is_file())):
        raise CompareError(f"{dest} holds something that is not a comparison; name a new folder")
    recover(dest)
    following = dest.with_name(f".{dest.name}.next")
    (following / "static").mkdir(parents=True)
    for name in STATIC:
        shutil.copyfile(HERE / "static" / name, following / "static" / name)
    media = write_videos(compared, following)
    write_json(following / "comparison.json", compared.document)
    write_bytes(following / "index.html", render(compared.document, media).encode())
    swap(following, dest)
    return dest / "index.html"


def show(document: dict[str, Any], *, everything: bool = False) -> None:
    """Prints the findings and the table: all changes, or those that say something and the metric shown first."""
    from flows.show import print_table
    from rich.console import Console

    console = Console()
    for side in "ab":
        about = document[side]
        console.print(f"{side.upper()}: {about['label']} ({about['kind']}, {about['detail']})", markup=False, highlight=False,
                      soft_wrap=True)
    for finding in document["findings"]:
        style = {"warning": "yellow", "claim": "green", "no-claim": "dim"}.get(finding["level"])
        console.print(f"- {finding['text']}", style=style, markup=False, highlight=False, soft_wrap=True)
    print_table(table(document, everything))
    if document["sets"]:
        print_table(set_table(document["sets"], everything))


def table(document: dict[str, Any], everything: bool = False) -> Any:
    """A rich table: one row per system, language and metric."""
    from report.comparison_text import VERDICTS, p_of
    from report.text import interval, number, offsets_then_now, p_text
    from rich.table import Table

    metrics = {m["name"]: m for m in document["metrics"]}
    several = len({c["condition"] for c in document["changes"]}) > 1
    loud = ("worse", "better", "moved", "hint")
    rows = [c for c in document["changes"] if everything or c["verdict"] in loud or (
        c["metric"] == document["headline"] and c["system"] not in ("real", "still"))]
    n = len(document["changes"])
    more = "" if len(rows) == n else f"; {len(rows)} of {n} figures, --all shows all"
    out = Table(title=f"B minus A{more}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    names = ("system", *(["sound"] if several else []), "metric", "language")
    offsets = [offsets_then_now(c) for c in rows]
    lse = ["|offset|, within 1"] if any(offsets) else []
    kinds = ("regressed", "fixed", *(["moved"] if any(c["clips"]["moved"] for c in rows) else []), "unchanged")
    figures = ("A", "B", "change", "interval", *lse, "p Holm", "clips", "speakers", *kinds)
    for name in (*names, *figures, "verdict"):
        out.add_column(name, justify="left" if name in (*names, "verdict") else "right")
    for c, beside in zip(rows, offsets, strict=True):
        metric, e, together = metrics[c["metric"]], c["change"], c["language"] == "*"
        d, arrow = metric["digits"], {True: " \u2191", False: " \u2193", None: ""}[metric["higher_is_better"]]
        style = {"worse": "bold red", "better": "bold green", "hint": "yellow", "moved": "yellow"}.get(c["verdict"])
        out.add_row(c["system"], *([c["condition"]] if several else []), f"{metric['label']}{arrow}",
                    "all" if together else c["language"], number(c["mean_a"], d), number(c["mean_b"], d),
                    number(e["mean"], d, sign=True) if e else "\u2013",
                    (interval(e, d) or e["reason"]) if e else "", *([beside] if lse else []), p_text(p_of(c)),
                    str(e["n_clips"] if e else 0), str(e["n_speakers"] if e else 0), *(str(c["clips"][k]) for k in kinds),
                    VERDICTS[c["verdict"]], style=style)
    return out


def set_table(sets: dict[str, Any], everything: bool = False) -> Any:
    """A rich table of the figures of sets: those that changed or cannot be compared, of R@K the smallest K; all with
    `everything`."""
    from report.set_comparison import remark, shown
    from report.text import number
    from rich.table import Table

    all_rows = shown(sets)["rows"]
    least = min((r["k"] for r in all_rows if r["k"]), default=None)
    rows = [r for r in all_rows if everything or (
        r["difference"] != 0 and r["k"] in (None, least) and r["system"] not in ("real", "still"))]
    more = "" if len(rows) == len(all_rows) else f"; {len(rows)} of {len(all_rows)}, --all shows all"
    out = Table(title=f"Figures of sets, B minus A: {sets['note']}{more}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    names = ("system", *(["sound"] if len({r["condition"] for r in rows}) > 1 else []), "figure", "language")
    for name in (*names, "A", "B", "change", "n A", "n B", "remark"):
        out.add_column(name, justify="left" if name in (*names, "remark") else "right", overflow="fold")
    for r in rows:
        d, arrow = r["digits"], "\u2191" if r["higher_is_better"] else "\u2193"
        out.add_row(r["system"], *([r["condition"]] if "sound" in names else []), f"{r['name']} {arrow}", r["language"],
                    number(r["a"]["value"], d), number(r["b"]["value"], d), number(r["difference"], d, sign=True),
                    str(r["a"]["n"]), str(r["b"]["n"]), remark(r), style="yellow" if r["not_comparable"] else None)
    return out


def parse_pairs(words: list[str]) -> dict[str, str] | None:
    """{A's name: B's name} out of OLD=NEW words; None where there are none. CompareError for a word without `=`."""
    out = {}
    for word in words:
        old, sign, new = word.partition("=")
        if not (old and sign and new):
            raise CompareError(f"--system {word}: expected OLD=NEW, the system's name in A and in B")
        out[old] = new
    return out or None
