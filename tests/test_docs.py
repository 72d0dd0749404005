"""What the pages say exists: commands, files and links. Nothing here runs a command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEXTS = [*PAGES, *NOTEBOOKS]
ROOMS = ("bench", "core", "corpora", "docs", "flows", "metrics", "models", "notebooks", "report", "stages", "tests")


def text_of(path: Path) -> str:
    """A page, or a notebook's markdown."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
    return text


def code_in(path: Path) -> list[str]:
    """What stands in code: the lines of fenced and indented blocks, and the spans between backticks, joined over a line's end."""
    text = text_of(path)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    lines = [line.partition("#")[0] for block in fenced for line in block.splitlines()]
    return [line for line in lines if line.strip()] + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))


def cli_options() -> dict[str, set[str]]:
    """Every command of `babelface` with its options."""
    from typer.main import get_command

    from flows.cli import app

    return {name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
            for name, command in get_command(app).commands.items()}


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", TEXTS, ids=ids)
def test_commands_exist(page: Path) -> None:
    targets, commands = make_targets(), cli_options()
    for code in code_in(page):
        words = code.split()
        if words[0] == "make" and len(words) > 1:
            assert words[1] in targets, f"{code!r}: the Makefile has no target {words[1]!r}"
        elif words[0] == "babelface" and len(words) > 1 and words[1] != "--help":
            assert words[1] in commands, f"{code!r}: babelface has no command {words[1]!r}"
            for word in words[2:]:
                if word.startswith("-"):
                    assert word in commands[words[1]], f"{code!r}: babelface {words[1]} has no option {word}"
        for name in re.findall(r"python -m ([\w.]+)", code):
            if name.partition(".")[0] in ROOMS:
                at = ROOT / name.replace(".", "/")
                assert at.with_suffix(".py").is_file() or (at / "__main__.py").is_file(), f"{code!r}: no module {name}"


@pytest.mark.parametrize("page", TEXTS, ids=ids)
def test_options_of_benchmarks_exist(page: Path) -> None:
    for code in code_in(page):
        for name, rest in re.findall(r"python -m bench\.(\w+)(.*)", code):
            source = (ROOT / "bench" / f"{name}.py").read_text(encoding="utf-8")
            for option in re.findall(r"--[\w-]+", rest):
                assert f'"{option}"' in source, f"{code!r}: bench/{name}.py has no option {option}"


@pytest.mark.parametrize("page", TEXTS, ids=ids)
def test_files_exist(page: Path) -> None:
    """Paths of the repository between backticks. Patterns and names in capitals stand for many files and are left out."""
    for code in code_in(page):
        for name in re.findall(rf"(?<![\w./-])(?:{'|'.join(ROOMS)})/[\w./*<>-]*", code):
            if not re.search(r"[*<>]|\b[A-Z]{3,}\b", name):
                assert (ROOT / name).exists(), f"{name} does not exist"


@pytest.mark.parametrize("page", TEXTS, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            found = page.parent / name if name else page
            assert found.exists(), f"link to {target}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), flags=re.M)
                assert anchor in {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in heads}, f"link to {target}"


@pytest.mark.parametrize("page", TEXTS, ids=ids)
def test_no_path_of_one_machine(page: Path) -> None:
    found = re.findall(r"(?<![\w.~-])/(?:work|opt|root|home|mnt|Users|srv)/\S*", page.read_text(encoding="utf-8"))
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_params_exist(page: Path) -> None:
    """Dotted names of params.yaml between backticks, such as `split.test_share`."""
    import yaml

    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for code in code_in(page):
        if re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)+:?", code.partition(" ")[0]) and code.partition(".")[0] in params:
            at = params
            for key in code.partition(" ")[0].rstrip(":").split("."):
                assert isinstance(at, dict) and key in at, f"`{code}`: params.yaml has no {key!r} there"
                at = at[key]


def test_every_benchmark_is_listed() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "bench").glob("*.py")):
        if not path.name.startswith("_") and '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
            assert f"`python -m bench.{path.stem}" in page, f"docs/benchmarks.md does not name bench/{path.name}"


def test_every_strength_and_every_stage_is_explained() -> None:
    from core.params import Hard
    from flows.spec import STAGES

    corpora, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/corpora.md", "README.md"))
    assert not [name for name in Hard.model_fields if f"`{name}`" not in corpora]
    assert not [name for name in STAGES if name not in readme]


def test_every_metric_is_explained() -> None:
    from metrics.registry import METRICS

    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    # one row each: the name, and the direction that the registry gives it
    words = {True: "higher", False: "lower", None: "neither"}
    rows = {m.name: re.search(rf"^\| `{m.name}` \|.*$", page, flags=re.M) for m in METRICS.values()}
    assert not [name for name, row in rows.items() if row is None]
    assert not [name for name, row in rows.items() if f"| {words[METRICS[name].higher_is_better]} |" not in row.group()]
    assert not [name for name, row in rows.items() if f"| {METRICS[name].region} |" not in row.group()]


def test_the_picture_of_the_report_is_small() -> None:
    picture = ROOT / "docs" / "img" / "report.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 300_000
