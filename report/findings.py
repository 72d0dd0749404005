"""The sentences at the top of the report: what the figures show, what they do not, and what nobody can tell from them.

A claim needs an interval; every sentence links to the figures it was made from.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from report.findings_robust import expert_bias, rankings, robustness, visemes
from report.text import counted, headline_metric, interval, listed, measure_text, number, p_text, percent

def findings(document: dict[str, Any], funnel_rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The findings in plain language, each {level, text, link}: level is `fact`, `claim`, `warning` or `no-claim`."""
    systems = [s for s in document["systems"] if not s["control"]]
    return [
        *_expert(document),
        *expert_bias(document),
        *(f for s in systems for f in (*_system(document, s), *robustness(document, s["name"]), *visemes(document, s["name"]))),
        *rankings(document),
        *_lengths(document),
        *_scope(document, systems),
        *_twins(document),
        *_funnel(document, funnel_rows),
    ]


def _finding(level: str, text: str, link: str) -> dict[str, str]:
    return {"level": level, "text": text, "link": link}


def _expert(document: dict[str, Any]) -> list[dict[str, str]]:
    from metrics.validity import FEW_CLIPS, NOT_ASKED

    verdicts = document["validity"]
    protocol = document.get("protocol") or {}
    if verdicts and protocol.get("expert", "unnamed") is None:
        return [_finding("warning", "There was no sync expert, so there is no LSE.", "#expert")]
    good = [v["language"] for v in verdicts if v["valid"]]
    unasked = [v["language"] for v in verdicts if v["reason"] == NOT_ASKED]
    few = [v["language"] for v in verdicts if v["reason"] == FEW_CLIPS]
    bad = [v["language"] for v in verdicts if not v["valid"] and v["language"] not in unasked]
    deaf = [v["language"] for v in verdicts
            if v["language"] in bad and v["language"] not in few and _ranks_well(v, document["margin"])]
    out = []
    if bad and not good:
        asked = counted(len(bad), "language") + (" in which it was asked" if unasked else "")
        why = []
        if len(few) < len(bad):
            why.append("it does not rank real sound above shuffled sound, or does not find lags put in on purpose")
        if few:
            why.append("there are too few clips to tell hearing from guessing" + (f" in {listed(few)}" if why else ""))
        out.append(f"The sync expert can judge none of the {asked}: {'; '.join(why)}. All its scores are left out"
                   f"{' there' if unasked else ''}.")
    elif good:
        n = len(good) + len(deaf) + len(few)
        text = f"The sync expert ranks real sound above shuffled sound in {n} of {counted(len(good) + len(bad), 'language')}."
        if deaf or few:
            text += f" It does not find lags put into real video in {listed(deaf)}." if deaf else ""
            text += f" In {listed(few)} there are too few clips to tell that from guessing." if few else ""
            text += f" Its scores are left out in {listed(bad)}."
        elif bad:
            text += f" Not in {listed(bad)}: its scores are left out there."
        out.append(text)
    if unasked:
        out.append(f"Not checked: no real clip with shuffled sound in {listed(unasked)}. The sync expert's scores are shown "
                   "there, and whether it can judge at all is not known.")
    return [_finding("warning" if bad or unasked else "fact", " ".join(out), "#expert")] if out else []


def _ranks_well(verdict: dict[str, Any], margin: float) -> bool:
    """Whether a language that is not valid fails by its lags alone."""
    from metrics.validity import MIN_SHARE_RIGHT

    return bool(verdict["n_clips"]) and verdict["share_right"] >= MIN_SHARE_RIGHT and verdict["mean_difference"] > margin


