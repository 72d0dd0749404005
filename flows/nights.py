"""What a night leaves, and what the next one needs of it: records, the verdict against the last good night, the published folder.

    PUBLISH/
      index.html                 the trend over the last nights, one file
      latest                     a link to the newest night
      nightly-2026-11-21/
        night.json               the record: status, commit, figures, regressions, what is missing
        index.html, ...          the report as it was that night
        comparison/              against the last good night

The folder is all the memory there is: whoever has it knows which night was good. Knows no Prefect.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.stage import UserError
from flows.graph import Outcome
from flows.show import DOCUMENT
from flows.spec import REPORT

PUBLISH = Path(".babelface/nightly")
REPORT_PAGE = Path(REPORT) / "index.html"
RECORD = "night.json"
GOOD, REGRESSED, FAILED = "good", "regressed", "failed"
KEEP = 30
_NAME = re.compile(r"nightly-\d{4}-\d{2}-\d{2}")
_FIGURE = ("mean", "low", "high", "reason", "n_clips", "n_speakers")


class NightError(UserError):
    """A night cannot be named, compared or published; the message says why."""


def name_of(scheduled: datetime, timezone: str = "UTC") -> str:
    """nightly-YYYY-MM-DD: the date on which the run was to start, in the schedule's time zone."""
    try:
        return f"nightly-{scheduled.astimezone(ZoneInfo(timezone)):%Y-%m-%d}"
    except (ZoneInfoNotFoundError, ValueError):
        raise NightError(f"no time zone is called {timezone!r}; names are such as Europe/Berlin") from None


def publish_folder(given: str | Path | None = None) -> Path:
    """Where nights are published: `given`, else BABELFACE_PUBLISH, else .babelface/nightly."""
    return Path(given or os.environ.get("BABELFACE_PUBLISH") or PUBLISH).expanduser()


def read_nights(folder: Path) -> list[dict[str, Any]]:
    """The records of all nights in a published folder, oldest first."""
    found = sorted(p for p in folder.glob(f"nightly-*/{RECORD}") if _NAME.fullmatch(p.parent.name))
    return [json.loads(p.read_text(encoding="utf-8")) for p in found]


