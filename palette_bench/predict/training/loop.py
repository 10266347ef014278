"""The training loop: Palette or its regression twin, on one processor or many, resumable at any step.

Step s sees the examples s * batch .. (s + 1) * batch - 1 of the stream, however they are divided among ranks and
microbatches.
"""

import json
import math
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, UsageError
from palette_bench.common.files import exclusive, write_bytes, write_json
from palette_bench.common.progress import Progress
from palette_bench.common.workers import keep_freed_memory
from palette_bench.predict.models.diffusion import gamma_quartile, loss_of, noisy_image, weight_of
from palette_bench.predict.models.palette import load_network
from palette_bench.predict.models.unet import Network, count_parameters
from palette_bench.predict.training import checkpoints
from palette_bench.predict.training.checkpoints import Checkpoint
from palette_bench.predict.training.events import Events, require_tensorboard
from palette_bench.predict.training.examples import Batch, ExampleStream, TrainingSource
from palette_bench.predict.training.grids import SampleGrid, to_png
from palette_bench.predict.training.origin import check_origin, origin_of, write_origin
from palette_bench.predict.training.ranks import Rank, joined
from palette_bench.predict.training.recipe import Kind, Optimizer, Recipe

METRICS_FILE = "metrics.jsonl"
RECIPE_FILE = "recipe.json"
SAMPLES_FOLDER = "samples"
QUARTILES = 4
GONE = {"share_fill_noise": False}
"""Keys that recipes had once, with the value under which a run goes on."""
END = ("steps", "cool_down")
"""The keys of a recipe that say how it ends; what comes before does not depend on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a training runs; nothing here moves the stream of examples.

    ``checkpoint_minutes`` saves after so many minutes too, whatever the step; 0 does not. A step whose gradient is not
    finite is left out and counted; ``bad_steps`` of them in a row end the run. ``stop_at`` ends the run early at a
    step, to be continued. ``microbatch`` 0 is the whole share of a rank.
    ``bfloat16`` computes in bfloat16 on a processor too, as on a GPU. ``recompute_above`` is the widest side whose
    activations are kept. ``initial`` are weights to begin with, not random ones; it matters at the first step alone.
    """

    device: str = "cpu"
    microbatch: int = 0
    workers: int = 0
    stop_at: int | None = None
    checkpoint_every: int = 10_000
    keep: int = 2
    keep_every: int = 0
    checkpoint_minutes: float = 0.0
    bad_steps: int = 3
    log_every: int = 100
    samples_every: int = 0
    tensorboard: bool = False
    compile: bool = False
    bfloat16: bool = False
    recompute_above: int | None = None
    initial: Path | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """Where a run stands: steps done, whether the recipe is fulfilled, whether a signal ended it."""

    step: int
    finished: bool
    interrupted: bool


class _Microbatches(Dataset[Batch | PaletteBenchError]):
    """The microbatches of one rank, numbered from the start of the recipe."""

    def __init__(self, stream: ExampleStream, recipe: Recipe, rank: Rank, microbatch: int) -> None:
        self.stream = stream
        self.batch = recipe.batch
        self.share = recipe.batch // rank.world
        self.start = rank.number * self.share
        self.microbatch = microbatch
        self.per_step = self.share // microbatch

    def __getitem__(self, number: int) -> Batch | PaletteBenchError:
        """A microbatch, or the error that kept it from being drawn, which crosses processes whole only as a value."""
        step, part = divmod(number, self.per_step)
        first = step * self.batch + self.start + part * self.microbatch
        try:
            return self.stream.batch(range(first, first + self.microbatch))
        except PaletteBenchError as error:
            return error


def _microbatch_of(recipe: Recipe, options: Options, rank: Rank) -> int:
    share, rest = divmod(recipe.batch, rank.world)
    microbatch = options.microbatch or share
    if rest or share % microbatch:
        raise UsageError(
            "the global batch does not divide",
            expected=f"batch {recipe.batch} = ranks x microbatch x accumulation",
            found=f"{rank.world} ranks, microbatch {microbatch}",
            next_step="choose a --microbatch that divides the batch of a rank",
        )
    return microbatch


