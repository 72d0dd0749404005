"""The corpus `folder`: any folder of videos with an index.csv (file, language, speaker, kind; only `file` must be filled).

Whatever an index says, no name in it becomes a path unchecked, and no bad row stops a run: it is rejected with its line number.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from core.records import SAFE_ID, Card, Fetched, Item, Reject, Rejected

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
)

INDEX = "index.csv"
KINDS = ("real", "generated", "negative")
UNKNOWN = "und"  # BCP-47 for "undetermined": rows without a language, and rows whose language is not a tag
_COLUMNS = ("file", "language", "speaker", "kind")


def languages(config: Mapping) -> list[str]:
    """All normalised language tags in the index, sorted; "und" where some row has none or an invalid one."""
    return sorted({tag for _, _, tag, _ in _rows(config)})


def items(config: Mapping, language: str) -> tuple[list[Item], list[Rejected]]:
    """The usable rows of one language, sorted by id, and the rejected ones in the index's order.

    Every row belongs to exactly one language, so that the languages' items and rejected rows add up to the index.
    Reasons: bad_name (unsafe, outside the folder, named before, or of an unknown kind), missing_file, bad_language.
    Raises ValueError for a `language` that is not a tag, FileNotFoundError without folder or index.
    """
    root = _root(config)
    wanted, wrong = _tag(language)
    if wrong:
        raise ValueError(f"folder: {wrong}")
    found: list[Item] = []
    rejected: list[Rejected] = []
    taken: set[str] = set()
    named: dict[str, int] = {}
    for line, row, tag, problem in _rows(config):
        name = row["file"]
        plain = str(PurePosixPath(name))
        item_id = _id_of(name, taken)
        if tag == wanted:
            try:
                if problem:
                    raise Reject("bad_language", problem)
                safe_path(root, name)
                if plain in named:
                    raise Reject("bad_name", f"{name!r} stands on line {named[plain]} already")
                kind = row["kind"] or "real"
                if kind not in KINDS:
                    raise Reject("bad_name", f"kind {kind!r}: expected one of {', '.join(KINDS)}")
                extra = {key: row[key] for key in sorted(row) if key not in _COLUMNS}
                found.append(Item(item_id, CARD.name, tag, row["speaker"] or None, kind=kind, source=name, extra=extra))
            except Reject as reject:
                rejected.append(Rejected(item_id, reject.reason, f"{INDEX} line {line}: {reject.detail}"))
        named.setdefault(plain, line)
        taken.add(item_id)
    return sorted(found, key=lambda item: item.id), rejected


def fetch(item: Item, config: Mapping, folder: Path) -> Fetched:
    """The item's file as `<id><suffix>` in `folder`: a hard link, or a copy where links are not possible. Its truth is not known.

    Raises Reject (bad_name, missing_file) when the file has gone or moved out since the index was read.
    """
    source = safe_path(_root(config), item.source)
    if not SAFE_ID.fullmatch(item.id):
        raise Reject("bad_name", f"id {item.id!r} is not safe as a file name")
    suffix = PurePosixPath(item.source).suffix.lower()
    target = folder / (item.id + (suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else ""))
    partial = folder / f".{item.id}.part"
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:  # another file system, or one without links
        with source.open("rb") as read, partial.open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
    os.replace(partial, target)
    partial.unlink(missing_ok=True)  # replacing a name by another name of the same file leaves both
    return Fetched(path=target)


def safe_path(root: Path, name: str) -> Path:
    """The resolved path of a regular file inside `root` that an index names. Raises Reject: bad_name or missing_file."""
    if not name:
        raise Reject("bad_name", "the file's name is empty")
    if "\\" in name or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise Reject("bad_name", f"{name!r} has a backslash or a control character")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise Reject("bad_name", f"{name!r} is not a path below the folder")
    root = root.resolve()
    try:
        path = (root / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # absent, a dangling or circular link, a name too long
        raise Reject("missing_file", f"{name!r} is not in the folder ({type(error).__name__})") from error
    if not path.is_relative_to(root):
        raise Reject("bad_name", f"{name!r} is a link out of the folder")
    if not path.is_file():
        raise Reject("missing_file", f"{name!r} is not a regular file")
    return path


def _root(config: Mapping) -> Path:
    root = Path(config["path"])
    if not root.is_dir():
        raise FileNotFoundError(f"corpus folder {root}: not a folder; set corpora.<name>.path in params.yaml")
    return root


def _rows(config: Mapping) -> list[tuple[int, dict[str, str], str, str]]:
    """(line number, row, language tag, what is wrong with the tag or "") of every row, values stripped, absent columns empty."""
    path = _root(config) / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the folder needs an {INDEX} with the columns file, language, speaker (and kind)")
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, restkey="", restval="")
            names = [(name or "").strip() for name in reader.fieldnames or []]
            if "file" not in names or len(set(names)) != len(names):
                raise ValueError(f"{path}: expected a header with a column 'file' and no column twice, found {names}")
            reader.fieldnames = names
            for raw in reader:
                raw.pop("", None)  # cells beyond the header
                row = dict.fromkeys(_COLUMNS, "") | {key: (value or "").strip() for key, value in raw.items()}
                rows.append((reader.line_num, row, *_tag(row["language"])))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV file: {error}") from error
    return rows


def _tag(language: str) -> tuple[str, str]:
    """The normalised BCP-47 tag and "", or "und" and what is wrong."""
    import langcodes

    if not language:
        return UNKNOWN, ""
    try:
        if language.lower().startswith("x-") or langcodes.tag_is_valid(language):
            return langcodes.standardize_tag(language), ""
    except ValueError:  # langcodes raises its LanguageTagError, a ValueError, on what cannot be parsed
        pass
    return UNKNOWN, f"{language!r} is not a BCP-47 language tag (such as en, pt-BR, zh-Hant)"


def _id_of(name: str, taken: set[str]) -> str:
    """A safe id from a file's name: its path without the suffix, "/" as "_". A name that had to change, or whose id is taken,
    gets eight digits of its hash; the same name twice gets a number."""
    plain = str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else ""
    plain = plain.removeprefix("./").replace("/", "_")
    if SAFE_ID.fullmatch(plain) and plain not in taken:
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).lstrip("._-")[:80] or "file"
    item_id, count = f"{stem}-{digest}", 1
    while item_id in taken:
        count += 1
        item_id = f"{stem}-{digest}-{count}"
    return item_id
