"""What a build would do: which instances are out of date and why, and which may follow. Read from DVC; runs nothing."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.graph import Node, load_graph

RUN, MAY = "run", "may rerun"


class UnknownTarget(ValueError):
    """A target that is no instance; the message has the nearest one."""


@dataclass(frozen=True, slots=True)
class Item:
    """One instance that a build would look at. `upstream` names only instances of the same plan."""

    name: str
    stage: str
    instance: str
    state: str
    why: str
    upstream: tuple[str, ...]
    gpu: int
    cpus: int
    cheap: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Items in topological order, the same in waves, and how many instances the targets have in all."""

    items: tuple[Item, ...]
    waves: tuple[tuple[str, ...], ...]
    n_instances: int

    def __bool__(self) -> bool:
        return bool(self.items)

    def count(self, state: str) -> int:
        """How many items are in one state."""
        return sum(item.state == state for item in self.items)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `babelface plan --json` prints them."""
        return {"n_instances": self.n_instances, "run": self.count(RUN), "may_rerun": self.count(MAY),
                "waves": [list(w) for w in self.waves],
                "items": [{"name": i.name, "stage": i.stage, "instance": i.instance, "state": i.state, "why": i.why,
                           "resources": {"gpu": i.gpu, "cpus": i.cpus}} for i in self.items]}


def plan(targets: Iterable[str] | None = None, root: Path = Path(".")) -> Plan:
    """The plan for `targets` and everything they need; all instances where none are named.

    A target is an instance (track@synthetic-en), a stage (track) or a pattern (score-*). What lies downstream of something out of
    date may rerun: DVC decides when it gets there, by content.
    """
    return plan_of(load_graph(root), targets)


def plan_of(nodes: list[Node], targets: Iterable[str] | None = None) -> Plan:
    """As `plan`, from nodes in topological order."""
    known = {node.name: node for node in nodes}
    wanted = _with_upstream(_resolve(targets, nodes), known) if targets else set(known)
    chosen: dict[str, Item] = {}
    level: dict[str, int] = {}
    for node in nodes:
        if node.name not in wanted:
            continue
        after = tuple(u for u in node.upstream if u in chosen)
        if not node.reasons and not after:
            continue
        state = RUN if node.reasons else MAY
        follows = "after " + ", ".join(after[:2]) + (f" and {len(after) - 2} more" if len(after) > 2 else "")
        why = "; ".join(node.reasons) or follows
        chosen[node.name] = Item(node.name, node.stage, node.instance, state, why, after, _number(node.meta, "gpu", 0),
                                 _number(node.meta, "cpus", 1), bool(node.meta.get("cheap", False)))
        level[node.name] = 1 + max((level[u] for u in after), default=-1)
    waves = [tuple(n for n in chosen if level[n] == k) for k in range(1 + max(level.values(), default=-1))]
    return Plan(tuple(chosen.values()), tuple(waves), len(wanted))


def _number(meta: Mapping[str, Any], key: str, default: int) -> int:
    return max(int(meta.get(key, default)), 0)


def _resolve(targets: Iterable[str], nodes: list[Node]) -> set[str]:
    found: set[str] = set()
    for target in targets:
        hits = {n.name for n in nodes if target in (n.name, n.stage, f"{n.stage}@{n.instance}", f"{n.stage}-{n.instance}")
                or fnmatch.fnmatchcase(n.name, target)}
        if not hits:
            near = difflib.get_close_matches(target, {x for n in nodes for x in (n.name, n.stage)}, n=1)
            raise UnknownTarget(f"no instance or stage {target!r}"
                                + (f"; did you mean {near[0]!r}?" if near else "; dvc.yaml lists them all"))
        found |= hits
    return found


def _with_upstream(names: set[str], known: dict[str, Node]) -> set[str]:
    todo, found = list(names), set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += known[name].upstream
    return found