def _survive_a_signal(_: int) -> None:
    """In a process that draws: let the first SIGTERM or SIGINT pass, which the trainer hears as well and obeys."""

    def note(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)


def _prefetched(microbatches: _Microbatches, first: int, last: int, workers: int) -> Generator[Batch, None, None]:
    """Microbatches ``first`` .. ``last`` - 1 in order, drawn here or in ``workers`` processes.

    Raises what drawing raised, and InputError when such a process dies.
    """
    drawn: Iterator[Batch | PaletteBenchError]
    if workers == 0:
        drawn = (microbatches[number] for number in range(first, last))
    else:
        loader = DataLoader(
            microbatches,
            batch_size=None,
            sampler=range(first, last),
            num_workers=workers,
            prefetch_factor=4,
            worker_init_fn=_survive_a_signal,
        )
        drawn = iter(loader)
    try:
        while True:
            batch = _next(drawn)
            if batch is None:
                return
            if isinstance(batch, PaletteBenchError):
                raise batch
            yield batch
    finally:
        # Stops the processes now; left to the garbage of an exception's traceback they wait for half a minute.
        drawn = iter(())


def _next(drawn: Iterator[Batch | PaletteBenchError]) -> Batch | PaletteBenchError | None:
    """The next of ``drawn``, None at its end. Raises InputError when a process that draws has died."""
    try:
        return next(drawn, None)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            "a process that draws examples died",
            found=str(error).splitlines()[0],
            next_step="the run goes on from its last checkpoint; with less memory at hand give fewer --workers",
        ) from error


def _dropout_seed(seed: int, index: int) -> int:
    return int.from_bytes(bytes.fromhex(fingerprint(["dropout", seed, index]))[:7], "little")


def _is_inner(name: str, network: Network) -> bool:
    """Whether a parameter is a convolution's kernel between stem and head."""
    return network.get_parameter(name).ndim == 4 and not name.startswith(("stem.", "head."))


def _as_matrix(kernel: Tensor) -> Tensor:
    """A kernel [outputs, inputs, h, w] as the matrix [outputs, h w inputs] that shares its memory, channels last."""
    return kernel.detach().contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).reshape(len(kernel), -1)


def _as_filters(matrix: Tensor, kernel: Tensor) -> Tensor:
    """What ``_as_matrix`` has made a matrix of, in the shape of ``kernel``."""
    outputs, inputs, height, width = kernel.shape
    return matrix.reshape(outputs, height, width, inputs).permute(0, 3, 1, 2)


