"""The judge of scenes32, version 2, and its training.

python -m benchmarks.scenes32_next.judge --out judge.safetensors  # 320,000 scenes
python -m benchmarks.scenes32_next.judge --out judge.safetensors --initial other.safetensors --scenes 96000

``judge.safetensors`` here was made as the second line does, from a network that had seen 320,000 scenes of a draft of
this world in which faint and bold marks were farther apart.

It learns from scenes whose class keeps no company, so that it judges what is drawn. Half of a batch is the other half
drawn again with other signs of its hues and other random bits: the features of both are drawn together, so that a
distance between features says what kind of picture it is, and not what nobody can know. The surface's features are the
magnitudes of the first layer's responses: a wave has one, whatever its sign.
"""

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.scenes32_next import world
from benchmarks.scenes32_next.world import Facts
from palette_bench.prepare.sources.scenes32 import HOSTS, SATELLITES, TEXTURES, Split
from palette_bench.score.backbones.scenes32 import FEATURES, ResidualBlock, _convolution, to_input

BATCH = 64
SAME_WEIGHT, SHAPES_WEIGHT, TEXTURE_WEIGHT, CLASS_PART_WEIGHT, HUES_WEIGHT, DETAIL_WEIGHT = 0.5, 0.3, 0.1, 0.5, 0.3, 0.1


