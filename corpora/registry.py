"""Corpora by name: every module of this folder that keeps the contract is one, so that a new file is a new corpus.

The contract: `CARD` (core.records.Card), `languages(config) -> list of tags`, `items(config, language) -> (items, rejected)` and
`fetch(item, config, folder) -> Fetched`. An adapter that reads an index has `entries(config)`, items and rejects one by one,
from which corpora/index/entries.py makes the first two. A corpus with a folder of its own keeps them in `<folder>/adapter.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType

from core.records import Item, Rejected

_FOLDER = Path(__file__).resolve().parent
_CONTRACT = ("CARD", "languages", "items", "fetch")
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


def entries(corpus: ModuleType, config: Mapping) -> Iterator[Item | Rejected]:
    """Every item and reject of an opened corpus, all languages, one by one where the adapter can."""
    if hasattr(corpus, "entries"):
        yield from corpus.entries(config)
        return
    for language in corpus.languages(config):
        found, rejected = corpus.items(config, language)
        yield from found
        yield from rejected
