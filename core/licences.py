"""The licence guard: what forbids commercial use is kept out until params say that the result is for research only.

A stage runs under `policy`, and core/weights.py asks `check` for every model that it hands out; flows/licences.py asks the
same of all that params.yaml names, before anything starts. A refused stage leaves no output, so the graph need not track the
policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError

UNSTATED = "no licence stated"
_NON_COMMERCIAL = re.compile(r"non[- ]?commercial|\bby[- ]nc\b|\bnc-(sa|nd)\b|(research|academic) (use )?only", re.IGNORECASE)
_SAYS_NOTHING = re.compile(r"^unknown$|^other$|(no|none) (licence |license )?stated|see the model's page", re.IGNORECASE)
_HUB_CARD = re.compile(r"\A---\s*\n(.*?)\n---\s*$", re.DOTALL | re.MULTILINE)
_policy: list[bool] = []  # of the stage that this process runs: whether it may use what forbids commercial use


@dataclass(frozen=True, slots=True)
class Used:
    """A corpus or a model that is used: how a message calls it, its licence, and whether that allows commercial use (None: it
    does not say, and its words decide)."""

    name: str
    licence: str
    commercial: bool | None = None


class Refused(UserError):
    """The guard refuses what a stage is about to use; the message names it, its licence and the param that would allow it."""


def forbids_commerce(used: Used) -> bool:
    """Whether a licence is known to forbid commercial use. One that says nothing about it is for a person to judge."""
    return used.commercial is False or (used.commercial is None and bool(_NON_COMMERCIAL.search(used.licence)))


def says_nothing(used: Used) -> bool:
    """Whether no licence is stated, at least for a part: it is not refused, and a person has to judge."""
    return used.commercial is None and bool(_SAYS_NOTHING.search(used.licence.strip() or UNSTATED))


def together(parts: Iterable[Used]) -> Used:
    """What is made of all these: it may be sold where every part may, and may not where one part may not. The words say so too,
    and whose they are, for whoever has only them."""
    parts = list(parts)
    bad = any(forbids_commerce(part) for part in parts)
    named = "; ".join(f"{part.name}: {part.licence.strip() or UNSTATED}" for part in parts)
    return Used(" and ".join(part.name for part in parts), f"non-commercial, as what it learnt from ({named})" if bad else
                f"as what it learnt from ({named})", False if bad else True if all(part.commercial for part in parts) else None)


def refused(things: Iterable[Used], allow_non_commercial: bool) -> str | None:
    """What to tell the user where the guard refuses, naming every culprit at once; None where it has nothing against it."""
    bad = [] if allow_non_commercial else [used for used in things if forbids_commerce(used)]
    if not bad:
        return None
    named = "; ".join(f"{used.name} ({used.licence})" for used in bad)
    return (f"not for commercial use: {named}. What is built from it may not be used commercially either: where that is meant, "
            "set licences.allow_non_commercial: true in params.yaml, otherwise take it out of params.yaml")


@contextmanager
def policy(allow_non_commercial: bool) -> Iterator[None]:
    """Within it `check` refuses by this policy; outside of any it lets everything pass."""
    _policy.append(allow_non_commercial)
    try:
        yield
    finally:
        _policy.pop()


def check(used: Used) -> None:
    """Raises Refused where the policy of the stage that runs here forbids what it is about to use."""
    against = refused([used], _policy[-1]) if _policy else None
    if against:
        raise Refused(against)


def stated(path: Path) -> str:
    """The licence that stands beside a model's file, or in its folder: in card.json (`licence` or `license`), else in the head of
    a model hub's README.md; UNSTATED where neither has one."""
    folder = path if path.is_dir() else path.parent
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        card = None
    found = [card.get(key) for key in ("licence", "license")] if isinstance(card, dict) else []
    try:
        head = _HUB_CARD.match((folder / "README.md").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        head = None
    found += re.findall(r"^licen[cs]e:[ \t]*['\"]?([^'\"#\n]+)", head[1], re.MULTILINE) if head else []
    return next((str(one).strip() for one in found if one and str(one).strip()), UNSTATED)
