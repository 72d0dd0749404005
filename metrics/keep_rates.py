"""What a filter keeps of each language: an expert that learnt English selects English, which one figure for all does not show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NOTABLE = 0.1
"""Languages whose kept shares differ by more than this are worth a warning."""


def keep_rates(items: Iterable[tuple[str, Iterable[str]]], filters: Iterable[str]) -> dict[str, dict[str, dict[str, int]]]:
    """filter -> language -> {in, kept}: each filter by itself, as if it were the only one; languages sorted.

    items: (language, names of the filters that leave the item out), one per item.
    """
    items = [(language, set(failed)) for language, failed in items]
    found: dict[str, dict[str, dict[str, int]]] = {}
    for name in filters:
        cells: dict[str, dict[str, int]] = {}
        for language, failed in sorted(items, key=lambda item: item[0]):
            cell = cells.setdefault(language, {"in": 0, "kept": 0})
            cell["in"] += 1
            cell["kept"] += name not in failed
        found[name] = cells
    return found


def sentences(rates: Mapping[str, Mapping[str, Mapping[str, int]]], by_expert: Iterable[str]) -> list[str]:
    """A line per filter of `by_expert` that is in use, with its keep rate per language, and a warning where languages differ."""
    lines: list[str] = []
    for name in [n for n in by_expert if n in rates]:
        shares = {language: cell["kept"] / cell["in"] for language, cell in rates[name].items() if cell["in"]}
        told = ", ".join(f"{language} {share:.0%} of {rates[name][language]['in']}" for language, share in shares.items())
        lines.append(f"filter {name} keeps {told}")
        if shares and max(shares.values()) - min(shares.values()) > NOTABLE:
            low, high = min(shares, key=lambda k: (shares[k], k)), max(shares, key=lambda k: (shares[k], k))
            lines.append(f"WARNING: filter {name} keeps {shares[high]:.0%} of {high} and {shares[low]:.0%} of {low}: an expert "
                         "knows some languages better than others, so what is left may be a selection by language")
    return lines


def as_json(rates: dict[str, Any], together: Mapping[str, Mapping[str, int]], by_expert: Iterable[str]) -> dict[str, Any]:
    """What the split stage stores of its filters: {rates, together, sentences}. together: language -> {in, kept}, of all
    filters."""
    cells = ", ".join(f"{tag} {cell['kept']} of {cell['in']}" for tag, cell in sorted(together.items()))
    told = [f"split: filter keeps {cells} tracks"] if rates else []
    return {"rates": rates, "together": together, "sentences": told + sentences(rates, by_expert)}
