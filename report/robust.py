"""The part of a report's document that lies across languages: robustness, sounds, and the expert's own bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metrics.cross_language import Cross
from metrics.languages import known
from metrics.robustness import METRICS, Row, Table, metric_label, seed_of
from metrics.stats import Estimate
from metrics.strata import jackknife, stratum
from metrics.validity import expert_validity

SCORE = "lse_c"


def robustness(table: Table, planted: Sequence[str], sounds: Mapping[str, Any]) -> dict[str, Any]:
    """{spreads, slopes, rankings, families, sounds}: metrics.cross_language over every metric; families: language -> {name,
    branches}, null where the table has none; sounds: language -> how often each viseme is shown, in seconds."""
    cross = Cross(table, planted)
    names = cross.metrics()
    tags = sorted({tag.rpartition("/")[2] for tag in cross.languages} | {t.rpartition("/")[2] for v in cross.trained.values()
                                                                         for t in v})
    facts = {tag: known(tag) for tag in tags}
    return {
        "spreads": [cross.spread(s, m) for m in names for s in cross.systems if cross.measured(s, m)],
        "slopes": [s for m in names for s in cross.slopes(m, sounds) if s.points or s.missing],
        "rankings": [r for m in names for r in cross.rankings(m)],
        "families": {tag: None if f is None else {"name": f.name, "branches": list(f.branches)} for tag, f in facts.items()},
        "sounds": {tag: sounds[tag]["visemes"] for tag in tags if sounds.get(tag, {}).get("visemes")},
    }


def expert_bias(
    main: Sequence[Row], others: Mapping[str, Sequence[Row]], trained: Mapping[str, Sequence[str]], *, name: str, pinned: bool,
    margin: float, seed: int, resamples: int, alpha: float
) -> list[dict[str, Any]]:  # fmt: skip
    """What each expert makes of real video, language by language, the report's own first.

    main, others: score rows of real video and its shuffled control, before anything was dropped; others by expert. trained:
    expert -> the languages it learnt. name: the report's own expert. Figures of two experts are on two scales: `relative` is the
    lead of real over shuffled sound divided by the expert's own mean lead over all languages.
    """
    out = []
    for key, rows in [(name, main), *sorted(others.items())]:
        real = [r for r in rows if r["system"] == "real" and r["condition"] in ("self", "shuffled")]
        if not real:
            continue
        table = Table(real, seed=seed, resamples=resamples, alpha=alpha)
        verdicts = expert_validity(real, margin)
        tags = sorted({tag for _, _, tag in table.groups})
        leads = {tag: table.leads(table.groups.get(("real", "self", tag), []), SCORE) for tag in tags}
        relative = _relative({t: v for t, v in leads.items() if len(v[0])}, table)
        learnt = sorted(trained.get(key, ()))
        out.append({
            "name": key, "main": key == name, "languages": learnt, "expert": real[0].get("expert"),
            "expert_sha256": real[0].get("expert_sha256"),
            "label": metric_label(METRICS[SCORE], pinned and key == name),
            "rows": [{
                "language": tag, "trained": tag.rpartition("/")[2] in learnt,
                "real": table.estimate(*table.values(table.groups.get(("real", "self", tag), []), SCORE)),
                "shuffled": table.estimate(*table.values(table.groups.get(("real", "shuffled", tag), []), SCORE)),
                "lead": table.estimate(*leads[tag]), "relative": relative.get(tag),
                "valid": verdicts[tag].valid, "share_right": verdicts[tag].share_right, "n_clips": verdicts[tag].n_clips,
                "reason": verdicts[tag].reason} for tag in tags],
        })  # fmt: skip
    return out


def _relative(leads: dict[str, tuple[np.ndarray, list[str]]], table: Table) -> dict[str, Estimate]:
    """language -> its lead over the mean lead of all languages; nothing where that is not above 0."""
    tags = sorted(leads)
    if len(tags) < 2:
        return {}
    strata = [stratum(leads[t]) for t in tags]
    if np.mean([s.means[0] for s in strata]) <= 0:
        return {}
    flips = {"seed": seed_of(table.seed, "flips"), "n_resamples": table.resamples}
    return {tag: jackknife(strata, lambda m, i=i: m[..., i, 0] / m[..., 0].mean(-1), 1 - table.alpha, **flips)
            for i, tag in enumerate(tags)}
