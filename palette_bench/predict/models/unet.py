"""Palette's network: the U-Net of ADM (Dhariwal & Nichol 2021, 256x256) without labels, told the noise level gamma.

Shapes are [n, channels, height, width]. At 256x256 the levels are
256:256, 128:256, 64:512, 32:512, 16:1024, 8:1024 (side:channels), two residual blocks each on the way down and three on
the way up, with self-attention in every block at 32, 16 and 8 and in the middle. The image is concatenated to the
condition on channels: 6 in, 3 out. The regression twin is the same class with the condition alone: 3 in, 3 out.

With ``preset("palette256")`` it has 552,814,083 parameters and needs 2,239.7 GFLOP for one 256x256 image forward (twice
its multiply-adds); the regression twin has 552,807,171 parameters.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from palette_bench.common.errors import UsageError

MAX_PERIOD = 10_000.0
DATA_SPREAD = 0.5
"""The standard deviation of images that EDM's preconditioning takes for granted (sigma_data)."""


def noisy_variance(gamma: Tensor) -> Tensor:
    """The variance of sqrt(gamma) image + sqrt(1 - gamma) noise for images of ``DATA_SPREAD``; [n] to [n]."""
    return 1.0 - gamma * (1.0 - DATA_SPREAD**2)


class Mixing(StrEnum):
    """How far pixels see each other at the coarse levels: the four rows of Table 5."""

    GLOBAL = "global"
    """Self-attention over the whole image: Palette."""
    LOCAL = "local"
    """Self-attention inside 2x2 non-overlapping query blocks of the training size; larger images have more blocks."""
    BLOCKS = "more-blocks"
    """No attention anywhere and twice the residual blocks at the levels that had it."""
    DILATED = "dilated"
    """As ``more-blocks``, the blocks of a level dilated 1, 2, 4, 8."""

    @property
    def attends(self) -> bool:
        """Whether there is attention at all."""
        return self in (Mixing.GLOBAL, Mixing.LOCAL)


class GammaEmbedding(StrEnum):
    """What of the noise level gamma goes into the sinusoids (MODEL_FACTS A2)."""

    SQRT_1000 = "sqrt1000"
    """1000 sqrt(gamma), the range that ADM's time steps have."""
    SQRT_5000 = "sqrt5000"
    """5000 sqrt(gamma), as in ports of WaveGrad."""
    RAW = "raw"
    """gamma itself, as in the ports of Palette by Janspiry; it tells small gammas hardly apart."""
    LOGSNR = "logsnr"
    """100 times the log of gamma / (1 - gamma), clipped to +-15."""

    def of(self, gamma: Tensor) -> Tensor:
        """The number that the sinusoids see; [n] float32 in (0, 1] to [n] float32."""
        match self:
            case GammaEmbedding.SQRT_1000:
                return gamma.sqrt() * 1000.0
            case GammaEmbedding.SQRT_5000:
                return gamma.sqrt() * 5000.0
            case GammaEmbedding.RAW:
                return gamma
            case GammaEmbedding.LOGSNR:
                return torch.logit(gamma.double()).clamp(-15.0, 15.0).float() * 100.0


class Output(StrEnum):
    """What the last layer gives. Whatever it is, `Network` returns the noise, and the loss is on the noise."""

    NOISE = "noise"
    """The noise itself: the paper's."""
    VELOCITY = "velocity"
    """v of sqrt(1 - gamma) y + sqrt(gamma) v (Salimans & Ho 2022). Where there is almost nothing but noise, the noise
    is y itself, and a small network need not learn to copy it to a hundredth."""
    EDM = "edm"
    """The same for images of a standard deviation of ``DATA_SPREAD`` in place of 1: the preconditioning of Karras et
    al. 2022 (Table 1), c_skip and c_out, in terms of gamma, sigma^2 = (1 - gamma) / gamma."""


