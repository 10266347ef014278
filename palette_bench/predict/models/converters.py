"""From other people's checkpoints to this package's weights: ADM's 256x256 models and Janspiry's port of Palette.

Both are the U-Net of ADM with its names: ``input_blocks``, ``middle_block`` and ``output_blocks`` count the same blocks
that `palette_bench.predict.models.unet` has as encoder, middle and decoder, where a block that doubles the side is the
last part of an ``output_blocks`` entry there and a block of its own here. Layouts were read off the two projects'
model definitions (openai/guided-diffusion, Janspiry/Palette-Image-to-Image-Diffusion-Models).

A conversion is strict: every tensor of the file is used or dropped by name, every parameter is filled, all shapes fit.
"""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import write_bytes
from palette_bench.predict.models.palette import save_network
from palette_bench.predict.models.unet import Block, Network, NetworkConfig, Resample, preset

IMAGE_CHANNELS = 3


class Origin(StrEnum):
    """Whose checkpoint it is."""

    ADM = "adm"
    """OpenAI's 256x256_diffusion_uncond.pt or 256x256_diffusion.pt: 3 channels in, noise and variance out."""
    JANSPIRY = "janspiry"
    """``<step>_Network.pth`` or ``<step>_Network_ema.pth`` of the port: Palette's 6 channels in, 3 out."""

    @property
    def network(self) -> str:
        """The preset that it becomes."""
        return "palette256" if self is Origin.ADM else "janspiry256"

    @property
    def gamma_embedding(self) -> str:
        """What a card has to say of the noise level. ADM's network knew time steps and learns gamma anew."""
        return "sqrt1000" if self is Origin.ADM else "raw"


ADM_DROPPED = {"label_emb.weight": "the table of the class labels, which Palette has not"}
JANSPIRY_DROPPED = dict.fromkeys(
    (
        "gammas",
        "sqrt_recip_gammas",
        "sqrt_recipm1_gammas",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
    ),
    "the noise schedule, which the sampler has in float64",
)
"""Tensors that a conversion leaves out, and why."""

_BLOCK_PARTS = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "level": "emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
    "skip": "skip_connection",
}
_ATTENTION_PARTS = {"norm": "norm", "query_key_value": "qkv", "project": "proj_out"}


@dataclass(frozen=True, slots=True)
class Converted:
    """Weights by this package's names, and what of the file is not in them: name -> why."""

    weights: Mapping[str, Tensor]
    dropped: Mapping[str, str]


def names_of(network: Network, origin: Origin) -> dict[str, str]:
    """The name in a checkpoint of ``origin`` of every parameter of ``network``."""
    inner = "" if origin is Origin.ADM else "denoise_fn."
    embed = "time_embed" if origin is Origin.ADM else "cond_embed"
    places = {"embed": embed, "stem": "input_blocks.0.0", "norm": "out.0", "head": "out.2"}
    for ours, theirs in _blocks(network):
        attends = f"{ours}.attention"
        places |= {f"{ours}.residual.{part}": f"{theirs[0]}.{name}" for part, name in _BLOCK_PARTS.items()}
        places |= {f"{attends}.{part}": f"{theirs[1]}.{name}" for part, name in _ATTENTION_PARTS.items()}
    names = {}
    for name in network.state_dict():
        module, kind = name.rsplit(".", 1)
        if module.startswith("embed."):
            names[name] = f"{inner}{embed}.{module.removeprefix('embed.')}.{kind}"
        else:
            names[name] = f"{inner}{places[module]}.{kind}"
    return names


def _blocks(network: Network) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each block's name here, and there the names of its residual block and of its attention."""
    for number in range(len(network.encoder)):
        there = f"input_blocks.{number + 1}"
        yield f"encoder.{number}", (f"{there}.0", f"{there}.1")
    yield "middle.0", ("middle_block.0", "middle_block.1")
    yield "middle.1", ("middle_block.2", "")
    entry, parts = -1, 0
    for number, block in enumerate(network.decoder):
        if not isinstance(block, Block):
            raise TypeError("a part of the decoder that is not a block")
        if block.residual.resample is Resample.UP:
            yield f"decoder.{number}", (f"output_blocks.{entry}.{parts}", "")
            continue
        entry, parts = entry + 1, 1 if block.attention is None else 2
        yield f"decoder.{number}", (f"output_blocks.{entry}.0", f"output_blocks.{entry}.1")


