"""The dvc command, with a dvc.lock that is read and written a stage at a time: `python -P flows/quick_dvc.py repro track@synthetic-en`.

DVC 3.67 parses the whole of dvc.lock with a pure Python YAML reader and writes it anew after every stage it ran: 8 of the 10 seconds that an
instance cost here when the file had 17,000 lines. This replaces the lines of the one stage, which DVC's own writer makes, so the file has
the same bytes; and it replaces the file in one step, so a kill leaves a whole one. Whatever does not look as DVC writes it goes DVC's way.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

HEAD = "schema: '2.0'\nstages:\n"


def main(argv: list[str]) -> int:
    """The exit status of dvc's command line."""
    from dvc.cli import main as dvc

    install()
    return dvc(argv)


def install() -> None:
    """Has DVC's lock file read and written as here, in this process."""
    from dvc.dvcfile import Lockfile

    if getattr(Lockfile, "_quick", False):
        return
    plain_dump, plain_load = Lockfile.dump_stages, Lockfile._load_yaml
    Loader = _loader()

    def dump_stages(self: Any, stages: Any, **kwargs: Any) -> None:
        from dvc.stage import serialize

        stages = list(stages or ())
        old = _text(self.path)
        new = {}
        for stage in stages:
            new |= serialize.to_lockfile(stage, **kwargs)
        text = spliced(old, new) if stages else None
        if text is None:
            plain_dump(self, stages, **kwargs)
        elif text != old:
            _replace(self.path, text)
            self.repo.scm_context.track_file(self.relpath)

    def load_yaml(self: Any, **kwargs: Any) -> tuple[Any, str]:
        import yaml

        text = _text(self.path)
        with contextlib.suppress(yaml.YAMLError, ValueError):
            if text and not kwargs:
                return self.validate(yaml.load(text, Loader), self.relpath), text  # noqa: S506  a SafeLoader
        return plain_load(self, **kwargs)

    Lockfile.dump_stages, Lockfile._load_yaml, Lockfile._quick = dump_stages, load_yaml, True


@contextlib.contextmanager
def params_once() -> Iterator[None]:
    """While it lasts, DVC parses a file of params once, not once for every stage that depends on it."""
    from dvc.dependency import param

    real, seen = param.load_path, {}

    def load_path(path: Any, fs: Any, **kwargs: Any) -> Any:
        key = (str(path), fs, *sorted(kwargs.items()))
        if key not in seen:
            seen[key] = real(path, fs, **kwargs)
        return seen[key]

    param.load_path = load_path
    try:
        yield
    finally:
        param.load_path = real


def spliced(text: str, new: dict[str, Any]) -> str | None:
    """`text` of a dvc.lock with the entries of some stages put in place of the old ones, or after the last; None where it does not look as
    DVC writes it."""
    from dvc.utils.serialize import dumps_yaml

    if not text.startswith(HEAD):
        return None
    lines = text[len(HEAD):].splitlines(keepends=True)
    starts = [n for n, line in enumerate(lines) if line[:2] == "  " and line[2:3] not in (" ", "-", "")]
    if not starts or starts[0] != 0 or not text.endswith("\n") or any(line[:2] != "  " for line in lines):
        return None
    blocks = {lines[a].rstrip("\n"): "".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)}
    if len(blocks) != len(starts):
        return None
    for name, entry in new.items():
        block = dumps_yaml({"stages": {name: entry}}).partition("\n")[2]
        blocks[block.partition("\n")[0]] = block
    return HEAD + "".join(blocks.values())


def _loader() -> type:
    """libyaml's reader with the rules of YAML 1.2, by which DVC's library tells words from numbers."""
    import yaml
    from ruamel.yaml.resolver import implicit_resolvers

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  as in its base

    for versions, tag, pattern, first in implicit_resolvers:
        if (1, 2) in versions:
            Loader.add_implicit_resolver(tag, pattern, first)
    return Loader


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _replace(path: str, text: str) -> None:
    temp = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    try:
        with open(temp, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
