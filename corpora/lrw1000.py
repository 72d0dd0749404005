"""The corpus `lrw1000` (CAS-VSR-W1k): lists info/{trn,val,tst}_1000.txt of Mandarin words, a stretch of lip pictures each.

There is no video in it: every item is rejected as no_video when it is fetched. It is here for its index and its sounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from core.records import Card, Fetched, Item, Reject, Source
from corpora.index import values
from corpora.index.entries import Entry, collect
from corpora.index.files import index_folder, plain_name
from corpora.index.tables import delimited
from corpora.index.values import BadIndex

CARD = Card(
    name="lrw1000",
    title="LRW-1000 (CAS-VSR-W1k): 1,000 Mandarin words, 718,018 samples of more than 2,000 speakers",
    languages=("zh",),
    licence="an agreement, signed by an institution's permanent staff",
    terms="academic research only; not to be passed on",
    consent="people on Chinese television; nobody was asked",
    citation="Yang et al., LRW-1000: A Naturally-Distributed Large-Scale Benchmark for Lip Reading in the Wild, FG 2019",
    provenance="pictures of lips, not faces, at 25 fps, and sound apart: no face can be found in them, so nothing can be built "
               "from it here",
    access="send the agreement (vipl.ict.ac.cn, CAS-VSR-W1k); set `path` to the folder that holds info/",
    index="info/trn_1000.txt, val_1000.txt, tst_1000.txt: folder, word, pinyin, start, end",
    hours_note="no total stands on its page; how long each sample is stands in its lists, which come with the agreement",
    commercial=False,
)

COLUMNS = ("folder", "word", "pinyin", "start_s", "end_s")


def entries(config: Mapping) -> Iterator[Entry]:
    """Every line of the lists, in their order."""
    root = index_folder(config)
    lists = [(split, path) for split in ("trn", "val", "tst")
             if (path := next((f / f"{split}_1000.txt" for f in (root / "info", root) if (f / f"{split}_1000.txt").is_file()),
                              None))]
    if not lists:
        raise BadIndex(f"{root}: holds no info/trn_1000.txt, val_1000.txt or tst_1000.txt")
    rows = (row if isinstance(row.raw, Reject) else row._replace(raw={**row.raw, "split": split})
            for split, path in lists for row in delimited(path, columns=COLUMNS))
    return collect(CARD, config, rows, _build, name=lambda raw: f"{raw['folder']}_{raw['start_s']}_{raw['end_s']}")


def _build(raw: Mapping[str, str]) -> dict:
    start_s, end_s = values.span(raw["start_s"], raw["end_s"])
    return {"source": Source("file", plain_name(raw["folder"]), start_s, end_s), "video": raw["folder"], "start_s": start_s,
            "end_s": end_s,
            "extra": {"pinyin": raw["pinyin"], "split": raw["split"], "transcript": raw["word"]}}


def fetch(item: Item, config: Mapping, folder: Path) -> Fetched:
    """Nothing: raises Reject(no_video)."""
    raise Reject("no_video", f"{item.where}: LRW-1000 has pictures of lips and no video")