def _system(document: dict[str, Any], system: dict[str, Any]) -> list[dict[str, str]]:
    metric = next(m for m in document["metrics"] if m["name"] == headline_metric(document))
    cells = [
        c
        for c in document["cells"]
        if c["system"] == system["name"]
        and c["condition"] == "self"
        and c["metric"] == metric["name"]
        and c["gap"] is not None
        and c["gap"]["mean"] is not None
    ]
    name = system["name"]
    own = [c for c in cells if c["language"] not in document["twins"]["languages"]]
    if not own:
        return [_finding("no-claim", f"{name} has no {metric['label']} that could be compared with real video.", "#numbers")]
    if all(c["gap"]["low"] is None for c in own):
        most = max(c["gap"]["n_speakers"] for c in own)
        return [
            _finding(
                "no-claim",
                f"{name}: no claim about languages. The largest language has {counted(most, 'speaker')} in the test, and below "
                "six there is no interval (too_few_speakers). The figures are shown as they are.",
                "#gaps",
            )
        ]
    out = [_gaps(name, metric, [c for c in own if c["p_gap_holm"] is not None], document["alpha"])]
    tested = [c for c in cells if c["p_unseen_holm"] is not None]
    if tested:
        base = [c["gap"]["mean"] for c in cells if c["seen"]]
        wrong = [
            c["language"]
            for c in tested
            if c["p_unseen_holm"] <= document["alpha"] and base and c["gap"]["mean"] > sum(base) / len(base)
        ]
        text = (
            f"{name} is worse in {listed(wrong)} than in the languages it was trained on"
            if wrong
            else (f"{name} is not shown to be worse in any language it was not trained on")
        )
        out.append(
            _finding("claim" if wrong else "fact", f"{text} (Holm over {len(tested)}, level {document['alpha']:g}).", "#matrix")
        )
    return out


def _gaps(name: str, metric: dict[str, Any], cells: list[dict[str, Any]], alpha: float) -> dict[str, str]:
    """In how many languages a gap to real video stands after Holm's correction. cells: one or more, those corrected together."""
    from metrics.stats import clusters_needed

    def at(cell: dict[str, Any]) -> str:
        gap, digits = cell["gap"], metric["digits"]
        return (f"{cell['language']}: {number(gap['mean'], digits)} {interval(gap, digits)}, "
                f"{counted(gap['n_clips'], 'clip')} of {counted(gap['n_speakers'], 'speaker')}")

    cells = sorted(cells, key=lambda c: -c["gap"]["mean"])
    shown, open_ = ([c for c in cells if (c["p_gap_holm"] <= alpha) == so] for so in (True, False))
    worse, better = ([c for c in shown if (c["gap"]["mean"] > 0) == so] for so in (True, False))
    needed = clusters_needed(len(open_), alpha)
    few = sorted(c["language"] for c in open_ if c["gap"]["n_speakers"] < needed)
    over = counted(len(cells), "language")
    text = f"{name} {'falls' if worse else 'is not shown to fall'} short of real video in {metric['label']} in "
    text += f"{len(worse) or 'any'} of {over} with an interval, after Holm's correction over {over}"
    if worse:
        text += f"; most in {at(worse[0])}"
    elif not better:
        text += f"; the largest gap is in {at(cells[0])}"
    if better:
        text += f"; it is better than real video in {len(better)}, most in {at(better[-1])}"
    text += f". In {listed(few)} no gap could pass that, however large: it takes {counted(needed, 'speaker')}." if few else "."
    return _finding("claim" if worse else "no-claim" if len(few) == len(cells) else "fact", text, "#gaps")


