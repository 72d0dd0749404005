"""The figures of a report as flat rows: what the CSV files beside the page and under results/plots hold."""

from __future__ import annotations

from typing import Any

from report.funnel import by_language
from report.plain import csv_text
from report.sets import csv_rows as set_rows


def gap_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of gap.csv: one per system, condition, language and metric that has a gap to real video."""
    return [
        {
            "system": c["system"],
            "condition": c["condition"],
            "language": c["language"],
            "metric": c["metric"],
            "gap": c["gap"]["mean"],
            **{k: c["gap"][k] for k in ("low", "high", "n_clips", "n_speakers", "reason")},
            "detectable": c["detectable"],
            "p": c["p_gap"],
            "p_holm": c["p_gap_holm"],
        }
        for c in document["cells"]
        if c["gap"] is not None
    ]


def number_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of numbers.csv: every figure of every clip metric, with its gap to real video, its lead over shuffled sound, and what
    stands beside them; `nulls` counts the clips without a value by reason, `gap_nulls` and `lead_nulls` pairs left out."""
    out = []
    for c in document["cells"]:
        gap, lead = c["gap"] or {}, c["over_shuffled"] or {}
        out.append({"system": c["system"], "condition": c["condition"], "language": c["language"], "metric": c["metric"],
                    "seen": None if c["seen"] is None else int(c["seen"]), **_counted(c["value"], "value"),
                    **_counted(gap, "gap"), "detectable_gap": c["detectable"], "p_gap": c["p_gap"],
                    "p_gap_holm": c["p_gap_holm"], **_counted(lead, "lead"),
                    "p_unseen": c["p_unseen"], "p_unseen_holm": c["p_unseen_holm"], "unseen_reason": c["unseen_reason"],
                    "nulls": _nulls(c["nulls"]), "gap_nulls": _nulls(c["gap_nulls"]), "lead_nulls": _nulls(c["lead_nulls"])})
    return out


def level_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of levels.csv: figures that have no better side, and how far they lie from real video's of the same clips."""
    return [{"system": c["system"], "language": c["language"], "metric": c["metric"], **_counted(c["value"], "value"),
             **_counted(c["from_real"] or {}, "from_real"), "nulls": _nulls(c["nulls"])} for c in document["levels"]["cells"]]


def planted_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of planted.csv: every comparison of a planted language with the one it is a twin of."""
    found = document["twins"]["found"]
    return [{**c, "language_found": int(c["language"] in found)} for c in document["twins"]["comparisons"]]


def validity_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of validity.csv: whether the expert may judge a language, and the evidence."""
    out = []
    for v in document["validity"]:
        row = {k: int(x) if isinstance(x, bool) else x for k, x in v.items() if not isinstance(x, dict)}
        for name in ("lags", "lags_shuffled"):
            row |= {f"{name}_{k}": int(x) if isinstance(x, bool) else x for k, x in v[name].items()}
        out.append(row)
    return out


def funnel_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of funnel.csv: what went into each stage and what was kept, with the reasons for the rest."""
    return [{"language": r["language"], "stage": r["stage"], "in": r["in"], "kept": r["kept"], "unaccounted": r["unaccounted"],
             "rejected": _nulls(r["rejected"])} for r in by_language(document["funnel"])]


def matrix_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of matrix.csv: what a system trained on, what it was tested on, and how large its gap is there."""
    trained = {s["name"]: "+".join(s["training_languages"]) for s in document["systems"] if not s["control"]}
    return [
        {
            "system": c["system"],
            "trained_on": trained[c["system"]],
            "tested_on": c["language"],
            "metric": c["metric"],
            "gap": c["gap"]["mean"],
            "n_clips": c["gap"]["n_clips"],
            "n_speakers": c["gap"]["n_speakers"],
        }
        for c in document["cells"]
        if c["system"] in trained and c["condition"] == "self" and c["gap"] is not None
    ]


def lag_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of lag.csv: mean distance between sound and mouth at every lag."""
    return [
        {"system": c["system"], "condition": c["condition"], "language": c["language"], "lag_frames": lag, "distance": d,
         "n_clips": c["n_clips"], "n_speakers": c["n_speakers"]}
        for c in document["lag"]
        for lag, d in zip(c["lags_frames"], c["distance"], strict=True)
    ]


def spread_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of robustness.csv: seen against unseen languages, what is kept, and the worst language."""
    out = []
    for s in document["robustness"]["spreads"]:
        row = {"system": s["system"], "metric": s["metric"], "seen_languages": " ".join(s["seen_languages"]),
               "unseen_languages": " ".join(s["unseen_languages"]), "worst": s["worst"], "worst_share": s["worst_share"]}
        for name in ("seen", "unseen", "difference", "skill_seen", "skill_unseen", "retention"):
            row |= _counted(s[name] or {}, name)
        out.append(row | {"reasons": "; ".join(f"{k}: {v}" for k, v in sorted(s["reasons"].items()))})
    return out


