"""What is out of date, why, and what may follow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from flows import plan as plans
from flows.graph import GraphError, Node, load_graph, reproduce
from tests.flows.fake import NAMES, ROOT


def states(found):
    return {i.name: (i.state, i.why) for i in found.items}


def test_the_graph_in_order_with_resources(repo):
    nodes = load_graph(repo.path)
    assert sorted(n.name for n in nodes) == sorted(NAMES)
    at = {n.name: k for k, n in enumerate(nodes)}
    assert all(at[u] < at[n.name] for n in nodes for u in n.upstream)
    last = next(n for n in nodes if n.name == "last")
    assert (last.upstream, last.meta["gpu"], last.outs, last.stage,
            last.instance) == (("second@a", "second@b"), 1, ("data/last",), "last", "all")
    assert all(n.reasons == ("never run",) for n in nodes)


def test_reasons(repo):
    assert all(o.status == "ran" for o in reproduce(NAMES, root=repo.path).values())
    assert not plans.plan(root=repo.path)

    (repo.path / "params.yaml").write_text("setting: 2\n")
    found = plans.plan(root=repo.path)
    assert states(found)["first@a"] == ("run", "params changed: setting")
    assert states(found)["second@a"] == ("may rerun", "after first@a")
    assert states(found)["last"] == ("may rerun", "after second@a, second@b")
    assert found.waves == (("first@a", "first@b", "first@c"), ("second@a", "second@b"), ("last",))
    assert [i.name for i in plans.plan(["second@a"], repo.path).items] == ["first@a", "second@a"]
    (repo.path / "params.yaml").write_text("setting: 1\n")
    assert not plans.plan(root=repo.path)

    (repo.path / "work.py").write_text((repo.path / "work.py").read_text() + "# changed\n")
    found = states(plans.plan(root=repo.path))
    assert found["first@b"] == ("run", "code changed: work.py") and found["last"][0] == "may rerun"
    (repo.path / "work.py").write_text((repo.path / "work.py").read_text().removesuffix("# changed\n"))

    item = repo.path / "data" / "first-a" / "item-0"
    before = item.read_text()
    item.write_text("other bytes")
    found = states(plans.plan(root=repo.path))
    assert found["first@a"] == ("run", "output modified: data/first-a")
    assert found["second@a"] == ("run", "data changed: data/first-a")
    assert set(found) == {"first@a", "second@a", "last"}
    item.write_text(before)

    for path in (repo.path / "data" / "last").iterdir():
        path.unlink()
    (repo.path / "data" / "last").rmdir()
    assert states(plans.plan(root=repo.path)) == {"last": ("run", "output missing: data/last")}

    text = (repo.path / "dvc.yaml").read_text()
    (repo.path / "dvc.yaml").write_text(text.replace("work.py last", "work.py last "))
    assert "changed command" in states(plans.plan(root=repo.path))["last"][1]


def test_a_target_that_does_not_exist(repo):
    with pytest.raises(plans.UnknownTarget, match="did you mean 'second@a'"):
        plans.plan(["secnd@a"], repo.path)


def test_a_broken_graph_is_an_error_for_people(repo):
    (repo.path / "dvc.yaml").write_text("stages: {a: {cmd: x, outz: [y]}}\n")
    with pytest.raises(GraphError, match="outz"):
        load_graph(repo.path)


NODES = [Node("track@c-en", (), {"cpus": 2, "cheap": True}, ("a",), ("never run",)), Node("track@c-tr", (), {}, ("b",)),
         Node("train-x", ("track@c-en",), {"gpu": 1}, ("c",)), Node("report", ("train-x", "track@c-tr"), {}, ("d",))]


def test_targets_by_stage_instance_and_pattern():
    assert plans.plan_of(NODES, ["track"]).n_instances == 2
    assert plans.plan_of(NODES, ["tra*-x"]).n_instances == 2
    assert plans.plan_of(NODES, ["track@c-tr"]).n_instances == 1 and not plans.plan_of(NODES, ["track@c-tr"])
    assert [i.name for i in plans.plan_of(NODES).items] == ["track@c-en", "train-x", "report"]


def test_json_has_all_that_the_table_shows():
    found = json.loads(json.dumps(plans.plan_of(NODES).as_json()))
    assert (found["run"], found["may_rerun"], found["waves"]) == (1, 2, [["track@c-en"], ["train-x"], ["report"]])
    assert found["items"][0] == {"name": "track@c-en", "stage": "track", "instance": "c-en", "state": "run", "why": "never run",
                                 "resources": {"gpu": 0, "cpus": 2}}
    assert found["items"][2]["why"] == "after train-x"


def test_with_nothing_to_do_prefect_is_not_imported(repo):
    reproduce(NAMES, root=repo.path)
    code = ("import sys; from flows.runner import run_graph; status = run_graph('evaluate'); "
            "print(status, [m for m in sys.modules if m.split('.')[0] in ('prefect', 'torch')])")
    run = subprocess.run([sys.executable, "-c", code], cwd=repo.path, capture_output=True, text=True,
                         env={**__import__("os").environ, "PYTHONPATH": str(ROOT)})
    assert run.stdout.splitlines() == ["nothing changed: all 6 instances are up to date", "0 []"], run.stderr
