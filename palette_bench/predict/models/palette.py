"""Palette and its regression twin as models that ``predict`` can run: `palette_bench.predict.adapters.base.Adapter`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

import numpy as np
import safetensors.torch
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from palette_bench.artifacts.seeds import generator_of
from palette_bench.common import schema
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting
from palette_bench.predict.models.diffusion import KnownRegion
from palette_bench.predict.models.samplers import Noise, SamplerConfig, read_sampler, sample
from palette_bench.predict.models.schedules import SMALLEST_TRAINED
from palette_bench.predict.models.unet import (
    PRESETS,
    GammaEmbedding,
    Mixing,
    Network,
    NetworkConfig,
    NoisyInput,
    Output,
    preset,
)

FILL_STREAM, SAMPLE_STREAM = 0, 1
"""The two streams of an output's seed: what fills the condition's hole, and the noise of sampling (A6)."""
DEFAULT_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """A card's ``[config]`` as it is written."""

    FILE: ClassVar = schema.File("model's [config]", next_step="see docs/palette.md")

    network: Annotated[str, schema.Fits(lambda name: name in PRESETS, f"one of {', '.join(PRESETS)}")] = "palette256"
    mixing: Mixing = Mixing.GLOBAL
    gamma_embedding: GammaEmbedding = GammaEmbedding.SQRT_1000
    output: Output = Output.NOISE
    noisy_input: NoisyInput = NoisyInput.PLAIN
    known: KnownRegion = KnownRegion.CLEAN
    share_fill_noise: bool = False
    batch: Annotated[int, Ge(1)] = DEFAULT_BATCH
    sampler: SamplerConfig = field(default_factory=SamplerConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A card's ``[config]``: the network and its preset's name, how it was trained to see a hole, how it is sampled.

    ``batch`` is the fixed number of images that go through the network at a time: a short batch is filled up, so that
    an image's bits do not depend on how many were asked for.
    """

    preset: str
    network: NetworkConfig
    known: KnownRegion
    share_fill_noise: bool
    batch: int
    sampler: SamplerConfig


def read_config(table: Mapping[str, object], *, image_inputs: bool) -> ModelConfig:
    """A card's ``[config]``.

    Raises InputError with everything that does not fit, UsageError for settings that mean nothing together.
    """
    said = schema.load(_Settings, table, where="[config]")
    network = replace(
        preset(said.network, mixing=said.mixing, image_inputs=image_inputs),
        gamma_embedding=said.gamma_embedding,
        output=said.output,
        noisy_input=said.noisy_input,
    )
    settings = table.get("sampler", {})
    return ModelConfig(
        preset=said.network,
        network=network,
        known=said.known,
        share_fill_noise=said.share_fill_noise,
        batch=said.batch,
        sampler=read_sampler(settings if isinstance(settings, Mapping) else {}),
    )


def load_network(config: NetworkConfig, path: Path, device: torch.device) -> Network:
    """The network with weights from a safetensors file (float32, or float16 or bfloat16 that are widened).

    Raises InputError for a file that cannot be read, and for weights of another architecture, naming what differs.
    """
    try:
        weights = safetensors.torch.load_file(path)
    except Exception as error:
        # The library raises a type of its own that is not exported, besides OSError.
        raise InputError(
            "a weights file cannot be read",
            where=path,
            expected="safetensors",
            found=f"{type(error).__name__}: {error}",
            next_step="fetch or export it again; a .pt or .pth goes through palette-bench's converters first",
        ) from error
    with torch.device("meta"):
        network = Network(config)
    wanted = network.state_dict()
    problems = [Problem("missing", name, f"{list(wanted[name].shape)}") for name in wanted if name not in weights]
    problems += [Problem("extra", name, f"{list(weights[name].shape)}") for name in weights if name not in wanted]
    problems += [
        Problem("shape", name, f"expected {list(wanted[name].shape)}, found {list(weights[name].shape)}")
        for name in wanted
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    problems += [
        Problem("not-finite", name, "NaN or infinity among the numbers")
        for name, values in weights.items()
        if name in wanted and not bool(torch.isfinite(values).all())
    ]
    if problems:
        raise InputError(
            "the weights are not those of this network",
            where=path,
            problems=problems,
            next_step="check network, mixing and the kind of model in the card's [config]",
        )
    network.load_state_dict({name: values.float() for name, values in weights.items()}, assign=True)
    return network.to(device=device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def save_network(tensors: Mapping[str, Tensor], *, half: bool) -> bytes:
    """Weights as a safetensors file, float16 if ``half``: what a card ships."""
    kind = torch.float16 if half else torch.float32
    return safetensors.torch.save({name: value.detach().cpu().to(kind).contiguous() for name, value in tensors.items()})


def _draw(generators: Sequence[np.random.Generator], size: tuple[int, int]) -> NDArray[np.float32]:
    """The next N(0, 1) draws of each generator: [n, 3, h, w]."""
    return np.stack([generator.standard_normal((3, *size), dtype=np.float32) for generator in generators])


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float32 [n, 3, h, w] in [-1, 1] to uint8 [n, h, w, 3], clipped and rounded."""
    # SCORE: rounding, not truncation.
    scaled = ((images.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    levels: NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).cpu().numpy()
    return levels


class Called(Protocol):
    """A network with its weights: (condition, noisy image or None, gamma) to its output, [n, 3, h, w] float32."""

    def __call__(self, condition: Tensor, noisy: Tensor | None, gamma: float, /) -> Tensor:
        """One forward pass."""
        ...


def call_network(network: Callable[..., Tensor], condition: Tensor, noisy: Tensor | None, gamma: float) -> Tensor:
    """One forward pass at one noise level for all images: bfloat16 inside on a GPU, float32 out."""
    levels = torch.full((len(condition),), gamma, dtype=torch.float32, device=condition.device)
    with torch.autocast("cuda", torch.bfloat16, enabled=condition.device.type == "cuda"):
        predicted = network(condition, noisy, levels)
    return predicted.float()


def sample_images(
    call: Called,
    sampler: SamplerConfig,
    known: KnownRegion,
    *,
    condition: Tensor,
    image: Tensor,
    hole: Tensor | None,
    noise: Noise,
) -> Tensor:
    """Palette's output for a batch, [n, 3, h, w] float32, about [-1, 1].

    ``condition`` is what the network is given (a hole filled with noise), ``image`` the pixels that are known outside
    the ``hole`` [n, 1, h, w] bool (None: all is predicted), ``noise`` the next draws of N(0, 1).
    """

    def keep(y: Tensor) -> Tensor:
        return y if hole is None else torch.where(hole, y, image)

    noised = known is KnownRegion.NOISED
    y = sample(
        sampler,
        lambda y, gamma: call(condition, y, max(gamma, SMALLEST_TRAINED)),
        noise,
        (lambda y: y) if noised else keep,
    )
    return keep(y)


def predict_images(call: Called, *, condition: Tensor, image: Tensor, hole: Tensor | None) -> Tensor:
    """The regression twin's output for a batch, of the shapes of ``sample_images``: one forward pass."""
    predicted = call(condition, None, 1.0)
    return predicted if hole is None else torch.where(hole, predicted, image)


class _Model(ABC):
    """What Palette and regression share: a network, conditions as tensors, batches of one length."""

    _image_inputs: bool

    def __init__(self, setting: Setting) -> None:
        self.config = read_config(setting.config, image_inputs=self._image_inputs)
        if setting.weights is None:
            raise InputError(
                "this model needs weights",
                where="[weights] of its card",
                found="none",
                next_step="train it (palette-bench train), or convert published ones",
            )
        if setting.size % self.config.network.multiple:
            raise UsageError(
                "images of a size that this network cannot take",
                expected=f"a side that is a multiple of {self.config.network.multiple}",
                found=setting.size,
            )
        self.device = torch.device(setting.device)
        self.network = load_network(self.config.network, setting.weights, self.device)

    def predict(self, inputs: Sequence[ModelInput]) -> list[ImageU8]:
        """One image [H, W, 3] uint8 for each input."""
        outputs: list[ImageU8] = []
        for start in range(0, len(inputs), self.config.batch):
            part = list(inputs[start : start + self.config.batch])
            # SCORE: a short batch is filled up, because kernels round differently at other lengths.
            filled = part + [part[-1]] * (self.config.batch - len(part))
            with torch.inference_mode():
                outputs += list(to_uint8(self._run(filled)))[: len(part)]
        return outputs

    @abstractmethod
    def _run(self, inputs: Sequence[ModelInput]) -> Tensor:
        """The outputs of a full batch, [n, 3, h, w] float32 in about [-1, 1]."""

    def _to_device(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(self.device).contiguous(memory_format=torch.channels_last)

    def _conditions(self, inputs: Sequence[ModelInput]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Images [n, 3, h, w] in [-1, 1] with black holes, and holes [n, 1, h, w]."""
        images = np.stack([one.image for one in inputs]).transpose(0, 3, 1, 2).astype(np.float32)
        images = images * np.float32(1 / 127.5) - np.float32(1.0)
        holes = [one.hole for one in inputs if one.hole is not None]
        return images, np.stack(holes)[:, None] if holes else None

    def _call(self, condition: Tensor, noisy: Tensor | None, gamma: float) -> Tensor:
        return call_network(self.network, condition, noisy, gamma)


class Palette(_Model):
    """The diffusion model: samples from noise, seeded image by image."""

    _image_inputs = True

    def _run(self, inputs: Sequence[ModelInput]) -> Tensor:
        images, holes = self._conditions(inputs)
        size = (images.shape[2], images.shape[3])
        sampling = [generator_of(one.seed, SAMPLE_STREAM) for one in inputs]
        first: NDArray[np.float32] | None = None
        known = self._to_device(images)
        if holes is None:
            condition, hidden = known, None
        else:
            if self.config.share_fill_noise:
                first = _draw(sampling, size)
            fill = first if first is not None else _draw([generator_of(one.seed, FILL_STREAM) for one in inputs], size)
            condition, hidden = self._to_device(np.where(holes, fill, images)), torch.from_numpy(holes).to(self.device)
        waiting = [first] if first is not None else []

        def noise() -> Tensor:
            return self._to_device(waiting.pop() if waiting else _draw(sampling, size))

        return sample_images(
            self._call,
            self.config.sampler,
            self.config.known,
            condition=condition,
            image=known,
            hole=hidden,
            noise=noise,
        )


class Regression(_Model):
    """The same network trained to give the image at once (A13). Its hole is filled with one fixed draw of noise."""

    _image_inputs = False

    def _run(self, inputs: Sequence[ModelInput]) -> Tensor:
        images, holes = self._conditions(inputs)
        known = self._to_device(images)
        if holes is None:
            return predict_images(self._call, condition=known, image=known, hole=None)
        size = (images.shape[2], images.shape[3])
        fill = _draw([generator_of(0, FILL_STREAM)], size)
        condition, hidden = self._to_device(np.where(holes, fill, images)), torch.from_numpy(holes).to(self.device)
        return predict_images(self._call, condition=condition, image=known, hole=hidden)