class NoisyInput(StrEnum):
    """How the noisy image enters the network."""

    PLAIN = "plain"
    """As it is: the paper's."""
    WIENER = "wiener"
    """Times sqrt(gamma), the best linear estimate of an image of unit variance. The less there is to see, the less
    noise a small network has to keep out of its few channels: near gamma 0 it is the regression."""
    UNIT = "unit"
    """Divided by its standard deviation where images have one of ``DATA_SPREAD``: c_in of Karras et al. 2022."""

    def of(self, noisy: Tensor, gamma: Tensor) -> Tensor:
        """What the network is given of noisy images [n, 3, h, w] at ``gamma`` [n]."""
        match self:
            case NoisyInput.PLAIN:
                return noisy
            case NoisyInput.WIENER:
                return noisy * gamma.sqrt()[:, None, None, None]
            case NoisyInput.UNIT:
                return noisy * noisy_variance(gamma).rsqrt()[:, None, None, None]


class Norm(StrEnum):
    """What the blocks normalise by."""

    GROUP = "group"
    """Mean and variance of groups of channels over the whole image: ADM's."""
    RMS = "rms"
    """The root mean square over the channels of each pixel: nothing is summed over the image."""


class Layout(StrEnum):
    """What stands between the levels and before the first."""

    ADM = "adm"
    """A residual block that halves or doubles the side; a stem that sees one square of pixels at a time."""
    LIGHT = "light"
    """One linear layer over squares of 2x2 that also changes the channels; a stem that sees 3x3 squares. For small
    networks, whose residual blocks are better spent at the finest level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Everything that decides the shapes of the network.

    ``size`` is the side it is trained at, ``patch`` the side of the squares of pixels that the stem folds into channels
    (1 for Palette), ``multipliers`` the channels of each level in units of ``channels``, ``attention`` the sides (in
    pixels of the image over the downsampling) at which blocks attend.
    """

    size: int
    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    head_channels: int = 64
    groups: int = 32
    patch: int = 1
    mixing: Mixing = Mixing.GLOBAL
    gamma_embedding: GammaEmbedding = GammaEmbedding.SQRT_1000
    output: Output = Output.NOISE
    noisy_input: NoisyInput = NoisyInput.PLAIN
    norm: Norm = Norm.GROUP
    layout: Layout = Layout.ADM
    unit_queries: bool = False
    """Whether attention compares queries and keys of one length each, so that no logit can grow beyond bounds."""
    dropout: float = 0.0
    image_inputs: bool = True
    """Whether the noisy image is an input beside the condition; the regression twin has none."""

    @property
    def sides(self) -> tuple[int, ...]:
        """The side of each level."""
        return tuple(self.size // self.patch >> level for level in range(len(self.multipliers)))

    @property
    def multiple(self) -> int:
        """Sides of images must be a multiple of this."""
        # Local attention divides the coarsest level, and with it every other, into blocks.
        block = self.sides[-1] // 2 if self.mixing is Mixing.LOCAL else 1
        return (self.patch << (len(self.multipliers) - 1)) * block


PRESETS = {
    "palette256": NetworkConfig(
        size=256, channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=(32, 16, 8), head_channels=64
    ),
    "palette128": NetworkConfig(
        size=128, channels=128, multipliers=(1, 1, 2, 3, 4), blocks=2, attention=(32, 16, 8), head_channels=64
    ),
    "palette64": NetworkConfig(
        size=64, channels=64, multipliers=(1, 2, 3, 4), blocks=2, attention=(16, 8), head_channels=64
    ),
    "mini32": NetworkConfig(
        size=32, channels=32, multipliers=(1, 1, 2), blocks=1, attention=(8, 4), head_channels=32, groups=8, patch=2
    ),
    "small32": NetworkConfig(
        size=32,
        channels=48,
        multipliers=(1, 2),
        blocks=1,
        attention=(8,),
        head_channels=32,
        patch=2,
        norm=Norm.RMS,
        layout=Layout.LIGHT,
        unit_queries=True,
    ),
    # The configuration that Janspiry's port publishes: it attends in the middle alone. 62.6 million parameters.
    "janspiry256": NetworkConfig(
        size=256, channels=64, multipliers=(1, 2, 4, 8), blocks=2, attention=(), head_channels=32
    ),
}


def preset(name: str, *, mixing: Mixing = Mixing.GLOBAL, image_inputs: bool = True) -> NetworkConfig:
    """The configuration of that name. Raises UsageError for a name that is not in ``PRESETS``."""
    if name not in PRESETS:
        raise UsageError("no such network", expected=f"one of {', '.join(PRESETS)}", found=name)
    return replace(PRESETS[name], mixing=mixing, image_inputs=image_inputs)


class PixelNorm(nn.Module):
    """Divides each pixel's channels by their root mean square and multiplies them by learned gains.

    [n, c, h, w] to the same shape and type, computed in float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to the same shape."""
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(dim=1, keepdim=True) + 1e-5)
        return (wide * scale * self.weight[None, :, None, None]).to(x.dtype)