def convert(tensors: Mapping[str, Tensor], origin: Origin, *, config: NetworkConfig | None = None) -> Converted:
    """The tensors of a checkpoint of ``origin`` as weights of ``config`` (the published one if not given), float32.

    ADM's stem is extended by zeros for the condition, which comes first, so that the condition counts for nothing until
    it is trained; of its outputs the noise is kept and the variance left out. Raises InputError listing every tensor
    that is missing, superfluous, of another shape or not finite.
    """
    with torch.device("meta"):
        network = Network(config or preset(origin.network))
    wanted, names = network.state_dict(), names_of(network, origin)
    droppable = ADM_DROPPED if origin is Origin.ADM else JANSPIRY_DROPPED
    used = set(names.values())
    problems = [
        Problem("unknown", name, f"{list(value.shape)} has no place in the network")
        for name, value in tensors.items()
        if name not in used and name not in droppable
    ]
    dropped = {name: why for name, why in droppable.items() if name in tensors}
    weights: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        shape, edge = wanted[ours].shape, origin is Origin.ADM and ours.partition(".")[0]
        found = tensors.get(theirs)
        if found is None:
            problems.append(Problem("missing", theirs, f"{list(shape)}, for {ours}"))
            continue
        expected = _foreign_shape(tuple(shape), stem=edge == "stem" and len(shape) > 1, head=edge == "head")
        if tuple(found.shape) != expected and (*found.shape, 1) != expected:
            problems.append(Problem("shape", theirs, f"expected {list(expected)}, found {list(found.shape)}"))
        elif not found.is_floating_point() or not bool(found.is_meta or torch.isfinite(found).all()):
            problems.append(Problem("not-finite", theirs, "holds what is not a finite number"))
        else:
            value = found.float().reshape(expected)
            if edge == "stem" and len(shape) > 1:
                value = torch.cat([value.new_zeros(shape[0], shape[1] - IMAGE_CHANNELS, *shape[2:]), value], dim=1)
            weights[ours] = value[: shape[0]] if edge == "head" else value
    if problems:
        raise InputError(
            f"this is not a checkpoint that converts from {origin.value}",
            expected=f"the tensors of {_DESCRIPTION[origin]}",
            problems=problems,
            next_step="check --from, and that the file is the one its project publishes",
        )
    edges = {}
    if origin is Origin.ADM:
        rows = f"{IMAGE_CHANNELS}..{2 * IMAGE_CHANNELS - 1}"
        edges = {f"{names['head.' + kind]}[{rows}]": "the learned variance" for kind in ("weight", "bias")}
    return Converted(weights, dropped | edges)


_DESCRIPTION = {
    Origin.ADM: "guided-diffusion's 256x256 model: 256 channels, learned variance",
    Origin.JANSPIRY: "the port's published configuration: 64 channels, multipliers 1 2 4 8, U-Net guided_diffusion",
}


def _foreign_shape(shape: tuple[int, ...], *, stem: bool, head: bool) -> tuple[int, ...]:
    """The shape there of what has ``shape`` here (attention's 1x1 convolutions may lack the last axis)."""
    if stem:
        return (shape[0], IMAGE_CHANNELS, *shape[2:])
    return (2 * shape[0], *shape[1:]) if head else shape


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pt or .pth file, by name, without running what a pickle may hold.

    Raises InputError for a file that cannot be read, that wants to run code, or that holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            # Of pickles of another protocol than torch's own, which it reads or refuses all the same.
            warnings.simplefilter("ignore")
            value = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError("there is no such checkpoint", where=path, next_step="check the path") from error
    # The two libraries raise many types for a damaged file, one of them not exported.
    except Exception as error:
        wanted = _WANTED.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if wanted is not None:
            raise InputError(
                "a checkpoint holds more than tensors, and was not opened",
                where=path,
                expected="tensors alone: any other pickle can run code when it is opened",
                found=f"a wish for {wanted[1]}",
                next_step="where you trust it, save its state dict as safetensors",
            ) from error
        raise InputError(
            "a checkpoint cannot be read",
            where=path,
            expected="a whole .pt, .pth or .safetensors file",
            found=type(error).__name__ if isinstance(error, pickle.UnpicklingError) else _first_line(error),
            next_step="compare its size and checksum with where it is from",
        ) from error
    if not isinstance(value, dict) or not all(isinstance(one, Tensor) for one in value.values()):
        raise InputError(
            "a checkpoint holds something else than named tensors",
            where=path,
            expected="a state dict",
            found=type(value).__name__
            if not isinstance(value, dict)
            else ", ".join(sorted(f"{name}: {type(one).__name__}" for name, one in value.items())[:5]),
            next_step="save its state dict alone",
        )
    return {str(name): one for name, one in value.items()}


_WANTED = re.compile(r"GLOBAL ([\w.]+)")
"""What a refused pickle asked for, in torch's message, whose advice to open it all the same is not passed on."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__


@dataclass(frozen=True, slots=True)
class Written:
    """What a conversion wrote: the digest for the card, how many numbers, and what was left out."""

    sha256: str
    parameters: int
    dropped: Mapping[str, str]


def convert_file(source: Path, origin: Origin, out: Path, *, half: bool) -> Written:
    """Read a checkpoint, convert it, write it as one safetensors file. Raises InputError, naming the file."""
    try:
        converted = convert(read_tensors(source), origin)
    except InputError as error:
        if error.where is not None:
            raise
        raise InputError(
            error.what, where=source, expected=error.expected, problems=error.problems, next_step=error.next_step
        ) from error
    data = save_network(converted.weights, half=half)
    write_bytes(out, data)
    return Written(bytes_digest(data), sum(one.numel() for one in converted.weights.values()), converted.dropped)
