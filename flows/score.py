"""`babelface score` and `babelface protocols`: what the user named becomes a list of videos, and rows become a table, a file, a
report.

Exit status: 0 every video has a figure; 1 some have none, or LSE was asked for, by naming an expert or a protocol, and no video
has it (the table says why); 2 nothing was scored, since the call was wrong.
"""

from __future__ import annotations

import csv
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

VIDEOS = (".mp4", ".avi", ".mpg", ".mpeg", ".mov", ".mkv", ".webm", ".m4v")
INDEX_COLUMNS = ("generated", "reference", "language", "speaker", "system", "condition", "audio", "audio_language",
                 "training_languages", "sample", "transcript")
PROTOCOL = "syncnet-v2-direct"  # where none is named
CONDITIONS = ("self", "cross-audio", "cross-language", "shuffled")
SHOWN_DIGITS = 12  # of an expert's sha256
SHOWN = ("lse_d", "lse_c", "offset_frames", "energy_correlation", "opening_correlation", "landmark_distance", "ssim", "psnr")


class ScoreError(ValueError):
    """What was asked for cannot be scored as it stands; the message says what to change."""


def videos(paths: list[Path]) -> list[tuple[str, Path]]:
    """(name, path) of every video: files as they are called, folders as the videos below them, sorted; every name once."""
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEOS and p.is_file())
            if not inside:
                raise ScoreError(f"{path}: no videos in this folder (known: {', '.join(VIDEOS)})")
            found += [(p.relative_to(path).as_posix(), p) for p in inside]
        elif path.is_file():
            found.append((path.name, path))
        else:
            raise ScoreError(f"{path}: no such file or folder")
    twice = [name for name, n in Counter(name for name, _ in found).items() if n > 1]
    # Two videos of one name are told apart by their folders; the same file is scored once.
    unique = {path.resolve(): (path.as_posix() if name in twice else name, path) for name, path in found}
    return list(unique.values())


def read_index(path: Path) -> list[Any]:
    """The entries of a CSV with a header: `generated` is needed, the other INDEX_COLUMNS may be empty or missing. Files are
    relative to the index. ScoreError names the line."""
    from stages.score_files import Entry

    if not path.is_file():
        raise ScoreError(f"{path}: no such index")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScoreError(f"{path}: byte {error.start} is not UTF-8; save the table as `CSV UTF-8`") from None
    with StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        names = [n.strip() for n in reader.fieldnames or ()]
        reader.fieldnames = names
        if "generated" not in names:
            raise ScoreError(f"{path}: no column `generated`; known columns: {', '.join(INDEX_COLUMNS)}")
        rows = [(reader.line_num, {k: (v or "").strip() for k, v in row.items() if k}) for row in reader]
    called = _names([row[c] for _, row in rows for c in ("generated", "reference", "audio") if row.get(c)])
    entries = []
    for line, row in rows:
        where = f"{path}, line {line}"
        if not row["generated"]:
            raise ScoreError(f"{where}: `generated` is empty")
        condition = row.get("condition") or "self"
        if condition not in CONDITIONS:
            raise ScoreError(f"{where}: condition {condition!r}; expected one of {', '.join(CONDITIONS)}")
        if not (row.get("sample") or "0").isdigit():
            raise ScoreError(f"{where}: sample {row['sample']!r} is no number")
        if condition == "shuffled" and not row.get("audio"):
            raise ScoreError(f"{where}: a shuffled row needs `audio`, the file whose sound is put beside the picture")
        entries.append(Entry(
            name=called[row["generated"]], generated=path.parent / row["generated"], language=row.get("language") or None,
            reference=path.parent / row["reference"] if row.get("reference") else None,
            reference_name=called.get(row.get("reference"), ""),
            speaker=row.get("speaker") or None, system=row.get("system") or "unnamed", condition=condition,
            audio=path.parent / row["audio"] if row.get("audio") else None, audio_name=called.get(row.get("audio"), ""),
            audio_language=row.get("audio_language") or None, sample=int(row.get("sample") or 0),
            transcript=row.get("transcript") or None,
            training_languages=tuple(row.get("training_languages", "").replace("|", " ").replace(",", " ").split())))
    twice = [key for key, n in Counter((e.system, e.name, e.condition, e.sample) for e in entries).items() if n > 1]
    if not entries or twice:
        raise ScoreError(f"{path}: " + (f"{twice[0][1]} is listed twice for {twice[0][0]}, {twice[0][2]}" if twice
                                        else "no rows"))
    return entries


def _names(written: list[str]) -> dict[str, str]:
    """What each file of an index is called in the rows: as written, but absolute paths by their last part, or as much as tells
    them apart, so that rows do not depend on where the files lie."""
    out = {}
    for text in dict.fromkeys(written):
        parts = Path(text).parts
        for n in range(1, len(parts) + 1):
            name = "/".join(parts[-n:]) if Path(text).is_absolute() else text
            if name not in out.values():
                break
        out[text] = name
    return out


