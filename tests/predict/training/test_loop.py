"""The loop does what it says: against the same steps written down again, and against its own other runs."""

import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.types import ImageU8
from palette_bench.predict.models.diffusion import (
    KnownRegion,
    LossNorm,
    LossTarget,
    MaskNorm,
    loss_of,
    noisy_image,
    weight_of,
)
from palette_bench.predict.models.palette import save_network
from palette_bench.predict.models.unet import Network, ResidualBlock
from palette_bench.predict.training import checkpoints, loop
from palette_bench.predict.training.examples import Batch, ExampleStream
from palette_bench.predict.training.export import export_weights
from palette_bench.predict.training.loop import Options
from palette_bench.predict.training.ranks import Rank
from palette_bench.predict.training.recipe import Kind, Recipe
from palette_bench.predict.training.sources import SceneStream
from tests.predict.tiny_network import network_of
from tests.predict.training.runs import EACH_STEP, TINY, digests, last, metrics, recipe, run

Weights = Mapping[str, Tensor]


def stream_of(what: Recipe) -> ExampleStream:
    return ExampleStream(SceneStream(), what.families, what.diffusion, what.seed, what.batch)


def loss_again(what: Recipe, network: Network, batch: Batch) -> Tensor:
    """The loss as the paper has it: |noise - predicted|^p within the hole, the mean over all pixels and the batch."""
    condition, image, hole, noise = map(torch.from_numpy, (batch.condition, batch.image, batch.hole, batch.noise))
    gamma = torch.from_numpy(batch.gamma).float()
    if what.kind is Kind.REGRESSION:
        difference = network(condition, None, torch.ones(len(gamma))) - image
    else:
        root, rest = (torch.sqrt(x)[:, None, None, None] for x in (gamma, 1 - gamma))
        noisy = hole * (root * image + rest * noise) + (1 - hole) * image
        difference = network(condition, noisy, gamma) - noise
    power = 1 if what.loss is LossNorm.L1 else 2
    mean: Tensor = (hole * difference.abs() ** power).mean(dim=(1, 2, 3)).mean()
    return mean


def train_again(what: Recipe, steps: int) -> tuple[Weights, Weights]:
    """Weights and their average after some steps of plain PyTorch."""
    torch.manual_seed(what.seed)
    network = Network(what.network_config)
    optimizer = torch.optim.Adam(network.parameters(), betas=what.betas, eps=what.epsilon)
    average = {name: value.detach().clone() for name, value in network.named_parameters()}
    for step in range(steps):
        batch = stream_of(what).batch(range(step * what.batch, (step + 1) * what.batch))
        optimizer.zero_grad()
        torch.autograd.backward(loss_again(what, network, batch))
        if what.clip_norm:
            norm = math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None))
            for parameter in network.parameters():
                if parameter.grad is not None and norm > what.clip_norm:
                    parameter.grad *= what.clip_norm / norm
        for group in optimizer.param_groups:
            group["lr"] = what.learning_rate * min(1.0, (step + 1) / what.warm_up if what.warm_up else 1.0)
            if what.cool_down:
                group["lr"] *= min(1.0, (what.steps - step) / what.cool_down)
        optimizer.step()
        decay = min(what.ema, (1 + step) / (10 + step)) if what.ema_warm_up else what.ema
        for name, value in network.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * value.detach()
    return {name: value.detach() for name, value in network.named_parameters()}, average


def distance(one: Weights, other: Weights) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


ROUNDING = 2e-6
"""How far the loop may be from the same steps in other words; steps themselves are 1e-3."""


