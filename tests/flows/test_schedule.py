"""Every item runs once, after what it needs, within cores and GPUs; failures skip what hangs on them; unchanged results cut a
build short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.graph import Node, Outcome
from flows.plan import plan_of
from flows.schedule import MOST_PER_CALL, Schedule


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 14))
    nodes = []
    for k in range(n):
        above = draw(st.sets(st.sampled_from([m.name for m in nodes]), max_size=3)) if nodes else set()
        meta = {"cpus": draw(st.integers(0, 3)), "gpu": draw(st.integers(0, 1)), "cheap": draw(st.booleans())}
        reasons = ("never run",) if draw(st.booleans()) or k == 0 else ()
        nodes.append(Node(f"stage{k % 3}@i{k}", tuple(sorted(above)), meta, (f"o{k}",), reasons))
    return nodes


@given(graphs(), st.integers(1, 4), st.integers(0, 2), st.data())
def test_any_graph_is_run_through(nodes, jobs, gpus, data):
    todo = plan_of(nodes)
    items = {i.name: i for i in todo.items}
    schedule, running, started = Schedule(todo, jobs=jobs, gpus=gpus), [], []
    while not schedule.done:
        settled = schedule.settle()
        for outcome in settled:
            assert outcome.name not in started
        while batch := schedule.take():
            assert not set(batch) & set(started) and len(batch) <= MOST_PER_CALL
            for name in batch:
                for above in items[name].upstream:
                    assert schedule.outcomes[above].status in ("ran", "cached")
            assert len(batch) == 1 or all(items[n].cheap and items[n].stage == items[batch[0]].stage for n in batch)
            started += batch
            running.append(batch)
            if len(running) > 1:
                assert sum(max(items[b[0]].cpus, 1) for b in running) <= jobs
                assert not gpus or sum(items[b[0]].gpu for b in running) <= gpus or not items[batch[0]].gpu
        assert running or settled or schedule.done, "nothing runs and nothing is done"
        if running:
            batch = running.pop(data.draw(st.integers(0, len(running) - 1)))
            schedule.finish([Outcome(n, data.draw(st.sampled_from(["ran", "ran", "cached", "failed"])),
                                     changed=data.draw(st.booleans()))
                             for n in batch])
    assert set(schedule.outcomes) == set(items)
    for name, item in items.items():
        above = [schedule.outcomes[u].status for u in item.upstream]
        lost = any(s in ("failed", "skipped") for s in above)
        assert (schedule.outcomes[name].status == "skipped") == lost, name


def nodes(*rows):
    return [Node(name, tuple(up), meta, (name,), why) for name, up, meta, why in rows]


def test_unchanged_results_cut_a_build_short():
    todo = plan_of(nodes(("a", [], {}, ("code changed: x.py",)), ("b", ["a"], {}, ()), ("c", ["b"], {}, ())))
    schedule = Schedule(todo, jobs=2)
    assert schedule.take() == ("a",) and schedule.take() is None
    schedule.finish([Outcome("a", "cached")])
    assert [(o.name, o.status) for o in schedule.settle()] == [("b", "cached"), ("c", "cached")] and schedule.done


def test_what_dvc_restored_may_differ_so_what_follows_is_looked_at():
    schedule = Schedule(plan_of(nodes(("a", [], {}, ("data changed: x",)), ("b", ["a"], {}, ()))), jobs=2)
    schedule.take()
    schedule.finish([Outcome("a", "cached", changed=True)])
    assert not schedule.settle() and schedule.take() == ("b",)


def test_a_failure_skips_what_hangs_on_it_and_nothing_else():
    why = ("never run",)
    schedule = Schedule(plan_of(nodes(("a", [], {}, why), ("b", [], {}, why), ("c", ["a"], {}, why), ("d", ["c"], {}, why))),
                        jobs=2)
    assert schedule.take() == ("a",), "the longest chain first"
    assert schedule.take() == ("b",)
    schedule.finish([Outcome("a", "failed")])
    said = [(o.name, o.status, o.why) for o in schedule.settle()]
    assert said == [("c", "skipped", "after a failed"), ("d", "skipped", "after a failed")]
    schedule.finish([Outcome("b", "ran")])
    assert schedule.done


def test_cheap_instances_share_a_call_and_leave_no_core_idle():
    cheap = plan_of(nodes(*((f"t@{k}", [], {"cheap": True}, ("never run",)) for k in range(10))))
    schedule = Schedule(cheap, jobs=2)
    assert [len(schedule.take()), len(schedule.take()), schedule.take()] == [4, 3, None]
    assert len(Schedule(cheap, jobs=16).take()) == 1


def test_one_gpu_runs_one_at_a_time_and_without_gpus_the_wish_counts_for_nothing():
    todo = plan_of(nodes(("a", [], {"gpu": 1}, ("never run",)), ("b", [], {"gpu": 1}, ("never run",)),
                         ("c", [], {}, ("never run",))))
    schedule = Schedule(todo, jobs=4, gpus=1)
    assert (schedule.take(), schedule.take(), schedule.take()) == (("a",), ("c",), None)
    schedule = Schedule(todo, jobs=4, gpus=0)
    assert (schedule.take(), schedule.take(), schedule.take()) == (("a",), ("b",), ("c",))


def test_something_bigger_than_the_machine_still_runs_alone():
    schedule = Schedule(plan_of(nodes(("a", [], {"cpus": 64}, ("never run",)), ("b", [], {}, ("never run",)))), jobs=2)
    first = schedule.take()
    assert first == ("a",) and schedule.take() is None


def test_what_everything_waits_for_begins_first():
    """Both may begin: a training that all scores wait for, and a generator that only one waits for."""
    why = ("never run",)
    todo = plan_of(nodes(("generate-a", (), {}, why), ("train-expert", (), {}, why),
                         ("score-a", ("generate-a", "train-expert"), {}, why), ("report", ("score-a",), {}, why)))
    assert Schedule(todo, jobs=1).take() == ("train-expert",)
