"""Brings the recordings of one corpus and language here: rendered, linked or fetched, each hashed, with a row in the ledger.

INSTANCE is a corpus and a language, such as synthetic-en. Output: data/download/INSTANCE with media/, the tables recordings
and truth (where the corpus knows it), a reject for every index entry that could not be had, and tombstones.jsonl of those that
are gone for good or forgotten. What lies at addresses is fetched within the bounds of `fetch` in params.yaml; attempts are
written down in .babelface/logs/download-INSTANCE.jsonl.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

from core.codehash import closure
from core.digest import digest_file, digest_of
from core.executor import Work, run_stage
from core.garbage import no_cycles
from core.licences import Used, refused
from core.params import Params
from core.records import Item, Reject, cluster_of
from core.stage import UserError, out_folder, run_cli, seal
from core.timing import FPS
from corpora.fetch import fetcher, forgotten, ledger, order
from corpora.fetch.limits import Limits
from corpora.fetch.store import Store
from corpora.index import census

# They decide which items there are and who may use them, not what one item holds: its digest does.
SELECTS = ("languages", "speakers", "clips_per_speaker", "path", "options", "licence", "commercial")
SHORT_S = 0.5  # of a stretch that may be missing at its end unsaid: indexes and containers round


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished download."""
    from corpora.registry import card_of, open_corpus
    from corpora.registry import items as items_of

    who = params.instance(instance)
    corpus = params.corpora[who.corpus]
    adapter = open_corpus(corpus.adapter)
    spoken = {tag: entry.model_dump(mode="json", exclude_defaults=True) for tag, entry in corpus.languages.items()}
    config = corpus.model_dump(mode="json") | {"name": who.corpus, "languages": spoken}
    card = card_of(who.corpus, corpus)
    against = refused([Used(f"corpus {who.corpus}", card.licence, card.commercial)], params.licences.allow_non_commercial)
    if against:
        raise UserError(against)
    seen = census.census_for(params, who.corpus)
    items, out_early = items_of(adapter, config, who.language, seen)
    try:
        items, out_by_name = forgotten.split(items, forgotten.read(), who.corpus)
    except forgotten.BadList as error:
        raise UserError(str(error)) from error
    remote = [item.source for item in items if fetcher.is_remote(item)]
    bounds = params.fetch  # of these only the height changes what arrives, so only that is tracked by the graph
    if bounds.cookies and not Path(bounds.cookies).expanduser().is_file():
        raise UserError(f"fetch.cookies names {bounds.cookies}, and there is no such file")
    work = plan(items, config, who.corpus, who.language, height=bounds.height)
    known = {"corpus": who.corpus, "language": who.language, "speaker": None}
    rejected = [({"item_id": r.id} | known, r.reason, r.detail) for r in (*out_early, *out_by_name)]
    mark = mark_of(adapter, config, who.language, corpus.languages[who.language].model_dump(mode="json"))
    given = {"adapter": corpus.adapter, "corpus": config, "language": who.language, "fetch": bounds.model_dump(mode="json"),
             "instance": instance, "run": uuid.uuid4().hex}
    executor = params.executor
    if remote:  # an item may wait for another that has the same source, then for its own turn: long, and it costs no core
        executor = executor.model_copy(update={"timeout_s": executor.timeout_s + 2 * bounds.timeout_s,
                                               "workers": max(executor.workers, bounds.parallel)})
    out = out_folder("download", instance)
    ledger.remember(out, instance)
    stats = run_stage("download", instance, work, "stages.download:Mapper", config=given, tables=("recordings", "truth"),
                      fingerprint=mark, n_shards=params.shards, executor=executor,
                      rejected=rejected, files="recordings")
    for item in ledger.bury(out, instance):
        why = f"{item['reason']}: {item['detail']}" if item["reason"] else "no longer in the index"
        print(f"download {instance}: {item['item_id']} was in the last version and is {why}", file=sys.stderr)
    if seen:
        left = census.left_out(census.remember(who.corpus, seen), params, who.corpus)
        print(*census.lines(left, f"download {instance}"), sep="\n", end="\n" * bool(left["not_claimed"]), file=sys.stderr)
    if not bounds.keep:
        Store(Path(bounds.store), Limits.of(given["fetch"])).drop({source.at for source in remote}, [bounds.height])
    return stats


def mark_of(adapter: ModuleType, config: dict[str, Any], language: str, spoken: dict[str, Any]) -> dict[str, Any]:
    """The fingerprint of a download: what all its items depend on. config: of the corpus; spoken: its entry for the language."""
    fixed = {k: v for k, v in config.items() if k not in SELECTS} | {"language": {k: v for k, v in spoken.items()
                                                                                if k not in SELECTS}}
    files = adapter.sources(config, language) if hasattr(adapter, "sources") else []
    return seal("download", fixed, extra=(*closure(adapter.__name__),)) | {"sources": [digest_file(Path(f)) for f in files]}


