"""The dataset described for machines: Croissant 1.0, JSON-LD (https://docs.mlcommons.org/croissant/docs/croissant-spec.html)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from core.digest import digest_file

SPEC = "http://mlcommons.org/croissant/1.0"
# As the specification prints it: validators compare it key by key.
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path", "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated",
    "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator",
    "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}
TAR, PARQUET, JSON = "application/x-tar", "application/x-parquet", "application/json"
TABLES = {"recordings": ("download", "recording_id", "A file as it came, and what its index says of it."),
          "clips": ("segment", "clip_id", "A stretch of a recording in which somebody speaks, with its sound as FLAC."),
          "tracks": ("track", "track_id", "One face through a clip: its box and its landmarks in every frame."),
          "kept": ("inspect", "track_id", "The tracks that passed inspection, with their sound where it was put in step."),
          "splits": ("split", "track_id", "Which split each track is in.")}
"""The tables of a version: the stage whose output each is, the column that names a row, and what a row is."""
_WHAT = {"id": "corpus, language and track", "language": "BCP-47 tag", "corpus": "where it is from",
         "speaker": "who speaks; null: unknown", "cluster": "the speaker, or what counts as one", "licence": "of the corpus",
         "n_frames": "frames at 25 a second", "fps": "frames a second", "face_px": "side of the face's box, in pixels",
         "audio": "sound, 16 kHz, FLAC", "boxes": "the face in every frame: x0 y0 x1 y1, pixels",
         "split": "train, validation, test, ..."}


def croissant(found: dict[str, Any], folder: Path, exported: dict[str, Any] | None = None,
              root: Path = Path(".")) -> dict[str, Any]:
    """The description as plain values. found: flows.dataset.facts. exported: as flows.card has it; its files lie in `folder`, and
    the rows in them are described. Without one: the tables of this version as they lie in data/ below `root`, at addresses
    relative to `folder`; a machine that has no data has the facts alone."""
    from flows.dataset import limits

    version = found["version"]
    licences = sorted({card["licence"] for card in found["corpora"].values()})
    tags = sorted({r["language"] for r in found["languages"] if not r["planted"]})
    hours = sum(r["hours"] for r in found["languages"] if not r["planted"])
    made: dict[str, Any] = {
        "@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": SPEC, "name": "babelface",
        "description": f"Talking faces with their sound: {hours:.2f} hours in "
                       f"{len(tags)} languages, as tracks of one face.",
        "license": licences, "citeAs": " ".join(sorted({card["citation"] for card in found["corpora"].values()})),
        "inLanguage": tags,
        "version": f"1.0.0+{(version['commit'] or 'uncommitted')[:12]}.{(version['lock'] or 'unlocked')[:12]}",
        "creator": [{"@type": "sc:Organization", "name": card["title"]} for card in found["corpora"].values()],
        "rai:dataCollection": " ".join(f"{c['title']}: {c['provenance']}" for c in found["corpora"].values()),
        "rai:personalSensitiveInformation": [f"{c['title']}: faces and voices. Consent: {c['consent']}"
                                             for c in found["corpora"].values()],
        "rai:dataLimitation": limits(found)}
    if version["date"]:
        made["datePublished"] = version["date"]
    describe = {None: _of_tables, "datasets": _of_rows, "webdataset": _of_tars}[exported and exported["format"]]
    made["distribution"], made["recordSet"] = describe(found, folder, exported, root)
    return made


def _of_tables(found: dict[str, Any], folder: Path, exported: None, root: Path) -> tuple[list[Any], list[Any]]:
    """(files, record sets) of the tables in data/, and the facts."""
    from core.records import schema

    files, sets = [_file(folder / "facts.json", folder, JSON)], []
    instances = sorted({f"{row['corpus']}-{row['language']}" for row in found["languages"]})
    for table, (stage, key, what) in TABLES.items():
        places = [root / "data" / stage / name / table for name in (["all"] if stage == "split" else instances)]
        shards = [_file(path, folder, PARQUET, path.relative_to(root).as_posix())
                  for place in places for path in sorted(place.glob("shard-*.parquet"))]
        if shards:
            source = {"fileSet": {"@id": f"{table}-files"}}
            files += [*shards, _set(f"{table}-files", "*.parquet", PARQUET, shards)]
            sets.append(_records(table, key, what, [_field(table, name, schema(table).field(name).type, source)
                                                    for name in schema(table).names]))
    return files, sets


def _of_rows(found: dict[str, Any], folder: Path, exported: dict[str, Any], root: Path) -> tuple[list[Any], list[Any]]:
    """(files, record sets) of an export to Parquet."""
    from flows.export_sinks import schema

    files = [_file(path, folder, PARQUET) for path in sorted(folder.glob("data/*.parquet"))]
    fields = [_field("tracks", column.name, column.type, {"fileSet": {"@id": "samples"}}, exported["views"])
              for column in schema(exported["views"])]
    return ([*files, _set("samples", "data/*.parquet", PARQUET)],
            [_records("tracks", "id", "One face through a stretch of video.", fields)])


def _of_tars(found: dict[str, Any], folder: Path, exported: dict[str, Any], root: Path) -> tuple[list[Any], list[Any]]:
    """(files, record sets) of an export to WebDataset: one record set per kind of file in the tars, all with the sample's key."""
    from flows.export_sinks import ABOUT

    files = [_file(path, folder, TAR) for path in sorted(folder.glob("*.tar"))]
    said = ", ".join(f"{name} ({kind})" for name, kind in {"id": "string", "split": "string", **ABOUT}.items())
    kinds = {"about": ("*.json", JSON, "sc:Text", f"What is known of a track, a JSON object: {said}."),
             "audio": ("*.flac", "audio/flac", "sc:AudioObject", f"Its {_WHAT['audio']}."),
             "boxes": ("*.boxes.npy", "application/octet-stream", "sc:Text", f"{_WHAT['boxes']}; a NumPy file of float32."),
             **{view: (f"*.{view}.avi", "video/x-msvideo", "sc:VideoObject", "A view of the face at 25 fps, Motion JPEG.")
                for view in exported["views"]}}
    sets = []
    for name, (_, _, kind, what) in kinds.items():
        files_of = {"fileSet": {"@id": f"{name}-files"}}
        key = {"@type": "cr:Field", "@id": f"{name}/key", "name": "key", "dataType": "sc:Text",
               "description": "Which track: the path in the tar up to the first dot.",
               "source": files_of | {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": r"^([^.]*)\."}}}
        content = {"@type": "cr:Field", "@id": f"{name}/content", "name": "content", "dataType": kind, "description": what,
                   "source": files_of | {"extract": {"fileProperty": "content"}}}
        sets.append(_records(name, "key", what, [key, content]))
    return [*files, *(_set(f"{name}-files", pattern, mime, files) for name, (pattern, mime, _, _) in kinds.items())], sets


def _file(path: Path, folder: Path, mime: str, name: str | None = None) -> dict[str, Any]:
    at = os.path.relpath(path, folder).replace(os.sep, "/")
    return {"@type": "cr:FileObject", "@id": name or at, "name": name or at, "contentUrl": at,
            "contentSize": f"{path.stat().st_size} B", "encodingFormat": mime, "sha256": digest_file(path)}


def _set(name: str, pattern: str, mime: str, inside: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """inside: the files that it consists of, or lies in; None: those of the pattern, wherever this description lies."""
    place = {} if inside is None else {"containedIn": [{"@id": file["@id"]} for file in inside]}
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": mime, "includes": pattern, **place,
            "description": "The files above, wherever this description lies." if inside is None else f"Files of {name}."}


def _records(name: str, key: str, what: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "key": {"@id": f"{name}/{key}"}, "description": what,
            "field": fields}


def _field(records: str, name: str, kind: Any, source: dict[str, Any], views: tuple[str, ...] = ()) -> dict[str, Any]:
    """One column. kind: its Arrow type. Bytes have no type of their own in Croissant: they are text whose description says so."""
    import pyarrow as pa

    inner, made = kind, {}
    while pa.types.is_list(inner) or pa.types.is_fixed_size_list(inner):
        inner, made = inner.value_type, {"repeated": True}
    what = _WHAT.get(name, "the picture of every frame, JPEG" if name in views else name.replace("_", " "))
    made = {"@type": "cr:Field", "@id": f"{records}/{name}", "name": name, "description": f"{what} (Arrow: {kind})", **made}
    source = source if "extract" in source else source | {"extract": {"column": name}}  # of a part: its parent's column
    if pa.types.is_struct(inner) and [f.name for f in inner] == ["bytes", "path"]:  # sound and pictures, as `datasets` has them
        return made | {"dataType": "sc:ImageObject" if name in views else "sc:AudioObject",
                       "source": source | {"transform": {"jsonPath": "bytes"}}}
    if pa.types.is_struct(inner):
        return made | {"subField": [_field(f"{records}/{name}", f.name, f.type, source | {"transform": {"jsonPath": f.name}})
                                    for f in inner]}
    return made | {"dataType": _data_type(inner), "source": source}


def _data_type(kind: Any) -> str:
    import pyarrow as pa

    return "sc:Integer" if pa.types.is_integer(kind) else "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