@pytest.mark.parametrize(
    ("changes", "twin"),
    [
        ({}, {"warm_up": 0}),
        ({}, {"learning_rate": 1.1e-3}),
        ({"cool_down": 3}, {"cool_down": 0}),
        ({"loss": "l1"}, {"loss": "l2"}),
        ({"clip_norm": 0.05}, {"clip_norm": 0.0}),
        ({"ema_warm_up": True}, {"ema_warm_up": False}),
        ({"kind": "regression"}, {"loss": "l1"}),
        ({"betas": [0.8, 0.99]}, {"betas": [0.9, 0.999]}),
    ],
)
def test_steps_are_those_of_the_paper(changes: dict[str, object], twin: dict[str, object], tmp_path: Path) -> None:
    # A larger epsilon keeps Adam from blowing rounding up where gradients are nearly zero.
    base: dict[str, object] = {"epsilon": 1e-3, "steps": 4} | changes
    what = recipe(**base)
    run(what, tmp_path)
    found = last(tmp_path)
    model, average = train_again(what, 4)
    assert distance(found.model, model) < ROUNDING
    assert distance(found.ema, average) < ROUNDING
    wrong_model, wrong_average = train_again(recipe(**(base | twin)), 4)
    assert max(distance(found.model, wrong_model), distance(found.ema, wrong_average)) > 10 * ROUNDING


def test_the_learning_rate_warms_up(tmp_path: Path) -> None:
    """Adam's first step is the learning rate itself, wherever the gradient is not tiny."""
    what = recipe(warm_up=4, epsilon=1e-12, steps=1)
    run(what, tmp_path)
    torch.manual_seed(what.seed)
    first = dict(Network(what.network_config).named_parameters())
    assert distance(last(tmp_path).model, {n: v.detach() for n, v in first.items()}) == pytest.approx(2.5e-4, rel=1e-3)


def test_microbatches_change_rounding_alone(tmp_path: Path) -> None:
    what = recipe(epsilon=1e-3, steps=3)
    run(what, tmp_path / "whole")
    run(what, tmp_path / "parts", Options(log_every=1, microbatch=1))
    assert distance(last(tmp_path / "whole").model, last(tmp_path / "parts").model) < ROUNDING
    for one, other in zip(metrics(tmp_path / "whole"), metrics(tmp_path / "parts"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


FAST = {"network": "fast", "optimizer": "muon", "output": "edm", "noisy_input": "unit", "loss_target": "edm"}


def newton_schulz(gradient: Tensor) -> Tensor:
    """Muon's direction: the gradient [m, n] with all its singular values brought near one."""
    x = (gradient / gradient.norm()).bfloat16()
    x = x.T if len(x) > x.shape[1] else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * (a @ a)) @ x
    turned: Tensor = x.T if len(gradient) > gradient.shape[1] else x
    return turned.float()


def test_muon_turns_inner_convolutions_by_orthogonal_steps_and_adam_the_rest(tmp_path: Path) -> None:
    what = recipe(**FAST | {"gamma_distribution": "lognormal", "steps": 1, "warm_up": 0, "epsilon": 1e-12})
    network = network_of(what.network_config)
    first = tmp_path / "first.safetensors"
    first.write_bytes(save_network(network.state_dict(), half=False))
    run(what, tmp_path, Options(log_every=1, initial=first))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    batch = stream_of(what).batch(range(what.batch))
    condition, image, hole, noise = map(torch.from_numpy, (batch.condition, batch.image, batch.hole, batch.noise))
    gamma = torch.from_numpy(batch.gamma).float()
    said = network(condition, noisy_image(image, noise, gamma, hole, KnownRegion.CLEAN), gamma)
    losses = loss_of(said, noise, hole, LossNorm.L2, MaskNorm.IMAGE) * weight_of(gamma, LossTarget.EDM, LossNorm.L2)
    torch.autograd.backward(losses.mean())
    after = last(tmp_path).model
    turned = 0
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
        step = after[name] - before[name]
        if parameter.ndim == 4 and not name.startswith(("stem.", "head.")):
            turned += 1
            flat = parameter.grad.permute(0, 2, 3, 1).flatten(1)
            expected = -0.02 * max(1.0, flat.shape[0] / flat.shape[1]) ** 0.5 * newton_schulz(flat)
            taken = step.permute(0, 2, 3, 1).flatten(1)
            # Not nearer: what bfloat16 makes of the smallest singular values is chance.
            assert float((taken * expected).sum() / (taken.norm() * expected.norm())) > 0.9
            assert float(taken.norm()) == pytest.approx(float(expected.norm()), rel=0.1)
        else:
            assert float(step.abs().max()) <= 1.001e-3
    assert turned > 3
    assert float((after["head.weight"] - before["head.weight"]).abs().max()) == pytest.approx(1e-3, rel=1e-3)


def test_computing_in_bfloat16_on_a_processor_changes_rounding_alone(tmp_path: Path) -> None:
    what = recipe(kind="regression", epsilon=1e-3, steps=2)
    run(what, tmp_path / "wide")
    run(what, tmp_path / "narrow", Options(log_every=1, bfloat16=True))
    wide, narrow = (metrics(tmp_path / name)[-1]["loss"] for name in ("wide", "narrow"))
    assert wide != narrow
    assert narrow == pytest.approx(wide, rel=0.02)


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.2}, {"kind": "regression"}, FAST])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(changes: dict[str, object], tmp_path: Path) -> None:
    what = recipe(**changes)
    run(what, tmp_path / "whole")
    for stop in (1, 4, None):
        torch.manual_seed(99)
        run(what, tmp_path / "parts", Options(log_every=1, stop_at=stop))
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    lines = {name: metrics(tmp_path / name) for name in ("whole", "parts")}
    for line in (*lines["whole"], *lines["parts"]):
        del line["images_per_second"]
    assert lines["whole"] == lines["parts"]