def distance_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of distance.csv: every point of every scatter, and why others are missing."""
    out = []
    for s in document["robustness"]["slopes"]:
        who = {"system": s["system"], "metric": s["metric"], "kind": s["kind"]}
        out += [who | {"language": p["language"], "nearest": p["nearest"], "distance": p["distance"], "seen": int(p["seen"]),
                       **_estimate(p["gap"], "gap"), "n_clips": p["gap"]["n_clips"], "n_speakers": p["gap"]["n_speakers"]}
                       for p in s["points"]]
        out += [who | {"language": tag, "reason": reason} for tag, reason in s["missing"].items()]
    return out


def slope_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of slopes.csv."""
    return [{"system": s["system"], "metric": s["metric"], "kind": s["kind"], **_estimate(s["slope"], "slope"),
             "intercept": s["intercept"],
             "n_languages": len(s["points"]), "n_speakers": (s["slope"] or {}).get("n_speakers"), "p": s["p"],
             "p_holm": s["p_holm"],
             "reason": s["reason"] or (s["slope"] or {}).get("reason")} for s in document["robustness"]["slopes"]]


def ranking_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of ranking.csv: one per system and ranking, best first; an empty language is all of them."""
    return [{"metric": r["metric"], "language": r["language"], "rank": k + 1, "system": r["order"][k], "gap": r["gaps"][k],
             "first": r["first"][k],
             "ahead_of_next": r["ahead"][k], "order_kept": r["kept"], "n_languages": r["n_languages"], "n_clips": r["n_clips"],
             "n_speakers": r["n_speakers"], "reason": r["reason"]} for r in document["robustness"]["rankings"]
             for k in range(len(r["order"]))]


def viseme_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of visemes.csv."""
    return [{"system": c["system"], "language": c["language"], "viseme": c["viseme"], "n_frames": c["n_frames"],
             **_estimate(c["error"], "error"),
             "n_clips": c["error"]["n_clips"], "n_speakers": c["error"]["n_speakers"], "signed": c["signed"], "still": c["still"],
             **_estimate(c["gain"], "gain"), "p": c["p"], "p_holm": c["p_holm"]} for c in document["visemes"]]


def bias_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of expert.csv: what each expert makes of real video, per language."""
    return [{"name": e["name"], "expert": e["expert"], "trained_on": " ".join(e["languages"]), "language": r["language"],
             "trained": int(r["trained"]),
             **_estimate(r["real"], "real"), **_estimate(r["shuffled"], "shuffled"), **_estimate(r["lead"], "lead"),
             **_estimate(r["relative"], "relative"), "share_right": r["share_right"], "valid": int(r["valid"]),
             "n_clips": r["n_clips"],
             "n_speakers": r["real"]["n_speakers"]} for e in document["bias"] for r in e["rows"]]


TABLES = {"numbers": number_rows, "levels": level_rows, "gap": gap_rows, "matrix": matrix_rows, "lag": lag_rows,
          "planted": planted_rows, "validity": validity_rows, "funnel": funnel_rows,
          "robustness": spread_rows, "distance": distance_rows, "slopes": slope_rows,
          "ranking": ranking_rows, "visemes": viseme_rows, "expert": bias_rows, "sets": set_rows}


def files(document: dict[str, Any]) -> dict[str, str]:
    """name -> CSV of every table that has rows: the files beside the page."""
    found = {name: rows_of(document) for name, rows_of in TABLES.items()}
    return {f"{name}.csv": csv_text(rows, list(dict.fromkeys(k for row in rows for k in row))) for name, rows in found.items()
            if rows}


def file_names(document: dict[str, Any]) -> list[str]:
    """The names of `files`."""
    return sorted(f"{name}.csv" for name, rows_of in TABLES.items() if rows_of(document))


def _counted(estimate: dict[str, Any], name: str) -> dict[str, Any]:
    """The figure with its interval, what it was computed from, and why it has no interval."""
    return {name: estimate.get("mean"), f"{name}_low": estimate.get("low"), f"{name}_high": estimate.get("high"),
            **{f"{name}_{k}": estimate.get(k) for k in ("n_clips", "n_speakers", "reason")}}


def _nulls(counts: dict[str, int]) -> str | None:
    return "; ".join(f"{reason}: {n}" for reason, n in sorted(counts.items())) or None


def _estimate(estimate: dict[str, Any] | None, name: str) -> dict[str, Any]:
    return {name: None, f"{name}_low": None, f"{name}_high": None} if estimate is None else \
        {name: estimate["mean"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}
