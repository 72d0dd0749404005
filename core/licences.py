"""The licence guard: what forbids commercial use is kept out until params say that the result is for research only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NON_COMMERCIAL = re.compile(r"non[- ]?commercial|\bby[- ]nc\b|\bnc-(sa|nd)\b|(research|academic) (use )?only", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Used:
    """A corpus or a model that is used: how a message calls it, its licence, and whether that allows commercial use (None: it
    does not say, and its words decide)."""

    name: str
    licence: str
    commercial: bool | None = None


def forbids_commerce(used: Used) -> bool:
    """Whether a licence is known to forbid commercial use. One that says nothing about it is for a person to judge."""
    return used.commercial is False or (used.commercial is None and bool(_NON_COMMERCIAL.search(used.licence)))


def refused(things: Iterable[Used], allow_non_commercial: bool) -> str | None:
    """What to tell the user where the guard refuses, naming every culprit at once; None where it has nothing against it."""
    bad = [] if allow_non_commercial else [used for used in things if forbids_commerce(used)]
    if not bad:
        return None
    named = "; ".join(f"{used.name} ({used.licence})" for used in bad)
    return (f"not for commercial use: {named}. What is built from it may not be used commercially either: where that is meant, "
            "set licences.allow_non_commercial: true in params.yaml, otherwise take it out of params.yaml")
