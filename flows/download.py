"""What `babelface download` does: estimate, try again. The work is the stage's; what is here, flows/download_status.py says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.params import CorpusLanguage, Params, suggest
from core.records import REASONS, Item, Rejected
from core.stage import UserError, out_folder

if TYPE_CHECKING:
    from corpora.index.census import Census

# Assumed, not measured: faces at 1080p or less as sites encode them, and stretches as this project cuts them (H.264 of no visible
# loss at 25 fps with lossless sound). The estimate prints them beside what it makes of them.
ASSUMED_BYTES_AN_HOUR = {"fetched": 0.9e9, "cut": 5.0e9}
UNREADABLE = ("decode_error", "no_video", "no_audio", "no_frames", "short_source")  # what wrong bytes, or too few, come to


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


def items_of(params: Params, instance: CorpusLanguage) -> list[Item]:
    """The usable index entries of one instance, without those that forgotten.yaml names. Raises UserError for a damaged index."""
    return split_of(params, instance)[0]


def split_of(params: Params, instance: CorpusLanguage, seen: Census | None = None) -> tuple[list[Item], list[Rejected]]:
    """(`items_of` one instance, all other entries of its language). seen: as in `entries_of`. Raises UserError for a damaged
    index."""
    from corpora.fetch import forgotten

    items, rejected = entries_of(params, instance) if seen is None else entries_of(params, instance, seen)
    try:
        items, by_name = forgotten.split(items, forgotten.read(), instance.corpus)
    except forgotten.BadList as error:
        raise UserError(str(error)) from error
    return items, [*rejected, *by_name]


def entries_of(params: Params, instance: CorpusLanguage, seen: Census | None = None) -> tuple[list[Item], list[Rejected]]:
    """(the usable index entries of one instance, those that never became an item). seen: counts the entries of all languages.
    Raises UserError for a damaged index."""
    from corpora.registry import items, open_corpus

    try:
        adapter = open_corpus(params.corpora[instance.corpus].adapter)
        return items(adapter, config_of(params, instance), instance.language, **({} if seen is None else {"seen": seen}))
    except ValueError as error:
        raise UserError(str(error)) from error


def config_of(params: Params, instance: CorpusLanguage) -> dict[str, Any]:
    """The entry of an instance's corpus in params.yaml as adapters take it."""
    entry = params.corpora[instance.corpus]
    languages = {tag: one.model_dump(mode="json", exclude_defaults=True) for tag, one in entry.languages.items()}
    return entry.model_dump(mode="json") | {"name": instance.corpus, "languages": languages}


def estimate(params: Params, targets: Iterable[str]) -> dict[str, Any]:
    """What a download would bring, without a request to anybody: items, sources, hours of the items and of the videos they are
    in, bytes still to fetch and bytes of the result, where a figure comes from, and the disk's room. A video is fetched whole
    and counts up to the end of its last stretch, which is the least it can be. Items without a length count as none, and are
    counted. rejected: by reason, what never becomes an item; left_out: per corpus what no language of params asks for."""
    from corpora.fetch.fetcher import is_remote
    from corpora.fetch.limits import Limits
    from corpora.fetch.store import Store
    from corpora.index.census import census_for, left_out, same_index

    store = Store(Path(params.fetch.store), Limits.of(params.fetch.model_dump(mode="json")))
    total: Counter[str] = Counter()
    seconds = cut_s = 0.0
    here: dict[str, int | None] = {}
    least_s: dict[str, float] = {}
    hosts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    left: dict[str, dict[str, Any]] = {}
    for instance in chosen(params, targets):
        seen = None if same_index(params, instance.corpus)[0] in left else census_for(params, instance.corpus)
        items, bad = split_of(params, instance, seen)
        rejected.update(one.reason for one in bad)
        if seen is not None:
            left[same_index(params, instance.corpus)[0]] = left_out(seen.plain(), params, instance.corpus)
        for item in items:
            total["items"] += 1
            total["without_length"] += item.length_s is None
            seconds += item.length_s or 0.0
            cut_s += (item.length_s or 0.0) if item.source and item.source.start_s is not None else 0.0
            if not is_remote(item):
                continue
            total["remote"] += 1
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
    return {"rejected": dict(sorted(rejected.items())),
            "left_out": {name: one for name, one in left.items() if one["not_claimed"]},
            "items": total["items"], "remote_items": total["remote"], "items_without_length": total["without_length"],
            "hours": round(seconds / 3600, 3), "hours_to_fetch_at_least": round(missing_s / 3600, 3),
            "sources": len(here), "sources_here": len(here) - missing,
            "bytes_here": sum(size or 0 for size in here.values()), "bytes_to_fetch_at_least": round(to_fetch),
            "bytes_of_result": round(result),
            "requests_s_at_least": round(max(hosts.values(), default=0) / params.fetch.per_second),
            "hosts": dict(sorted(hosts.items())),
            "disk_free_bytes": free, "fits": to_fetch + result < free, "assumed_bytes_an_hour": ASSUMED_BYTES_AN_HOUR}


