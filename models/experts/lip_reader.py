"""Lip readers: frames of a mouth in, text out. None comes with the project: a user plugs one in.

Published lip readers are large, made for a few languages each, and mostly under research-only licences, so the choice is the
user's and belongs to the figure's protocol. A reader is a class or function that `open_lip_reader` can import.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class LipReader(Protocol):
    """What a reader must offer. `name` names the model and its version, `languages` the BCP-47 tags that it reads, `view` the
    crop that it eats (a name of params.crop.views)."""

    name: str
    languages: tuple[str, ...]
    view: str

    def read(self, frames: np.ndarray, language: str) -> str:
        """What the mouth says. frames: uint8 (T, H, W, 3) RGB at 25 fps, the reader's view. language: one of `languages`."""
        ...


def open_lip_reader(target: str, weights: Path | None = None, **options: Any) -> LipReader:
    """The reader that `package.module:name` makes, called as name(weights, **options), or name(**options) without weights.

    ValueError, with what was expected, when the target cannot be imported or what it makes is no LipReader.
    """
    module, _, name = target.partition(":")
    if not module or not name:
        raise ValueError(f"lip reader {target!r}: expected 'package.module:name'")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"lip reader {target!r} cannot be imported ({error}); install its package, or put it on PYTHONPATH"
                         ) from error
    reader = made(weights, **options) if weights is not None else made(**options)
    missing = [what for what in ("name", "languages", "view", "read") if not hasattr(reader, what)]
    if missing:
        raise ValueError(f"lip reader {target!r}: what it makes has no {', '.join(missing)}; "
                         "see models.experts.lip_reader.LipReader")
    return reader


def source_of(target: str) -> Path:
    """The file of the module that `package.module:name` stands in: a reader without weights is what its code is."""
    return Path(importlib.import_module(target.partition(":")[0]).__file__)


def known_as(reader: LipReader, language: str | None) -> str | None:
    """What a reader calls a language: the tag itself or its main part ("pt" for "pt-BR"); None for one that it does not read."""
    return next((tag for tag in (language, (language or "").partition("-")[0]) if tag in reader.languages), None)
