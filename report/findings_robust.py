"""Sentences about languages: unseen ones, distance, ranks, sounds, and the expert's own bias. Same rules as report.findings."""

from __future__ import annotations

from typing import Any

from metrics.stats import clusters_needed
from report.text import counted, headline_metric, interval, listed, number, p_text, percent, reason_text

Finding = dict[str, str]
DISTANCES = {"genealogical": "family tree", "phonemes": "sounds", "visemes": "mouth shapes"}


def finding(level: str, text: str, link: str) -> Finding:
    """level: `claim`, `fact`, `warning` or `no-claim`. link: the section that has the figures."""
    return {"level": level, "text": text, "link": link}


def _metric(document: dict[str, Any]) -> dict[str, Any]:
    return next(m for m in document["metrics"] if m["name"] == headline_metric(document))


def robustness(document: dict[str, Any], system: str) -> list[Finding]:
    """Unseen against seen languages, what is kept, the worst language, and distance, by the metric that is shown first."""
    if "robustness" not in document:
        return []
    metric = _metric(document)
    found = document["robustness"]
    spread = next((s for s in found["spreads"] if (s["system"], s["metric"]) == (system, metric["name"])), None)
    out: list[Finding] = []
    if spread is None or not spread["seen_languages"] + spread["unseen_languages"]:
        return out
    d, label = metric["digits"], metric["label"]
    difference = spread["difference"]
    if difference is None:
        why = reason_text(spread["reasons"].get("difference"))
        out.append(finding("no-claim", f"{system}, seen against unseen languages: no comparison, since {why}.", "#robustness"))
    else:
        named = f"{counted(len(spread['unseen_languages']), 'unseen language')} and "
        named += counted(len(spread["seen_languages"]), "seen one")
        text = f"between {named} its gap in {label} grows by {number(difference['mean'], d)} {interval(difference, d)}".rstrip()
        sure = difference["low"] is not None
        level = "no-claim" if not sure else "claim" if difference["low"] > 0 or difference["high"] < 0 else "fact"
        if level == "no-claim":
            out.append(finding(level, f"{system}: {text}, without an interval: too few speakers to say whether that is chance.",
                               "#robustness"))
        else:
            end = "." if level == "claim" else ", which is not more than chance."
            kept = spread["retention"]
            if kept is not None and kept["low"] is not None:
                span = f"[{percent(kept['low'])}, {percent(kept['high'])}]"
                end = f"{end[:-1]}; it keeps {percent(kept['mean'])} {span} of its skill."
            out.append(finding(level, f"{system}: {text}{end}", "#robustness"))
    if spread["worst"] is not None and spread["worst_share"] is not None:
        share = spread["worst_share"]
        text = f"{system} is worst in {spread['worst']}, and stays so in {percent(share)} of resamplings of the speakers"
        out.append(finding("claim" if share >= 1 - document["alpha"] else "no-claim",
                           text + ("." if share >= 1 - document["alpha"] else ": which language is worst is not settled."),
                           "#robustness"))
    return [*out, *_distance(document, system, metric)]


def _distance(document: dict[str, Any], system: str, metric: dict[str, Any]) -> list[Finding]:
    slopes = [s for s in document["robustness"]["slopes"] if (s["system"], s["metric"]) == (system, metric["name"])]
    alpha, d = document["alpha"], metric["digits"]
    sure = [s for s in slopes if s["slope"] and s["slope"]["low"] is not None]
    shown = [s for s in sure if s["slope"]["low"] > 0 and s["p_holm"] is not None and s["p_holm"] <= alpha]
    if shown:
        best = min(shown, key=lambda s: (s["p_holm"], s["kind"]))
        text = (f"{system}'s gap grows with distance by {DISTANCES[best['kind']]}: {number(best['slope']['mean'], d)} "
                f"{interval(best['slope'], d)} "
                f"from the nearest to the farthest possible language, over {counted(len(best['points']), 'language')} and "
                f"{counted(best['slope']['n_speakers'], 'speaker')} (p {p_text(best['p_holm'])} after Holm).")
        return [finding("claim", text, "#distance")]
    if sure:
        kinds = listed([DISTANCES[s["kind"]] for s in sure])
        return [finding("fact", f"{system}: no distance ({kinds}) is shown to explain its gaps over "
                        f"{counted(max(len(s['points']) for s in sure), 'language')}.", "#distance")]
    if not slopes:
        return []
    why = listed(sorted({reason_text(s["reason"] or (s["slope"] or {}).get("reason")) for s in slopes}))
    return [finding("no-claim", f"{system}: no slope over linguistic distance, since {why}.", "#distance")]


