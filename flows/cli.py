"""The command `babelface`. Everything heavy is imported inside the commands, so that --help comes at once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_dataset import app as datasets
from flows.cli_download import app as downloads
from flows.cli_nights import app as nights

TARGETS = Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...", help="Instances (track@synthetic-en), stages (track) "
                                                     "or patterns ('score-*'); everything they need comes with them. None: all.",
                                                     show_default=False)]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JOBS = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Instances at once, counted in the cores they use.",
                                          show_default="cores + 1")]
WAIT = Annotated[bool, typer.Option("--wait", help="Where another build is at work, wait for it instead of giving up.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="Builds multilingual talking-face datasets and measures talking-face systems across languages.",
                  epilog="[b]Examples[/b]\n\n"
                         "babelface plan                        what would run, and why\n\n"
                         "babelface evaluate                    bring everything up to date; ends with the table and the "
                         "report\n\n"
                         "babelface build --jobs 8              only the data, up to the splits\n\n"
                         "babelface evaluate 'score-*'          what these instances need, and no more\n\n"
                         "babelface real ~/clips                score a folder of your own videos\n\n"
                         "babelface funnel                      where clips were lost, and why\n\n"
                         "Run from the project's root. After a change to params.yaml that adds or removes a corpus, a language or "
                         "a system: babelface graph --write. The same results without Prefect: dvc repro.")


@app.command(epilog="[b]Examples[/b]\n\nbabelface graph            print what dvc.yaml should be\n\n"
                    "babelface graph --write    make it so\n\nbabelface graph --check    exit 1 where it is not")
def graph(write: Annotated[bool, typer.Option("--write", help="Write dvc.yaml.")] = False,
          check: Annotated[bool, typer.Option("--check", help="Only compare.")] = False) -> None:
    """Write dvc.yaml from params.yaml."""
    from core.params import load_params
    from flows.graph import check_graph, render_graph, write_graph

    params = load_params()
    if write:
        print("dvc.yaml written" if write_graph(params) else "dvc.yaml was up to date")
    elif check:
        check_graph(params)
        print("dvc.yaml fits params.yaml")
    else:
        print(render_graph(params), end="")


@app.command(epilog="[b]Examples[/b]\n\nbabelface plan\n\nbabelface plan report\n\nbabelface plan 'track@*' --json")
def plan(targets: TARGETS = None, as_json: JSON = False) -> None:
    """Show what is out of date, why, and what may follow. Runs nothing."""
    from flows.graph import current_graph
    from flows.licences import guard
    from flows.plan import plan as make_plan

    guard(current_graph())
    todo = make_plan(targets)
    if as_json:
        print(json.dumps(todo.as_json(), indent=2))
    elif todo:
        from flows.show import plan_table, print_table

        print_table(plan_table(todo))
    else:
        print(f"nothing changed: all {todo.n_instances} instances are up to date")


@app.command(epilog="[b]Examples[/b]\n\nbabelface build\n\nbabelface build track@synthetic-tr --jobs 2")
def build(targets: TARGETS = None, jobs: JOBS = None, wait: WAIT = False) -> None:
    """Build the data of all corpora and languages, up to the splits."""
    from flows.runner import run

    raise typer.Exit(run("build", targets or ["split", "crop", "features"], jobs=jobs, wait=wait))


@app.command(epilog="[b]Examples[/b]\n\nbabelface evaluate\n\nbabelface evaluate score-speech2vid-en\n\nThe same command goes on "
                    "after Ctrl-C, a crash or kill -9.")
def evaluate(targets: TARGETS = None, jobs: JOBS = None, wait: WAIT = False) -> None:
    """Build, train, generate, score and report: everything in dvc.yaml."""
    from flows import show
    from flows.runner import run

    status = run("evaluate", targets, jobs=jobs, wait=wait)
    if status == 0 and not targets:
        show.results()
    raise typer.Exit(status)


@app.command(epilog="[b]Examples[/b]\n\nbabelface funnel\n\nbabelface funnel --json")
def funnel(as_json: JSON = False) -> None:
    """Count clips and hours in, kept and rejected by reason, per corpus, language and stage."""
    from core.params import load_params
    from flows.funnel import collect, filters, table
    from flows.show import print_table

    found = collect(load_params())
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print_table(table(found))
        for line in filters():
            print(line)
        print("adds up" if found["adds_up"] else f"does NOT add up: {found['unaccounted']} items are unaccounted for; run: "
              "babelface build")
    raise typer.Exit(0 if found["adds_up"] else 1)


@app.command(epilog="[b]Examples[/b]\n\nbabelface doctor\n\nbabelface doctor --json")
def doctor(as_json: JSON = False) -> None:
    """Look at versions, system libraries, models, GPU, DVC and Prefect. Exit 1 where something will fail."""
    from dataclasses import asdict

    from flows.doctor import examine

    found = examine()
    if as_json:
        print(json.dumps([asdict(f) for f in found], indent=2))
    else:
        for f in found:
            mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[f.level]
            print(f"{mark} {f.topic}: {f.text}")
    raise typer.Exit(1 if any(f.level == "bad" for f in found) else 0)


@app.command(epilog="[b]Examples[/b]\n\nbabelface real ~/clips\n\nbabelface real ~/clips --workspace /tmp/mine --expert "
             "syncnet_v2.model")
def real(clips: Annotated[Path, typer.Argument(help="Folder of videos with an index.csv (file, language, speaker, kind; only "
                                               "`file` must be filled).", exists=True, file_okay=False)],
         workspace: Annotated[Path | None, typer.Option(help="Where to work; a folder that is new, or was made by this command.",
                                                        show_default=".babelface/real/NAME")] = None,
         expert: Annotated[Path, typer.Option(help="Weights of the sync expert.")] = Path("data/train/syncnet/model.pt"),
         jobs: JOBS = None) -> None:
    """Score a folder of your own videos, in a workspace beside this project, and say where its report is."""
    from flows import workspace as ws
    from flows.spec import REPORT

    place = workspace or ws.place_of_folder(clips)
    ws.open_workspace(place, ws.overrides_for_folder(clips, expert))
    status = ws.run_inside(place, "evaluate", *(["--jobs", str(jobs)] if jobs else []))
    if status == 0:
        status = ws.run_inside(place, "funnel")
    print(f"workspace: {place}; its report: {place / REPORT / 'index.html'}" if status == 0 else f"workspace: {place}")
    raise typer.Exit(status)


@app.command(epilog="[b]Examples[/b]\n\nbabelface compare HEAD~1 HEAD\n\nbabelface compare nightly-2026-01-30 .    an experiment "
             "against this "
                    "folder\n\nbabelface compare old.json new.json --html diff    files of `babelface score --out`\n\nExit "
                    "status: 0; with --check 1 where a language got worse or is missing in B; 2 where the two cannot be "
                    "compared.")
def compare(a: Annotated[str, typer.Argument(metavar="A", help="A git revision, a DVC experiment, a workspace folder, or a file "
                                             "of scores.")],
            b: Annotated[str, typer.Argument(metavar="B", help="The same; `.` is this folder as it is.")] = ".",
            metric: Annotated[list[str] | None, typer.Option(help="Only this metric; may be given again.",
                                                             show_default="all")] = None,
            condition: Annotated[list[str] | None, typer.Option(help="self, cross-audio, cross-language; may be given again.",
                                                                show_default="self")] = None,
            system: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW",
                                                             help="A system that is called differently in B.")] = None,
            html: Annotated[Path | None, typer.Option(metavar="DIR",
                                                      help="Write a page with the worst regressions as videos.")] = None,
            worst: Annotated[int, typer.Option(min=0, help="How many clips the page shows.")] = 12,
            everything: Annotated[bool, typer.Option("--all", help="Every figure in the table.")] = False,
            check: Annotated[bool, typer.Option("--check",
                                            help="Exit 1 where a language got worse or is missing in B.")] = False,
            as_json: JSON = False) -> None:
    """Compare two runs, language by language: what changed beyond noise, in which clips, and why."""
    from flows import compare as comparing

    found = comparing.compare(a, b, metrics=metric, conditions=condition or ("self",), pairs=comparing.parse_pairs(system or []),
                              n_worst=worst)
    if not found.document["changes"] and not (found.document["sets"] or {}).get("rows"):
        raise comparing.nothing(found, metric or ())
    failed = comparing.check(found, metric or ()) if check else []
    page = comparing.write_page(found, html) if html else None
    if as_json:
        print(json.dumps(found.document, indent=1, sort_keys=True, ensure_ascii=False))
    else:
        comparing.show(found.document, everything=everything)
        if page:
            print(f"page: {page}")
    for sentence in failed:
        print(f"babelface: {sentence}", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


@app.command(epilog="[b]Examples[/b]\n\nbabelface score made.mp4\n\nbabelface score made.mp4 --reference real.mp4 --language tr "
             "--json\n\n"
                    "babelface score ~/made --protocol syncnet-v2-whole-frame --out scores.json\n\nbabelface score --index "
                    "index.csv\n\n"
                    "Exit status: 0 every video has a figure; 1 some have none, or an --expert or a --protocol was named and no "
                    "video has LSE, and the last column says why; 2 the call was wrong, or the --expert is no expert. JSON goes "
                    "to stdout alone, notes to stderr.")
def score(paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="Videos, and folders of videos.",
                                                             show_default=False)] = None,
          reference: Annotated[Path | None, typer.Option(help="The real video of the same words; its face track cuts "
                                                         "both.")] = None,
          language: Annotated[str | None, typer.Option(metavar="TAG", help="BCP-47 tag of the videos' language.")] = None,
          speaker: Annotated[str | None, typer.Option(metavar="NAME",
                                                      help="Who speaks: clips of one speaker are one cluster.")] = None,
          index: Annotated[Path | None, typer.Option(help="CSV with `generated` and, where known, reference, language, speaker, "
                                                     "system, condition, audio, audio_language, training_languages, sample, "
                                                     "transcript. Adds a report.")] = None,
          protocol: Annotated[str | None, typer.Option(help="One of `babelface protocols`.",
                                                       show_default="syncnet-v2-direct")] = None,
          expert: Annotated[Path | None, typer.Option(metavar="WEIGHTS",
                                                      help="Sync expert; only SyncNet v2's public weights give LSE "
                                                      "without a star.",
                                                      show_default="the public weights, where they are")] = None,
          out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows: .json, .csv or .parquet.")] = None,
          report: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the report of an --index goes.",
                                                      show_default="INDEX-report")] = None,
          as_json: JSON = False) -> None:
    """Score any videos: one row per face, every figure that the inputs allow, the rest null with a reason."""
    from flows import score as scoring

    raise typer.Exit(scoring.score(paths or [], reference=reference, language=language, speaker=speaker, index=index,
                                   protocol=protocol, expert=expert, out=out, report=report, as_json=as_json))


@app.command(epilog="[b]Examples[/b]\n\nbabelface protocols")
def protocols() -> None:
    """List the protocols of LSE: what each does, and what it needs."""
    from flows.score import print_protocols

    print_protocols()


@app.command(epilog="[b]Examples[/b]\n\nbabelface params\n\nbabelface params --schema > docs/params.schema.json")
def params(schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema, for editors.")] = False) -> None:
    """Check params.yaml and print it with every default filled in."""
    from core.params import json_schema, load_params

    if schema:
        print(json.dumps(json_schema(), indent=2, sort_keys=True))
    else:
        import yaml

        print(yaml.safe_dump(load_params().model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")


@app.command(epilog="[b]Examples[/b]\n\nbabelface corpora\n\nbabelface corpora synthetic")
def corpora(name: Annotated[str | None, typer.Argument(help="One adapter.", show_default="all")] = None,
            as_json: JSON = False) -> None:
    """Show the corpora there are adapters for: languages, hours, licence, terms, consent, where to get them."""
    from flows.index import cards

    found = cards(name)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for card in found:
        print(f"{card.pop('name')}: {card.pop('title')}")
        for key, value in card.items():
            if value or value is False:
                words = ", ".join(value) if isinstance(value, list | tuple) else {True: "yes", False: "no"}.get(value, value)
                print(f"  {key}: {words}")


@app.command(epilog="[b]Examples[/b]\n\nbabelface index multitalk annotations/turkish.json\n\nbabelface index hdtf HDTF_dataset "
             "--rejects\n\n"
                    "babelface index csv clips.csv --language pt-BR --json")
def index(adapter: Annotated[str, typer.Argument(help="The adapter that reads it; `babelface corpora` lists them.")],
          path: Annotated[Path, typer.Argument(help="The index, or the folder of the corpus.")],
          language: Annotated[str | None, typer.Option(metavar="TAG", help="Only this language; where the index says none, what "
                                                       "it is in.",
                                                       show_default="all")] = None,
          rejects: Annotated[bool, typer.Option("--rejects", help="Name every rejected entry, on standard error.")] = False,
          as_json: JSON = False) -> None:
    """Read an index of videos and count what it holds. Fetches nothing."""
    from core.records import Rejected
    from flows.index import lines, read, summary

    def told(entries):
        for entry in entries:
            if rejects and isinstance(entry, Rejected):
                print(f"{entry.reason}: {entry.detail}", file=sys.stderr)
            yield entry

    found = summary(told(read(adapter, path, language)))
    print(json.dumps(found, indent=2, ensure_ascii=False) if as_json else "\n".join(lines(found)))


@app.command(epilog="[b]Examples[/b]\n\nbabelface workspace /tmp/try --set train.systems.speech2vid-en.steps=50\n\n"
                    "babelface workspace /tmp/small --set corpora.synthetic.languages.ko=null --share-cache")
def workspace(dest: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
              change: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one param; null takes "
                                                               "it out.")] = None,
              share_cache: Annotated[bool, typer.Option("--share-cache", help="Use this project's DVC cache.")] = False) -> None:
    """Make a copy of the project with params of its own, to try something beside it."""
    from flows.workspace import create_workspace, override

    print(create_workspace(dest, override(change or []), share_cache=share_cache, root=Path.cwd()))


app.add_typer(datasets)
app.add_typer(downloads)
app.add_typer(nights)


def main() -> None:
    """The console script: errors that a user can mend come as one line, with exit status 2."""
    for name, value in (("DVC_NO_ANALYTICS", "1"), ("DO_NOT_TRACK", "1"), ("PYANNOTE_METRICS_ENABLED", "0"),
                        ("PREFECT_SERVER_ANALYTICS_ENABLED", "false")):
        os.environ.setdefault(name, value)
    try:
        app()
    except Exception as error:
        from core.errors import no_room

        error = no_room(error) or error
        if not _for_users(error):
            raise error
        print(f"babelface: {error}", file=sys.stderr)
        sys.exit(2)


def _for_users(error: Exception) -> bool:
    """Whether an error is one that its message says all about."""
    from core.codehash import NoSuchModule
    from core.params import ParamsError
    from core.stage import UserError
    from flows.funnel import NothingYet
    from flows.graph import GraphError
    from flows.plan import UnknownTarget
    from flows.score import ScoreError
    from flows.server import NoServer
    from flows.spec import SpecError
    from flows.workspace import WorkspaceError

    return isinstance(error, ParamsError | NothingYet | GraphError | UnknownTarget | NoServer | NoSuchModule | ScoreError
                      | SpecError | UserError | WorkspaceError | FileNotFoundError)


if __name__ == "__main__":
    main()