def test_an_optimiser_that_forgets_would_be_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = recipe()
    run(what, tmp_path / "whole")
    run(what, tmp_path / "parts", Options(log_every=1, stop_at=3))
    restore = loop._Trainer.restore

    def forgetful(trainer: loop._Trainer, checkpoint: checkpoints.Checkpoint) -> None:
        restore(trainer, checkpoint)
        trainer.optimizer.state.clear()

    monkeypatch.setattr(loop._Trainer, "restore", forgetful)
    run(what, tmp_path / "parts")
    assert digests(tmp_path / "parts") != digests(tmp_path / "whole")


def test_a_run_that_is_done_does_nothing_more(tmp_path: Path) -> None:
    first, again = run(recipe(), tmp_path), run(recipe(), tmp_path)
    assert (first.step, first.finished, first.interrupted) == (6, True, False)
    assert again == first
    assert len(metrics(tmp_path)) == 6
    longer = run(recipe(steps=8), tmp_path)
    assert longer.step == 8
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, 9))


def test_lines_after_the_checkpoint_are_not_doubled(tmp_path: Path) -> None:
    run(recipe(), tmp_path, Options(log_every=1, stop_at=2))
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 3, "loss": 7.0}\n{"step": 4, "lo')
    run(recipe(), tmp_path)
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert metrics(tmp_path)[2]["loss"] != 7.0


def test_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    run(recipe(), tmp_path, Options(stop_at=2))
    before = digests(tmp_path)
    with pytest.raises(InputError) as caught:
        run(recipe(learning_rate=0.5, seed=3, steps=9), tmp_path)
    assert [problem.where for problem in caught.value.problems] == ["learning_rate", "seed"]
    assert digests(tmp_path) == before


def test_the_end_may_move_until_the_learning_rate_falls(tmp_path: Path) -> None:
    run(recipe(steps=8), tmp_path, Options(stop_at=2))
    run(recipe(steps=6, cool_down=3), tmp_path, Options(stop_at=3))
    assert run(recipe(steps=6, cool_down=3), tmp_path, Options(stop_at=4)).step == 4
    for changes in ({"steps": 9, "cool_down": 3}, {"steps": 6}, {"steps": 6, "cool_down": 2}):
        with pytest.raises(InputError) as caught:
            run(recipe(**changes), tmp_path)
        assert {problem.where for problem in caught.value.problems} <= {"steps", "cool_down"}
    run(recipe(steps=6, cool_down=3), tmp_path)
    run(recipe(steps=6, cool_down=3), tmp_path.with_name("whole"))
    assert digests(tmp_path) == digests(tmp_path.with_name("whole"))


def test_a_run_from_before_there_was_a_key_goes_on(tmp_path: Path) -> None:
    run(recipe(), tmp_path, Options(stop_at=2))
    path = checkpoints.folder_of(tmp_path, 2) / "state.json"
    state = json.loads(path.read_text())
    del state["recipe"]["stratified"]
    path.write_text(json.dumps(state))
    with pytest.raises(InputError, match="stratified"):
        run(recipe(stratified=True), tmp_path)
    assert run(recipe(), tmp_path).finished


class _Other(SceneStream):
    def identity(self) -> Mapping[str, object]:
        return {"kind": "folder", "images": 3}

    def images(self, indices: Sequence[int]) -> Sequence[ImageU8]:
        return super().images(indices)


def test_other_images_are_refused(tmp_path: Path) -> None:
    run(recipe(), tmp_path, Options(stop_at=2))
    with pytest.raises(InputError, match="other images"):
        run(recipe(), tmp_path, source=_Other())
    (tmp_path / "origin.json").unlink()
    assert run(recipe(), tmp_path, source=_Other()).finished, "a run of before there was this file goes on"


def test_weights_to_begin_with(tmp_path: Path) -> None:
    run(recipe(seed=5, steps=1), tmp_path / "other")
    path = tmp_path / "first.safetensors"
    path.write_bytes(save_network(last(tmp_path / "other").model, half=False))
    options = Options(initial=path, stop_at=1)
    run(recipe(learning_rate=0.0), tmp_path / "run", options)
    assert distance(last(tmp_path / "run").model, last(tmp_path / "other").model) == 0.0
    assert distance(last(tmp_path / "run").ema, last(tmp_path / "other").model) < 1e-7
    assert run(recipe(learning_rate=0.0), tmp_path / "run").finished, "they need not be named again"
    path.write_bytes(save_network(last(tmp_path / "other").ema, half=True))
    with pytest.raises(InputError, match="initial_sha256"):
        run(recipe(learning_rate=0.0), tmp_path / "run", options)
    with pytest.raises(InputError, match="not those of this network"):
        run(recipe(kind="regression"), tmp_path / "twin", options)


def test_a_damaged_checkpoint_stops_the_run_by_name(tmp_path: Path) -> None:
    run(recipe(), tmp_path, Options(stop_at=2))
    path = checkpoints.folder_of(tmp_path, 2) / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"step-00000002[\s\S]*ema\.safetensors"):
        run(recipe(), tmp_path)


