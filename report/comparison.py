"""Two runs against each other as one document: figures, findings in words, what they were made with, the clips to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metrics.comparison import (
    EVERYWHERE,
    GAINED,
    LOST,
    NAMED_BY,
    SPECS,
    UNCHANGED,
    Clip,
    Comparison,
    DifferentProtocols,
    compare,
    lost_reason,
)
from metrics.robustness import MixedProtocols
from report.comparison_text import findings, headline
from report.document import is_pinned, label_corpora, metric_facts
from report.plain import plain

__all__ = ["NAMED_BY", "Comparison", "DifferentProtocols", "MixedProtocols", "compare_runs", "document", "key_of"]


def compare_runs(rows_a: Sequence[dict[str, Any]], rows_b: Sequence[dict[str, Any]], **options: Any) -> Comparison:
    """metrics.comparison.compare, with languages told apart by corpus where either run has more than one, as in the report."""
    if len({r.get("corpus") for r in (*rows_a, *rows_b)}) > 1:
        rows, _ = label_corpora([*rows_a, *rows_b], {})
        rows_a, rows_b = rows[: len(rows_a)], rows[len(rows_a) :]
    return compare(rows_a, rows_b, **options)


def document(
    found: Comparison, a: Mapping[str, str], b: Mapping[str, str], causes: Mapping[str, Any], *, n_worst: int = 12,
    sets: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All that the page, the terminal and --json show. a, b: {label, kind, detail}. causes: of flows.changes. sets: of
    report.set_comparison."""
    pinned = is_pinned(found.protocol["expert_sha256"])
    changed = [c for c in found.clips if set(c.kinds.values()) - {UNCHANGED}]
    made = [c for c in found.worst(len(found.clips)) if c.system not in ("real", "still")]
    doc = plain(
        {
            "a": dict(a),
            "b": dict(b),
            "alpha": found.alpha,
            "protocol": {**found.protocol, "pinned": pinned},
            "metrics": [metric_facts(m, pinned) for name, m in SPECS.items() if any(c.metric == name for c in found.changes)],
            "languages": sorted({c.language for c in found.changes} - {EVERYWHERE}),
            "systems": sorted({c.system for c in found.changes}, key=lambda s: (s in ("real", "still"), s)),
            "pairs": found.pairs,
            "only_a": found.only_a,
            "only_b": found.only_b,
            "invalid": found.invalid,
            "changes": found.changes,
            "n_regressions": len(found.regressions),
            "n_improvements": len(found.improvements),
            "sets": sets,
            "causes": dict(causes),
            "n_clips": len(found.clips),
            "changed_clips": [_clip(c) for c in changed],
            "worst": [_clip(c) for c in made[:n_worst]],
        }
    )
    doc["headline"] = headline(doc)
    doc["findings"] = findings(found, doc)
    return doc


def _clip(clip: Clip) -> dict[str, Any]:
    return {
        "system": clip.system,
        "condition": clip.condition,
        "language": clip.language,
        "track_id": clip.track_id,
        "clip_id": clip.clip_id,
        "audio_clip_id": clip.audio_clip_id,
        "speaker": clip.speaker,
        "values": clip.values,
        "kinds": clip.kinds,
        "nulls": {m: lost_reason(clip, m) for m, pair in clip.values.items() if clip.kinds[m] in (LOST, GAINED)},
        "worst": clip.worst,
        "worst_metric": clip.worst_metric,
    }


def key_of(clip: Mapping[str, Any] | Clip) -> str:
    """What tells a clip from all others of a comparison."""
    names = ("system", "condition", "track_id", "audio_clip_id")
    return "/".join(str(clip[n] if isinstance(clip, Mapping) else getattr(clip, n)) for n in names)
