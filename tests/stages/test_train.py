import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from core.params import ParamsError, check_params, load_params
from core.shards import pack, shard_path, write_table
from core.stage import UserError
from stages import train
from stages.train import Job, _bytes_of, fit, learning_rate, make_fabric
from tests.stages.toy_training import STEPS, Toy, draw, job
from tests.toy_mouth import ToyReader

ROOT = Path(__file__).resolve().parents[2]
ENV = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def quiet(_):
    pass


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def run(one, checkpoint):
    return fit(one, make_fabric("32-true", 1), Path(checkpoint), say=quiet)


def test_learning_rate_is_flat_then_falls_to_nothing():
    one = Job("x", None, draw, 100, 2.0, 1, 0, "d")
    assert [learning_rate(one, s) for s in (0, 49, 50, 75, 99)] == [2.0, 2.0, 2.0, 1.0, pytest.approx(0.04)]


def test_the_same_bytes_twice(tmp_path):
    models = [job() for _ in range(2)]
    rows = [run(m, tmp_path / f"{i}.pt") for i, m in enumerate(models)]
    assert rows[0] == rows[1] and rows[0][-1]["loss"] < 0.9 * rows[0][0]["loss"]
    assert _bytes_of(models[0].model.state_dict()) == _bytes_of(models[1].model.state_dict())


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_bytes(tmp_path):
    checkpoint = tmp_path / "c.pt"
    command = [sys.executable, "-m", "tests.stages.toy_training", checkpoint, "13"]
    dead = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True)
    assert dead.returncode == -9, dead.stderr.decode()
    assert torch.load(checkpoint, weights_only=True)["step"] == 10
    steps, said = [], []

    def noted(step, *rest):
        steps.append(step)
        return draw(step, *rest)

    resumed, whole = job(noted), job()
    rows = fit(resumed, make_fabric("32-true", 1), checkpoint, say=said.append)
    assert steps == list(range(10, STEPS)) and "going on at step 10" in said[0]
    assert run(whole, tmp_path / "other.pt") == rows
    assert _bytes_of(resumed.model.state_dict()) == _bytes_of(whole.model.state_dict())


def test_a_checkpoint_of_another_job_is_not_used(tmp_path):
    run(job(digest="old"), tmp_path / "c.pt")
    assert (tmp_path / "c.pt").exists()
    new, said, whole = job(), [], job()
    rows = fit(new, make_fabric("32-true", 1), tmp_path / "c.pt", say=said.append)
    assert "not used" in said[0]
    assert rows == run(whole, tmp_path / "other.pt")


def test_accumulating_parts_is_one_step_with_a_larger_batch(tmp_path):
    def joined(step, part, rank, world):
        parts = [draw(step, p, 0, 1) for p in range(2)]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    parts, whole = job(noise=False, accumulate=2), job(joined, noise=False)
    run(parts, tmp_path / "a.pt")
    run(whole, tmp_path / "b.pt")
    for a, b in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_two_processes_share_each_batch_and_agree_with_one(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*command, "-m", "tests.stages.toy_training", "torchrun", str(tmp_path)], cwd=ROOT, env=ENV,
                          capture_output=True, timeout=180)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    ranks = [torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in range(2)]
    for step in range(STEPS):
        whole = draw(step, 0, 0, 1)["x"]
        for rank in range(2):
            np.testing.assert_array_equal(ranks[rank]["seen"][step].numpy(), whole[rank::2])
    alone = job(noise=False)
    rows = run(alone, tmp_path / "alone.pt")
    assert ranks[0]["loss"] == pytest.approx([r["loss"] for r in rows], rel=1e-4)
    for name, value in alone.model.state_dict().items():
        assert torch.equal(ranks[0]["state"][name], ranks[1]["state"][name])
        torch.testing.assert_close(ranks[0]["state"][name], value, rtol=1e-4, atol=1e-5)
    assert torch.load(tmp_path / "c.pt", weights_only=True)["step"] == 20


