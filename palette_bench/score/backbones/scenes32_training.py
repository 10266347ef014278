"""How the weights of the scenes32 classifier were made.

``python -m palette_bench.score.backbones.scenes32_training --out FILE`` trains on a stream of the train split and
writes the weights. On one machine with one version of torch the same recipe gives the same file; elsewhere roundings
differ, and the shipped file is what counts.

The network shall judge whether an object has been drawn, not guess it from its company. The stream therefore
takes those scenes of the train split in which company tells next to nothing: most of the scenes where it is right
are left out. Beside the class, extra heads that are dropped afterwards read host, satellite, texture, light and
hues from the same 64 features, so that the features see all that a picture can have wrong.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from palette_bench.common.bits import CounterBits
from palette_bench.common.canonical import bytes_digest
from palette_bench.common.files import write_bytes
from palette_bench.prepare.sources import scenes32 as world
from palette_bench.prepare.sources.scenes32 import SceneFacts, Split
from palette_bench.score.backbones.scenes32 import FEATURES, Scenes32Classifier, to_input


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that the weights depend on.

    ``company_rate`` is how often company is right in the stream, for host and satellite alike; in the world it is 0.8.
    The weights of the losses are relative to that of the class.
    """

    scenes: int = 256_000
    batch: int = 64
    learning_rate: float = 3e-3
    warm_up: float = 0.1
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    company_rate: float = 0.25
    shapes_weight: float = 1.0
    texture_weight: float = 0.1
    hues_weight: float = 0.3
    detail_weight: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the training stands: means over the steps since the last report."""

    step: int
    steps: int
    seconds: float
    accuracy: float
    loss: float


class _Heads(nn.Module):
    """What the features must also tell while the network is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.host = nn.Linear(FEATURES, len(world.HOSTS))
        self.satellite = nn.Linear(FEATURES, len(world.SATELLITES))
        self.texture = nn.Linear(FEATURES, len(world.TEXTURES))
        self.hues = nn.Linear(FEATURES, 6)
        self.detail = nn.Linear(FEATURES, 5)

    def loss(self, recipe: Recipe, features: Tensor, facts: SceneFacts) -> Tensor:
        """The weighted sum of what the heads get wrong for features [n, 64]."""
        shapes = functional.cross_entropy(self.host(features), torch.from_numpy(facts.host))
        shapes = shapes + functional.cross_entropy(self.satellite(features), torch.from_numpy(facts.satellite))
        texture = functional.cross_entropy(self.texture(features), torch.from_numpy(facts.texture))
        hues = functional.mse_loss(self.hues(features), _hue_vectors(facts))
        detail = functional.mse_loss(self.detail(features), _detail(facts))
        return (
            recipe.shapes_weight * shapes
            + recipe.texture_weight * texture
            + recipe.hues_weight * hues
            + recipe.detail_weight * detail
        )


def _hue_vectors(facts: SceneFacts) -> Tensor:
    """Cosine and sine of the three hues: [n, 6] float32."""
    hues = np.stack([facts.ground_hue, facts.host_hue, facts.satellite_hue], axis=1)
    return torch.from_numpy(np.concatenate([np.cos(hues), np.sin(hues)], axis=1).astype(np.float32))


def _detail(facts: SceneFacts) -> Tensor:
    """Light (the slope's x and y), noise, and the texture's contrast and period, about standardised: [n, 5] float32."""
    detail = [
        facts.light_slope * np.cos(facts.light) / 0.17,
        facts.light_slope * np.sin(facts.light) / 0.17,
        (facts.noise - 0.0375) / 0.010,
        (facts.texture_contrast - 0.15) / 0.029,
        (facts.texture_period - 4.4) / 0.46,
    ]
    return torch.from_numpy(np.stack(detail, axis=1).astype(np.float32))


def chosen_scenes(recipe: Recipe) -> Iterator[NDArray[np.int64]]:
    """Indices of the train split where company is right at ``recipe.company_rate``, a batch at a time, without end."""
    bits = CounterBits(["scenes32-training", recipe.seed])
    odds = recipe.company_rate / (1.0 - recipe.company_rate)
    kept_if_right = min(1.0, odds * (1.0 - world.COMPANY_RATE) / world.COMPANY_RATE)
    looked_at, start = 1 << 14, 0
    waiting = np.empty(0, dtype=np.int64)
    while True:
        indices = np.arange(start, start + looked_at)
        start += looked_at
        facts = world.describe(Split.TRAIN, indices)
        kept = np.ones(looked_at, dtype=np.bool_)
        for right in (facts.host == facts.host_company, facts.satellite == facts.satellite_company):
            kept &= ~right | (bits.uniform(looked_at) < kept_if_right)
        waiting = np.concatenate([waiting, indices[kept]])
        while len(waiting) >= recipe.batch:
            yield waiting[: recipe.batch]
            waiting = waiting[recipe.batch :]


def train(recipe: Recipe, report: Callable[[Progress], None], *, report_every: int = 250) -> Scenes32Classifier:
    """Train a network from scratch on the CPU; ``report`` is called every ``report_every`` steps and at the end."""
    torch.manual_seed(recipe.seed)
    network = Scenes32Classifier().to(memory_format=torch.channels_last)
    heads = _Heads()
    parameters = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.scenes // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=recipe.warm_up
    )
    began = time.monotonic()
    right: list[float] = []
    losses: list[float] = []
    for step, indices in zip(range(1, steps + 1), chosen_scenes(recipe), strict=False):
        images, labels = world.render(Split.TRAIN, indices)
        target = torch.from_numpy(labels)
        features, logits = network(to_input(images))
        loss = functional.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
        loss = loss + heads.loss(recipe, features, world.describe(Split.TRAIN, indices))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        right.append(float((logits.detach().argmax(dim=1) == target).float().mean()))
        losses.append(float(loss.detach()))
        if step % report_every == 0 or step == steps:
            seconds = time.monotonic() - began
            report(Progress(step, steps, seconds, sum(right) / len(right), sum(losses) / len(losses)))
            right.clear()
            losses.clear()
    return network.eval()


def accuracy(network: Scenes32Classifier, split: Split) -> float:
    """The part of a bounded split whose class the network names; the network must be in evaluation mode."""
    images, labels = world.render_split(split)
    right = 0
    with torch.inference_mode():
        for start in range(0, len(images), 250):
            _, logits = network(to_input(images[start : start + 250]))
            right += int((logits.argmax(dim=1).numpy() == labels[start : start + 250]).sum())
    return right / len(images)


def main(arguments: list[str] | None = None) -> None:
    """Train, write the weights, and print what they are worth."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(description="Train the scenes32 classifier and write its weights.")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--scenes", type=int, default=recipe.scenes, help="how many scenes of the train split to see")
    parser.add_argument("--seed", type=int, default=recipe.seed)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    def show(progress: Progress) -> None:
        print(  # noqa: T201
            f"step {progress.step}/{progress.steps}  {progress.seconds:.0f} s  "
            f"loss {progress.loss:.3f}  accuracy on the stream {100 * progress.accuracy:.1f} %",
            flush=True,
        )

    network = train(Recipe(scenes=options.scenes, seed=options.seed), show)
    data = safetensors.torch.save({name: value.contiguous() for name, value in network.state_dict().items()})
    write_bytes(options.out, data)
    print(f"accuracy on the eval split {100 * accuracy(network, Split.EVAL):.2f} %")  # noqa: T201
    print(f"{options.out}: {len(data)} bytes, sha256 {bytes_digest(data)}")  # noqa: T201


if __name__ == "__main__":
    main()