def last_good(nights: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The newest good night before the night `name`; None where there is none."""
    return next((n for n in reversed(nights) if n["status"] == GOOD and n["name"] < name), None)


def check_metrics(names: Sequence[str]) -> list[str]:
    """The names, each once, where every one is a metric that can fail a night: a figure of clips, of which one way is better.
    NightError says what another is, and what was perhaps meant."""
    from core.params import suggest
    from report.set_comparison import METRICS

    may = [m.name for m in METRICS.values() if m.per == "clip" and m.higher_is_better is not None]
    for name in names:
        if name not in METRICS:
            raise NightError(f"no metric is called {name!r}{suggest(name, may)}")
        if name not in may:
            why = ("it is one figure of many clips, without an interval, so that nobody can tell a change of it from noise"
                   if METRICS[name].per != "clip" else "neither more nor less of it is better, so that it cannot get worse")
            raise NightError(f"{name} cannot fail a night: {why}; metrics that can: {', '.join(may)}")
    return list(dict.fromkeys(names))


def counted(named: Sequence[str], before: dict[str, Any] | None, shown: dict[str, Any]) -> list[str]:
    """The metrics that may fail tonight: those named, else the one that the report of the last good night showed first, else
    tonight's. Not tonight's in any case: it shows another first where the expert can no longer judge, and all would look well."""
    from report.set_comparison import METRICS

    first = (night.get("headline", "") for night in (before or {}, shown))
    return list(named) or [m for m in first if m in METRICS][:1]


def record(name: str, status: str, **facts: Any) -> dict[str, Any]:
    """The record of a night, with every field that readers may ask for."""
    empty = {"commit": None, "code": None, "baseline": None, "note": "", "counted": [], "regressions": [], "improvements": [],
             "too_few": "", "missing": [], "failures": [], "ran": 0, "figures": [], "metrics": [], "systems": [], "languages": [],
             "headline": "", "expert": {}, "report": False, "comparison": False}
    unknown = facts.keys() - empty.keys()
    if unknown:
        raise TypeError(f"a night has no {sorted(unknown)[0]}")
    return {"name": name, "date": name.removeprefix("nightly-"), "status": status, **empty, **facts}


def figures(root: Path = Path(".")) -> dict[str, Any]:
    """What tonight's report says, for the trend and for the next night: every system's own-sound value per language and metric,
    with its interval; `expert`: language -> why the sync expert may not judge it, None where it may."""
    from report.text import headline_metric

    path = root / DOCUMENT
    if not path.is_file():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    rows = [{"metric": c["metric"], "system": c["system"], "language": c["language"], **{k: c["value"].get(k) for k in _FIGURE}}
            for c in document["cells"] if c["condition"] == "self" and c["system"] != "still" and c["value"]["mean"] is not None]
    metrics = [{k: m[k] for k in ("name", "label", "higher_is_better", "digits", "unit")} for m in document["metrics"]]
    systems = sorted({r["system"] for r in rows}, key=lambda s: (s == "real", s))
    return {"figures": rows, "metrics": metrics, "systems": systems, "languages": [g["tag"] for g in document["languages"]],
            "headline": headline_metric(document),
            "expert": {v["language"]: None if v["valid"] else v["reason"] for v in document["validity"]}}


def judge(name: str, nights: Sequence[dict[str, Any]], metrics: Sequence[str] = (), *, shown: dict[str, Any] | None = None,
          accept: bool = False, root: Path = Path(".")) -> tuple[Any, dict[str, Any]]:
    """(flows.compare.Compared or None, what the record says of it) of the folder as it is against the last good night.

    A language that got worse beyond its interval, after correction, makes the night regressed, and so do all languages together
    by their own test; anything less does not. `too_few` says which languages have too few speakers to get worse. What could be
    judged then and cannot be now (a language, a system, the expert, too many clips) makes it failed: report.missing. Another
    protocol or expert cannot be compared: the night is a new start, and says so. NightError where the good night cannot be read,
    RevisionError where tonight has no scores, CompareError where the two cannot be compared for any other reason. metrics: that
    count, by name (default: `counted`). shown: tonight's `figures`. accept: the night is good whatever is found.
    """
    from flows.compare import OtherProtocol, compare
    from flows.revisions import RevisionError, open_run
    from report.comparison_text import too_few
    from report.missing import missing
    from report.plain import plain

    shown = figures(root) if shown is None else shown
    before = last_good(nights, name)
    facts: dict[str, Any] = {"baseline": before["name"] if before else None, "counted": counted(metrics, before, shown)}
    found, notes = None, [] if before else ["the first good night: there is nothing to compare it with"]
    if before is not None:
        tonight = open_run(str(root), root)
        try:
            # By name: two runs of one system each would be compared under any, and one that is gone is gone.
            found = compare(before["commit"], tonight, root=root, metrics=facts["counted"] or None, pairs={})
        except OtherProtocol as error:
            notes = [f"not compared, and a new start: {error}"]
        except RevisionError as error:
            if not accept:
                raise NightError(f"{before['name']}, the last good night, cannot be read: {error}\n"
                                 "To go on from tonight: babelface nightly --accept") from error
            notes = [f"accepted without a comparison: {before['name']} cannot be read"]
    if found is not None:
        facts |= {"regressions": plain(found.comparison.regressions), "improvements": plain(found.comparison.improvements),
                  "too_few": too_few(found.comparison)}
    facts["missing"] = missing(before, shown, found.comparison if found else None, metrics)
    gone = f"missing tonight: {', '.join(dict.fromkeys(m['name'] for m in facts['missing']))}" if facts["missing"] else ""
    status = REGRESSED if facts.get("regressions") else FAILED if gone else GOOD
    if status != GOOD and accept:
        status, notes = GOOD, ["accepted as the night to compare with" + (f"; {gone}" if gone else ""), *notes]
    elif gone:
        notes = [gone, *(notes if before else [])]
    return found, facts | {"status": status, "note": "\n".join(notes)}


def failures(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What failed, with the last lines each instance said; what was skipped for it is counted with it."""
    skipped = sum(o.status == "skipped" for o in outcomes)
    return [{"name": o.name, "why": o.why, "tail": o.tail[-8:], "log": o.log, "skipped": skipped}
            for o in outcomes if o.status == "failed"]


def publish(night: dict[str, Any], folder: Path, *, compared: Any = None, keep: int = KEEP, root: Path = Path(".")) -> Path:
    """Writes a night into the published folder, replacing one of the same name; its folder. Then the trend page and the link
    `latest`; the oldest nights beyond `keep` go, except the last good one."""
    from core.executor import recover, swap
    from core.shards import write_bytes, write_json
    from flows.compare import write_page
    from report.trend import render

    dest = folder / night["name"]
    following = folder / f".{night['name']}.next"
    shutil.rmtree(following, ignore_errors=True)
    recover(dest)
    if night["report"]:
        shutil.copytree(root / REPORT, following)
    else:
        following.mkdir(parents=True)
    if compared is not None:
        write_page(compared, following / "comparison")
    write_json(following / RECORD, night)
    swap(following, dest)
    nights = _prune(folder, read_nights(folder), keep)
    link = folder / f".latest.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(nights[-1]["name"], target_is_directory=True)
    os.replace(link, folder / "latest")
    write_bytes(folder / "index.html", render(nights).encode())
    return dest


def _prune(folder: Path, nights: list[dict[str, Any]], keep: int) -> list[dict[str, Any]]:
    good = next((n["name"] for n in reversed(nights) if n["status"] == GOOD), None)
    gone = [n for n in nights[: max(len(nights) - max(keep, 1), 0)] if n["name"] != good]
    for night in gone:
        shutil.rmtree(folder / night["name"])
    return [n for n in nights if n not in gone]


def sentence(night: dict[str, Any]) -> str:
    """The night in one line."""
    if night["status"] == FAILED:
        names = [f["name"] for f in night["failures"]]
        which = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
        return f"{night['name']} failed: {which or (_first(night) if night['missing'] else night['note'])}"
    against = f" against {night['baseline']}" if night["baseline"] else ""
    if night["status"] == REGRESSED:
        from report.comparison_text import place
        from report.text import listed

        tags = list(dict.fromkeys(place(c["language"]) for c in night["regressions"]))
        also = f"; {_first(night)}" if night["note"] else ""
        return f"{night['name']}: {listed(tags)} got worse beyond noise{against}{also}"
    said = f"{night['name']} is good" + (f" ({_first(night)})" if night["note"] else against)
    return said + ("; some languages have too few speakers to tell" if night["too_few"] else "")


def _first(night: dict[str, Any]) -> str:
    return night["note"].partition("\n")[0]


def markdown(night: dict[str, Any], link: str) -> str:
    """The night as Prefect shows it: what got worse, by how much, with which interval, what is missing, or what failed; and where
    to look."""
    from report.comparison_text import p_of, place
    from report.text import interval, number, offsets_then_now, p_text

    lines = [f"# {sentence(night)}", ""]
    digits = {m["name"]: m for m in night["metrics"]}
    for title, rows in (("Got worse", night["regressions"]), ("Got better", night["improvements"])):
        if rows:
            beside = [offsets_then_now(c) for c in rows]
            extra = " mean \\|offset\\|, within 1 frame |" if any(beside) else ""
            lines += [f"## {title}", "",
                      f"| language | system | metric | then | now | change | interval |{extra} p, corrected | clips | speakers |",
                      f"|---|---|---|---:|---:|---:|---|{'---|' if extra else ''}---:|---:|---:|"]
            for c, more in zip(rows, beside, strict=True):
                m = digits.get(c["metric"], {"digits": 3, "label": c["metric"]})
                d, e = m["digits"], c["change"]
                lines.append(f"| **{place(c['language'])}** | {c['system']} | {m['label']} | {number(c['mean_a'], d)} "
                             f"| {number(c['mean_b'], d)} | {number(e['mean'], d, sign=True)} | {interval(e, d)} "
                             f"| {f'{more} | ' if extra else ''}{p_text(p_of(c))} | {e['n_clips']} "
                             f"| {e['n_speakers']} |")
            lines.append("")
    if night["missing"]:
        lines += ["## Missing", "", *(f"- **{m['name']}**: {m['why']}" for m in night["missing"]), ""]
    for f in night["failures"]:
        lines += [f"## {f['name']} failed", "", f["why"] + (f"; log: `{f['log']}`" if f["log"] else ""), ""]
        lines += ["```", *f["tail"], "```", ""]
    if night["failures"] and night["failures"][0]["skipped"]:
        lines += [f"{night['failures'][0]['skipped']} instances that need them were skipped.", ""]
    lines += [line for said in (night["too_few"], night["note"]) if said for line in (said, "")]
    if night["counted"]:
        labels = [digits[m]["label"] if m in digits else m for m in night["counted"]]
        lines += [f"What counts: {', '.join(labels)}.", ""]
    where = [("the nights", "index.html")]
    where += [("the report", f"{night['name']}/index.html")] if night["report"] else []
    where += [("the comparison", f"{night['name']}/comparison/index.html")] if night["comparison"] else []
    lines.append("Look at " + ", ".join(f"[{text}]({link}/{path})" for text, path in where) + ".")
    if night["commit"]:
        lines += ["", f"Saved as the DVC experiment `{night['name']}` ({night['commit'][:10]})."]
    if night["status"] != GOOD:
        lines += ["", "This night does not count as good: the next one is compared with the last that was. If this is how it "
                  "shall be: `babelface nightly --accept`."]
    return "\n".join(lines) + "\n"