def test_a_critic_is_trained_beside_and_only_by_its_own_loss(tmp_path):
    class Pair(Toy):
        def __init__(self):
            super().__init__(noise=False)
            self.critic = torch.nn.Linear(1, 1)

        def critic_parameters(self):
            return list(self.critic.parameters())

        def losses(self, batch):
            return {"loss": (self.critic(self.body(batch["x"])) - 5).square().mean()}

        def critic_losses(self, batch):
            return {"loss": (self.critic(batch["y"]) - 3 * batch["y"]).square().mean()}

    torch.manual_seed(0)
    one = Job("toy", Pair(), draw, 400, 5e-2, 1000, 3, "d", critic=True)
    before = one.model.critic.weight.item()
    rows = run(one, tmp_path / "c.pt")
    assert abs(one.model.critic.weight.item() - 3) < 0.3 < abs(before - 3)  # the generator's loss would have pulled it elsewhere
    assert rows[-1]["critic_loss"] < 0.1 < rows[0]["critic_loss"] and rows[-1]["loss"] < rows[0]["loss"]


def test_a_sync_loss_that_does_not_move_is_reported(tmp_path):
    class Dead(Toy):
        def losses(self, batch):
            return {"loss": self.body(batch["x"]).sum() * 0 + 0.6931, "chance": torch.tensor(0.6931)}
    said, one = [], job()
    one.model, one.steps = Dead(), 220
    fit(one, make_fabric("32-true", 1), tmp_path / "c.pt", say=said.append)
    assert len(one.alarms) == 1 and "0.693" in one.alarms[0]
    assert sum("WARNING" in line for line in said) == 1


def test_a_loss_that_is_not_a_number_ends_the_run(tmp_path):
    def broken(step, *rest):
        batch = draw(step, *rest)
        return batch | {"x": batch["x"] * (np.nan if step == 3 else 1)}
    with pytest.raises(UserError, match="step 3"):
        run(job(broken), tmp_path / "c.pt")


def small_params(**system):
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["corpora"] = {"toy": {"adapter": "synthetic", "languages": {"en": {}, "sw": {}, "x-bad": {"twin_of": "en"}}}}
    expert = {"view": "mouth", "steps": 6, "batch_clips": 4, "windows_per_clip": 6, "checkpoint_every": 3}
    raw["train"]["experts"] = {"syncnet": expert}
    entry = {"system": "speech2vid", "view": "speech2vid", "languages": "all", "steps": 3, "batch": 2, "stills": 2}
    raw["train"]["systems"] = {"s2v": entry | system}
    return check_params(raw)


@pytest.fixture(scope="module")
def toy_data(tmp_path_factory):
    """data/ of a toy corpus in two languages, as crop, features and split leave it."""
    from core.media import encode_jpeg

    root = tmp_path_factory.mktemp("toy")
    views = {"mouth": ToyReader(16, 90, size=(48, 64)), "speech2vid": ToyReader(16, 90, size=(112, 112))}
    splits = ["expert_train"] * 6 + ["expert_validation"] * 2 + ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    dealt, by = [], {}
    for k, (track, split) in enumerate(zip(views["mouth"].tracks, splits, strict=True)):
        who = {"track_id": track.id, "clip_id": track.id, "recording_id": track.id, "corpus": "toy", "language": track.language,
               "speaker": track.speaker, "cluster": f"speaker:{track.speaker}", "n_frames": 90}
        dealt.append(who | {"kind": "generated" if k == 8 else "real", "split": split, "fold": "real"})
        cell = by.setdefault(track.language, {"views": [], "features": []})
        for name, reader in views.items():
            frames = [encode_jpeg(f) for f in reader.frames(track.id, np.arange(90))]
            cell["views"].append(who | {"view": name, "height": reader.size[0], "width": reader.size[1], "frames": frames,
                                        "transforms": pack(np.zeros((90, 2, 3), np.float32))})
        feature = {n: pack(views["mouth"].feature(track.id, n)) for n in ("mfcc_syncnet", "mfcc_speech2vid")}
        cell["features"].append(who | feature | {"n_samples": 90 * 640, "mel": None})
    for language in by:
        write_table(shard_path(root / "data/split/all", "splits", f"toy-{language}"),
                    [d for d in dealt if d["language"] == language], "splits")
    for language, cell in by.items():
        write_table(shard_path(root / f"data/crop/toy-{language}", "views", 0), [dict(r) for r in cell["views"]], "views")
        write_table(shard_path(root / f"data/features/toy-{language}", "features", 0), cell["features"], "features")
    for name in ("core", "models", "stages", "corpora", "metrics"):
        (root / name).symlink_to(ROOT / name)
    return root


