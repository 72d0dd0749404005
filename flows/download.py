"""What `babelface download` and `forget` do: look at ledgers, estimate, try again, take out. The work is the stage's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.params import CorpusLanguage, Params, suggest
from core.records import REASONS, Item, Rejected
from core.stage import UserError, out_folder

# Assumed, not measured: faces at 1080p or less as sites encode them, and stretches as this project cuts them (H.264 of no visible
# loss at 25 fps with lossless sound). The estimate prints them beside what it makes of them.
ASSUMED_BYTES_AN_HOUR = {"fetched": 0.9e9, "cut": 5.0e9}


def chosen(params: Params, targets: Iterable[str]) -> list[CorpusLanguage]:
    """The instances that targets mean: `net-en`, `download@net-en`, a corpus or a language; all where there is no target."""
    instances = params.instances()
    found: list[CorpusLanguage] = []
    for target in targets:
        name = target.removeprefix("download@")
        hit = [i for i in instances if name in (i.name, i.corpus, i.language)]
        if not hit:
            raise UserError(f"no instance, corpus or language {target!r}{suggest(name, [i.name for i in instances])}")
        found += [i for i in hit if i not in found]
    return found or instances


def status(params: Params, targets: Iterable[str]) -> list[dict[str, Any]]:
    """Per instance: state (absent or done), and what its ledger counts."""
    from corpora.fetch import ledger

    rows = []
    for instance in chosen(params, targets):
        try:
            rows.append({"instance": instance.name, "state": "done"} | ledger.counts(out_folder("download", instance.name)))
        except FileNotFoundError:
            rows.append({"instance": instance.name, "state": "absent"})
    return rows


def status_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The status for a person to read."""
    lines = []
    for row in rows:
        if row["state"] == "absent":
            lines.append(f"{row['instance']}: not downloaded yet")
            continue
        lines.append(f"{row['instance']}: {row['kept']:,} of {row['items']:,} items, {_gb(row['bytes'])}"
                     + (f", {row['tombstones']:,} tombstones" if row["tombstones"] else ""))
        lines += [f"  {reason}: {n:,} ({REASONS.get(reason, '?')})" for reason, n in row["rejected"].items()]
    return lines


def items_of(params: Params, instance: CorpusLanguage) -> list[Item]:
    """The usable index entries of one instance, without those that forgotten.yaml names. Raises UserError for a damaged index."""
    from corpora.fetch import forgotten

    items, _ = entries_of(params, instance)
    try:
        return forgotten.split(items, forgotten.read(), instance.corpus)[0]
    except forgotten.BadList as error:
        raise UserError(str(error)) from error


def entries_of(params: Params, instance: CorpusLanguage) -> tuple[list[Item], list[Rejected]]:
    """(the usable index entries of one instance, those that never became an item). Raises UserError for a damaged index."""
    from corpora.registry import items, open_corpus

    entry = params.corpora[instance.corpus]
    languages = {tag: one.model_dump(mode="json", exclude_defaults=True) for tag, one in entry.languages.items()}
    config = entry.model_dump(mode="json") | {"name": instance.corpus, "languages": languages}
    try:
        return items(open_corpus(entry.adapter), config, instance.language)
    except ValueError as error:
        raise UserError(str(error)) from error


def estimate(params: Params, targets: Iterable[str]) -> dict[str, Any]:
    """What a download would bring, without a request to anybody: items, sources, hours of the items and of the videos they are
    in, bytes still to fetch and bytes of the result, where a figure comes from, and the disk's room. A video is fetched whole
    and counts up to the end of its last stretch, which is the least it can be. Items without a length count as none, and are
    counted."""
    from corpora.fetch.fetcher import is_remote
    from corpora.fetch.limits import Limits
    from corpora.fetch.store import Store

    store = Store(Path(params.fetch.store), Limits.of(params.fetch.model_dump(mode="json")))
    total: Counter[str] = Counter()
    seconds = cut_s = 0.0
    here: dict[str, int | None] = {}
    least_s: dict[str, float] = {}
    hosts: Counter[str] = Counter()
    for instance in chosen(params, targets):
        for item in items_of(params, instance):
            total["items"] += 1
            total["without_length"] += item.length_s is None
            seconds += item.length_s or 0.0
            if not is_remote(item):
                continue
            total["remote"] += 1
            cut_s += (item.length_s or 0.0) if item.source.start_s is not None else 0.0
            if item.source.at not in here:
                here[item.source.at] = store.has(item.source)
                hosts[item.source.at.split("/")[2]] += here[item.source.at] is None
            end_s = item.source.end_s or (item.source.start_s or 0.0) + (item.length_s or 0.0)
            least_s[item.source.at] = max(least_s.get(item.source.at, 0.0), end_s)
    missing = sum(size is None for size in here.values())
    missing_s = sum(least_s[at] for at, size in here.items() if size is None)
    to_fetch = missing_s / 3600 * ASSUMED_BYTES_AN_HOUR["fetched"]
    result = cut_s / 3600 * ASSUMED_BYTES_AN_HOUR["cut"]
    place = Path(params.fetch.store)
    while not place.exists():
        place = place.absolute().parent
    free = shutil.disk_usage(place).free
    return {"items": total["items"], "remote_items": total["remote"], "items_without_length": total["without_length"],
            "hours": round(seconds / 3600, 3), "hours_to_fetch_at_least": round(missing_s / 3600, 3),
            "sources": len(here), "sources_here": len(here) - missing,
            "bytes_here": sum(size or 0 for size in here.values()), "bytes_to_fetch_at_least": round(to_fetch),
            "bytes_of_result": round(result),
            "requests_s_at_least": round(max(hosts.values(), default=0) / params.fetch.per_second),
            "hosts": dict(sorted(hosts.items())),
            "disk_free_bytes": free, "fits": to_fetch + result < free, "assumed_bytes_an_hour": ASSUMED_BYTES_AN_HOUR}


