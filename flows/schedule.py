"""Which instances to start next: dependencies, cpus and GPUs, and cheap instances sharing one dvc call. No Prefect, no DVC."""

from __future__ import annotations

from collections.abc import Iterable

from flows.graph import Outcome
from flows.plan import MAY, Item, Plan

# A dvc call costs about a second beside the stage; cheap instances share one, but never so many that a core stands idle.
MOST_PER_CALL = 4
# How long an instance takes, roughly, beside a cheap one: a training that is begun last leaves the other cores idle while everything waits for it.
COSTS = {"train": 6, "generate": 3, "score": 3}


class Schedule:
    """Hands out batches of instance names that may start now, and takes their outcomes back."""

    def __init__(self, plan: Plan, *, jobs: int, gpus: int = 0):
        self._items = {item.name: item for item in plan.items}
        self._jobs, self._gpus = max(jobs, 1), gpus
        self._after: dict[str, list[str]] = {name: [] for name in self._items}
        for item in plan.items:
            for above in item.upstream:
                self._after[above].append(item.name)
        self._depth: dict[str, int] = {}
        for name in reversed(self._items):
            cost = COSTS.get(self._items[name].stage, 1)
            self._depth[name] = cost + max((self._depth[n] for n in self._after[name]), default=0)
        self.outcomes: dict[str, Outcome] = {}
        self._running: dict[str, tuple[str, ...]] = {}

    @property
    def done(self) -> bool:
        """True when every item has an outcome."""
        return len(self.outcomes) == len(self._items)

    def settle(self) -> list[Outcome]:
        """Outcomes that need no call: what may rerun but has nothing changed above it, and what a failure leaves without input."""
        found = []
        for item in self._items.values():
            if item.name in self.outcomes or item.name in self._running:
                continue
            above = [self.outcomes.get(u) for u in item.upstream]
            lost = next((o for o in above if o is not None and o.status in ("failed", "skipped")), None)
            if lost is not None:
                why = f"after {lost.name} failed" if lost.status == "failed" else lost.why
                found.append(Outcome(item.name, "skipped", why=why))
            elif item.state == MAY and all(o is not None and o.status == "cached" and not o.changed for o in above):
                found.append(Outcome(item.name, "cached", why="nothing above it changed"))
            else:
                continue
            self.outcomes[item.name] = found[-1]
        return found

    def take(self) -> tuple[str, ...] | None:
        """The next batch to start now, or None. Longest chains first, so that nothing long is left for the end."""
        ready = [i for i in self._items.values() if self._ready(i)]
        ready.sort(key=lambda i: -self._depth[i.name])
        for item in ready:
            if self._fits(item):
                batch = self._share(item, ready)
                for name in batch:
                    self._running[name] = batch
                return batch
        return None

    def finish(self, outcomes: Iterable[Outcome]) -> None:
        """Takes in what became of started instances."""
        for outcome in outcomes:
            self.outcomes[outcome.name] = outcome
            self._running.pop(outcome.name, None)

    def stop(self, why: str) -> None:
        """Gives everything without an outcome the outcome skipped."""
        for name in self._items:
            self.outcomes.setdefault(name, Outcome(name, "skipped", why=why))
        self._running.clear()

    def _ready(self, item: Item) -> bool:
        return item.name not in self.outcomes and item.name not in self._running and all(
            u in self.outcomes and self.outcomes[u].status in ("ran", "cached") for u in item.upstream)

    def _fits(self, item: Item) -> bool:
        calls = [self._items[names[0]] for names in set(self._running.values())]
        if not calls:
            return True
        if self._gpus and item.gpu and sum(c.gpu for c in calls) + item.gpu > self._gpus:
            return False
        return sum(max(c.cpus, 1) for c in calls) + max(item.cpus, 1) <= self._jobs

    def _share(self, item: Item, ready: list[Item]) -> tuple[str, ...]:
        if not item.cheap:
            return (item.name,)
        others = [i.name for i in ready if i is not item and (i.cheap, i.stage, i.cpus, i.gpu) == (True, item.stage, item.cpus, item.gpu)]
        return (item.name, *others[: max(1, min(MOST_PER_CALL, (len(others) + 1) // self._jobs)) - 1])