def score(paths: list[Path], *, reference: Path | None, language: str | None, speaker: str | None, index: Path | None,
          protocol: str | None, expert: Path | None, out: Path | None, report: Path | None, as_json: bool) -> int:
    """Scores and shows; the exit status. ScoreError for a call that makes no sense, or an expert that is none."""
    import sys

    from core.errors import UserError
    from core.params import load_params
    from stages import score_files as work
    from stages.score_report import write_report

    if bool(paths) == (index is not None):
        raise ScoreError("name videos or folders, or an --index; not both, and not neither")
    if index is not None and (reference or language or speaker):
        raise ScoreError("--reference, --language and --speaker stand in the columns of an --index")
    if report is not None and index is None:
        raise ScoreError("--report needs an --index: a report compares systems with real video")
    for name, path in (("--expert", expert), ("--reference", reference)):
        if path is not None and not path.is_file():
            raise ScoreError(f"{name} {path}: no such file")
    if out is not None and out.suffix not in (".json", ".csv", ".parquet"):
        raise ScoreError(f"--out {out}: expected a name ending in .json, .csv or .parquet")
    try:
        named = work.protocol_name(protocol or PROTOCOL)
    except KeyError as error:
        raise ScoreError(str(error.args[0])) from None
    if index is not None:
        entries = work.with_controls(read_index(index))
    else:
        entries = [work.Entry(name, path, reference, reference.name if reference else "", language, speaker)
                   for name, path in videos(paths)]
    params = load_params() if Path("params.yaml").is_file() else None
    try:
        scorer = work.Scorer(named, expert, params)
    except UserError as error:
        if expert is None or str(expert) in str(error):
            raise
        raise ScoreError(f"--expert {expert}: {error}") from None
    for note in scorer.notes:
        print(f"babelface score: {note}", file=sys.stderr)
    rows = []
    for k, entry in enumerate(entries, 1):
        if sys.stderr.isatty():
            print(f"\r{k}/{len(entries)} {entry.name[:60]:<60}", end="", file=sys.stderr, flush=True)
        rows += scorer.rows(entry, sets=index is not None)
    if sys.stderr.isatty():
        print("\r" + " " * 80 + "\r", end="", file=sys.stderr)
    if out is not None:
        work.write_rows(rows, out)
    if as_json:
        print(work.json_text(rows), end="")
    else:
        print_rows(rows)
    unscored = [r for r in rows if not work.scored_at_all(r)]
    for row in unscored:
        print(f"babelface score: {row['generated_id']}: no figure at all: {_commonest(row)}", file=sys.stderr)
    if index is not None:
        folder = report or index.with_name(f"{index.stem}-report")
        if any(r["n_frames"] for r in rows):
            page = write_report(rows, scorer.made, folder, params.report if params else None,
                                params.score.expert_valid_margin if params else 0.0, sets=scorer.set_rows())
            print(f"report: {page}", file=sys.stderr if as_json else sys.stdout)
        else:
            print("babelface score: no report: none of the videos could be read", file=sys.stderr)
    without = (expert is not None or protocol is not None) and all(r["lse_d"] is None for r in rows)
    if without:
        print(f"babelface score: LSE was asked for, and no video has it: {_no_lse(rows)}", file=sys.stderr)
    return 1 if unscored or without else 0


def _commonest(row: dict[str, Any]) -> str:
    return Counter(n["reason"] for n in row["null_reasons"]).most_common(1)[0][0]


def _no_lse(rows: list[dict[str, Any]]) -> str:
    """Why rows have no LSE, each reason with its count."""
    refused = Counter(next(n["reason"] for n in r["null_reasons"] if n["metric"] == "lse_d") for r in rows if r["lse_d"] is None)
    return ", ".join(f"{reason} {n}" for reason, n in sorted(refused.items()))


def print_rows(rows: list[dict[str, Any]]) -> None:
    """One line per row, then what was refused and how often, and what must stand beside every LSE."""
    from stages.score_files import labels

    names = labels(rows)
    table = [["video", *(names[m] for m in SHOWN), "not scored"]]
    for row in rows:
        why = {n["metric"]: n["reason"] for n in row["null_reasons"]}
        table.append([row["generated_id"], *(_figure(row[m]) for m in SHOWN),
                      ", ".join(sorted({why[m] for m in SHOWN if m in why}))])
    wide = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(w) if k in (0, len(line) - 1) else cell.rjust(w)
                        for k, (cell, w) in enumerate(zip(line, wide, strict=True))).rstrip())
    offsets = [abs(r["offset_frames"]) for r in rows if r["offset_frames"] is not None]
    if offsets:
        near = sum(o <= 1 for o in offsets) / len(offsets)
        print(f"{len(offsets)} with LSE: mean |offset| {sum(offsets) / len(offsets):.2f} frames, within 1 frame {near:.0%}; "
              "the smallest distance forgives any constant delay up to 15 frames")
    if refused := sum(r["lse_d"] is None for r in rows):
        print(f"{refused} without LSE: {_no_lse(rows)}")
    for text in sorted({r["protocol"] for r in rows}):
        print(f"protocol: {text}")
    for name, digest in sorted({(r["expert"], r["expert_sha256"]) for r in rows if r["expert"]}):
        kind = name.partition(":")[0]
        star = "" if kind == "syncnet_v2" else "; not SyncNet v2's public weights, hence the star"
        print(f"expert: {kind}, sha256 {digest[:SHOWN_DIGITS]}{star}")


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:+d}" if isinstance(value, int) else f"{value:.3f}"


def print_protocols() -> None:
    """Every protocol: what it does and what it needs."""
    from stages.score_files import protocols

    for one in protocols():
        print(f"{one.name}\n  {one.about}\n  needs: {'; '.join(one.needs)}")
