"""Lists the benchmarks: `python -m bench`. Each runs as `python -m bench.NAME` and prints what it needs with --help."""

from __future__ import annotations

import ast
from pathlib import Path


def benchmarks() -> dict[str, str]:
    """Name -> what it measures (the first line of its docstring), sorted."""
    here = Path(__file__).parent
    return {p.stem: (ast.get_docstring(ast.parse(p.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            for p in sorted(here.glob("*.py")) if not p.stem.startswith("_")}


if __name__ == "__main__":
    for name, what in benchmarks().items():
        print(f"python -m bench.{name}\n    {what}")