def test_an_expert_from_stored_views_to_a_model_with_its_card(toy_data, monkeypatch):
    monkeypatch.chdir(toy_data)
    train.main("syncnet", small_params())
    out = Path("data/train/syncnet")
    card = json.loads((out / "card.json").read_text())
    data = (out / "model.pt").read_bytes()
    assert card["sha256"] == hashlib.sha256(data).hexdigest()
    assert card["languages"] == ["en", "sw"] and card["n_tracks"] == 6 and card["speakers"] == ["s0", "s1", "s2"]
    from corpora.synthetic.adapter import CARD
    assert card["learnt_from"] == ["toy-en", "toy-sw"] and CARD.licence in card["licence"]
    assert card["commercial"] is CARD.commercial
    assert card["corpora"] == {"toy": {"licence": CARD.licence, "commercial": CARD.commercial}}
    assert card["held_out"]["en"]["n"] > 0 and 0 <= card["held_out"]["all"]["within_1"] <= 1
    from models.experts.syncnet import open_sync
    open_sync("small", torch.load(out / "model.pt", weights_only=True), tuple(card["options"]["input_size"]))
    rows = list(csv.DictReader((out / "losses.csv").open()))
    assert [int(r["step"]) for r in rows] == [1, 2, 3, 4, 5, 6] and float(rows[0]["loss"]) > 0
    stats = json.loads((out / "stats.json").read_text())
    assert stats["items_in"] == stats["kept"] + stats["rejected"]
    assert not list(Path(".babelface/work/train/syncnet").glob("*.pt"))
    train.main("syncnet", small_params())
    assert (out / "model.pt").read_bytes() == data


def test_a_system_learns_from_its_own_split_and_never_from_generated_video(toy_data, monkeypatch):
    monkeypatch.chdir(toy_data)
    seen = set()
    original = train.Frames.frames
    monkeypatch.setattr(train.Frames, "frames", lambda self, track, i: seen.add(track) or original(self, track, i))
    train.main("s2v", small_params())
    card = json.loads(Path("data/train/s2v/card.json").read_text())
    assert card["class"] == "models.systems.speech2vid:System" and card["options"]["stills"] == 2
    assert seen == {"t9", "t10", "t11", "t12", "t13"}  # t8 is generated; t0..t7 are the expert's, t14 and t15 are the test
    stats = json.loads(Path("data/train/s2v/stats.json").read_text())
    assert stats["by_language"]["en"]["rejected"] == {"generated": 1}
    assert card["held_out"]["sw"]["l1"] > 0 and card["n_tracks"] == 3


def test_half_precision_is_used_and_what_is_kept_is_whole(toy_data, monkeypatch):
    """The layers run in bfloat16; what is written is float32, and finite."""
    monkeypatch.chdir(toy_data)
    params = small_params(width="small", steps=1)
    params = params.model_copy(update={"train": params.train.model_copy(update={"precision": "bf16-mixed"})})
    dtypes = set()
    from models.systems.speech2vid import AudioEncoder
    original = AudioEncoder.forward

    def watched(self, x):
        made = original(self, x)
        dtypes.add(made.dtype)
        return made

    monkeypatch.setattr(AudioEncoder, "forward", watched)
    train.main("s2v", params)
    card = json.loads(Path("data/train/s2v/card.json").read_text())
    assert card["params"]["precision"] == "bf16-mixed"
    assert torch.bfloat16 in dtypes, "the layers must really have run in bfloat16"
    state = torch.load("data/train/s2v/model.pt", weights_only=True)
    assert all(v.dtype == torch.float32 and bool(torch.isfinite(v).all()) for k, v in state.items() if v.is_floating_point())
    rows = list(csv.DictReader(open("data/train/s2v/losses.csv")))
    assert len(rows) == 1 and all(float(r["loss"]) > 0 for r in rows)