@no_cycles()
def plan(items: list[Item], config: dict[str, Any], corpus: str, language: str, height: int = 0) -> list[Work]:
    """A piece of work for every item, whose digest changes with what the index says of it and with the bytes of a local file.

    height: the tallest picture asked of a page.
    """
    from corpora.index.files import media_root

    root = media_root(config) if any(item.source for item in items) else None
    rows: dict[str | None, dict[str, Any]] = {}
    contents: dict[str, str | None] = {}
    work = []
    for item, turn in zip(items, order.turns(items), strict=True):
        source, speaker, place, content = item.source, item.speaker, None, None
        if source is not None:
            place = [source.kind, source.at, source.start_s, source.end_s, source.sha256]
            if source.kind == "page":
                place.append(height)
            elif source.kind == "file":
                if source.at not in contents:
                    path = root / source.at
                    contents[source.at] = digest_file(path) if path.is_file() else None
                content = contents[source.at]
        if speaker not in rows:
            rows[speaker] = {"corpus": corpus, "language": language, "speaker": speaker}
        digest = digest_of([item.id, speaker, item.kind, place, item.facts(), content])
        work.append(Work(item.id, digest, item, rows[speaker], turn))
    return work


class Mapper:
    """Fetches one item and describes the file it became."""

    def __init__(self, config: dict[str, Any]):
        from corpora.registry import open_corpus

        self._adapter, self._corpus, self._folder = open_corpus(config["adapter"]), config["corpus"], Path(config["files"])
        self._language = config["language"]
        self._fetcher = fetcher.Fetcher(config["fetch"], config["instance"], config["run"])

    def __call__(self, item: Item) -> dict[str, list[dict[str, Any]]]:
        from core import media

        fetch = self._fetcher.fetch if fetcher.is_remote(item) else self._adapter.fetch
        fetched = fetch(item, self._corpus, self._folder)
        try:
            info = media.probe(fetched.path)
        except Reject as reject:
            raise Reject(reject.reason, f"{item.where}: {reject.detail.rpartition(': ')[2]}") from None
        if not info.has_video:
            raise Reject("no_video", f"{item.where}: no video stream")
        if not info.has_audio:
            raise Reject("no_audio", f"{item.where}: no audio stream")
        n_frames = _length(fetched.path)
        short_s = missing_s(item, n_frames)
        row = {"recording_id": item.id, "corpus": self._corpus["name"], "language": self._language, "speaker": item.speaker,
               "cluster": cluster_of(item.speaker, item.video or item.id), "kind": item.kind, "file": fetched.path.name,
               "source": item.source.at if item.source else "",
               "bytes": fetched.path.stat().st_size, "sha256": digest_file(fetched.path), "n_frames": n_frames,
               "extra": json.dumps(item.facts() | ({"fetched": fetched.facts} if fetched.facts else {})
                                   | ({"short_s": short_s} if short_s else {}), sort_keys=True, ensure_ascii=False)}
        truth = [truth_row(item.id, self._language, fetched.truth)] if fetched.truth else []
        return {"recordings": [row], "truth": truth}


def _length(path: Path) -> int | None:
    """Frames at 25 fps, nothing decoded; None where that cannot be told: the next stage says why."""
    from core import media

    try:
        return media.rough_length(path)
    except Reject:
        return None


def missing_s(item: Item, n_frames: int | None) -> float:
    """Seconds of an item's stretch that its source did not hold; 0.0 up to SHORT_S. Reject(short_source) where that is more than
    half of the stretch."""
    source = item.source
    if source is None or source.start_s is None or source.end_s is None or n_frames is None:
        return 0.0
    asked = round(source.end_s * FPS) - round(source.start_s * FPS)
    lost_s = (asked - n_frames) / FPS
    if lost_s <= SHORT_S:
        return 0.0
    if n_frames < asked / 2:
        raise Reject("short_source", f"{item.where}: ends at {source.start_s + n_frames / FPS:.2f} s, and the stretch is from "
                     f"{source.start_s:g} to {source.end_s:g} s")
    return round(lost_s, 3)


def truth_row(recording_id: str, language: str, truth: dict[str, Any]) -> dict[str, Any]:
    """A row of the truth table from what a corpus knows of a recording."""
    import numpy as np

    from core.shards import pack

    return {"recording_id": recording_id, "language": language, "phonemes": truth["phonemes"],
            "speech": [{"start_s": a, "end_s": b} for a, b in truth["speech"]], "gap": pack(np.asarray(truth["gap"], np.float32)),
            "width": pack(np.asarray(truth["width"], np.float32)), "points": pack(np.asarray(truth["points"], np.float32)),
            "point_indices": list(truth["point_indices"]), "audio_late_ms": float(truth["audio_late_ms"]),
            "voice": truth["voice"]}


if __name__ == "__main__":
    sys.exit(run_cli("download", main, doc=__doc__))