def estimate_lines(found: dict[str, Any]) -> list[str]:
    """The estimate for a person to read."""
    unknown = found["items_without_length"]
    return [f"items: {found['items']:,}, {found['remote_items']:,} of them at {found['sources']:,} addresses",
            f"hours: {found['hours']:,.2f}" + (f" (and {unknown:,} items whose length no index gives)" if unknown else ""),
            f"here already: {found['sources_here']:,} addresses, {_gb(found['bytes_here'])}",
            f"to fetch: at least {found['hours_to_fetch_at_least']:,.2f} hours, {_gb(found['bytes_to_fetch_at_least'])}, "
            f"assuming {_gb(found['assumed_bytes_an_hour']['fetched'])} an hour; videos come whole, and each counts up to the "
            "end of its last stretch, for no index says how long it is",
            f"result: about {_gb(found['bytes_of_result'])}, assuming {_gb(found['assumed_bytes_an_hour']['cut'])} an hour of "
            "what is cut out",
            f"requests alone take {found['requests_s_at_least'] / 3600:.1f} hours at fetch.per_second",
            f"disk: {_gb(found['disk_free_bytes'])} free" + ("" if found["fits"] else "; that is NOT enough")]


def retry(params: Params, targets: Iterable[str], reasons: list[str]) -> dict[str, int]:
    """Marks the items that were rejected for `reasons` to be tried again; how many per instance."""
    from core.stage import only_writer
    from corpora.fetch import ledger

    for reason in reasons:
        if reason not in REASONS:
            raise UserError(f"no reject reason {reason!r}{suggest(reason, REASONS)}")
    found = {}
    for instance in chosen(params, targets):
        out = out_folder("download", instance.name)
        if (out / "items.parquet").is_file():
            with only_writer("download", instance.name):
                found[instance.name] = ledger.again(out, reasons)
    return found


def run(params: Params, names: list[str], *, force: bool = False) -> int:
    """The exit status of `dvc repro` for the download of each instance and nothing below it. force: also if nothing changed."""
    from flows.graph import child_environment
    from flows.licences import guard

    guard(params)
    words = [sys.executable, "-m", "dvc", "repro", "--single-item", *(["--force"] if force else []),
             *(f"download@{name}" for name in names)]
    return subprocess.run(words, env=child_environment(), check=False).returncode


def forget(params: Params, name: str, corpus: str | None, why: str, what: str | None) -> str:
    """What was written into forgotten.yaml, in words; the wholes of what is forgotten are gone from the store.

    what: item, video or speaker; None: whichever of them the indexes know by this name. UserError where none or several do.
    """
    from corpora.fetch import forgotten
    from corpora.fetch.fetcher import is_remote
    from corpora.fetch.limits import Limits
    from corpora.fetch.store import Store

    if corpus is not None and corpus not in params.corpora:
        raise UserError(f"no corpus {corpus!r}{suggest(corpus, params.corpora)}")
    instances = [i for i in params.instances() if corpus in (None, i.corpus)]
    mine: dict[str, list[Item]] = {"item": [], "video": [], "speaker": []}
    kept_at = set()
    for instance in instances:
        for item in items_of(params, instance):
            hit = [kind for kind, value in (("item", item.id), ("video", item.video), ("speaker", item.speaker)) if value == name]
            for kind in hit:
                mine[kind].append(item)
            if not (hit if what is None else what in hit) and item.source:
                kept_at.add(item.source.at)
    kinds = [what] if what else [kind for kind, items in mine.items() if items]
    if len(kinds) != 1:
        known = "the indexes know no item, video or speaker" if not kinds else f"both {' and '.join(kinds)} are"
        raise UserError(f"{known} called {name!r}; --as item, video or speaker says which is meant, also where no index has it")
    try:
        new = forgotten.add(forgotten.Entry(kinds[0], name, corpus, why))
    except forgotten.BadList as error:
        raise UserError(str(error)) from error
    store = Store(Path(params.fetch.store), Limits.of(params.fetch.model_dump(mode="json")))
    gone = [item.source for item in mine[kinds[0]] if is_remote(item) and item.source.at not in kept_at]
    dropped = store.drop(gone)
    return (f"{kinds[0]} {name!r}: {len(mine[kinds[0]])} items; {'written to' if new else 'was already in'} {forgotten.FILE}"
            + (f"; {dropped} fetched files deleted" if dropped else "") + "\nNow: babelface build, then commit forgotten.yaml "
            "and dvc.lock. Earlier versions keep it until dvc gc takes them out of the cache and the remote.")


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.2f} GB"
