"""What `babelface download --status` says: of the last finished download, of one under way or stopped, and of the index now."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from core.digest import digest_of
from core.executor import WORK, scratch_file
from core.params import CorpusLanguage, Params
from core.records import REASONS
from core.stage import LOCKS, UserError, out_folder
from flows.download import chosen, config_of, gigabytes, split_of


def status(params: Params, targets: list[str]) -> list[dict[str, Any]]:
    """Per instance: state (absent, done, stale, under way or stopped), what the ledger of its last finished download counts,
    under `stale` in what that differs from the index and params of now, and under `run` how far one came that is not finished."""
    return [_row(params, instance) for instance in chosen(params, targets)]


def _row(params: Params, instance: CorpusLanguage) -> dict[str, Any]:
    from corpora.fetch import ledger

    out, now = out_folder("download", instance.name), None
    row: dict[str, Any] = {"instance": instance.name, "state": "absent"}
    try:
        row |= {"state": "done"} | ledger.counts(out)
    except FileNotFoundError:
        pass
    begun, running = _begun(instance.name), _running(instance.name)
    if row["state"] == "absent" and not begun and not running:
        return row
    try:
        now = _Now(params, instance)
    except (UserError, FileNotFoundError) as error:
        row["index_error"] = str(error)
    last = _last(out) if row["state"] == "done" else None
    if now and last and (stale := now.differs(last)):
        row |= {"state": "stale", "stale": stale}
    if begun or running:
        row |= {"state": "under way" if running else "stopped", "run": _run(begun, now, last)}
    return row


class _Now:
    """What a download would begin with: its fingerprint, and per entry of the index its digest, None where that would take
    reading local files, or ! and the reason for which it never becomes an item."""

    def __init__(self, params: Params, instance: CorpusLanguage):
        from corpora.registry import open_corpus
        from stages.download import mark_of, plan

        config, corpus = config_of(params, instance), params.corpora[instance.corpus]
        items, rejected = split_of(params, instance)
        light = [item for item in items if item.source is None or item.source.kind != "file"]
        self.work = plan(light, config, instance.corpus, instance.language, height=params.fetch.height)
        self.mark = mark_of(open_corpus(corpus.adapter), config, instance.language,
                            corpus.languages[instance.language].model_dump(mode="json"))
        self.seal = digest_of(self.mark | {"shards": params.shards})
        self.items: dict[str, str | None] = {item.id: None for item in items} | {w.id: w.digest for w in self.work}
        self.entries = self.items | {one.id: f"!{one.reason}" for one in rejected}

    def differs(self, last: dict[str, Any]) -> dict[str, Any]:
        """What is not as the last finished download has it: counts of entries, and whether its params changed; {} for nothing."""
        had = last["entries"]
        both = self.entries.keys() & had.keys()
        found = {"new": len(self.entries.keys() - had.keys()), "lost": len(had.keys() - self.entries.keys()),
                 "again": sum(had[i] == "" for i in both),
                 "changed": sum(had[i] != "" and not _same(self.entries[i], had[i]) for i in both),
                 "params": any(last["of"].get(k) != self.mark[k] for k in ("params", "sources"))}
        return {k: n for k, n in found.items() if n}

    def carried(self, last: dict[str, Any] | None) -> int:
        """How many items stay as they are in the last finished download."""
        if last is None or last["seal"] != self.seal:
            return 0
        had = last["entries"]
        return sum(i in had and had[i] != "" and _same(digest, had[i]) for i, digest in self.items.items())


def _same(now: str | None, had: str) -> bool:
    return not had.startswith("!") if now is None else now == had


def _last(out: Path) -> dict[str, Any]:
    """Of a finished download: seal, what its fingerprint is of, and per entry the digest, or ! and the reason as _Now has it."""
    from core import shards

    try:
        print_ = shards.read_json(out / "fingerprint.json")
    except FileNotFoundError:
        print_ = {}
    items = shards.read_shard(out / "items.parquet", ["item_id", "digest"]).to_pydict()
    early = shards.read_shard(out / "rejects_early.parquet", ["item_id", "reason"]).to_pydict()
    return {"seal": print_.get("seal"), "of": print_.get("of", {}),
            "entries": dict(zip(items["item_id"], items["digest"], strict=True))
            | {i: f"!{reason}" for i, reason in zip(early["item_id"], early["reason"], strict=True)}}


def _running(name: str) -> bool:
    """Whether a process holds the lock on this output; a killed one holds none."""
    from filelock import FileLock, Timeout

    path = LOCKS / f"download-{name}.lock"
    if not path.exists():
        return False
    try:
        FileLock(path).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False


def _begun(name: str) -> Path | None:
    """The work folder that a run leaves which is not finished; there is one, of the latest run."""
    folder = WORK / "download" / name
    found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _run(begun: Path | None, now: _Now | None, last: dict[str, Any] | None) -> dict[str, Any]:
    """items (of the index now; null where it cannot be read), done, kept, rejected by reason and bytes of what is in the work
    folder and would stay, and whether the next run begins anew."""
    results = {path.name: path for path in begun.glob("*.arrow")} if begun else {}
    anew = bool(begun and now and begun.name != now.seal[:16])
    if now and begun and not anew and len(now.work) == len(now.items):  # else some have names that only their bytes would tell
        results = {path.name: path for w in now.work if (path := scratch_file(begun, w)).name in results}
    rejected: Counter[str] = Counter()
    n_read = 0
    for path in results.values():
        try:
            reason = _reason(path)
        except FileNotFoundError:
            continue  # the run has ended meanwhile
        n_read += 1
        if reason:
            rejected[reason] += 1
    carried = now.carried(last) if now and not anew else 0
    sizes = [path.stat(follow_symlinks=False).st_size for path in _files(begun)]
    return {"items": len(now.items) if now else None, "done": carried + n_read, "carried": carried,
            "kept": n_read - rejected.total(), "rejected": dict(sorted(rejected.items())), "bytes": sum(sizes), "anew": anew}


def _files(begun: Path | None) -> list[Path]:
    return [path for path in (begun / "files").glob("[!.]*") if path.exists()] if begun else []


def _reason(path: Path) -> str | None:
    """Why one item was rejected, None where it is kept."""
    from core.results import read_result

    if b"!reason" not in path.read_bytes():  # most are kept, and this tells it ten times as fast
        return None
    _, verdict = read_result(path)
    return verdict[0] if verdict else None


def status_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The status for a person to read."""
    lines = []
    for row in rows:
        name, run = row["instance"], row.get("run")
        if run:
            lines += [f"{name}: {_far(row['state'], run)}", *_reasons(run["rejected"])]
        if "kept" in row:
            lines += [f"{'  the last finished version' if run else name}: {row['kept']:,} of {row['items']:,} items, "
                      f"{gigabytes(row['bytes'])}" + (f", {row['tombstones']:,} tombstones" if row["tombstones"] else ""),
                      *_reasons(row["rejected"], 4 if run else 2)]
        elif not run:
            lines.append(f"{name}: not downloaded yet")
        if "stale" in row:
            lines.append(f"  stale: {_stale(row['stale'])}; babelface download brings it up to date")
        if "index_error" in row:
            lines.append(f"  the index cannot be read now: {row['index_error']}")
    return lines


def _far(state: str, run: dict[str, Any]) -> str:
    of = f" of {run['items']:,}" if run["items"] is not None else ""
    words = (f"under way, {run['done']:,}{of} items done" if state == "under way" else f"stopped at {run['done']:,}{of} items")
    carried = f"{run['carried']:,} as in the last version, " if run["carried"] else ""
    words += f": {carried}{run['kept']:,} kept, {gigabytes(run['bytes'])}"
    if run["anew"]:
        return words + "; under other params or code: items begin anew, what was fetched whole stays"
    return words + ("" if state == "under way" else "; babelface download goes on from there")


def _stale(stale: dict[str, Any]) -> str:
    words = {"new": "{:,} new in the index", "lost": "{:,} no longer in it", "changed": "{:,} changed in it",
             "again": "{:,} to be tried again", "params": "params changed"}
    return ", ".join(words[k].format(n) for k, n in stale.items())


def _reasons(rejected: dict[str, int], indent: int = 2) -> list[str]:
    return [f"{' ' * indent}{reason}: {n:,} ({REASONS.get(reason, '?')})" for reason, n in rejected.items()]
