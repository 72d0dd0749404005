"""Train one sync expert or one talking-face system: python -m stages.train NAME, a key of train.experts or train.systems.

Several processes: torchrun --nproc-per-node 2 -m stages.train NAME. A killed run goes on at its last checkpoint and ends with
the same bytes as one that was not killed: batches, noise and learning rate are functions of the step number alone.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.memory import keep_freed_memory
from core.params import Expert, Params
from core.shards import ViewStore, read_rows, read_shard, shard_path, unpack, write_bytes, write_json
from core.stage import UserError, out_folder, run_cli, seal
from models.windows import FEATURE_COLUMNS, Footage
from stages.learnt import learnt_from

WORK = Path(".babelface/work/train")
CACHE = Path(".babelface/cache")
LOG_ROWS = 100  # rows of losses.csv, about
SAY_EVERY_S = 10.0


# ---- the loop -----------------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Job:
    """All that the loop needs: what is trained, what a step sees, for how long."""

    name: str
    model: Any  # an nn.Module with losses(batch), and critic_losses, critic_parameters where `critic`
    draw: Callable[[int, int, int, int], dict[str, Any]]  # (step, part, rank, world) -> arrays of this rank's share
    steps: int
    learning_rate: float
    checkpoint_every: int
    seed: int
    digest: str  # of all that the result depends on: a checkpoint with another digest is not used
    accumulate: int = 1
    critic: bool = False
    alarms: list[str] = field(default_factory=list)


def learning_rate(job: Job, step: int) -> float:
    """Flat for the first half, then a straight line down to zero after the last step."""
    return job.learning_rate * min(1.0, 2 * (1 - step / job.steps))


def make_fabric(precision: str, threads: int) -> Any:
    """Lightning Fabric on the GPU where there is one, else the CPU; as many processes as torchrun started."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what torch asks for before CUDA sums are repeatable
    import torch
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy

    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    world, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    # A critic's parameters get no gradient in the generator's step, hence find_unused_parameters.
    strategy = DDPStrategy(find_unused_parameters=True) if world > 1 else "auto"
    fabric = Fabric(accelerator="auto", devices=local, num_nodes=max(1, world // local), precision=precision, strategy=strategy)
    fabric.launch()
    return fabric


def fit(job: Job, fabric: Any, checkpoint: Path, say: Callable[[str], None] = print) -> list[dict[str, float]]:
    """The rows of losses.csv; job.model is trained in place. Goes on from `checkpoint` when it belongs to this job."""
    import torch

    from models.losses import StuckAlarm

    torch.manual_seed(job.seed)
    critic = job.model.critic_parameters() if job.critic else []
    of_critic = {id(p) for p in critic}
    groups = [[p for p in job.model.parameters() if id(p) not in of_critic], *([critic] if critic else [])]
    optimisers = [torch.optim.AdamW(g, lr=job.learning_rate, foreach=False) for g in groups]
    alarm, rows, sums, start = StuckAlarm(), [], {}, 0
    saved = _read_checkpoint(checkpoint, job, say if fabric.is_global_zero else None)
    if saved:
        job.model.load_state_dict(saved["model"])
        for optimiser, state in zip(optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        start, rows, sums, job.alarms = saved["step"], saved["rows"], saved["sums"], saved["alarms"]
        alarm.__dict__.update(saved["alarm"])
    model, *optimisers = fabric.setup(job.model, *optimisers)
    model.mark_forward_method("losses")
    if critic:
        model.mark_forward_method("critic_losses")
    model.train()
    log_every, began, said = max(1, math.ceil(job.steps / LOG_ROWS)), time.monotonic(), time.monotonic()
    for step in range(start, job.steps):
        # For dropout and noise: a seed of the step's own, so that no generator's state needs saving.
        torch.manual_seed(int(np.random.SeedSequence([job.seed, step, fabric.global_rank]).generate_state(1)[0]))
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(job, step)
        parts = (job.draw(step, part, fabric.global_rank, fabric.world_size) for part in range(job.accumulate))
        batches = [_on_device(part, fabric) for part in parts]
        seen = _step(fabric, model, optimisers[0], model.losses, batches)
        if critic:
            optimisers[0].zero_grad()  # the generator's step left gradients in the critic as well
            optimisers[1].zero_grad()
            seen |= {f"critic_{k}": v for k, v in _step(fabric, model, optimisers[1], model.critic_losses, batches).items()}
            optimisers[0].zero_grad()
        for name, value in seen.items():
            sums[name] = sums.get(name, 0.0) + value
        if "chance" in seen and (text := alarm.see(step, seen["loss"], seen["chance"])):
            job.alarms.append(text)
            if fabric.is_global_zero:
                say(f"train {job.name}: WARNING {text}")
        if not math.isfinite(seen["loss"]):
            raise UserError(f"the loss became {seen['loss']} at step {step}; lower train.*.{job.name}.learning_rate")
        done = step + 1
        if done % log_every == 0 or done == job.steps:
            count = done - (rows[-1]["step"] if rows else 0)
            values = fabric.all_reduce({k: torch.tensor(v / count, dtype=torch.float64) for k, v in sums.items()})
            rows.append({"step": done, "lr": learning_rate(job, step)} | {k: float(v) for k, v in values.items()})
            sums = {}
        if done % job.checkpoint_every == 0 and done < job.steps and fabric.is_global_zero:
            write_bytes(checkpoint, _bytes_of({"digest": job.digest, "step": done, "model": job.model.state_dict(), "rows": rows,
                        "optimisers": [o.state_dict() for o in optimisers], "sums": sums, "alarms": job.alarms,
                        "alarm": dict(alarm.__dict__)}))
        if fabric.is_global_zero and (time.monotonic() - said > SAY_EVERY_S or done == job.steps):
            said = time.monotonic()
            rate = (done - start) / (said - began)
            say(f"train {job.name}: step {done:,}/{job.steps:,}, loss {seen['loss']:.4f}, {rate:.1f} steps/s, "
                f"{(job.steps - done) / rate:.0f} s left")
    return rows


def _step(fabric: Any, model: Any, optimiser: Any, losses: Callable, batches: list[dict[str, Any]]) -> dict[str, float]:
    """One optimiser step over the parts of a batch; the mean of each loss."""
    optimiser.zero_grad()
    seen: dict[str, float] = {}
    for part, batch in enumerate(batches):
        with fabric.no_backward_sync(model, enabled=part < len(batches) - 1):
            # A single process calls the model's own method, which Fabric does not put into its precision by itself.
            with fabric.autocast():
                found = losses(batch)
            fabric.backward(found["loss"] / len(batches))
        for name, value in found.items():
            seen[name] = seen.get(name, 0.0) + float(value.detach()) / len(batches)
    optimiser.step()
    return seen


def _on_device(batch: Mapping[str, Any], fabric: Any) -> dict[str, Any]:
    import torch

    return {k: fabric.to_device(torch.from_numpy(v)) if isinstance(v, np.ndarray) else v for k, v in batch.items()}


def _bytes_of(value: Any) -> bytes:
    """What torch.save writes, in memory: saved straight to a file, the file's name would be part of the bytes."""
    import torch

    sink = io.BytesIO()
    torch.save(value, sink)
    return sink.getvalue()


def _read_checkpoint(path: Path, job: Job, say: Callable[[str], None] | None) -> dict[str, Any] | None:
    import torch

    if not path.is_file():
        return None
    saved = torch.load(path, map_location="cpu", weights_only=True)
    fits = saved.get("digest") == job.digest and saved["step"] <= job.steps
    if say:
        news = f"going on at step {saved['step']:,}" if fits else f"{path} is of other params, data or code: not used"
        say(f"train {job.name}: {news}")
    return saved if fits else None


# ---- the data -----------------------------------------------------------------------------------------------------------------
class Frames:
    """models.windows.Reader over the stored views and features: decodes a frame when it is first asked for, and keeps it raw.

    The raw frames lie in a file without a name in .babelface/cache, which the system pages and which goes with the process.
    """

    def __init__(self, tracks: list[Footage], corpora: Mapping[str, str], view: str, feature: str | None):
        self._stores: dict[str, ViewStore] = {name: ViewStore(out_folder("crop", name)) for name in sorted(set(corpora.values()))}
        self._of, self._view = corpora, view
        self._features: dict[str, np.ndarray] = {}
        for name in self._stores if feature else ():
            for row in read_rows(out_folder("features", name), "features", ["track_id", feature]):
                if row["track_id"] in corpora:
                    self._features[row["track_id"]] = unpack(row[feature], np.float32, (-1, FEATURE_COLUMNS[feature]))
        self._first: dict[str, int] = {}
        self._n_frames, total = {t.id: t.n_frames for t in tracks}, 0
        for track in tracks:
            self._first[track.id] = total
            total += track.n_frames
        cell = self._stores[corpora[tracks[0].id]].row(tracks[0].id, view)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=CACHE) as file:
            self._raw = np.memmap(file, np.uint8, "w+", shape=(total, cell["height"], cell["width"], 3))
        self._have = np.zeros(total, bool)

    def frames(self, track_id: str, indices: np.ndarray) -> np.ndarray:
        """uint8 (n, H, W, 3) of these frames of a track."""
        if len(indices) and not 0 <= indices.min() <= indices.max() < self._n_frames[track_id]:
            raise IndexError(f"{track_id}: frames {indices.min()}..{indices.max()} of {self._n_frames[track_id]}")
        places = self._first[track_id] + indices
        for i in np.flatnonzero(~self._have[places]):
            frame = int(indices[i])
            self._raw[places[i]] = self._stores[self._of[track_id]].frames(track_id, self._view, frame, frame + 1)[0]
            self._have[places[i]] = True
        return np.asarray(self._raw[places])

    def feature(self, track_id: str, name: str) -> np.ndarray:
        """float32 (rows, coefficients) of a track's sound."""
        return self._features[track_id]


def find_footage(params: Params, entry: Any, splits: tuple[str, str], view: str, min_frames: int):
    """(tracks to train on, tracks to validate on, track id -> instance, rejects) for one entry of params.yaml."""
    instances = {(i.corpus, i.language): i.name for i in params.training_instances(entry)}
    stored = {n: set(ViewStore(out_folder("crop", n)).ids(view)) for n in instances.values()}
    heard = {name: {r["track_id"] for r in read_rows(out_folder("features", name), "features", ["track_id"])} for name in stored}
    found: dict[str, list[Footage]] = {s: [] for s in splits}
    of, rejects = {}, []
    dealt = [row for n in instances.values()
             for row in read_shard(shard_path(out_folder("split", "all"), "splits", n)).to_pylist()]
    for row in sorted(dealt, key=lambda r: r["track_id"]):
        name = instances[row["corpus"], row["language"]]
        if row["split"] not in splits:
            continue
        reason = ("generated" if row["kind"] != "real" else "too_short" if row["n_frames"] < min_frames else
                  "missing_file" if row["track_id"] not in stored[name] or row["track_id"] not in heard[name] else None)
        if reason:
            rejects.append((row["language"], reason))
            continue
        of[row["track_id"]] = name
        found[row["split"]].append(Footage(row["track_id"], row["language"], row["speaker"] or row["cluster"], row["n_frames"]))
    if not found[splits[0]]:
        raise UserError(f"no track of the split {splits[0]!r} in {', '.join(sorted(instances.values()))} can be trained on; "
                        "add speakers (corpora.*.speakers) or change split.*_share")
    return found[splits[0]], found[splits[1]], of, rejects


# ---- the two kinds of job -----------------------------------------------------------------------------------------------------
def _expert_job(name: str, entry: Expert, params: Params):
    from models.experts.syncnet import SyncNet, SyncNetSmall
    from models.training_sync import SyncTraining, exam_result, examine, is_hard
    from models.windows import min_sync_frames, step_rng, sync_batch, sync_draws

    import torch

    tracks, held_out, of, rejects = find_footage(params, entry, ("expert_train", "expert_validation"), entry.view,
                                                 min_sync_frames(entry.windows_per_clip))
    reader = Frames(tracks + held_out, of, entry.view, "mfcc_syncnet")
    torch.manual_seed(params.train.seed)
    size = params.crop.views[entry.view].size
    size = (size, size) if isinstance(size, int) else tuple(size)
    network = SyncNetSmall(size) if entry.network == "small" else SyncNet()
    model = SyncTraining(network)

    def draw(step: int, part: int, rank: int, world: int) -> dict[str, Any]:
        draws = sync_draws(tracks, entry.batch_clips, entry.windows_per_clip, step_rng(params.train.seed, step, part))
        return sync_batch(draws[rank::world], reader) | {"hard": is_hard(step, entry.steps)}

    def exam() -> dict[str, Any]:
        network.cpu().eval()
        answers: dict[str, list] = {}
        for track in held_out:
            video = network.embed_video(reader.frames(track.id, np.arange(track.n_frames)))
            n = len(video) - 1  # the sound ends one row early: 4 F - 1
            answers.setdefault(track.language, []).extend(
                examine(video[:n], network.embed_audio(reader.feature(track.id, "mfcc_syncnet"), n)) if n > 0 else [])
        return {tag: exam_result(answers.get(tag, [])) for tag in params.training_languages(entry)} | {
            "all": exam_result([a for some in answers.values() for a in some])}

    facts = {"kind": "expert", "class": f"models.experts.syncnet:{type(network).__name__}", "width": entry.network,
             "feature": "mfcc_syncnet", "options": {"input_size": list(size)} if entry.network == "small" else {},
             "held_out_measure": "offset of 3 s within 1 frame", **learnt_from(params, {of[t.id] for t in tracks})}
    return model, network, draw, exam, facts, tracks, rejects


def _system_job(name: str, entry: Any, params: Params):
    import torch

    from models.systems.base import disagreements, make_system, options_of
    from models.windows import min_system_frames, step_rng, system_batch, system_draws

    torch.manual_seed(params.train.seed)
    try:
        options = options_of(entry)
    except KeyError as error:
        raise UserError(f"train.systems.{name}: {error.args[0]}") from None
    try:
        model = make_system(entry.system, **options)
    except ValueError as error:  # how a constructor refuses a value
        raise UserError(f"train.systems.{name}: {entry.system} with {options}: {error}") from None
    spec = model.spec
    if wrong := disagreements(spec, entry, params):
        raise UserError("\n".join(f"train.systems.{name}.{text}" for text in wrong))
    if spec.output == "motion" or (spec.feature and not spec.window):
        raise UserError(f"train.systems.{name}: motion and uncut sound are not read for training yet; see docs/systems.md")
    tracks, held_out, of, rejects = find_footage(params, entry, ("train", "validation"), entry.view, min_system_frames(spec))
    reader = Frames(tracks + held_out, of, entry.view, spec.feature)

    def draw(step: int, part: int, rank: int, world: int) -> dict[str, Any]:
        draws = system_draws(tracks, entry.batch, spec, step_rng(params.train.seed, step, part))
        return system_batch(draws[rank::world], spec, reader)

    def exam() -> dict[str, Any]:
        model.cpu().eval()
        result = {}
        for tag in params.training_languages(entry):
            some = [t for t in held_out if t.language == tag]
            if not some:
                result[tag] = {"n": 0}
                continue
            draws = system_draws(some, 2 * entry.batch, spec, step_rng(params.train.seed, 0, 1_000_000))
            with torch.inference_mode():
                batch = {k: torch.from_numpy(v) for k, v in system_batch(draws, spec, reader).items()}
                result[tag] = {k: round(float(v), 5) for k, v in model.losses(batch).items()} | {"n": len(draws)}
        return result

    facts = {"kind": "system", "class": f"models.systems.{entry.system}:System", "width": entry.width, "feature": spec.feature,
             "options": options, "spec": spec.card(), "paper": dict(model.card),
             "held_out_measure": "losses on validation speakers", **learnt_from(params, {of[t.id] for t in tracks})}
    return model, model, draw, exam, facts, tracks, rejects


def main(name: str, params: Params) -> None:
    """Writes data/train/<name>/: model.pt, card.json, losses.csv, stats.json, fingerprint.json."""
    from core.digest import digest_of

    entry, config = {**params.train.experts, **params.train.systems}[name], params.train
    fabric = make_fabric(config.precision, config.torch_threads)
    build = _expert_job if isinstance(entry, Expert) else _system_job
    model, network, draw, exam, facts, tracks, rejects = build(name, entry, params)
    settings = {"entry": entry.model_dump(), "seed": config.seed, "precision": config.precision,
                "torch_threads": config.torch_threads, "processes": fabric.world_size, "device": fabric.device.type}
    extra = () if facts["kind"] == "expert" else (f"models/systems/{entry.system}.py",)
    inputs = {i.name: [(out_folder(stage, i.name) / "fingerprint.json").read_text() for stage in ("crop", "features")
                       if (out_folder(stage, i.name) / "fingerprint.json").is_file()] for i in params.training_instances(entry)}
    mark = {**seal("train", settings, extra=extra), "inputs": digest_of(inputs),
            "tracks": digest_of([[t.id, t.n_frames] for t in tracks])}
    digest = digest_of(mark)
    job = Job(name, model, draw, entry.steps, entry.learning_rate, entry.checkpoint_every, config.seed, digest, entry.accumulate,
              critic=facts["kind"] == "system" and model.spec.critic)
    checkpoint = WORK / name / "checkpoint.pt"
    rows = fit(job, fabric, checkpoint)
    if fabric.is_global_zero:
        _write(out_folder("train", name), network, rows, job, entry, facts, settings, exam(), tracks, rejects)
        write_json(out_folder("train", name) / "fingerprint.json", {"seal": digest, **mark})
        checkpoint.unlink(missing_ok=True)
    fabric.barrier()


def _write(out: Path, network: Any, rows: list, job: Job, entry: Any, facts: dict, settings: dict, held_out: dict,
           tracks: list[Footage], rejects: list[tuple[str, str]]) -> None:
    data = _bytes_of({k: v.cpu() for k, v in network.state_dict().items()})
    write_bytes(out / "model.pt", data)
    names = list(dict.fromkeys(k for row in rows for k in row))
    lines = [",".join(names)] + [",".join(f"{row[k]:.6g}" if k in row else "" for k in names) for row in rows]
    write_bytes(out / "losses.csv", ("\n".join(lines) + "\n").encode())
    languages = sorted({t.language for t in tracks})
    write_json(out / "card.json", facts | {
        "name": job.name, "view": entry.view, "languages": languages, "speakers": sorted({t.speaker for t in tracks}),
        "n_tracks": len(tracks), "n_frames": sum(t.n_frames for t in tracks), "steps": entry.steps,
        "n_parameters": sum(p.numel() for p in network.parameters()), "params": settings,
        "sha256": hashlib.sha256(data).hexdigest(), "held_out": held_out, "alarms": job.alarms})
    cells = {tag: {"in": 0, "kept": 0, "rejected": {}} for tag in sorted({*languages, *(tag for tag, _ in rejects)})}
    for track in tracks:
        cells[track.language]["in"] += 1
        cells[track.language]["kept"] += 1
    for tag, reason in rejects:
        cells[tag]["in"] += 1
        cells[tag]["rejected"][reason] = cells[tag]["rejected"].get(reason, 0) + 1
    write_json(out / "stats.json", {"stage": "train", "instance": job.name, "items_in": len(tracks) + len(rejects),
                                    "kept": len(tracks), "rejected": len(rejects), "rows": {"losses": len(rows)},
                                    "by_language": cells})


if __name__ == "__main__":
    if int(os.environ.get("RANK", 0)) > 0:  # only rank 0 writes, so only it takes the output's lock
        from core.params import load_params

        main(sys.argv[1], load_params())
    else:
        sys.exit(run_cli("train", main, doc=__doc__))