@pytest.mark.parametrize("microbatch", [3, 8])
def test_a_batch_that_does_not_divide_is_refused(microbatch: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not divide"):
        run(recipe(), tmp_path, Options(microbatch=microbatch))


def test_a_loss_that_is_no_number_stops_the_run_and_is_never_saved(tmp_path: Path) -> None:
    wild = recipe(learning_rate=1e30, warm_up=0)
    with pytest.raises(InputError, match="not finite"):
        run(wild, tmp_path / "seen")
    with pytest.raises(InputError, match="not finite"):
        run(wild, tmp_path / "between lines", Options(log_every=100, checkpoint_every=1, keep=9))
    for folder in (tmp_path / "between lines" / "checkpoints").iterdir():
        model = safetensors.torch.load_file(folder / "model.safetensors")
        assert all(bool(torch.isfinite(value).all()) for value in model.values())
    assert run(recipe(), tmp_path / "tame").finished


def broken_at(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Let the loss of these steps, counted from 0, not be a number."""
    losses = loop._Trainer.losses

    def broken(trainer: loop._Trainer, batch: Batch) -> Tensor:
        return losses(trainer, batch) * (math.nan if trainer.step in steps else 1.0)

    monkeypatch.setattr(loop._Trainer, "losses", broken)


@pytest.mark.parametrize("changes", [{}, FAST])
def test_a_step_that_is_no_number_is_left_out_and_counted(
    changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_at(monkeypatch, 0, 3)
    run(recipe(**changes), tmp_path / "whole", Options(log_every=1, checkpoint_every=1, keep=9))
    models = [checkpoints.load(checkpoints.folder_of(tmp_path / "whole", step)).model for step in (3, 4, 5)]
    assert distance(models[0], models[1]) == 0.0 < distance(models[1], models[2])
    lines = metrics(tmp_path / "whole")
    assert [line.get("steps_left_out") for line in lines] == [1, 1, 1, 2, 2, 2]
    assert [line["loss"] is None for line in lines] == [True, False, False, True, False, False]
    for stop in (1, 4, None):
        run(recipe(**changes), tmp_path / "parts", Options(log_every=1, stop_at=stop))
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")


def test_steps_that_are_no_numbers_end_the_run_when_they_do_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_at(monkeypatch, 2, 3, 4, 5)
    with pytest.raises(InputError, match="2 steps in a row"):
        run(recipe(), tmp_path, Options(log_every=1, bad_steps=2))
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3, 4]


def test_a_run_saves_by_the_clock_too(tmp_path: Path) -> None:
    run(recipe(), tmp_path / "often", Options(checkpoint_minutes=1e-9, keep=9))
    assert checkpoints.steps_of(tmp_path / "often") == [1, 2, 3, 4, 5, 6]
    run(recipe(), tmp_path / "seldom", Options(checkpoint_minutes=60.0, keep=9))
    assert checkpoints.steps_of(tmp_path / "seldom") == [6]


def test_processes_that_stand_at_different_steps_do_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rank, "each", lambda _, number: [number, number + 2])
    with pytest.raises(InputError, match="rank 0: step 0, rank 1: step 2"):
        run(recipe(), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    run(recipe(), tmp_path, Options(checkpoint_every=1, keep=2, keep_every=3))
    assert checkpoints.steps_of(tmp_path) == [3, 5, 6]


@pytest.mark.parametrize("changes", [{}, {"kind": "regression"}, {"dropout": 0.2}])
def test_sample_grids_disturb_nothing(changes: dict[str, object], tmp_path: Path) -> None:
    what = recipe(**changes)
    run(what, tmp_path / "without")
    run(what, tmp_path / "with", Options(log_every=1, samples_every=4))
    assert digests(tmp_path / "with") == digests(tmp_path / "without")
    grids = sorted((tmp_path / "with" / "samples").iterdir())
    assert [path.name for path in grids] == ["step-00000004.png", "step-00000006.png"]
    pixels = [np.asarray(Image.open(path)) for path in grids]
    assert pixels[0].shape == pixels[1].shape
    rows = {name: [pixel[46 + 70 * k : 46 + 70 * k + 64, 70:] for pixel in pixels] for k, name in enumerate("cpr")}
    assert np.array_equal(rows["c"][0], rows["c"][1])
    assert np.array_equal(rows["r"][0], rows["r"][1])
    assert not np.array_equal(rows["p"][0], rows["p"][1])
    assert not (tmp_path / "without" / "samples").exists()
    run(what, tmp_path / "again", Options(log_every=1, samples_every=4, stop_at=3))
    run(what, tmp_path / "again", Options(log_every=1, samples_every=4))
    assert grids[1].read_bytes() == (tmp_path / "again" / "samples" / grids[1].name).read_bytes()


def test_grids_show_the_average_and_not_the_weights(tmp_path: Path) -> None:
    grids = []
    for ema in (1.0, 0.0):
        out = tmp_path / str(ema)
        run(recipe(ema=ema, learning_rate=0.05, kind="regression"), out, Options(samples_every=3))
        grids.append([path.read_bytes() for path in sorted((out / "samples").iterdir())])
    header = 30
    below = [[np.asarray(Image.open(io.BytesIO(grid)))[header:] for grid in pair] for pair in grids]
    (still, same), (moving, other) = below
    assert np.array_equal(still, same), "an average that never moves gives one picture"
    assert not np.array_equal(moving, other)


def test_tensorboard_has_what_metrics_have(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for stop in (3, None):
        run(recipe(), tmp_path, Options(log_every=1, tensorboard=True, samples_every=6, stop_at=stop))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = {event.step: event.value for event in events.Scalars("loss")}
    assert scalars == {line["step"]: pytest.approx(line["loss"], rel=1e-6) for line in metrics(tmp_path)}
    assert "gradient_norm" in events.Tags()["scalars"]
    assert [image.step for image in events.Images("samples")] == [3, 6]


def test_without_tensorboard_the_extra_is_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(UsageError, match=r"palette-bench\[tensorboard\]"):
        run(recipe(), tmp_path / "run", Options(tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_metrics_tell_what_happened(tmp_path: Path) -> None:
    run(recipe(batch=16, steps=2), tmp_path)
    line = metrics(tmp_path)[-1]
    assert (line["step"], line["images"]) == (2, 32)
    quartiles = [line[f"loss_q{q}"] for q in range(4)]
    assert min(quartiles) < line["loss"] < max(quartiles)
    assert line["gradient_norm"] > 0
    assert line["images_per_second"] > 0
    run(recipe(kind="regression"), tmp_path / "twin")
    assert "loss_q0" not in metrics(tmp_path / "twin")[0], "it has no noise levels"


def test_the_recipe_is_beside_the_run(tmp_path: Path) -> None:
    run(recipe(), tmp_path, EACH_STEP)
    assert json.loads((tmp_path / "recipe.json").read_text()) == recipe().canonical()


@pytest.mark.parametrize("half", [False, True])
def test_export_writes_the_average(tmp_path: Path, half: bool) -> None:
    run(recipe(), tmp_path / "run")
    exported = export_weights(tmp_path / "run", tmp_path / "w.safetensors", half=half)
    found, average = safetensors.torch.load_file(tmp_path / "w.safetensors"), last(tmp_path / "run").ema
    assert exported.step == 6
    assert exported.parameters == sum(value.numel() for value in average.values())
    assert {value.dtype for value in found.values()} == {torch.float16 if half else torch.float32}
    assert distance({k: v.float() for k, v in found.items()}, average) <= (1e-3 if half else 0.0)
    assert distance(average, last(tmp_path / "run").model) > 1e-5, "which is not the weights"
    with pytest.raises(InputError, match="no checkpoint"):
        export_weights(tmp_path / "nowhere", tmp_path / "w.safetensors", half=half)


def gradients(network: Network, batch: Batch) -> Weights:
    network.zero_grad()
    condition, image = torch.from_numpy(batch.condition), torch.from_numpy(batch.image)
    torch.autograd.backward(network(condition, image, torch.from_numpy(batch.gamma).float()).square().mean())
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_computing_activations_twice_changes_no_gradient() -> None:
    torch.manual_seed(0)
    network = Network(TINY)
    torch.nn.init.normal_(network.head.weight)
    batch = stream_of(recipe()).batch(range(2))
    calls: list[int] = []
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_pre_hook(lambda *_: calls.append(1))
    plain = gradients(network, batch)
    once = len(calls)
    network.recompute_above(8)
    again = gradients(network, batch)
    assert once < len(calls) - once < 2 * once, "the wider blocks run twice, the others once"
    assert distance(plain, again) < 1e-7
    network.recompute_above(0)
    calls.clear()
    gradients(network, batch)
    assert len(calls) == 2 * once


@pytest.mark.parametrize("norm", LossNorm)
@pytest.mark.parametrize("divisor", MaskNorm)
def test_the_loss_sees_the_hole_alone(norm: LossNorm, divisor: MaskNorm) -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(2, 3, 8, 8, generator=generator, requires_grad=True)
    target = torch.randn(2, 3, 8, 8, generator=generator)
    hole = torch.zeros(2, 1, 8, 8)
    hole[:, :, :, 6:] = 1.0
    (gradient,) = torch.autograd.grad(loss_of(predicted, target, hole, norm, divisor).sum(), predicted)
    assert bool((gradient[..., :6] == 0).all())
    assert bool((gradient[..., 6:] != 0).all())
    size = 192 if divisor is MaskNorm.IMAGE else 48
    difference = (predicted - target)[..., 6:]
    expected = (2 * difference if norm is LossNorm.L2 else difference.sign()) / size
    assert torch.allclose(gradient[..., 6:], expected, atol=1e-7)
    (everywhere,) = torch.autograd.grad(
        loss_of(predicted, target, torch.ones_like(hole), norm, divisor).sum(), predicted
    )
    assert bool((everywhere != 0).all())


def test_outside_the_hole_the_noisy_image_is_clean_unless_asked() -> None:
    image, noise, hole = torch.full((1, 3, 2, 2), 0.5), torch.ones(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)
    hole[..., 0] = 1.0
    gamma = torch.tensor([0.64])
    mixed = noisy_image(image, noise, gamma, hole, KnownRegion.CLEAN)
    assert torch.equal(mixed[..., 1], image[..., 1])
    assert torch.allclose(mixed[..., 0], torch.tensor(0.8 * 0.5 + 0.6))
    assert torch.allclose(noisy_image(image, noise, gamma, hole, KnownRegion.NOISED), torch.tensor(0.8 * 0.5 + 0.6))
