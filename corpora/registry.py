"""Corpora by name: every module of this folder that keeps the contract is one, so that a new file is a new corpus.

The contract is a card and two functions: `CARD` (core.records.Card), `entries(config)`, which gives every item of the index and
every row that is none, one by one, and `fetch(item, config, folder) -> Fetched`. `OPTIONS` names what its options may hold besides
what any adapter's may; `OWNED` is true where only the owner of the data knows its licence, so that params.yaml may state it. An
adapter that makes its recordings instead of reading of them may also have `items(config, language)`, so that one language is had
without the others. A corpus with a folder of its own keeps all this in `<folder>/adapter.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from core.errors import UserError
from core.garbage import no_cycles
from core.records import Card, Item, Rejected

if TYPE_CHECKING:
    from core.params import Corpus
    from corpora.index.census import Census

_FOLDER = Path(__file__).resolve().parent
_CONTRACT = ("CARD", "entries", "fetch")
_ALSO = {"mtedx": "muavic", "lrs3ted": "lrs3", "casvsrw1k": "lrw1000", "b3dac2": "biwi"}


def adapters() -> list[str]:
    """The names that `open_corpus` knows, sorted: modules of this folder, and folders with an adapter.py. Nothing is imported."""
    modules = {path.stem for path in _FOLDER.glob("*.py")} - {"__init__", Path(__file__).stem}
    rooms = {path.parent.name for path in _FOLDER.glob("*/adapter.py")}
    return sorted(name for name in modules | rooms if not name.startswith("_"))


def adapter_name(name: str) -> str:
    """The adapter that a person means: LRW-1000 is lrw1000, mTEDx is read by muavic. ValueError with a suggestion where none is."""
    known = adapters()
    if name in known:
        return name
    plain = {name.replace("_", ""): name for name in known}
    meant = re.sub(r"[-_ ]", "", str(name).lower())
    found = plain.get(_ALSO.get(meant, meant))
    if found is None:
        near = get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        raise ValueError(f"no corpus adapter {name!r}: {hint}")
    return found


def open_corpus(adapter: str) -> ModuleType:
    """The module of one adapter. Raises ValueError for an unknown name, TypeError for a module that breaks the contract."""
    adapter = adapter_name(adapter)
    inside = (_FOLDER / adapter / "adapter.py").is_file()
    module = import_module(f"corpora.{adapter}.adapter" if inside else f"corpora.{adapter}")
    missing = [name for name in _CONTRACT if not hasattr(module, name)]
    if missing:
        raise TypeError(f"corpora/{adapter} lacks {', '.join(missing)}: see the contract in corpora/registry.py")
    return module


def card_of(name: str, entry: Corpus) -> Card:
    """The card of the corpus `name` of params.yaml, with the licence that its entry states where only its owner knows one.
    UserError where the adapter's card states one already, ValueError for an unknown adapter."""
    corpus = open_corpus(entry.adapter)
    said = {key: value for key, value in (("licence", entry.licence), ("commercial", entry.commercial)) if value is not None}
    if said and not getattr(corpus, "OWNED", False):
        raise UserError(f"corpora.{name}.{next(iter(said))}: the card of {entry.adapter} states the licence already "
                        f"({corpus.CARD.licence}); only corpora of your own (csv, folder) may state one")
    return replace(corpus.CARD, **said)


def entries(corpus: ModuleType, config: Mapping) -> Iterator[Item | Rejected]:
    """Every item and reject of an opened corpus, all languages, one by one. Every entry belongs to exactly one language, so that
    what `items` gives of all `languages` adds up to this. ValueError for an option that the adapter does not take, FileNotFoundError
    without the index, ValueError for one that cannot be read."""
    from corpora.index.entries import COMMON
    from corpora.index.values import BadIndex

    known = {*COMMON, *getattr(corpus, "OPTIONS", ())}
    for option in config.get("options") or {}:
        if option not in known:
            near = get_close_matches(option, known, n=1)
            raise BadIndex(f"{corpus.CARD.name}: unknown option {option!r}" + (f"; did you mean {near[0]!r}?" if near else "")
                           + f"; it takes {', '.join(sorted(known))}")
    yield from corpus.entries(config)


def languages(corpus: ModuleType, config: Mapping) -> list[str]:
    """All language tags of the index, sorted; "und" where some entry has none or an invalid one."""
    return sorted({entry.language for entry in entries(corpus, config)})


@no_cycles()
def items(corpus: ModuleType, config: Mapping, language: str, seen: Census | None = None) -> tuple[list[Item], list[Rejected]]:
    """The usable entries of one language, sorted by id, and the rejected ones in the index's order. seen: counts the entries of
    all languages, where the adapter reads an index. Raises what `entries` raises, and ValueError for a `language` that is not a
    tag."""
    from corpora.index.values import BadIndex, tag_of

    if hasattr(corpus, "items"):
        return corpus.items(config, language)  # it has no index that says more than it is asked for
    wanted, wrong = tag_of(language)
    if wrong:
        raise BadIndex(f"{corpus.CARD.name}: {wrong}")
    found: list[Item] = []
    rejected: list[Rejected] = []
    for entry in entries(corpus, config):
        if entry.language == wanted:
            (found if isinstance(entry, Item) else rejected).append(entry)
        elif seen is not None:
            seen.add(entry)
    if seen is not None:
        seen.add_all(wanted, len(found), rejected)
    return sorted(found, key=attrgetter("id")), rejected
