"""The corpus `folder`: any folder of videos with an index.csv (file, language, speaker, kind; only `file` must be filled).

Whatever an index says, no name in it becomes a path unchecked, and no bad row stops a run: it is rejected with its line number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from core.records import Card
from corpora.index import spreadsheet
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, safe_path  # noqa: F401: part of the contract
from corpora.index.tables import delimited

CARD = Card(
    name="folder",
    title="A folder of your own videos",
    languages=(),
    licence="as the folder's owner says",
    terms="as the folder's owner says",
    consent="as the folder's owner says: only use recordings of people who agreed to it",
    citation="as the folder's owner says",
    provenance="files and index.csv as found; nothing is downloaded",
    access="local files",
    index="index.csv in the folder: file, language, speaker, kind, and any of the columns of the corpus csv",
)

INDEX = "index.csv"
OWNED = True


def entries(config: Mapping) -> Iterator[Entry]:
    """Every row of the index, in its order."""
    root = Path(config["path"])
    if not root.is_dir():
        raise FileNotFoundError(f"corpus folder {root}: not a folder; set corpora.<name>.path in params.yaml")
    path = root / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the folder needs an {INDEX} with the columns file, language, speaker (and kind)")
    return collect(CARD, config, delimited(path, required=("file",)), spreadsheet.builder(root), name=spreadsheet.name_of,
                   language=lambda raw: raw.get("language"), is_file=spreadsheet.is_file, stretch=spreadsheet.stretch)