def _norm(channels: int, config: NetworkConfig) -> nn.Module:
    return PixelNorm(channels) if config.norm is Norm.RMS else nn.GroupNorm(config.groups, channels)


def _zeroed(module: nn.Conv2d) -> nn.Conv2d:
    """A convolution that starts as the zero function, so that its block starts as the identity."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


class Resample(StrEnum):
    """What a residual block does to the side of its image."""

    KEEP = "keep"
    DOWN = "down"
    UP = "up"


class ResidualBlock(nn.Module):
    """Norm, SiLU, 3x3; norm with scale and shift from the noise level, SiLU, 3x3; beside a skip.

    [n, inputs, h, w] to [n, outputs, h, w], or half or twice the side: average pooling or nearest, on both branches.
    """

    def __init__(
        self, inputs: int, outputs: int, config: NetworkConfig, *, dilation: int = 1, resample: Resample = Resample.KEEP
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm_in = _norm(inputs, config)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.level = nn.Linear(4 * config.channels, 2 * outputs)
        self.norm_out = _norm(outputs, config)
        self.dropout = nn.Dropout(config.dropout)
        self.conv_out = _zeroed(nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """``x`` [n, inputs, h, w] and the activated embedding ``level`` [n, 4 channels]."""
        inner = functional.silu(self.norm_in(x))
        inner = self.conv_in(self._resampled(inner))
        scale, shift = self.level(level)[:, :, None, None].chunk(2, dim=1)
        inner = functional.silu(torch.addcmul(shift, self.norm_out(inner), 1.0 + scale))
        changed = self.conv_out(self.dropout(inner))
        total: Tensor = changed + self.skip(self._resampled(x))
        return total

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample is Resample.DOWN:
            return functional.avg_pool2d(x, 2)
        if self.resample is Resample.UP:
            return functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return x


class Attention(nn.Module):
    """Multi-head self-attention beside the identity, over the whole image or inside squares of side ``window``."""

    def __init__(self, channels: int, config: NetworkConfig, *, window: int | None) -> None:
        super().__init__()
        if channels % config.head_channels:
            raise ValueError(f"{channels} channels do not divide into heads of {config.head_channels}")
        self.heads = channels // config.head_channels
        self.window = window
        self.unit_queries = config.unit_queries
        self.norm = _norm(channels, config)
        # One head's query, key and value lie side by side, as in ADM's checkpoints.
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.project = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to the same shape."""
        mixed = self.query_key_value(self.norm(x))
        side = self.window
        if side is None or (x.shape[2] <= side and x.shape[3] <= side):
            seen = self._attend(mixed)
        else:
            seen = _from_windows(self._attend(_to_windows(mixed, side)), x.shape[2], x.shape[3], side)
        projected: Tensor = self.project(seen)
        return x + projected

    def _attend(self, mixed: Tensor) -> Tensor:
        """[n, 3 c, h, w] to [n, c, h, w]."""
        n, channels, height, width = mixed.shape
        per_head = mixed.reshape(n, self.heads, channels // self.heads, height * width).transpose(2, 3)
        query, key, value = per_head.chunk(3, dim=3)  # [n, heads, h w, head_channels]
        if self.unit_queries:
            # The logits are 2.25 sqrt(head_channels) times a cosine. Written out: a processor's own kernel is slow
            # in bfloat16.
            query, key = (functional.normalize(one.float(), dim=3) for one in (query, key))
            logits = (query * (2.25 * math.sqrt(query.shape[3]))) @ key.transpose(2, 3)
            seen = torch.softmax(logits.float(), dim=3) @ value.float()
        else:
            seen = functional.scaled_dot_product_attention(query, key, value)
        return seen.transpose(2, 3).reshape(n, channels // 3, height, width)


def _to_windows(x: Tensor, side: int) -> Tensor:
    """[n, c, h, w] to [n * windows, c, side, side]."""
    n, channels, height, width = x.shape
    x = x.reshape(n, channels, height // side, side, width // side, side)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)


def _from_windows(x: Tensor, height: int, width: int, side: int) -> Tensor:
    """The inverse of ``_to_windows``."""
    rows, columns, channels = height // side, width // side, x.shape[1]
    x = x.reshape(-1, rows, columns, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(-1, channels, height, width)


class Block(nn.Module):
    """A residual block, and attention after it where the level attends."""

    def __init__(self, residual: ResidualBlock, attention: Attention | None) -> None:
        super().__init__()
        self.residual = residual
        self.attention = attention
        self.resample = residual.resample
        self.rises = residual.resample is Resample.UP
        self.recompute = False

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """[n, c, h, w] and the embedding to what comes out of both."""
        if self.recompute and self.training and torch.is_grad_enabled():
            again: Tensor = checkpoint(self._run, x, level, use_reentrant=False)
            return again
        return self._run(x, level)

    def _run(self, x: Tensor, level: Tensor) -> Tensor:
        mixed: Tensor = self.residual(x, level)
        if self.attention is not None:
            mixed = self.attention(mixed)
        return mixed


class Resampler(nn.Module):
    """A linear layer over squares of 2x2 pixels: [n, inputs, h, w] to [n, outputs, h / 2, w / 2] or twice the side."""

    def __init__(self, inputs: int, outputs: int, resample: Resample) -> None:
        super().__init__()
        self.resample = resample
        self.rises = resample is Resample.UP
        down = resample is Resample.DOWN
        self.layer = nn.Conv2d(inputs, outputs, 2, stride=2) if down else nn.Conv2d(inputs, 4 * outputs, 1)

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        """``x`` [n, inputs, h, w]; the embedding of the noise level, which a block has, is not looked at."""
        out: Tensor = self.layer(x)
        return out if self.resample is Resample.DOWN else functional.pixel_shuffle(out, 2)


class Network(nn.Module):
    """The U-Net: a noisy image and its condition to the noise (Palette), or a condition to an image (regression)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels, patch = config.channels, config.patch
        inputs = 6 if config.image_inputs else 3
        self.embed = nn.Sequential(nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, 4 * channels))
        light = config.layout is Layout.LIGHT
        if light:
            self.stem = nn.Conv2d(inputs * patch * patch, channels, 3, padding=1)
        elif patch == 1:
            self.stem = nn.Conv2d(inputs, channels, 3, padding=1)
        else:
            self.stem = nn.Conv2d(inputs, channels, patch, stride=patch)

        self.encoder = nn.ModuleList()
        width, skips = channels, [channels]
        for depth, multiplier in enumerate(config.multipliers):
            for index in range(self._blocks_at(depth)):
                self.encoder.append(self._block(width, channels * multiplier, depth, index))
                width = channels * multiplier
                skips.append(width)
            if depth + 1 < len(config.multipliers):
                if light:
                    below = channels * config.multipliers[depth + 1]
                    self.encoder.append(Resampler(width, below, Resample.DOWN))
                    width = below
                else:
                    self.encoder.append(Block(ResidualBlock(width, width, config, resample=Resample.DOWN), None))
                skips.append(width)

        window = config.sides[-1] // 2 if config.mixing is Mixing.LOCAL else None
        self.middle = nn.ModuleList(
            [
                Block(
                    ResidualBlock(width, width, config),
                    Attention(width, config, window=window) if config.mixing.attends else None,
                ),
                Block(ResidualBlock(width, width, config), None),
            ]
        )

        self.decoder = nn.ModuleList()
        for depth, multiplier in reversed(list(enumerate(config.multipliers))):
            for index in range(self._blocks_at(depth) + 1):
                self.decoder.append(self._block(width + skips.pop(), channels * multiplier, depth, index))
                width = channels * multiplier
            if depth and light:
                above = channels * config.multipliers[depth - 1]
                self.decoder.append(Resampler(width, above, Resample.UP))
                width = above
            elif depth:
                self.decoder.append(Block(ResidualBlock(width, width, config, resample=Resample.UP), None))

        self.norm = _norm(width, config)
        self.head = _zeroed(nn.Conv2d(width, 3 * patch * patch, 3, padding=1))

    def _attends_at(self, depth: int) -> bool:
        return self.config.sides[depth] in self.config.attention

    def _blocks_at(self, depth: int) -> int:
        doubled = self._attends_at(depth) and not self.config.mixing.attends
        return self.config.blocks * (2 if doubled else 1)

    def _block(self, inputs: int, outputs: int, depth: int, index: int) -> Block:
        config = self.config
        dilated = self._attends_at(depth) and config.mixing is Mixing.DILATED
        residual = ResidualBlock(inputs, outputs, config, dilation=1 << (index % 4) if dilated else 1)
        if not (self._attends_at(depth) and config.mixing.attends):
            return Block(residual, None)
        window = config.sides[depth] // 2 if config.mixing is Mixing.LOCAL else None
        return Block(residual, Attention(outputs, config, window=window))

    def forward(self, condition: Tensor, noisy: Tensor | None, gamma: Tensor) -> Tensor:
        """``condition`` and ``noisy`` [n, 3, h, w] in [-1, 1] (``noisy`` None for regression), ``gamma`` [n] in (0, 1].

        Returns [n, 3, h, w]: the noise, or for regression the image.
        """
        inputs = condition
        if noisy is not None:
            inputs = torch.cat([condition, self.config.noisy_input.of(noisy, gamma)], dim=1)
        level = functional.silu(self.embed(sinusoids(self.config.gamma_embedding.of(gamma), self.config.channels)))
        if self.config.layout is Layout.LIGHT:
            inputs = functional.pixel_unshuffle(inputs, self.config.patch)
        x = self.stem(inputs)
        skips = [x]
        for block in self.encoder:
            x = block(x, level)
            skips.append(x)
        for block in self.middle:
            x = block(x, level)
        for block in self.decoder:
            if not block.rises:
                x = torch.cat([x, skips.pop()], dim=1)
            x = block(x, level)
        out: Tensor = self.head(functional.silu(self.norm(x)))
        if self.config.patch > 1:
            out = functional.pixel_shuffle(out, self.config.patch)
        if noisy is None or self.config.output is Output.NOISE:
            return out
        g = gamma[:, None, None, None]
        if self.config.output is Output.VELOCITY:
            return (1.0 - g).sqrt() * noisy + g.sqrt() * out
        variance = noisy_variance(g)
        return (1.0 - g).sqrt() / variance * noisy + DATA_SPREAD * (g / variance).sqrt() * out

    def recompute_above(self, side: int) -> None:
        """Do not keep activations of blocks whose images are wider than ``side`` pixels: compute them twice."""
        for block, width in self._blocks_with_sides():
            block.recompute = width > side

    def _blocks_with_sides(self) -> Iterator[tuple[Block, int]]:
        side = self.config.size // self.config.patch
        for block in [*self.encoder, *self.middle, *self.decoder]:
            if not isinstance(block, Block | Resampler):
                raise TypeError("a part of the network that is not a block")
            if block.resample is Resample.UP:
                side *= 2
            if isinstance(block, Block):
                yield block, side
            if block.resample is Resample.DOWN:
                side //= 2


def sinusoids(positions: Tensor, channels: int) -> Tensor:
    """ADM's embedding of a number: cosines, then sines, frequencies 1 to 1 / 10,000; [n] to [n, channels] float32."""
    half = channels // 2
    frequencies = torch.exp(
        torch.arange(half, dtype=torch.float32, device=positions.device) * (-math.log(MAX_PERIOD) / half)
    )
    angles = positions.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def count_parameters(network: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