def test_frames_are_decoded_once_and_only_those_asked_for(toy_data, monkeypatch):
    monkeypatch.chdir(toy_data)
    params = small_params()
    entry = params.train.experts["syncnet"]
    tracks, _, of, _ = train.find_footage(params, entry, ("expert_train", "expert_validation"), "mouth", 20)
    reader = train.Frames(tracks, of, "mouth", "mfcc_syncnet")
    decoded = []
    original = train.ViewStore.frames
    monkeypatch.setattr(train.ViewStore, "frames", lambda self, t, v, a, b: decoded.append(a) or original(self, t, v, a, b))
    first = reader.frames("t0", np.array([5, 9, 5]))
    again = reader.frames("t0", np.array([9, 5]))
    assert sorted(decoded) == [5, 5, 9] or sorted(decoded) == [5, 9]
    np.testing.assert_array_equal(first[:2], again[::-1])
    truth = ToyReader(16, 90).frames("t0", np.array([5]))[0]
    assert np.abs(first[0].astype(int) - truth).mean() < 3
    with pytest.raises(IndexError, match="t0"):
        reader.frames("t0", np.array([90]))


@pytest.mark.parametrize(("name", "system", "message"), [
    ("s2v", {"system": "speech2vd"}, "did you mean 'speech2vid'"),
    ("s2v", {"view": "mouth"}, "kind 'registration'"),
    ("s2v", {"view": None}, r"train\.systems\.s2v\.view: .* name one of crop\.store"),
    ("s2v", {"options": {"gain": 2}}, r"train\.systems\.s2v: speech2vid has no option 'gain' of its own"),
])
def test_mistakes_in_params_are_named(toy_data, monkeypatch, name, system, message):
    monkeypatch.chdir(toy_data)
    with pytest.raises((ParamsError, UserError), match=message):
        train.main(name, small_params(**system))


def test_a_systems_own_option_is_part_of_the_training_and_of_what_generate_builds(toy_data, monkeypatch):
    from models.systems import speech2vid
    from stages.generate import Mapper

    class Wide(speech2vid.System):
        def __init__(self, width="full", stills=5, mouth_weight=0.0, extra=1):
            if extra < 0:
                raise ValueError("extra must not be negative")
            super().__init__(width, stills, mouth_weight)
            self.register_buffer("extra", torch.zeros(extra))

    monkeypatch.chdir(toy_data)
    monkeypatch.setattr(speech2vid, "System", Wide)
    seals = []
    for options in ({}, {"extra": 3}):
        params = small_params(steps=1, options=options)
        train.main("s2v", params)
        seals.append(json.loads(Path("data/train/s2v/fingerprint.json").read_text())["seal"])
    assert seals[0] != seals[1]
    config = {"name": "s2v", "model": "data/train/s2v", "torch_threads": 1, "view": params.crop.views["speech2vid"].model_dump()}
    assert Mapper(config)._system.extra.shape == (3,)  # the weights are loaded into it, so all shapes agree
    with pytest.raises(UserError, match="extra must not be negative"):
        train.main("s2v", small_params(options={"extra": -1}))


def test_motion_is_refused_before_anything_is_read(monkeypatch):
    from models.systems import speech2vid
    from models.systems.base import Spec, System

    class Points(System):
        def __init__(self):
            super().__init__()
            self.spec = Spec(view=None, image="none", n_stills=0, feature="samples", whole=True, output="motion")

    monkeypatch.setattr(speech2vid, "System", Points)
    with pytest.raises(UserError, match="train.systems.s2v: motion and uncut sound are not read for training yet"):
        train.main("s2v", small_params(view=None))


def test_the_entries_of_params_yaml_can_be_built():
    params = load_params(ROOT / "params.yaml")
    from models.systems.base import disagreements, make_system, options_of
    for entry in params.train.systems.values():
        assert disagreements(make_system(entry.system, **options_of(entry)).spec, entry, params) == []
