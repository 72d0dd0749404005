"""Builds the corpus that this project's claims are judged on, and judges them: thresholds, numbers behind them, pass or fail.

    python -m bench.claims build --dir DIR [--trained 36 --other 18 --planted 9 --trained-clips 5] [--jobs 2]
    python -m bench.claims report --dir DIR

`build` makes a workspace in DIR with enough speakers for the claims and runs `babelface evaluate` in it; the same command goes on
where it was killed. `report` reads the finished workspace, prints tables, and writes DIR/results/bench/claims.json, lag.json and
lag.svg. Exit status 1 where a claim fails. The claims:

  lag       the sync expert finds a lag of -8..+8 frames within one frame on 95 % of 3 s stretches, in every language (bench.lag)
  systems   with 12 held-out speakers or more in each language it was trained on, every system beats its own video with another
            clip's sound there (smallest sync distance, sign flips of whole speakers, Holm), and its mouth follows the true one
            (mean correlation 0.5 or more; a still picture's is near 0)
  planted   every planted language that is wrong is found, and none that is right
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.params import Params

MIN_SPEAKERS = 12
MIN_OPENING = 0.5
MOST_STILL = 0.2  # "near 0": one clip's mesh noise alone correlates by about 0.15 either way
JUDGE, FOLLOWS = "lse_d", "truth_opening_correlation"
TRACK = {"finder": "blazeface", "landmarker": "facemesh"}  # both are in one wheel, so any machine can have them


@dataclass(frozen=True, slots=True)
class Size:
    """How large the corpus is. A third of the speakers are test speakers, so 36 leave 12 in a language that systems train on."""

    trained: int = 36  # speakers of a language that some system trains on
    other: int = 18  # speakers of the others: 6 for the test, 12 for the sync expert
    planted: int = 9  # speakers of a planted language, all of them for the test
    trained_clips: int = 5  # per speaker of a language that some system trains on, 4 to 6 s each
    clips: int = 2  # per speaker of the others
    scored: int = 3  # of a test speaker's clips, how many systems and controls are scored on, at most
    expert_steps: int = 2400
    system_steps: int = 3600  # for one language; a quarter of that more for each further one


def overrides(params: Params, size: Size) -> dict[str, Any]:
    """Changes to params.yaml (see flows.workspace.merged) for a corpus of that size. Systems are scored on their own words only:
    no claim here needs the crossed conditions. The finder and the mesh are those that the stated figures were made with,
    whatever models this machine has: how well a generated mouth follows the truth depends on who reads it."""
    trained = {tag for entry in params.train.systems.values() for tag in params.training_languages(entry)}
    corpora: dict[str, Any] = {}
    for who in params.instances():
        n = size.planted if who.planted else size.trained if who.language in trained else size.other
        entry = {"speakers": n} | ({"clips_per_speaker": size.trained_clips} if who.language in trained else {})
        corpora.setdefault(who.corpus, {"clips_per_speaker": size.clips, "languages": {}})["languages"][who.language] = entry
    return {
        "corpora": corpora,
        "track": dict(TRACK),
        "split": {"test_share": 0.34, "expert_share": 0.34, "validation_share": 0.15},
        "train": {"experts": {name: {"steps": size.expert_steps} for name in params.train.experts},
                  "systems": {name: {"steps": size.system_steps * (3 + len(params.training_languages(entry))) // 4}
                              for name, entry in params.train.systems.items()}},
        "generate": {"conditions": ["self"], "clips_per_speaker": size.scored},
    }


def build(folder: Path, size: Size, jobs: int | None = None) -> int:
    """The exit status of `babelface evaluate` in the workspace `folder`, which is made first where it is not there."""
    from core.params import load_params
    from flows import workspace
    from flows.graph import GRAPH

    if (folder / GRAPH).is_file():
        print(f"going on in {folder}, with the params and the code it has")
    else:
        workspace.create_workspace(folder, overrides(load_params(workspace.ROOT / "params.yaml"), size))
    return workspace.run_inside(folder.resolve(), "evaluate", *(["--jobs", str(jobs)] if jobs else []))


# ---- the claims ---------------------------------------------------------------------------------------------------------------
def judge_systems(rows: Sequence[dict[str, Any]], *, margin: float, alpha: float, seed: int, resamples: int) -> dict[str, Any]:
    """The claim about systems, from rows of the `scores` table: one entry per system and language it was trained on.

    The lead is how much smaller the sync distance is with the video's own sound than with another clip's, clip by clip; its p is
    two-sided, by flipping the signs of whole speakers, Holm-adjusted over all entries.
    """
    from metrics.robustness import Table, seed_of
    from metrics.validity import drop_unjudged, expert_validity
    from metrics.stats import holm, sign_flip_test

    validity = expert_validity(rows, margin)
    table = Table(drop_unjudged(rows, validity), seed=seed, resamples=resamples, alpha=alpha)
    cells = {(r["system"], tag) for r in table.rows for tag in r["training_languages"] or ()}
    entries, p_values = [], []
    for system, language in sorted(cells):
        own = table.groups.get((system, "self", language), [])
        still = table.groups.get(("still", "self", language), [])
        leads, speakers = table.leads(own, JUDGE)
        follows, _ = table.values(own, FOLLOWS)
        at_rest, _ = table.values(still, FOLLOWS)
        p_values.append(sign_flip_test(leads, speakers, seed_of(seed, "claims", system, language)))
        spread = table.estimate(leads, speakers)
        entries.append({
            "system": system, "language": language, "n_speakers": len(set(speakers)), "n_clips": len(leads), "lead": spread.mean,
            "low": spread.low, "high": spread.high, "p": p_values[-1], "n_opening": len(follows),
            "opening": float(follows.mean()) if len(follows) else None, "n_still": len(at_rest),
            "opening_still": float(at_rest.mean()) if len(at_rest) else None,
            "expert_valid": language in validity and validity[language].valid})
    for entry, p in zip(entries, holm(p_values), strict=True):
        entry["p_holm"] = p
        entry["fails"] = _failures(entry, alpha)
        entry["passes"] = not entry["fails"]
    return {"entries": entries, "alpha": alpha, "passes": bool(entries) and all(e["passes"] for e in entries)}


def _failures(entry: dict[str, Any], alpha: float) -> list[str]:
    """Which thresholds one system misses in one language."""
    why = []
    if not entry["expert_valid"]:
        why.append("the expert is not valid in this language")
    if entry["n_speakers"] < MIN_SPEAKERS:
        why.append(f"{entry['n_speakers']} speakers, {MIN_SPEAKERS} wanted")
    if entry["lead"] is None or entry["lead"] <= 0:
        why.append("no lead over the shuffled sound")
    elif entry["p_holm"] is None or entry["p_holm"] > alpha:
        why.append("the lead may be chance")
    if entry["opening"] is None or entry["opening"] < MIN_OPENING:
        why.append("the mouth does not follow the true one")
    # A still picture whose mesh does not move either has no correlation at all.
    if entry["opening_still"] is not None and abs(entry["opening_still"]) > MOST_STILL:
        why.append("a still picture follows the true mouth too")
    return why


def judge_planted(document: dict[str, Any], params: Params) -> dict[str, Any]:
    """The claim about planted languages, from the content of data/aggregate/all/report.json.

    A planted language is wrong where params.yaml swaps visemes or delays its sound. One that was never compared proves nothing.
    """
    wrong = {tag: bool(entry.swap or entry.audio_late_ms) for corpus in params.corpora.values()
             for tag, entry in corpus.languages.items() if entry.twin_of}
    entries = []
    for label in document["twins"]["languages"]:
        tested = [c for c in document["twins"]["comparisons"] if c["language"] == label and c["p_holm"] is not None]
        found, should = label in document["twins"]["found"], wrong[label.rpartition("/")[2]]
        entries.append({
            "language": label, "wrong": should, "found": found, "n_tests": len(tested), "passes": bool(tested) and found == should,
            "n_speakers": min((c["n_speakers"] for c in tested), default=0),
            "n_speakers_against": min((c["n_speakers_against"] for c in tested), default=0),
            "comparisons": sorted(tested, key=lambda c: (c["p_holm"], c["system"], c["metric"]))})
    return {"entries": entries, "alpha": document["alpha"], "passes": any(e["wrong"] for e in entries) and any(not e["wrong"] for e in entries)
            and all(e["passes"] for e in entries)}


def judge(folder: Path) -> dict[str, Any]:
    """All claims about a finished workspace. FileNotFoundError where it is not finished."""
    from bench import lag
    from core.params import load_params
    from core.shards import read_json
    from core.stage import out_folder
    from report.document import label_corpora
    from stages.aggregate import score_rows

    with contextlib.chdir(folder):
        params = load_params()
        where = out_folder("aggregate", "all") / "report.json"
        if not where.is_file():
            raise FileNotFoundError(f"{folder}: no {where}; run `python -m bench.claims build --dir {folder}` to its end first")
        document = read_json(where)
        rows, _ = label_corpora(score_rows(params), {})
        report = params.report
        result = {
            "systems": judge_systems(rows, margin=params.score.expert_valid_margin, alpha=report.alpha, seed=report.seed,
                                     resamples=report.bootstrap),
            "planted": judge_planted(document, params)}
    result["lag"] = lag.measure(folder)
    result["passes"] = all(result[name]["passes"] for name in ("lag", "systems", "planted"))
    return result


def text(result: dict[str, Any]) -> str:
    """All tables."""
    from bench import lag

    def number(value: float | None, form: str = "+.3f") -> str:
        return "-" if value is None else format(value, form)

    def verdict(passes: bool) -> str:
        return "pass" if passes else "FAIL"

    systems, planted = result["systems"], result["planted"]
    lines = ["1. The sync expert finds the lag", lag.text(result["lag"]), "",
             "2. Systems against their own video with another clip's sound (LSE-D*: larger lead, better), and the mouth against the truth",
             f"{'system':>16} {'language':>8} {'speakers':>8} {'clips':>5} {'lead':>7} {'95 % interval':>16} {'p (Holm)':>9} {'opening r':>9} "
             f"{'still r':>8}"]
    for e in systems["entries"]:
        interval = "-" if e["low"] is None else f"{e['low']:+.3f}..{e['high']:+.3f}"
        lines.append(f"{e['system']:>16} {e['language']:>8} {e['n_speakers']:>8} {e['n_clips']:>5} {number(e['lead']):>7} {interval:>16} "
                     f"{number(e['p_holm'], '.4f'):>9} {number(e['opening'], '.2f'):>9} {number(e['opening_still'], '+.2f'):>8}  "
                     f"{verdict(e['passes'])}{': ' if e['fails'] else ''}{'; '.join(e['fails'])}")
    lines += [f"{verdict(systems['passes'])}: {MIN_SPEAKERS} speakers or more, a lead with p (Holm) <= {systems['alpha']:g}, "
              f"opening r >= {MIN_OPENING:g}, still r within {MOST_STILL:g} of 0", "", "3. Planted languages against their models",
              f"{'language':>10} {'is wrong':>9} {'found':>6} {'tests':>6} {'speakers':>9} {'least p (Holm)':>15}"]
    for e in planted["entries"]:
        least = e["comparisons"][0] if e["comparisons"] else None
        shown = "-" if least is None else f"{least['p_holm']:.4f} ({least['system']} {least['metric']}, worse by {least['worse_by']:+.3f})"
        lines.append(f"{e['language']:>10} {'yes' if e['wrong'] else 'no':>9} {'yes' if e['found'] else 'no':>6} {e['n_tests']:>6} "
                     f"{e['n_speakers']:>4}/{e['n_speakers_against']:<4} {shown:>15}  {verdict(e['passes'])}")
    lines += [f"{verdict(planted['passes'])}: the wrong ones are found and the right ones are not, at p (Holm) <= {planted['alpha']:g}", "",
              f"all claims: {verdict(result['passes'])}"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Builds, or prints and writes the verdict: 1 where a claim fails, 2 where the folder cannot be used."""
    from core.params import ParamsError
    from core.stage import UserError
    from flows.workspace import WorkspaceError

    parser = argparse.ArgumentParser(prog="python -m bench.claims", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("build", help="make the workspace, or go on with it")
    tell = verbs.add_parser("report", help="judge a finished workspace")
    for verb in (make, tell):
        verb.add_argument("--dir", type=Path, required=True, help="the workspace's folder")
    make.add_argument("--jobs", type=int, help="cores to use (default all)")
    for option in ("--trained", "--other", "--planted", "--trained-clips", "--clips", "--scored", "--expert-steps", "--system-steps"):
        default = getattr(Size(), option[2:].replace("-", "_"))
        make.add_argument(option, type=int, default=default, help=f"default {default}")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.verb == "build":
            return build(chosen.dir, Size(**{name: getattr(chosen, name) for name in Size.__dataclass_fields__}), chosen.jobs)
        result = judge(chosen.dir)
    except (UserError, ParamsError, WorkspaceError, FileNotFoundError, ValueError) as error:
        print(f"bench.claims: {error}", file=sys.stderr)
        return 2
    from bench import lag
    from core.shards import write_json

    print(text(result))
    out = chosen.dir / "results" / "bench"
    write_json(out / "claims.json", result)
    print(f"written: {out / 'claims.json'}, {out / 'lag.json'} and {lag.save(result['lag'], out / 'lag.json')}")
    return 0 if result["passes"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
