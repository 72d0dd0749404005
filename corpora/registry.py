"""Corpora by name: every module of this folder that keeps the contract is one, so that a new file is a new corpus.

The contract: `CARD` (core.records.Card), `languages(config) -> list of tags`, `items(config, language) -> (items, rejected)` and
`fetch(item, config, folder) -> Fetched`. A corpus with a folder of its own keeps them in `<folder>/adapter.py`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).resolve().parent
_CONTRACT = ("CARD", "languages", "items", "fetch")


def adapters() -> list[str]:
    """The names that `open_corpus` knows, sorted: modules of this folder, and folders with an adapter.py. Nothing is imported."""
    modules = {path.stem for path in _FOLDER.glob("*.py")} - {"__init__", Path(__file__).stem}
    rooms = {path.parent.name for path in _FOLDER.glob("*/adapter.py")}
    return sorted(name for name in modules | rooms if not name.startswith("_"))


def open_corpus(adapter: str) -> ModuleType:
    """The module of one adapter. Raises ValueError for an unknown name, TypeError for a module that breaks the contract."""
    if adapter not in adapters():
        near = get_close_matches(str(adapter), adapters(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(adapters())}"
        raise ValueError(f"no corpus adapter {adapter!r}: {hint}")
    inside = (_FOLDER / adapter / "adapter.py").is_file()
    module = import_module(f"corpora.{adapter}.adapter" if inside else f"corpora.{adapter}")
    missing = [name for name in _CONTRACT if not hasattr(module, name)]
    if missing:
        raise TypeError(f"corpora/{adapter} lacks {', '.join(missing)}: see the contract in corpora/registry.py")
    return module