class Judge(nn.Module):
    """Images [n, 3, 32, 32] in [-1, 1] to features [n, 64] and logits [n, 20]: version 1's network but for surface."""

    def __init__(self) -> None:
        super().__init__()
        self.at_16 = nn.Sequential(*_convolution(3, 32, kernel=5), ResidualBlock(32))
        self.at_8 = nn.Sequential(*_convolution(32, 64, kernel=3), ResidualBlock(64))
        self.at_4 = nn.Sequential(*_convolution(64, 96, kernel=3), ResidualBlock(96))
        self.content = nn.Linear(96 * 2, FEATURES - 32, bias=False)
        self.features_norm = nn.BatchNorm1d(FEATURES, affine=False)
        self.dropout = nn.Dropout(0.1)
        self.logits = nn.Linear(FEATURES, len(world.CLASSES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        early = self.at_16[0](images)
        surface = early.abs().mean(dim=(2, 3))
        x = self.at_4(self.at_8(self.at_16[1:](early)))
        content = self.content(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))
        features = self.features_norm(torch.cat([surface, content], dim=1))
        return features, self.logits(self.dropout(features))


class _Heads(nn.Module):
    """What the features must also tell while the network is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.host, self.satellite = nn.Linear(FEATURES, len(HOSTS)), nn.Linear(FEATURES, len(SATELLITES))
        self.texture = nn.Linear(FEATURES, len(TEXTURES))
        self.hues, self.detail = nn.Linear(FEATURES, 6), nn.Linear(FEATURES, 6)
        self.marks, self.hue = nn.Linear(FEATURES, len(world.MARKS)), nn.Linear(FEATURES, world.HUES)

    def loss(self, features: Tensor, facts: Facts) -> Tensor:
        def named(head: nn.Linear, kind: NDArray[np.int64]) -> Tensor:
            return functional.cross_entropy(head(features), torch.from_numpy(kind))

        shapes = named(self.host, facts.host) + named(self.satellite, facts.satellite)
        parts = named(self.marks, facts.marks) + named(self.hue, facts.hue_family)
        # The axis of a hue, not its sign.
        hues = 2 * np.stack([facts.ground_hue, facts.host_hue, facts.satellite_hue], axis=1)
        axes = np.concatenate([np.cos(hues), np.sin(hues)], axis=1).astype(np.float32)
        detail = np.stack(
            [
                facts.light_slope * np.cos(facts.light) / 0.17,
                facts.light_slope * np.sin(facts.light) / 0.17,
                (facts.noise - 0.021) / 0.005,
                (facts.texture_contrast - 0.15) / 0.029,
                (facts.host_chroma - 0.42) / 0.058,
                (facts.ground_chroma - 0.17) / 0.04,
            ],
            axis=1,
        ).astype(np.float32)
        total: Tensor = (
            SHAPES_WEIGHT * shapes
            + TEXTURE_WEIGHT * named(self.texture, facts.texture)
            + CLASS_PART_WEIGHT * parts
            + HUES_WEIGHT * functional.mse_loss(self.hues(features), torch.from_numpy(axes))
            + DETAIL_WEIGHT * functional.mse_loss(self.detail(features), torch.from_numpy(detail))
        )
        return total


def without_company(facts: Facts, draw: np.random.Generator) -> Facts:
    """The class drawn anew, so that nothing else tells it."""
    n = len(facts.label)
    hue, marks = draw.integers(0, world.HUES, n), draw.integers(0, len(world.MARKS), n)
    turn = draw.integers(0, 2, n) * math.pi + draw.uniform(-world.HUE_SPREAD, world.HUE_SPREAD, n)
    return replace(
        facts,
        label=hue * len(world.MARKS) + marks,
        hue_family=hue,
        marks=marks,
        marks_contrast=world.contrast_of(marks, draw.random(n)),
        host_hue=hue / world.HUES * math.pi + turn,
    )


def twins(facts: Facts, draw: np.random.Generator) -> Facts:
    """The same kind of scene: other signs of hues, another phase of the texture."""
    n = len(facts.label)
    host, ground, satellite = (draw.integers(0, 2, n) * math.pi for _ in range(3))
    return replace(
        facts,
        host_hue=facts.host_hue + host,
        ground_hue=facts.ground_hue + ground,
        ground_second_hue=facts.ground_second_hue + ground,
        satellite_hue=facts.satellite_hue + satellite,
        texture_phase_u=draw.random(n),
        texture_phase_v=draw.random(n),
    )


def train(scenes: int, *, seed: int = 0, initial: Path | None = None) -> Judge:
    """A judge that has seen so many scenes, from scratch or from another one's weights, on one core."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    network, heads = Judge().to(memory_format=torch.channels_last), _Heads()
    rate = 3e-3
    if initial is not None:
        network.load_state_dict(safetensors.torch.load_file(initial))
        rate = 2e-3
    parameters = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-2)
    steps, half = scenes // BATCH, BATCH // 2
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    began, right = time.process_time(), list[float]()
    for step in range(steps):
        one = np.arange(step * BATCH, step * BATCH + half)
        facts = without_company(world.describe(Split.TRAIN, one), draw)
        again = twins(facts, draw)
        images = [world.draw(Split.TRAIN, one, facts), world.draw(Split.TRAIN, one + half, again)]
        target = torch.from_numpy(np.concatenate([facts.label, facts.label]))
        features, logits = network(to_input(np.concatenate(images)))
        loss = functional.cross_entropy(logits, target, label_smoothing=0.05)
        loss = loss + heads.loss(features[:half], facts) + heads.loss(features[half:], again)
        loss = loss + SAME_WEIGHT * functional.mse_loss(features[:half], features[half:])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        right.append(float((logits.detach().argmax(dim=1) == target).float().mean()))
        if (step + 1) % 500 == 0 or step + 1 == steps:
            print(f"step {step + 1} of {steps}, {time.process_time() - began:.0f} s, {np.mean(right):.3f}", flush=True)
            right.clear()
    return network.eval()


def save(network: Judge, path: Path) -> None:
    safetensors.torch.save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


def outputs(network: Judge, images: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
    """``features`` [n, 64] and ``logits`` [n, 20] of images [n, 32, 32, 3]."""
    found: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    with torch.inference_mode():
        for start in range(0, len(images), 250):
            features, logits = network(to_input(images[start : start + 250]))
            found.append((features.numpy(), logits.numpy()))
    return {name: np.concatenate([pair[place] for pair in found]) for place, name in enumerate(("features", "logits"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=320_000)
    parser.add_argument("--initial", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = train(options.scenes, initial=options.initial)
    save(network, options.out)
    images, labels = world.render_split(Split.EVAL)
    named = outputs(network, images)["logits"].argmax(axis=1)
    print(f"accuracy on the eval split {100 * float((named == labels).mean()):.2f} %")


if __name__ == "__main__":
    main()