def estimate_lines(found: dict[str, Any]) -> list[str]:
    """The estimate for a person to read."""
    from corpora.index.census import lines as left_lines

    unknown, assumed = found["items_without_length"], found["assumed_bytes_an_hour"]
    return [f"items: {found['items']:,}, {found['remote_items']:,} of them at {found['sources']:,} addresses",
            f"rejects: {sum(found['rejected'].values()):,}",
            *(f"  {reason}: {n:,} ({REASONS.get(reason, '?')})" for reason, n in found["rejected"].items()),
            *(line for name, left in found["left_out"].items() for line in left_lines(left, name)),
            f"hours: {found['hours']:,.2f}" + (f" (and {unknown:,} items whose length no index gives)" if unknown else ""),
            f"here already: {found['sources_here']:,} addresses, {gigabytes(found['bytes_here'])}",
            f"to fetch: at least {found['hours_to_fetch_at_least']:,.2f} hours, {gigabytes(found['bytes_to_fetch_at_least'])}, "
            f"assuming {gigabytes(assumed['fetched'])} an hour; videos come whole, and each counts up to the "
            "end of its last stretch, for no index says how long it is",
            f"result: about {gigabytes(found['bytes_of_result'])}, assuming {gigabytes(assumed['cut'])} an hour of "
            "what is cut out; whole files are linked",
            f"requests alone take {found['requests_s_at_least'] / 3600:.1f} hours at fetch.per_second",
            f"disk: {gigabytes(found['disk_free_bytes'])} free" + ("" if found["fits"] else "; that is NOT enough")]


def retry(params: Params, targets: Iterable[str], reasons: list[str]) -> dict[str, int]:
    """Marks the items that were rejected for `reasons` to be tried again; how many per instance. What could not be read of what
    was fetched for them is fetched anew, unless its hash is the one that the index gives."""
    from core.stage import only_writer
    from corpora.fetch import ledger
    from corpora.fetch.fetcher import is_remote
    from corpora.fetch.limits import Limits
    from corpora.fetch.store import Store

    for reason in reasons:
        if reason not in REASONS:
            raise UserError(f"no reject reason {reason!r}{suggest(reason, REASONS)}")
    store = Store(Path(params.fetch.store), Limits.of(params.fetch.model_dump(mode="json")))
    found = {}
    for instance in chosen(params, targets):
        out = out_folder("download", instance.name)
        if (out / "items.parquet").is_file():
            with only_writer("download", instance.name):
                marked = ledger.again(out, reasons)
                unread = {name for name, reason in marked.items() if reason in UNREADABLE}
                if unread:
                    store.doubt(i.source for i in items_of(params, instance) if i.id in unread and is_remote(i))
                found[instance.name] = len(marked)
    return found


def run(params: Params, names: list[str], *, force: bool = False) -> int:
    """The exit status of `dvc repro` for the download of each instance and nothing below it. force: also if nothing changed."""
    from flows.graph import child_environment
    from flows.licences import guard

    guard(params)
    words = [sys.executable, "-m", "dvc", "repro", "--single-item", *(["--force"] if force else []),
             *(f"download@{name}" for name in names)]
    return subprocess.run(words, env=child_environment(), check=False).returncode


def gigabytes(n_bytes: float) -> str:
    """A number of bytes for a person to read."""
    return f"{n_bytes / 1e9:,.2f} GB"
