"""The dataset described for machines: Croissant 1.0, JSON-LD (https://docs.mlcommons.org/croissant/docs/croissant-spec.html)."""

from __future__ import annotations

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
_KINDS = {"webdataset": ("application/x-tar", "*.tar"), "datasets": ("application/x-parquet", "data/*.parquet")}
_FIELDS = {"id": ("sc:Text", "corpus, language and track"), "language": ("sc:Text", "BCP-47 tag"),
           "corpus": ("sc:Text", "where it is from"),
           "speaker": ("sc:Text", "who speaks; null: unknown"), "cluster": ("sc:Text", "the speaker, or what counts as one"),
           "n_frames": ("sc:Integer", "frames at 25 a second"), "licence": ("sc:Text", "of the corpus")}


def croissant(found: dict[str, Any], folder: Path, exported: dict[str, Any] | None = None) -> dict[str, Any]:
    """The description as plain values. found: flows.dataset.facts. exported: as flows.card has it; its files lie in `folder`, and
    of an export to Parquet the columns are described. Without one the files are the cards' own. """
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
    kind = (exported or {}).get("format")
    pattern = _KINDS[kind][1] if kind else "facts.json"
    mime = _KINDS[kind][0] if kind else "application/json"
    files = [{"@type": "cr:FileObject", "@id": path.relative_to(folder).as_posix(), "name": path.relative_to(folder).as_posix(),
              "contentUrl": path.relative_to(folder).as_posix(), "contentSize": f"{path.stat().st_size} B",
              "encodingFormat": mime,
              "sha256": digest_file(path)} for path in sorted(folder.glob(pattern))]
    made["distribution"] = files
    if kind == "datasets":
        made["distribution"] = [*files, {"@type": "cr:FileSet", "@id": "samples", "name": "samples", "encodingFormat": mime,
                                         "description": "The files above, wherever this description lies.", "includes": pattern}]
        made["recordSet"] = [{"@type": "cr:RecordSet", "@id": "tracks", "name": "tracks", "key": {"@id": "tracks/id"},
                              "description": "One face through a stretch of video.",
                              "field": [_field(name, *about) for name, about in _FIELDS.items()]}]
    return made


def _field(name: str, kind: str, what: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"tracks/{name}", "name": name, "description": what, "dataType": kind,
            "source": {"fileSet": {"@id": "samples"}, "extract": {"column": name}}}
