"""The commands about the dataset as a thing to hand on: card, verify, export, rejects, duplicates."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)

JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command(epilog="[b]Examples[/b]\n\nbabelface card\n\nbabelface card --out card")
def card(out: Annotated[Path, typer.Option(metavar="DIR", help="Where README.md, croissant.json and facts.json go.")]
         = Path(".babelface/card"),
         ) -> None:
    """Write the data card of this version, for people and, as Croissant, for machines."""
    from core.params import load_params
    from flows.card import write_card

    for path in write_card(load_params(), out):
        print(path)


@app.command(epilog="[b]Examples[/b]\n\nbabelface verify\n\nbabelface verify --json\n\n"
                    "Exit status: 0 where all is as recorded, 1 where not.")
def verify(as_json: JSON = False) -> None:
    """Hash every file again: media against the ledger, outputs against dvc.lock. Changes nothing."""
    from core.params import load_params
    from flows.verify import verify as work

    with redirect_stdout(sys.stderr):  # progress: JSON is alone on stdout
        found = work(load_params())
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for t in found["troubles"]:
            print(f"{t['what']}: {t['file']}: {t['detail']}")
        wrong = len(found["troubles"])
        print(f"{found['files']:,} files, {found['bytes'] / 1e9:,.2f} GB, {found['outputs']} outputs: "
              + (f"{wrong} not as recorded" if wrong else "all as recorded"))
    raise typer.Exit(1 if found["troubles"] else 0)


@app.command(epilog="[b]Examples[/b]\n\nbabelface export --format webdataset ../tars\n\n"
                    "babelface export --format datasets ../parquet --view mouth --split train --split test")
def export(out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is not there yet.")],
           kind: Annotated[str, typer.Option("--format", metavar="FORMAT", help="webdataset or datasets.")],
           view: Annotated[list[str] | None, typer.Option(help="A stored view; may be given again.",
                                                          show_default="all of crop.store")] = None,
           split: Annotated[list[str] | None, typer.Option(help="May be given again.",
                                                           show_default="all that speakers are dealt into")] = None,
           no_views: Annotated[bool, typer.Option("--no-views",
                                                  help="Sound, boxes and what is known, without pictures.")] = False,
           file_mb: Annotated[int, typer.Option(min=1, help="About how large a file becomes.")] = 500) -> None:
    """Write the dataset as WebDataset tar files, or as Parquet for Hugging Face `datasets`, with its card."""
    from core.params import load_params
    from core.stage import UserError
    from flows.export import export as work

    if no_views and view:
        raise UserError("--view and --no-views exclude each other")
    found = work(load_params(), kind, out, views=[] if no_views else view, splits=split, file_bytes=file_mb << 20)
    print(f"{out}: " + ", ".join(f"{n:,} {name}" for name, n in found["samples"].items())
          + f"; {found['files']:,} files, {found['bytes'] / 1e9:,.3f} GB")


@app.command(epilog="[b]Examples[/b]\n\nbabelface rejects\n\nbabelface rejects --out sheet --most 500")
def rejects(out: Annotated[Path, typer.Option(metavar="DIR", help="Where the page goes.")] = Path(".babelface/rejects"),
            most: Annotated[int, typer.Option(min=1, help="How many items it shows.")] = 2000) -> None:
    """Make a contact sheet of what was rejected: a page with a picture of every item that has one, stage, reason and detail."""
    from core.params import load_params
    from flows.rejects import write_sheet

    with redirect_stdout(sys.stderr):
        found = write_sheet(load_params(), out, most=most)
    print(f"{found['rejects']:,} rejects, {found['shown']:,} shown, {found['pictures']:,} with a picture", file=sys.stderr)
    print(out / "index.html")


@app.command(epilog="[b]Examples[/b]\n\nbabelface duplicates\n\nbabelface duplicates --json")
def duplicates(as_json: JSON = False) -> None:
    """List what shares footage, as the last split found it, and which split each side is in. Exit 1 where the two differ."""
    from core.shards import read_rows
    from core.stage import UserError, out_folder

    folder = out_folder("split", "all")
    if not (folder / "links").is_dir():
        raise UserError(f"{folder}: no table of links here; run first: babelface build")
    rows = read_rows(folder, "links")
    torn = [r for r in rows if r["split_a"] and r["split_b"] and r["split_a"] != r["split_b"]]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for r in rows:
            sides = " = ".join(f"{r[f'corpus_{s}']}-{r[f'language_{s}']}/{r[s]} ({r[f'split_{s}'] or 'in none'})" for s in "ab")
            proof = [f"{name} {r[key]:.3f}" for name, key in (("wrong bits of sound", "sound_error"), ("movement", "movement"))
                     if r[key] is not None]
            print(f"{r['kind']}: {sides}" + (f"; {', '.join(proof)} over {r['overlap_s']:.1f} s" if proof else ""))
        print(f"{len(rows)} links, {len(torn)} between two splits")
    raise typer.Exit(1 if torn else 0)
