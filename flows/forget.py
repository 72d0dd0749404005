"""What `babelface forget` does: an entry in forgotten.yaml, and away with what was fetched for nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from core.params import CorpusLanguage, Params, suggest
from core.stage import UserError, out_folder
from flows.download import entries_of, gigabytes

KINDS = ("item", "video", "speaker")
MOST_NAMED = 20


def forget(params: Params, name: str, corpus: str | None, why: str, what: str | None) -> str:
    """What was written into forgotten.yaml and which fetched files were deleted, in words.

    what: item, video or speaker; None: whichever of them the indexes know by this name. UserError where none or several do. A
    name that no index has any more is looked for in the ledgers, and that of a video in the addresses of what was fetched.
    """
    from corpora.fetch import forgotten
    from corpora.fetch.fetcher import is_remote
    from corpora.fetch.limits import Limits
    from corpora.fetch.store import Store

    if corpus is not None and corpus not in params.corpora:
        raise UserError(f"no corpus {corpus!r}{suggest(corpus, params.corpora)}")
    try:
        before = forgotten.read()
    except forgotten.BadList as error:
        raise UserError(str(error)) from error
    mine = [i for i in params.instances() if corpus in (None, i.corpus)]
    found: dict[str, dict[str, str | None]] = {kind: {} for kind in KINDS}  # kind: instance/id: address
    needed: dict[str, set[str]] = {kind: set() for kind in KINDS}  # kind: addresses of items that stay if it is this
    unread = []
    for instance in params.instances():
        try:
            items, _ = entries_of(params, instance)
        except (UserError, FileNotFoundError) as error:
            if instance in mine and what is None:
                raise
            unread.append(f"the index of {instance.name} cannot be read ({error})")
            continue
        stay = {item.id for item in forgotten.split(items, before, instance.corpus)[0]}
        for item in items:
            at = item.source.at if is_remote(item) else None
            for kind, value in zip(KINDS, (item.id, item.video, item.speaker), strict=True):
                if value == name and instance in mine:
                    found[kind][f"{instance.name}/{item.id}"] = at
                elif at and item.id in stay:
                    needed[kind].add(at)
    kinds = [what] if what else [kind for kind in KINDS if found[kind]]
    if len(kinds) != 1:
        known = "the indexes know no item, video or speaker" if not kinds else f"both {' and '.join(kinds)} are"
        raise UserError(f"{known} called {name!r}; --as item, video or speaker says which is meant, also where no index has it")
    kind = kinds[0]
    new = forgotten.add(forgotten.Entry(kind, name, corpus, why))
    store = Store(Path(params.fetch.store), Limits.of(params.fetch.model_dump(mode="json")))
    addresses = {at for at in found[kind].values() if at}.union(*(_had(instance, kind, name) for instance in mine))
    if kind == "video":
        addresses |= {at for at in store.addresses() if _shows(at, name)}
    lines = [f"{kind} {name!r}: {len(found[kind])} items; {'written to' if new else 'was already in'} {forgotten.FILE}"]
    if unread and addresses:
        lines.append(f"nothing that was fetched is deleted, for others may need it: {'; '.join(unread)}; mend that, and forget "
                     "it once more")
    dropped = store.drop(addresses - needed[kind]) if not unread else {}
    kept = [at for at in store.addresses() if at in addresses & needed[kind]] if addresses else []
    lines += _listed("fetched and deleted", [f"{at} ({gigabytes(size)})" for at, size in dropped.items()])
    lines += _listed("fetched and kept, for others are in it", kept)
    return "\n".join([*lines, "Now: babelface build, then commit forgotten.yaml and dvc.lock. Earlier versions keep it until "
                      "dvc gc takes them out of the cache and the remote."])


def _had(instance: CorpusLanguage, kind: str, name: str) -> Iterator[str]:
    """The addresses that the ledger of the last finished download has for a name, and those of its tombstones."""
    from core import shards
    from corpora.fetch import ledger

    out = out_folder("download", instance.name)
    columns = ["recording_id", "speaker", "source", "extra"]
    for row in shards.read_rows(out, "recordings", columns) if (out / "recordings").is_dir() else ():
        value = {"item": row["recording_id"], "speaker": row["speaker"],
                 "video": kind == "video" and json.loads(row["extra"] or "{}").get("video")}[kind]
        if value == name and _is_address(row["source"]):
            yield row["source"]
    for stone in ledger.tombstones(out):
        if kind == "item" and stone["item_id"] == name and _is_address(stone["source"]):
            yield stone["source"]


def _is_address(at: str | None) -> bool:
    return bool(at) and at.startswith(("http://", "https://"))


def _shows(at: str, video: str) -> bool:
    """Whether an address names a video: as YouTube's do, or by its last part, with or without a suffix."""
    parts = urlsplit(at)
    last = PurePosixPath(parts.path)
    return video in (*parse_qs(parts.query).get("v", ()), last.name, last.stem)


def _listed(title: str, names: list[str]) -> list[str]:
    more = [f"  and {len(names) - MOST_NAMED:,} more"] if len(names) > MOST_NAMED else []
    return [f"{title}: {len(names):,}", *(f"  {name}" for name in names[:MOST_NAMED]), *more] if names else []
