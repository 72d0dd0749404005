"""Which of several models to use: the best one whose file is here, else the best one that can be fetched."""

from __future__ import annotations

from core.weights import Found, WeightsMissing, find


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
