"""The corpus `csv`: any table of videos, local files or addresses, with the columns of corpora/index/spreadsheet.py.

Options: `columns` gives the table's own names for ours ({file: path, speaker: spk}), `delimiter` what stands between cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card
from corpora.index import spreadsheet
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_path, media_root  # noqa: F401: part of the contract
from corpora.index.tables import Row, delimited
from corpora.index.values import BadIndex

CARD = Card(
    name="csv",
    title="A table of your own: files or addresses of videos",
    languages=(),
    licence="as the table's owner says",
    terms="as the owners of the videos say",
    consent="as the table's owner says: only use recordings of people who agreed to it",
    citation="as the table's owner says",
    provenance="rows as found",
    access="local files, addresses of media files, or pages",
    index="a CSV or TSV file with a header; at least one of the columns file, url, video",
)

OPTIONS = ("columns", "delimiter")
OWNED = True


def entries(config: Mapping) -> Iterator[Entry]:
    """Every row of the table, in its order."""
    path, options = index_path(config), config.get("options") or {}
    delimiter = options.get("delimiter") or ("\t" if path.suffix.lower() in (".tsv", ".tab") else ",")
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise BadIndex(f"csv: options.delimiter is {delimiter!r}, expected one character")
    ours = options.get("columns") or {}
    if not isinstance(ours, Mapping) or not set(ours) <= set(spreadsheet.COLUMNS):
        raise BadIndex(f"csv: options.columns is {ours!r}, expected names for some of {', '.join(spreadsheet.COLUMNS)}")
    rows = delimited(path, delimiter=delimiter, required=tuple(ours.values()))
    theirs = {name: our for our, name in ours.items()}
    if theirs:
        rows = (row._replace(raw={theirs.get(key, key): value for key, value in row.raw.items()}) if isinstance(row.raw,
                                                                                                                dict) else row
                for row in rows)
    return collect(CARD, config, _checked(rows, path.name), spreadsheet.builder(media_root(config)), name=spreadsheet.name_of,
                   language=lambda raw: raw.get("language"), is_file=spreadsheet.is_file, stretch=spreadsheet.stretch)


def _checked(rows: Iterator[Row], where: str) -> Iterator[Row]:
    """The rows, after a look at the first: a table without any column that says where a video is is no index."""
    for row in rows:
        if isinstance(row.raw, dict) and not {"file", "url", "video"} & set(row.raw):
            raise BadIndex(f"{where}: expected a column file, url or video, found {', '.join(row.raw)}; "
                           "options.columns can say what they are called here")
        yield row
        if isinstance(row.raw, dict):
            break
    yield from rows