def rankings(document: dict[str, Any]) -> list[Finding]:
    """Whether the order of the systems is firm, over all languages and in each."""
    found = [r for r in document.get("robustness", {}).get("rankings", []) if r["metric"] == headline_metric(document)]
    if not found:
        return []
    metric = _metric(document)
    whole = next((r for r in found if r["language"] is None), None)
    out = []
    if whole is not None and whole["kept"] is not None:
        firm = whole["kept"] >= 1 - document["alpha"]
        text = (f"By {metric['label']} the order is {', '.join(whole['order'])}: it stays in {percent(whole['kept'])} of "
                f"resamplings of the "
                f"speakers over {counted(whole['n_languages'], 'language')}")
        out.append(finding("claim" if firm else "no-claim", text + ("." if firm else ", so it is not settled."), "#ranking"))
        other = [r["language"] for r in found if r["language"] and r["first"][0] is not None
                 and r["order"][0] != whole["order"][0]
                 and r["first"][0] >= 1 - document["alpha"]]
        if other:
            out.append(finding("claim", f"In {listed(other)} another system than {whole['order'][0]} is first.", "#ranking"))
    elif all(r["kept"] is None for r in found):
        out.append(finding("no-claim", "The order of the systems cannot be resampled: too few speakers.", "#ranking"))
    return out


def visemes(document: dict[str, Any], system: str) -> list[Finding]:
    """The sounds for which moving the lips is worse than a still face, or where it cannot be told."""
    cells = [c for c in document.get("visemes", []) if c["system"] == system and c["viseme"] != "sil"]
    if not cells:
        return []
    tested = [c for c in cells if c["p_holm"] is not None]
    if not tested:
        return [finding("no-claim", f"{system}, sound by sound: too few speakers to tell which sounds fail.", "#visemes")]
    alpha, out = document["alpha"], []
    fail = sorted((c for c in tested if c["p_holm"] <= alpha and c["gain"]["mean"] < 0),
                  key=lambda c: (c["p_holm"], c["gain"]["mean"]))
    for c in fail[:2]:
        way = "too far open" if c["signed"] > 0 else "too far closed"
        out.append(finding("claim",
                           f"For the mouth shape {c['viseme']} {_in(c)} {system}'s lips are further from the real ones than a "
                           f"still face's: {way}, "
                           f"off by {number(c['error']['mean'], 3)} eye distances, the still face by {number(c['still'], 3)} "
                           f"({counted(c['error']['n_speakers'], 'speaker')}, p {p_text(c['p_holm'])} after Holm).", "#visemes"))
    whole = [c for c in tested if c["language"] is None]
    good = [c["viseme"] for c in whole if c["p_holm"] <= alpha and c["gain"]["mean"] > 0]
    if good:
        out.append(finding("claim", f"Over all languages {system} is nearer to the real lips than a still face in {len(good)} of "
                           f"{counted(len(whole), 'mouth shape')}: {', '.join(good)}.", "#visemes"))
    each = [c for c in tested if c["language"] is not None]
    most = max((c["error"]["n_speakers"] for c in each), default=0)
    if each and not any(c["p_holm"] <= alpha for c in each) and most < clusters_needed(len(each), alpha):
        out.append(finding("no-claim",
                           f"{system}: which sound fails in which language cannot be told: it takes "
                           f"{clusters_needed(len(each), alpha)} "
                           f"speakers a language to tell {len(each)} pairs apart, and there are {most}.", "#visemes"))
    return out or [finding("no-claim", f"{system}: for no mouth shape is it shown to be better or worse than a still face.",
                           "#visemes")]


def _in(cell: dict[str, Any]) -> str:
    return "over all languages" if cell["language"] is None else f"in {cell['language']}"


def expert_bias(document: dict[str, Any]) -> list[Finding]:
    """How differently the expert hears different languages: by its lead, since its score depends on how long clips are."""
    main = next((e for e in document.get("bias", []) if e["main"]), None)
    if main is None:
        return []
    twins = document["twins"]["languages"]
    known = [r for r in main["rows"] if r["lead"]["mean"] is not None and r["valid"] and r["language"] not in twins]
    if len(known) < 2:
        return []
    low, high = min(known, key=lambda r: r["lead"]["mean"]), max(known, key=lambda r: r["lead"]["mean"])
    apart = low["lead"]["high"] is not None and high["lead"]["low"] is not None and low["lead"]["high"] < high["lead"]["low"]
    text = (f"The expert itself scores real video above the same with shuffled sound by {number(low['lead']['mean'], 2)} "
            f"({low['language']}) to {number(high['lead']['mean'], 2)} ({high['language']}) in {main['label']}; ")
    text += ("these intervals lie apart, so raw scores of two languages must not be compared: gaps to real video are." if apart
             else
             "their intervals meet, so the expert is not shown to favour a language.")
    out = [finding("warning" if apart else "fact", text, "#expert")]
    for other in (e for e in document["bias"] if not e["main"]):
        seen = [r for r in other["rows"] if r["trained"] and r["share_right"] is not None]
        unseen = [r for r in other["rows"] if not r["trained"] and r["share_right"] is not None]
        beside = {r["language"]: r["share_right"] for r in main["rows"] if r["share_right"] is not None}
        if seen and unseen:
            def mean(rows: list[dict[str, Any]]) -> float:
                return sum(r["share_right"] for r in rows) / len(rows)

            both = [beside[r["language"]] for r in unseen if r["language"] in beside]
            out.append(finding("fact",
                               f"An expert trained on {listed(other['languages'])} only ({other['name']}) ranks real sound above "
                               f"shuffled in "
                               f"{percent(mean(seen))} of the clips there and {percent(mean(unseen))} elsewhere"
                               + (f", where the expert of this report does so in {percent(sum(both) / len(both))}." if both
                                  else "."), "#expert"))
    return out

