"""What a sampler does to a small Palette's numbers, on scenes that are neither of its training nor of the evaluation.

python -m benchmarks.samplers palette-scenes32-jpeg jpeg-qf20 ddim:6:logsnr ddim:10:paper dpmpp_2m:6:logsnr
python -m benchmarks.samplers palette-scenes32-jpeg jpeg-qf20 ddim:6:logsnr --weights my.safetensors
python -m benchmarks.samplers palette-scenes32-jpeg jpeg-qf20 dpmpp_2m:5:logsnr --samples 16

The sampler of the shipped cards was chosen with it, without a look at the evaluation set. Scenes are of the train
split, with numbers that no training reaches; FID is against these scenes themselves and of few images, so that it
compares with nothing but the other lines. The first row is the regression of the same name. With ``--samples``,
another row is of the mean of that many samples of each scene, which is what a regression would give that knew what
this Palette knows.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from palette_bench.artifacts.seeds import seed_of
from palette_bench.images.condition import Condition, hole_of, make_condition
from palette_bench.images.holes import composited
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import Adapter, Setting
from palette_bench.predict.card import Card, baseline_names, find_card
from palette_bench.predict.models.palette import Palette, Regression
from palette_bench.predict.run import given_of
from palette_bench.prepare.sources.scenes32 import SIZE, Split, render
from palette_bench.protocol.tasks import TASKS
from palette_bench.score.backbones.scenes32 import load
from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.frechet import frechet_distance
from palette_bench.score.metrics.inception_score import inception_score
from palette_bench.score.metrics.perceptual import Power, perceptual_distance
from palette_bench.score.metrics.similarity import psnr

FIRST_SCENE = 1 << 30
BATCH = 32


def outputs(model: Adapter, conditions: Sequence[Condition], sample: int) -> list[ImageU8]:
    """The model's images, known pixels put back."""
    images = []
    for start in range(0, len(conditions), BATCH):
        part = conditions[start : start + BATCH]
        names = [str(start + place) for place in range(len(part))]
        given = [given_of(name, one, seed_of(0, name, sample)) for name, one in zip(names, part, strict=True)]
        for one, image in zip(part, model.predict(given), strict=True):
            images.append(composited(image, one.image, one.hole)[0])
    return images


class Judge:
    """Prints the numbers of images against the scenes that they restore."""

    def __init__(self, scenes: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self.scenes, self.labels, self.backbone = scenes, labels, load()
        self.references = self.backbone.extract(scenes)["features"]

    def head(self) -> None:
        print(f"{'':36s}    FID     IS     CA     PD   PSNR")

    def show(self, name: str, made: NDArray[np.uint8]) -> None:
        seen = self.backbone.extract(made)
        fid = frechet_distance(seen["features"], self.references).value
        score = inception_score(seen["logits"]).value
        share = accuracy(seen["logits"], self.labels).percent
        distance = perceptual_distance(seen["features"], self.references, power=Power.L2).items.mean()
        near = np.mean([psnr(image, scene) for image, scene in zip(made, self.scenes, strict=True)])
        print(f"{name:36s} {fid:6.2f} {score:6.2f} {share:6.1f} {distance:6.2f} {near:6.2f}", flush=True)


def sampler_of(text: str) -> dict[str, object]:
    """``kind:steps:spacing`` as a card's table."""
    kind, steps, spacing = text.split(":")
    table: dict[str, object] = {"kind": kind, "steps": int(steps), "spacing": spacing}
    return table | ({"skip_noise_steps": True} if spacing == "paper" else {})


def setting_of(card: Card, task: str, config: dict[str, object], weights: Path | None) -> Setting:
    return Setting(task=TASKS[task], size=SIZE, config=config, weights=weights or card.checked_weights())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a palette-scenes32-... card")
    parser.add_argument("task", choices=[name for name in TASKS if "freeform" not in name])
    parser.add_argument("samplers", nargs="+", help="kind:steps:spacing")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--samples", type=int, default=1, help="of each scene, for a row of their mean")
    parser.add_argument("--weights", type=Path, help="other weights than the card's")
    options = parser.parse_args()

    torch.set_num_threads(1)
    card, twin = find_card(options.model), options.model.replace("palette", "regression")
    scenes, labels = render(Split.TRAIN, np.arange(FIRST_SCENE, FIRST_SCENE + options.scenes))
    task = TASKS[options.task]
    conditions = [make_condition(task, scene, hole_of(task, SIZE, None)) for scene in scenes]

    models: list[tuple[str, Adapter]] = []
    if twin in baseline_names():
        setting = setting_of(find_card(twin), options.task, dict(find_card(twin).config), None)
        models.append(("regression", Regression(setting)))
    for text in options.samplers:
        config = {**card.config, "sampler": sampler_of(text)}
        models.append((text, Palette(setting_of(card, options.task, config, options.weights))))
    print(f"{options.model}, {options.task}, {options.scenes} scenes of the train split")
    judge = Judge(scenes, labels)
    judge.head()
    for name, model in models:
        first = np.stack(outputs(model, conditions, 0))
        judge.show(name, first)
        if options.samples > 1 and isinstance(model, Palette):
            total = first.astype(np.float64)
            for sample in range(1, options.samples):
                total += np.stack(outputs(model, conditions, sample))
            judge.show(f"  mean of {options.samples}", np.rint(total / options.samples).astype(np.uint8))


if __name__ == "__main__":
    main()
