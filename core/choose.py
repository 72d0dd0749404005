"""Which of several models to use: the best one whose file is here, else the best one that can be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.weights import Found, WeightsMissing, find, is_here

# Kind -> its file's name in core.weights, best first.
FINDERS = {"yunet": "yunet", "blazeface": "blazeface"}
MESHES = {"mediapipe": "face_landmarker", "facemesh": "mesh"}


def choose(asked: str, names: dict[str, str]) -> tuple[str, Found]:
    """(kind, its weights). names: kind -> name in core.weights, best first. `auto` takes the first kind whose file is here already,
    else the first that can be fetched; any other `asked` is that kind or WeightsMissing."""
    if asked != "auto":
        return asked, find(names[asked])
    for fetch in (False, True):
        for kind, name in names.items():
            try:
                return kind, find(name, fetch=fetch)
            except WeightsMissing as error:
                last = error
    raise last


def other_models(track: Any, data: Path = Path("data/track")) -> dict[str, str]:
    """Instance of the stage track -> "finder blazeface, now yunet": where what `auto` means on this machine is no longer what it was
    when the instance was made. A graph of params and code cannot see it. track: params.track."""
    from core.shards import read_json

    found: dict[str, str] = {}
    for path in sorted(data.glob("*/fingerprint.json")):
        marks = read_json(path).get("of", {}).get("weights", {})
        said = []
        for part, asked, names in (("finder", track.finder, FINDERS), ("landmarker", track.landmarker, MESHES)):
            was = marks.get(part, "").partition(":")[0] if asked == "auto" else ""
            now = next((kind for kind, name in names.items() if was and is_here(name)), was)
            if was != now:
                said.append(f"{part} {was}, now {now}")
        if said:
            found[path.parent.name] = "; ".join(said)
    return found