class _Trainer:
    """Network, average and optimiser of a run."""

    def __init__(self, recipe: Recipe, options: Options, rank: Rank) -> None:
        self.recipe, self.options, self.rank = recipe, options, rank
        torch.manual_seed(recipe.seed)
        network = Network(recipe.network_config)
        if options.recompute_above is not None:
            network.recompute_above(options.recompute_above)
        self.network = network.to(rank.device).to(memory_format=torch.channels_last).train()
        self.names = [name for name, _ in self.network.named_parameters()]
        self.parameters: list[Tensor] = list(self.network.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        inner = {name for name in self.names if recipe.optimizer is Optimizer.MUON and _is_inner(name, self.network)}
        self.by_name = dict(zip(self.names, self.parameters, strict=True))
        self.optimizer = torch.optim.Adam(
            [parameter for name, parameter in self.by_name.items() if name not in inner],
            lr=recipe.learning_rate,
            betas=recipe.betas,
            eps=recipe.epsilon,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        # Muon takes matrices: views of the kernels.
        self.matrices = {name: _as_matrix(self.by_name[name]) for name in self.names if name in inner}
        self.muon = torch.optim.Muon(list(self.matrices.values()), weight_decay=0.0) if inner else None
        runnable: nn.Module = self.network
        if rank.world > 1:
            ids = [rank.device] if rank.device.type == "cuda" else None
            runnable = DistributedDataParallel(runnable, device_ids=ids, gradient_as_bucket_view=True)
        self.parallel = runnable if isinstance(runnable, DistributedDataParallel) else None
        self.run = torch.compile(runnable) if options.compile else runnable
        self.step = 0
        self.bad_in_a_row = self.bad = 0

    def begin_with(self, path: Path) -> None:
        """Take the weights of a file in place of random ones. Raises InputError for those of another network."""
        found = load_network(self.recipe.network_config, path, torch.device("cpu"))
        self.network.load_state_dict(found.state_dict())
        for parameter, average in zip(self.parameters, self.average, strict=True):
            average.copy_(parameter.detach())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(dict(checkpoint.model))
        for name, parameter, average in zip(self.names, self.parameters, self.average, strict=True):
            average.copy_(checkpoint.ema[name])
            if f"{name}.first" not in checkpoint.optimizer:
                continue
            if self.muon is not None and name in self.matrices:
                momentum = _as_matrix(torch.empty_like(parameter).copy_(checkpoint.optimizer[f"{name}.first"]))
                self.muon.state[self.matrices[name]] = {"momentum_buffer": momentum}
            else:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(checkpoint.step), device=self.rank.device),
                    # Laid out as the parameter is: the fused kernel walks through memory, not through indices.
                    "exp_avg": torch.empty_like(parameter).copy_(checkpoint.optimizer[f"{name}.first"]),
                    "exp_avg_sq": torch.empty_like(parameter).copy_(checkpoint.optimizer[f"{name}.second"]),
                }
        self.step = checkpoint.step

    def checkpoint(self) -> Checkpoint:
        """The state as it is now."""
        moments: dict[str, Tensor] = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            state = self.optimizer.state.get(parameter)
            if self.muon is not None and name in self.matrices:
                if flat := self.muon.state.get(self.matrices[name]):
                    moments[f"{name}.first"] = _as_filters(flat["momentum_buffer"], parameter)
            elif state:
                moments[f"{name}.first"], moments[f"{name}.second"] = state["exp_avg"], state["exp_avg_sq"]
        model = dict(zip(self.names, (parameter.detach() for parameter in self.parameters), strict=True))
        return Checkpoint(self.step, self.recipe.canonical(), model, self.averaged, moments)

    @property
    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return dict(zip(self.names, self.average, strict=True))

    def losses(self, batch: Batch) -> Tensor:
        """The loss of each example, [n] float32."""
        recipe, device = self.recipe, self.rank.device
        condition, image, hole, noise = (
            torch.from_numpy(array).to(device, non_blocking=True)
            for array in (batch.condition, batch.image, batch.hole, batch.noise)
        )
        condition = condition.contiguous(memory_format=torch.channels_last)
        gamma = torch.from_numpy(batch.gamma.astype(np.float32)).to(device)
        if recipe.dropout:
            # A resumed run drops what an uninterrupted one would have; another microbatch drops something else.
            torch.manual_seed(_dropout_seed(recipe.seed, int(batch.indices[0])))
        # SCORE: the network runs in bfloat16 on a GPU; noise, loss and everything before and after it in float32.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" or self.options.bfloat16):
            if recipe.kind is Kind.REGRESSION:
                predicted, target = self.run(condition, None, torch.ones_like(gamma)), image
            else:
                predicted = self.run(condition, noisy_image(image, noise, gamma, hole, recipe.known), gamma)
                target = noise
        losses = loss_of(predicted, target, hole, recipe.loss, recipe.mask_norm)
        return losses if recipe.kind is Kind.REGRESSION else losses * weight_of(gamma, recipe.loss_target, recipe.loss)

    def update(self) -> Tensor:
        """One step with the gradients at hand, and of the average; returns the norm of the gradient.

        Without a finite norm, nothing but the count of such steps changes.
        """
        recipe = self.recipe
        limit = recipe.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        # Averaged over the ranks, the gradient is finite on all of them or on none.
        if not bool(torch.isfinite(norm)):
            self.network.zero_grad(set_to_none=True)
            for state in self.optimizer.state.values():
                # A run that goes on from a checkpoint counts Adam's steps as the run's.
                state["step"] += 1
            self.step += 1
            self.bad_in_a_row, self.bad = self.bad_in_a_row + 1, self.bad + 1
            return norm
        self.bad_in_a_row = 0
        rate = recipe.rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        first = not self.optimizer.state
        self.optimizer.step()
        if first and self.step:
            for state in self.optimizer.state.values():
                state["step"].fill_(self.step + 1)
        if self.muon is not None:
            self.muon.param_groups[0]["lr"] = recipe.rate_at(self.step, recipe.muon_rate)
            for name, matrix in self.matrices.items():
                gradient = self.by_name[name].grad
                matrix.grad = None if gradient is None else _as_matrix(gradient)
            self.muon.step()  # type: ignore[no-untyped-call]
        self.network.zero_grad(set_to_none=True)
        decay = min(recipe.ema, (1 + self.step) / (10 + self.step)) if recipe.ema_warm_up else recipe.ema
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1.0 - decay)
        self.step += 1
        return norm