def _lengths(document: dict[str, Any]) -> list[dict[str, str]]:
    """Where LSE-C is not compared, because it depends on how many windows it is a mean over."""
    from metrics.lengths import TOLERANCE
    from metrics.protocols import is_padded

    cells = [c for c in document["cells"] if c["metric"] == "lse_c"]
    label = next((m["label"] for m in document["metrics"] if m["name"] == "lse_c"), "LSE-C")
    n = {name: sum(sum(c.get(key, {}).values()) for c in cells)
         for name, key in (("gaps", "gap_nulls"), ("leads over shuffled sound", "lead_nulls"))}
    n["the question whether the expert may judge"] = sum(v.get("n_other_length", 0) for v in document["validity"])
    out = []
    if any(n.values()):
        padded = is_padded((document.get("protocol") or {}).get("protocol"))
        apart = "differ in length" if padded else f"differ by more than {percent(TOLERANCE)} in length"
        left = listed([f"{counted(k, 'pair')} of videos out of {name}" for name, k in n.items() if k])
        out.append(_finding("no-claim", f"{label} leaves {left}: they {apart}, and it depends on that.", "#numbers"))
    known = sorted((lang["median_windows"], lang["tag"]) for lang in document.get("languages", []) if lang.get("median_windows"))
    raw = any(c["value"]["mean"] is not None for c in cells)
    if raw and known and known[0][0] < (1 - TOLERANCE) * known[-1][0]:
        (short, one), (long, other) = known[0], known[-1]
        out.append(_finding("no-claim", f"{label} itself must not be compared between languages: at the median real clips have "
                            f"from {short:g} ({one}) to {long:g} windows ({other}), and fewer windows raise it. Gaps and leads "
                            "may: both videos of a pair are of one length.", "#controls"))
    return out


def _scope(document: dict[str, Any], systems: list[dict[str, Any]]) -> list[dict[str, str]]:
    if systems:
        return []
    return [_finding("fact", "No system was scored: this report shows real video and its controls only.", "#controls")]


def _twins(document: dict[str, Any]) -> list[dict[str, str]]:
    out = []
    for tag in document["twins"]["languages"]:
        own = [c for c in document["twins"]["comparisons"] if c["language"] == tag]
        if not own or all(c["p"] is None for c in own):
            reasons = sorted({c["reason"] for c in own if c["reason"]}) or ["no_scores"]
            out.append(_finding("no-claim", f"Planted language {tag}: no claim ({', '.join(reasons)}).", "#planted"))
        elif tag in document["twins"]["found"]:
            best = min(
                (c for c in own if c["p_holm"] is not None and (c["worse_by"] or 0) > 0),
                key=lambda c: c["p_holm"],
            )
            label = next((m["label"] for m in document["metrics"] if m["name"] == best["metric"]), measure_text(best["metric"]))
            out.append(
                _finding(
                    "claim",
                    f"Planted language {tag} stands apart from {own[0]['against']}: {label} of {best['system']} is worse by "
                    f"{number(best['worse_by'])} (p {p_text(best['p_holm'])} after Holm).",
                    "#planted",
                )
            )
        else:
            out.append(
                _finding(
                    "fact",
                    f"Planted language {tag} does not differ from {own[0]['against']} in any of "
                    f"{counted(sum(c['p'] is not None for c in own), 'comparison')}.",
                    "#planted",
                )
            )
    return out


def _funnel(document: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    if not rows:
        return []
    # Scores of files have no stages before them.
    first, items = ("download", "recording") if any(r["stage"] == "download" for r in rows) else ("score", "video")
    given = sum(r["in"] for r in rows if r["stage"] == first)
    scored = sum(r["kept"] for r in rows if r["stage"] == "score")
    lost = Counter()
    for row in rows:
        lost.update(row["rejected"])
    text = f"{counted(given, items)} went in; {counted(scored, 'video')} were scored."
    if lost:
        reason, n = sorted(lost.items(), key=lambda kv: (-kv[1], kv[0]))[0]
        total = sum(lost.values())
        text += f" {counted(total, 'item')} {'was' if total == 1 else 'were'} rejected, most often because: "
        text += f"{reason.replace('_', ' ')} ({n})."
    else:
        text += " Nothing was rejected."
    if not document["funnel"]["adds_up"]:
        return [
            _finding(
                "warning", f"{text} {counted(document['funnel']['unaccounted'], 'item')} cannot be accounted for.", "#funnel"
            )
        ]
    return [_finding("fact", f"{text} Every item is accounted for.", "#funnel")]
