"""The page of the contact sheet of rejects: rows turned into HTML by the template. Same rows, same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.page import environment

STATIC = ("report.css", "rejects.css", "rejects.js")


def render(items: list[dict[str, Any]], counts: Mapping[tuple[str, str, str], int], reasons: Mapping[str, str]) -> str:
    """The HTML of index.html. items: what is shown, each with item_id, instance, language, speaker, stage, reason, detail,
    picture (an address relative to the page, or None) and undecodable. counts: of all rejects, by stage, reason and language."""
    shown: dict[tuple[str, str, str], int] = {}
    for item in items:
        key = (item["stage"], item["reason"], item["language"] or "und")
        shown[key] = shown.get(key, 0) + 1
    languages = sorted({key[2] for key in counts})
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for (stage, reason, language), n in counts.items():
        rows.setdefault((stage, reason), {})[language] = n
    stages = list(dict.fromkeys(item["stage"] for item in items))
    order = {stage: k for k, stage in enumerate(stages)}
    table = [{"stage": stage, "reason": reason, "what": reasons.get(reason, ""), "cells": [cell.get(tag, 0) for tag in languages],
              "n": sum(cell.values())} for (stage, reason), cell in sorted(rows.items(),
                                                                           key=lambda kv: (order.get(kv[0][0], 99), kv[0]))]
    return environment().get_template("rejects.html.j2").render(
        {"items": items, "languages": languages, "table": table, "total": sum(counts.values()), "stages": stages,
         "reasons": sorted({item["reason"] for item in items}), "cut": sum(counts.values()) - len(items)})
