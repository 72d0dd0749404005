"""The full report of scores that did not come from the pipeline: the same document, tables and page, from rows and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.params import Report
from core.stage import UserError
from core.timing import SAMPLES_PER_FRAME


def report_document(rows: Sequence[dict[str, Any]], settings: Report, margin: float,
                    sets: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The report's document (report.document) of score rows and figures of sets alone: without planted languages, training and
    splits. Rows of files that could not be read are rejects: the funnel counts them, and nothing else does. UserError for rows of
    more than one protocol, and where no file could be read."""
    from metrics.robustness import MixedProtocols
    from report import document as doc
    from report.funnel import funnel
    from stages.aggregate import versions

    read = [r for r in rows if r["n_frames"]]
    if not read:
        why = ", ".join(f"{reason} {n}" for reason, n in sorted(Counter(_rejected(r) for r in rows).items()))
        raise UserError(f"no report: of {len(rows)} videos none could be read ({why}); mend the files, or the index")
    try:
        document = doc.scores_document(read, twins={}, margin=margin, seed=settings.seed, resamples=settings.bootstrap,
                                       pinned=doc.is_pinned(read[0]["expert_sha256"]), alpha=settings.alpha,
                                       gallery_per_language=settings.gallery_per_language, sets=sets)
    except MixedProtocols as error:
        raise UserError(str(error)) from None
    cells: dict[str, dict[str, Any]] = {}
    for row in rows:
        cell = cells.setdefault(row["language"] or "und", {"in": 0, "kept": 0, "rejected": {}})
        cell["in"] += 1
        if row["n_frames"]:
            cell["kept"] += 1
        else:
            cell["rejected"][_rejected(row)] = cell["rejected"].get(_rejected(row), 0) + 1
    kept = sum(c["kept"] for c in cells.values())
    document["funnel"] = funnel([{"stage": "score", "instance": "files", "items_in": len(rows), "kept": kept,
                                  "rejected": len(rows) - kept, "rows": {}, "by_language": cells}])
    return document | {"training": [], "splits": [], "provenance": versions() | {"stages": []}}


def _rejected(row: dict[str, Any]) -> str:
    """Why a row without frames has none: the reason of all its figures."""
    return Counter(n["reason"] for n in row["null_reasons"]).most_common(1)[0][0]


class FileShelf:
    """The frames and sounds of a gallery whose videos are files: see stages.report.Shelf. made: generated_id -> (entry, first
    frame)."""

    def __init__(self, made: dict[str, tuple[Any, int]]):
        self._made = made

    def film(self, video: dict[str, Any]) -> None:
        """None: what a file holds, not every browser plays."""

    def frames(self, video: dict[str, Any], clip: dict[str, Any]) -> Iterator[np.ndarray]:
        """The frames of one gallery video."""
        from core.media import read_frames

        entry, start = self._made[video["generated_id"]]
        yield from read_frames(entry.generated, start=start, stop=start + video["n_frames"])

    def sound(self, video: dict[str, Any], clip: dict[str, Any], n_frames: int) -> np.ndarray:
        """int16 sound of one gallery video, exactly as long as its picture."""
        from core.media import read_audio
        from core.records import Reject

        entry, start = self._made[video["generated_id"]]
        try:
            samples = read_audio(entry.audio or entry.generated)[start * SAMPLES_PER_FRAME:(start + n_frames) * SAMPLES_PER_FRAME]
        except Reject:
            samples = np.zeros(0, np.int16)
        return np.pad(samples, (0, n_frames * SAMPLES_PER_FRAME - len(samples)))


def write_report(rows: list[dict[str, Any]], made: dict[str, tuple[Any, int]], folder: Path, settings: Report | None = None,
                 margin: float = 0.0, sets: Sequence[dict[str, Any]] = ()) -> Path:
    """Writes folder/index.html with all it needs, report.json, summary.json and scores.json beside it; the page's path. sets:
    rows of figures of sets. Raises as report_document."""
    from core.shards import write_bytes, write_json
    from report import document as doc
    from report.plain import plain
    from stages.report import write_page
    from stages.score_files import beside, json_text

    if folder.exists() and any(folder.iterdir()) and not (folder / "report.json").is_file():
        raise UserError(f"{folder}: not empty, and no report of ours, which would be replaced; name another folder with --report")
    document = report_document(rows, settings or Report(), margin, sets)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_page(document, folder, FileShelf(made))
    write_json(folder / "report.json", document)
    write_json(folder / "summary.json", plain(doc.summary(document)))
    write_bytes(folder / "scores.json", json_text(beside(rows, folder)).encode())
    return folder / "index.html"
