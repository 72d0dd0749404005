"""The commands `download`, `forget` and `unpack`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)

TARGETS = Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...",
                                                     help="Instances (hdtf-en), corpora or languages. None: all.",
                                                     show_default=False)]


@app.command(epilog="[b]Examples[/b]\n\nbabelface download --dry-run\n\nbabelface download multitalk-tr\n\n"
                    "babelface download --status\n\nbabelface download --retry unreachable --retry timeout\n\n"
                    "Attempts and times: .babelface/logs/download-INSTANCE.jsonl")
def download(targets: TARGETS = None,
             status: Annotated[bool,
                               typer.Option("--status",
                                            help="Count what is here, by reason what is not, also of a run that is "
                                            "under way or was stopped. Fetches nothing.")] = False,
             retry: Annotated[list[str] | None, typer.Option(metavar="REASON",
                                                             help="Try again what was rejected for this; may be given "
                                                             "again.", show_default=False)] = None,
             dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate hours, bytes and disk. Fetches nothing.")] = False,
             as_json: Annotated[bool, typer.Option("--json", help="Print JSON: with --status and --dry-run.")] = False) -> None:
    """Bring recordings here, and no more than that; what was fetched before is not fetched again."""
    from core.stage import UserError
    from corpora.index.census import lines
    from flows import download as downloading
    from flows.graph import current_graph
    from flows.index import left_out
    from flows.licences import guard

    if status + bool(retry) + dry_run > 1:
        raise UserError("--status, --retry and --dry-run exclude each other")
    params = current_graph()
    if status:
        from flows.download_status import status as status_of
        from flows.download_status import status_lines

        rows = status_of(params, targets or [])
        here = dict.fromkeys(i.corpus for i, row in zip(downloading.chosen(params, targets or []), rows, strict=True) if "kept" in row)
        left = [one for one in left_out(params, here) if one["not_claimed"]]
        text = [*status_lines(rows), *(line for one in left for line in lines(one, ", ".join(one["corpora"])))]
        print(json.dumps([*rows, *({"state": "index", **one} for one in left)], indent=2) if as_json else "\n".join(text))
    elif dry_run:
        guard(params)
        found = downloading.estimate(params, targets or [])
        print(json.dumps(found, indent=2) if as_json else "\n".join(downloading.estimate_lines(found)))
    elif retry:
        marked = {name: n for name, n in downloading.retry(params, targets or [], retry).items() if n}
        print("\n".join(f"{name}: {n} items again" for name, n in marked.items()) or "nothing was rejected for that")
        raise typer.Exit(downloading.run(params, list(marked), force=True) if marked else 0)
    else:
        raise typer.Exit(downloading.run(params, [i.name for i in downloading.chosen(params, targets or [])]))


@app.command(epilog="[b]Examples[/b]\n\nbabelface forget spk0042 --corpus multitalk --why 'asked by letter'\n\n"
                    "babelface forget dQw4w9WgXcQ --as video")
def forget(name: Annotated[str, typer.Argument(metavar="ID", help="An item, a video or a speaker.")],
           kind: Annotated[str | None, typer.Option("--as", metavar="KIND", help="item, video or speaker.",
                                                    show_default="as the indexes "
                                                    "know it")] = None,
           corpus: Annotated[str | None, typer.Option(help="Only in this corpus.", show_default="all")] = None,
           why: Annotated[str, typer.Option(help="For whoever reads forgotten.yaml.")] = "") -> None:
    """Take an item, a video or a speaker out of every later version; forgotten.yaml keeps the tombstone."""
    from core.params import load_params
    from core.stage import UserError
    from flows.forget import forget as forget_it

    if kind not in (None, "item", "video", "speaker"):
        raise UserError(f"--as {kind}: expected item, video or speaker")
    print(forget_it(load_params(), name, corpus, why, kind))


@app.command(epilog="[b]Examples[/b]\n\nbabelface unpack GRID/s1.zip GRID/s1")
def unpack(archive: Annotated[Path, typer.Argument(help="zip, tar, tar.gz, tar.bz2, tar.xz or 7z.")],
           folder: Annotated[Path, typer.Argument(help="A folder that is new or empty.")]) -> None:
    """Unpack an archive that somebody else packed: no path out of the folder, no links, no bombs."""
    from core.records import Reject
    from core.stage import UserError
    from corpora.fetch.archive import unpack as work

    try:
        print(f"{len(work(archive, folder)):,} files in {folder}")
    except (Reject, FileExistsError) as error:
        raise UserError(str(error)) from error
