"""Pictures of what a model in training makes of a few fixed examples: condition, prediction, reference."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.func import functional_call

from palette_bench.artifacts.seeds import generator_of
from palette_bench.images.types import ImageU8
from palette_bench.predict.models.palette import (
    SAMPLE_STREAM,
    call_network,
    predict_images,
    sample_images,
    to_uint8,
)
from palette_bench.predict.models.samplers import SamplerConfig, SamplerKind, Spacing
from palette_bench.predict.models.unet import Network
from palette_bench.predict.training.degradations import Family
from palette_bench.predict.training.examples import Batch, ExampleStream, TrainingSource
from palette_bench.predict.training.recipe import Kind, Recipe

FIRST = 1 << 61
"""The first global index of the examples: no training comes this far."""
PER_FAMILY = 4
SAMPLER = SamplerConfig(kind=SamplerKind.DDIM, steps=20, spacing=Spacing.LOGSNR)
ROWS = ("condition", "prediction", "reference")

_LEAST_SIDE = 64
_MARGIN, _LINE, _LABEL = 6, 14, 70
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Examples:
    family: Family
    batch: Batch


class SampleGrid:
    """Four fixed examples of each task of a recipe. All noise is that of their indices: no generator is shared."""

    def __init__(self, source: TrainingSource, recipe: Recipe) -> None:
        self.recipe = recipe
        self.examples = []
        for number, family in enumerate(Family):
            if recipe.families.get(family):
                stream = ExampleStream(
                    source, {family: 1.0}, recipe.diffusion, recipe.seed, PER_FAMILY, recipe.rectangle_area
                )
                first = FIRST + number * PER_FAMILY
                self.examples.append(_Examples(family, stream.batch(range(first, first + PER_FAMILY))))

    def draw(self, network: Network, weights: Mapping[str, Tensor], *, step: int) -> ImageU8:
        """The picture [h, w, 3] of ``network`` with other ``weights``; its own, and its mode, are as before."""
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad():
                columns = [(one.family, self._rows(network, weights, one)) for one in self.examples]
        finally:
            network.train(was_training)
        how = "one forward pass" if self.recipe.kind is Kind.REGRESSION else f"DDIM, {SAMPLER.steps} steps"
        return _picture(f"{self.recipe.kind.value}, step {step}, averaged weights, {how}", columns)

    def _rows(self, network: Network, weights: Mapping[str, Tensor], one: _Examples) -> list[NDArray[np.uint8]]:
        """Condition, prediction and reference, each [n, h, w, 3]."""
        recipe, batch = self.recipe, one.batch
        device = next(iter(weights.values())).device

        def put(array: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(array).to(device).contiguous(memory_format=torch.channels_last)

        def call(condition: Tensor, noisy: Tensor | None, gamma: float) -> Tensor:
            def run(*inputs: Tensor | None) -> Tensor:
                out: Tensor = functional_call(network, dict(weights), inputs)
                return out

            return call_network(run, condition, noisy, gamma)

        generators = [generator_of(int(index), SAMPLE_STREAM) for index in batch.indices]

        def noise() -> Tensor:
            shape = batch.image.shape[1:]
            return put(np.stack([generator.standard_normal(shape, dtype=np.float32) for generator in generators]))

        condition, image = put(batch.condition), put(batch.image)
        hole = torch.from_numpy(batch.hole > 0).to(device) if one.family.masked else None
        # Outside the hole the condition is the image; where there is none the condition is all that is known.
        known = image if one.family.masked else condition
        if recipe.kind is Kind.REGRESSION:
            predicted = predict_images(call, condition=condition, image=known, hole=hole)
        else:
            predicted = sample_images(
                call, SAMPLER, recipe.known, condition=condition, image=known, hole=hole, noise=noise
            )
        shown = condition if hole is None else torch.where(hole, torch.zeros_like(condition), condition)
        return [to_uint8(shown), to_uint8(predicted), to_uint8(image)]


def _picture(header: str, columns: list[tuple[Family, list[NDArray[np.uint8]]]]) -> ImageU8:
    """One row each of ``ROWS``, the examples side by side, a header above."""
    size = columns[0][1][0].shape[1]
    side = size * -(-_LEAST_SIDE // size)
    step = side + _MARGIN
    count = sum(len(rows[0]) for _, rows in columns)
    top = _MARGIN + 2 * (_LINE + _MARGIN)
    picture = Image.new("RGB", (_LABEL + count * step, top + len(ROWS) * step), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_MARGIN, _MARGIN), header, fill=_INK)
    for number, name in enumerate(ROWS):
        pen.text((_MARGIN, top + number * step + side // 2 - _LINE // 2), name, fill=_INK)
    left = _LABEL
    for family, rows in columns:
        pen.text((left, top - _LINE - _MARGIN), family.value, fill=_INK)
        for images in zip(*rows, strict=True):
            for number, image in enumerate(images):
                cell = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
                picture.paste(cell, (left, top + number * step))
            left += step
    return np.asarray(picture)


def to_png(picture: ImageU8) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()