@contextmanager
def _told_to_stop() -> Iterator[list[bool]]:
    """A list that becomes non-empty when SIGTERM or SIGINT arrives; a second signal acts as usual."""
    told: list[bool] = []
    before: dict[int, object] = {}

    def note(number: int, _: object) -> None:
        told.append(True)
        signal.signal(number, before[number])  # type: ignore[arg-type]

    for number in (signal.SIGTERM, signal.SIGINT):
        before[int(number)] = signal.signal(number, note)
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]


class _Log:
    """Sums between two lines of ``metrics.jsonl``."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.restart()

    def restart(self) -> None:
        """Begin a new line."""
        self.losses: list[Tensor] = []
        self.gammas: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
        self.began = time.monotonic()

    def leave_out(self, seconds: float) -> None:
        """Time that is not training's."""
        self.began += seconds

    def add(self, losses: Tensor, batch: Batch) -> None:
        """Take note of a microbatch."""
        self.losses.append(losses.detach())
        self.gammas.append(batch.gamma)

    def line(self, step: int, steps: int, norm: Tensor, rank: Rank) -> dict[str, object]:
        """The line for the ``steps`` steps up to ``step``, over all ranks."""
        losses = torch.cat(self.losses).double()
        quartile = torch.from_numpy(gamma_quartile(np.concatenate(self.gammas))).to(losses.device)
        finite = torch.isfinite(losses)
        losses, quartile = losses[finite], quartile[finite]
        sums = torch.zeros(QUARTILES, 2, dtype=torch.float64, device=losses.device)
        sums[:, 0].index_add_(0, quartile, losses)
        sums[:, 1].index_add_(0, quartile, torch.ones_like(losses))
        table = rank.summed(sums).cpu()
        seconds = time.monotonic() - self.began
        line: dict[str, object] = {
            "step": step,
            "images": step * self.recipe.batch,
            "loss": float(table[:, 0].sum() / table[:, 1].sum()) if bool(table[:, 1].sum() > 0) else None,
            "gradient_norm": float(norm) if math.isfinite(float(norm)) else None,
            "images_per_second": round(steps * self.recipe.batch / seconds, 2),
        }
        if self.recipe.kind is Kind.PALETTE:
            line |= {f"loss_q{q}": float(s / n) for q, (s, n) in enumerate(table.tolist()) if n}
        if losses.device.type == "cuda":
            line["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        return line


def _forget_after(path: Path, step: int) -> None:
    """Drop lines of a run that went further than the checkpoint it goes on from."""
    if not path.is_file():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(text)["step"] <= step:
                kept.append(text + "\n")
        except (ValueError, KeyError):
            continue
    write_bytes(path, "".join(kept).encode())


def _check_recipe(recipe: Recipe, found: Checkpoint, where: Path) -> None:
    """Refuse to go on with another recipe; only its end may differ, unless the learning rate has begun to fall.

    What a run of an older version of the program does not name was as is the default now.
    """
    now, then = recipe.canonical(), Recipe().canonical() | dict(found.recipe)
    then = {name: value for name, value in then.items() if name not in GONE or value != GONE[name]}
    steps, cool_down = then["steps"], then["cool_down"]
    begun = isinstance(steps, int) and isinstance(cool_down, int) and 0 < cool_down > steps - found.step
    free = () if begun or recipe.cools_at(found.step) else END
    problems = [
        Problem("differs", name, f"the run was begun with {then.get(name)!r}, now {now.get(name)!r}")
        for name in sorted(now.keys() | then.keys())
        if name not in free and now.get(name) != then.get(name)
    ]
    if problems:
        raise InputError(
            "this folder holds a training with another recipe",
            where=where,
            problems=problems,
            next_step="give the recipe it was begun with, or another --out",
        )


def train(recipe: Recipe, source: TrainingSource, out: Path, options: Options, *, progress: Progress) -> Trained:
    """Train, or go on training, in the folder ``out`` until the recipe's steps are done, a signal or ``stop_at``.

    Writes ``checkpoints/``, ``metrics.jsonl``, ``recipe.json``, ``origin.json``, and as asked for ``samples/`` and
    ``tensorboard/``. Raises InputError for a folder of another recipe or source, a damaged checkpoint, a training image
    that cannot be read, a loss that is not finite; UsageError for batches that do not divide.
    """
    if options.tensorboard:
        require_tensorboard()
    keep_freed_memory()
    with joined(options.device) as rank:
        lock = exclusive(out / ".lock", purpose=f"training in {out}") if rank.leads else nullcontext()
        with lock, _told_to_stop() as told:
            return _train(recipe, source, out, options, rank, told, progress)


def _train(
    recipe: Recipe,
    source: TrainingSource,
    out: Path,
    options: Options,
    rank: Rank,
    told: Sequence[bool],
    progress: Progress,
) -> Trained:
    microbatch = _microbatch_of(recipe, options, rank)
    trainer = _Trainer(recipe, options, rank)
    _begin_or_go_on(trainer, source, out)
    if len(set(steps := rank.each(trainer.step))) > 1:
        raise InputError(
            "the processes of this training do not stand at one step",
            where=out,
            expected="the same checkpoint for every process",
            found=", ".join(f"rank {number}: step {step}" for number, step in enumerate(steps)),
            next_step="give --out a folder that all machines share",
        )
    last = min(recipe.steps, options.stop_at if options.stop_at is not None else recipe.steps)
    if rank.leads:
        _forget_after(out / METRICS_FILE, trainer.step)
    log = _Log(recipe) if rank.leads or rank.world > 1 else None
    show = _Shown(source, recipe, out, options, step=trainer.step) if rank.leads else None
    stream = ExampleStream(source, recipe.families, recipe.diffusion, recipe.seed, recipe.batch, recipe.rectangle_area)
    microbatches = _Microbatches(stream, recipe, rank, microbatch)
    per_step = microbatches.per_step
    batches = _prefetched(microbatches, trainer.step * per_step, last * per_step, options.workers)
    saved, logged, saved_at = trainer.step, trainer.step, time.monotonic()
    label = f"training {recipe.kind.value} ({count_parameters(trainer.network) / 1e6:.2f} M parameters)"
    interrupted = False

    with (
        closing(batches),
        closing(show) if show is not None else nullcontext(),
        progress.task(label, last * recipe.batch, "images") as shown,
    ):
        shown.advance(trainer.step * recipe.batch)
        while trainer.step < last and not interrupted:
            for part in range(per_step):
                batch = next(batches)
                quiet = trainer.parallel is not None and part + 1 < per_step
                with trainer.parallel.no_sync() if quiet and trainer.parallel else nullcontext():
                    losses = trainer.losses(batch)
                    torch.autograd.backward(losses.sum() * (rank.world / recipe.batch))
                if log is not None:
                    log.add(losses, batch)
            norm = trainer.update()
            shown.advance(recipe.batch)
            interrupted = rank.any(bool(told)) if rank.world > 1 else bool(told)
            ends = interrupted or trainer.step == last
            if log is not None and (ends or trainer.step % options.log_every == 0):
                line = log.line(trainer.step, trainer.step - logged, norm, rank)
                if trainer.bad:
                    line["steps_left_out"] = trainer.bad
                logged = trainer.step
                log.restart()
                if show is not None:
                    show.line(line)
            if trainer.bad_in_a_row >= options.bad_steps:
                raise _broken_down(trainer, norm, out, saved)
            late = options.checkpoint_minutes > 0 and time.monotonic() - saved_at >= 60.0 * options.checkpoint_minutes
            if ends or trainer.step % options.checkpoint_every == 0 or rank.agrees_on(late):
                if rank.leads:
                    checkpoints.save(out, trainer.checkpoint(), keep=options.keep, keep_every=options.keep_every)
                saved, saved_at = trainer.step, time.monotonic()
                rank.wait()
            due = trainer.step == last or (options.samples_every and trainer.step % options.samples_every == 0)
            if options.samples_every and due and not interrupted:
                before = time.monotonic()
                if show is not None:
                    show.samples(trainer)
                rank.wait()
                if log is not None:
                    log.leave_out(time.monotonic() - before)
    return Trained(trainer.step, trainer.step >= recipe.steps, interrupted)


def _begin_or_go_on(trainer: _Trainer, source: TrainingSource, out: Path) -> None:
    """Restore the last checkpoint of a run, or begin one."""
    recipe, initial = trainer.recipe, trainer.options.initial
    origin = origin_of(source, initial)
    done = checkpoints.steps_of(out)
    if done:
        folder = checkpoints.folder_of(out, done[-1])
        checkpoint = checkpoints.load(folder)
        _check_recipe(recipe, checkpoint, folder)
        check_origin(out, origin, initial=initial)
        trainer.restore(checkpoint)
        return
    if initial is not None:
        trainer.begin_with(initial)
    if trainer.rank.leads:
        write_json(out / RECIPE_FILE, recipe.canonical())
        write_origin(out, origin)


class _Shown:
    """What a run shows of itself while it works: lines of metrics, sample grids, TensorBoard."""

    def __init__(self, source: TrainingSource, recipe: Recipe, out: Path, options: Options, *, step: int) -> None:
        self.out = out
        self.grid = SampleGrid(source, recipe) if options.samples_every else None
        self.events = Events(out, step=step) if options.tensorboard else None

    def line(self, line: dict[str, object]) -> None:
        """A line of metrics."""
        _write_line(self.out / METRICS_FILE, line)
        if self.events is not None:
            self.events.line(line)

    def samples(self, trainer: _Trainer) -> None:
        """A grid of samples of the averaged weights."""
        if self.grid is None:
            return
        picture = self.grid.draw(trainer.network, trainer.averaged, step=trainer.step)
        write_bytes(self.out / SAMPLES_FOLDER / f"step-{trainer.step:08d}.png", to_png(picture))
        if self.events is not None:
            self.events.picture(picture, step=trainer.step)

    def close(self) -> None:
        """Write out what is left."""
        if self.events is not None:
            self.events.close()


def _write_line(path: Path, line: dict[str, object]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _broken_down(trainer: _Trainer, norm: Tensor, out: Path, saved: int) -> InputError:
    return InputError(
        "the training broke down: the gradient is not finite",
        where=out,
        found=f"gradient_norm {float(norm)} at step {trainer.step}, {trainer.bad_in_a_row} steps in a row",
        next_step=f"go on from step {saved} with a lower learning_rate or clip_norm = 1.0 in a new folder",
    )
