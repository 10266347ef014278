"""The network: what it counts, what it computes, and how far its pixels see."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from palette_bench.common.errors import UsageError
from palette_bench.predict.models.unet import (
    Attention,
    Block,
    GammaEmbedding,
    Mixing,
    Network,
    NetworkConfig,
    NoisyInput,
    Output,
    PixelNorm,
    Resampler,
    ResidualBlock,
    count_parameters,
    preset,
    sinusoids,
)
from tests.predict.tiny_network import drawn, network_of, noise_images, tiny


@functools.cache
def on_meta(name: str, mixing: Mixing, *, image_inputs: bool) -> Network:
    with torch.device("meta"):
        return Network(preset(name, mixing=mixing, image_inputs=image_inputs))


def flop(network: Network, side: int) -> int:
    """Twice the multiply-adds of one image."""
    image = torch.empty((1, 3, side, side), device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image, image if network.config.image_inputs else None, torch.empty(1, device="meta"))
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("name", "mixing", "image_inputs", "parameters", "gigaflop"),
    [
        ("palette256", Mixing.GLOBAL, True, 552_814_083, 2_239.7),
        ("palette256", Mixing.GLOBAL, False, 552_807_171, 2_238.8),
        ("palette256", Mixing.BLOCKS, True, 744_193_539, 2_316.4),
        ("palette256", Mixing.DILATED, True, 744_193_539, 2_316.4),
        ("palette256", Mixing.LOCAL, True, 552_814_083, 2_230.5),
        ("palette128", Mixing.GLOBAL, True, 105_198_595, 156.6),
        ("palette64", Mixing.GLOBAL, True, 25_119_427, 17.7),
        ("mini32", Mixing.GLOBAL, True, 999_980, 0.0945),
        ("mini32", Mixing.GLOBAL, False, 999_596, 0.0943),
        ("mini32", Mixing.BLOCKS, True, 1_211_660, 0.1014),
        ("mini32", Mixing.DILATED, True, 1_211_660, 0.1014),
        ("mini32", Mixing.LOCAL, True, 999_980, 0.0931),
        ("small32", Mixing.GLOBAL, True, 1_699_884, 0.2602),
        ("small32", Mixing.GLOBAL, False, 1_694_700, 0.2575),
        ("small32", Mixing.BLOCKS, True, 2_058_732, 0.2906),
    ],
)
def test_a_preset_has_as_many_parameters_and_needs_as_many_operations_as_is_known(
    name: str, mixing: Mixing, *, image_inputs: bool, parameters: int, gigaflop: float
) -> None:
    network = on_meta(name, mixing, image_inputs=image_inputs)
    assert count_parameters(network) == parameters
    digits = 1 if gigaflop > 1 else 4
    assert round(flop(network, network.config.size) / 1e9, digits) == gigaflop


def test_palette256_at_64_pixels_needs_a_sixteenth_and_less() -> None:
    assert round(flop(on_meta("palette256", Mixing.GLOBAL, image_inputs=True), 64) / 1e9, 1) == 139.4


def test_palette256_attends_in_every_block_of_three_levels_and_in_the_middle() -> None:
    def windows(mixing: Mixing) -> list[int | None]:
        network = on_meta("palette256", mixing, image_inputs=True)
        return [part.window for part in network.modules() if isinstance(part, Attention)]

    def residual_blocks(mixing: Mixing) -> int:
        network = on_meta("palette256", mixing, image_inputs=True)
        return sum(isinstance(part, ResidualBlock) for part in network.modules())

    assert windows(Mixing.GLOBAL) == [None] * 16
    # Two blocks down, the middle one, three up.
    assert windows(Mixing.LOCAL) == [16, 16, 8, 8, 4, 4, 4, 4, 4, 4, 8, 8, 8, 16, 16, 16]
    assert windows(Mixing.BLOCKS) == windows(Mixing.DILATED) == []
    assert residual_blocks(Mixing.GLOBAL) == residual_blocks(Mixing.LOCAL) == 42
    assert residual_blocks(Mixing.BLOCKS) == residual_blocks(Mixing.DILATED) == 42 + 3 * (2 + 2)


def test_an_unknown_preset_is_a_usage_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"(?s)palette256, palette128, palette64, mini32.*palette512"):
        preset("palette512")


def test_images_must_divide_into_the_levels_and_under_local_attention_into_its_blocks() -> None:
    assert preset("palette256").multiple == 32
    assert preset("mini32").multiple == 8
    assert preset("palette256", mixing=Mixing.LOCAL).multiple == 128
    config = tiny(mixing=Mixing.LOCAL)
    assert config.multiple == 8
    image = noise_images(1, 24)
    assert network_of(config)(image, image, torch.ones(1)).shape == image.shape
    with pytest.raises(RuntimeError, match="shape"):
        network_of(config)(image[..., :20, :20], image[..., :20, :20], torch.ones(1))


# Attention.


def einsum_attention(qkv: Tensor, heads: int, *, heads_first: bool = True) -> Tensor:
    """[n, 3 c, h, w] to [n, c, h, w], written out. ``heads_first``: a head's query, key and value lie side by side."""
    n, channels, height, width = qkv.shape
    size = channels // 3 // heads
    flat = qkv.reshape(n, channels, height * width)
    parts = flat.reshape(n, heads, 3, size, -1) if heads_first else flat.reshape(n, 3, heads, size, -1).transpose(1, 2)
    query, key, value = parts.unbind(2)
    logits = torch.einsum("nhcq,nhck->nhqk", query, key) / size**0.5
    weights = torch.exp(logits - logits.amax(-1, keepdim=True))
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("nhqk,nhck->nhcq", weights, value).reshape(n, channels // 3, height, width)


def attention(window: int | None = None) -> Attention:
    made = Attention(32, tiny(), window=window)
    drawn(made)
    made.norm = nn.Identity()
    return made


def test_attention_is_the_written_out_formula_in_the_order_of_the_published_checkpoints() -> None:
    module = attention()
    image = torch.randn((2, 32, 6, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        qkv = module.query_key_value(image)
        expected, twin = (
            image + module.project(einsum_attention(qkv, module.heads, heads_first=first)) for first in (True, False)
        )
        torch.testing.assert_close(module(image), expected, rtol=1e-5, atol=1e-5)
        assert (module(image) - twin).abs().max() > 0.1


def influence(module: nn.Module, side: int, row: int, column: int) -> Tensor:
    """Which pixels [side, side] of an image move one pixel of the output."""
    image = torch.randn((1, 32, side, side), generator=torch.Generator().manual_seed(0)).requires_grad_()
    module(image)[0, :, row, column].sum().backward()
    assert image.grad is not None
    return image.grad[0].abs().sum(0) > 0


@pytest.mark.parametrize("side", [8, 16])
def test_local_attention_stays_in_its_block_and_larger_images_have_more_blocks(side: int) -> None:
    block = torch.zeros((side, side), dtype=torch.bool)
    block[4:8, :4] = True
    assert torch.equal(influence(attention(4), side, 5, 2), block)
    assert influence(attention(), side, 5, 2).all()


def test_local_attention_is_attention_block_by_block() -> None:
    module, whole = attention(4), attention()
    image = torch.randn((2, 32, 8, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rows = [torch.cat([whole(image[..., y : y + 4, x : x + 4]) for x in (0, 4, 8)], dim=3) for y in (0, 4)]
        torch.testing.assert_close(module(image), torch.cat(rows, dim=2), rtol=1e-5, atol=1e-5)


def test_the_norm_of_attention_is_over_groups_of_channels_of_the_whole_image() -> None:
    module = Attention(32, tiny(), window=None)
    drawn(module)
    image = torch.randn((2, 32, 4, 4), generator=torch.Generator().manual_seed(0))
    grouped = image.reshape(2, 4, -1)
    scaled = (grouped - grouped.mean(-1, keepdim=True)) / (grouped.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    assert isinstance(module.norm, nn.GroupNorm)
    expected = scaled.reshape(image.shape) * module.norm.weight[:, None, None] + module.norm.bias[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(module.norm(image), expected, rtol=1e-5, atol=1e-5)


# How far pixels see without attention.


def one_level(mixing: Mixing) -> Network:
    """A single level, norms taken out: they let every pixel see every other."""
    config = NetworkConfig(
        size=16, channels=8, multipliers=(1,), blocks=2, attention=(16,), head_channels=8, groups=2, mixing=mixing
    )
    network = network_of(config)
    for part in network.modules():
        for name, child in part.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(part, name, nn.Identity())
    return network


@pytest.mark.parametrize(
    ("mixing", "reach"),
    [
        # Stem and head 1 each; two convolutions a block: four blocks down, two in the middle, five up.
        (Mixing.BLOCKS, 2 + 2 * (4 + 2 + 5)),
        (Mixing.DILATED, 2 + 2 * ((1 + 2 + 4 + 8) + 2 + (1 + 2 + 4 + 8 + 1))),
    ],
)
def test_dilation_widens_what_a_pixel_sees(mixing: Mixing, reach: int) -> None:
    image = torch.randn((1, 3, 4, 161), generator=torch.Generator().manual_seed(0)).requires_grad_()
    one_level(mixing)(image, image, torch.ones(1))[0, :, :, 80].sum().backward()
    assert image.grad is not None
    seen = torch.nonzero(image.grad.abs().sum((0, 1, 2))).flatten().tolist()
    assert (min(seen), max(seen)) == (80 - reach, 80 + reach)


# The whole.


def test_before_training_the_network_gives_zero_and_its_blocks_are_their_skips() -> None:
    network = Network(tiny()).eval()
    image = noise_images(2, 16)
    with torch.no_grad():
        assert not network(image, image, torch.ones(2)).any()
        assert network_of(tiny())(image, image, torch.ones(2)).abs().min() > 0
        features = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(0))
        level = torch.randn((1, 64), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(ResidualBlock(16, 16, tiny())(features, level), features)


@pytest.mark.parametrize("mixing", list(Mixing))
def test_an_image_does_not_see_its_neighbours_in_the_batch(mixing: Mixing) -> None:
    network = network_of(tiny(mixing=mixing))
    images, gamma = noise_images(4, 16), torch.tensor([0.9, 0.1, 0.5, 0.3])
    with torch.no_grad():
        output = network(images, images.flip(2), gamma)
        changed = images.clone()
        changed[2:] = changed[2:] * 3 + 1
        other = network(changed, changed.flip(2), torch.tensor([0.9, 0.1, 0.01, 0.02]))
    assert torch.equal(output[:2], other[:2])
    assert (output[2:] != other[2:]).any()


def test_every_input_moves_the_output() -> None:
    network = network_of(tiny())
    image, noisy, gamma = noise_images(1, 16, 1), noise_images(1, 16, 2), torch.full((1,), 0.5)
    with torch.no_grad():
        base = network(image, noisy, gamma)
        for other in (
            network(image + 0.1, noisy, gamma),
            network(image, noisy + 0.1, gamma),
            network(noisy, image, gamma),
            network(image, noisy, gamma + 0.1),
        ):
            assert (base - other).abs().max() > 1e-3


def test_a_wiener_input_is_scaled_and_a_velocity_put_together_with_the_noisy_image_as_it_is() -> None:
    plain = network_of(tiny())
    image, noisy, gamma = noise_images(2, 16, 1), noise_images(2, 16, 2), torch.tensor([0.9, 0.04])
    root = gamma.sqrt()[:, None, None, None]

    def said(noisy_input: NoisyInput, output: Output) -> Tensor:
        network = network_of(replace(tiny(), noisy_input=noisy_input, output=output))
        with torch.no_grad():
            result: Tensor = network(image, noisy, gamma)
        return result

    with torch.no_grad():
        last = plain(image, noisy * root, gamma)
    torch.testing.assert_close(said(NoisyInput.WIENER, Output.NOISE), last)
    assert (said(NoisyInput.PLAIN, Output.NOISE) - last).abs().max() > 1e-3
    both = said(NoisyInput.WIENER, Output.VELOCITY)
    torch.testing.assert_close(both, (1 - root.square()).sqrt() * noisy + root * last)


def test_edms_input_and_output_are_those_of_karras_for_images_of_half_the_spread() -> None:
    image, noisy, gamma = noise_images(2, 16, 1), noise_images(2, 16, 2), torch.tensor([0.9, 0.04])
    g = gamma[:, None, None, None]
    sigma, spread = ((1 - g) / g).sqrt(), 0.5
    c_in = (sigma.square() + spread**2).rsqrt()
    with torch.no_grad():
        last = network_of(tiny())(image, noisy / g.sqrt() * c_in, gamma)
        config = replace(tiny(), noisy_input=NoisyInput.UNIT, output=Output.EDM)
        found = network_of(config)(image, noisy, gamma)
    c_skip, c_out = spread**2 * c_in.square(), -sigma * spread * c_in
    denoised = c_skip * noisy / g.sqrt() + c_out * last
    torch.testing.assert_close(found, (noisy / g.sqrt() - denoised) / sigma, rtol=1e-4, atol=1e-4)


def test_a_pixel_norm_leaves_pixels_alone_and_gives_each_the_length_of_its_gains() -> None:
    image = 5.0 * torch.randn((2, 16, 4, 4), generator=torch.Generator().manual_seed(0))
    norm = PixelNorm(16)
    torch.testing.assert_close(norm(image).square().mean(1), torch.ones(2, 4, 4), rtol=1e-4, atol=1e-4)
    changed = image.clone()
    changed[:, :, 1:] *= 3.0
    assert torch.equal(norm(changed)[:, :, 0], norm(image)[:, :, 0])
    assert norm(image.bfloat16()).dtype == torch.bfloat16


def test_attention_over_unit_queries_cannot_be_sharpened_by_their_length() -> None:
    module = Attention(32, replace(tiny(), unit_queries=True), window=None)
    drawn(module)
    module.norm = nn.Identity()
    image = torch.randn((2, 32, 4, 4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        qkv = module.query_key_value(image).reshape(2, 2, 3, 16, 16)
        query, key, value = (qkv[:, :, part].transpose(2, 3) for part in range(3))
        cosine = functional.cosine_similarity(query[:, :, :, None], key[:, :, None], dim=4)
        seen = torch.softmax(2.25 * 4.0 * cosine, 3) @ value
        expected = image + module.project(seen.transpose(2, 3).reshape(2, 32, 4, 4))
        torch.testing.assert_close(module(image), expected, rtol=1e-4, atol=1e-4)


def test_a_light_layout_sees_beyond_its_squares_and_changes_channels_between_levels() -> None:
    network = network_of(replace(preset("small32"), multipliers=(1, 2, 4), attention=(4,)))
    image = noise_images(2, 32)
    assert network(image, image, torch.ones(2)).shape == image.shape
    between = [tuple(part.layer.weight.shape) for part in network.modules() if isinstance(part, Resampler)]
    assert between == [(96, 48, 2, 2), (192, 96, 2, 2), (4 * 96, 192, 1, 1), (4 * 48, 96, 1, 1)]
    assert network.stem.kernel_size == (3, 3)
    network.recompute_above(8)
    assert [block.recompute for block in network.encoder if isinstance(block, Block)] == [True, False, False]


@pytest.mark.parametrize("patch", [1, 2])
def test_channels_last_computes_the_same(patch: int) -> None:
    network = network_of(tiny(patch=patch))
    image, gamma = noise_images(2, 16), torch.tensor([0.9, 0.1])
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = network(image, image.flip(3), gamma)
        found = last(image.contiguous(memory_format=torch.channels_last), image.flip(3), gamma)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_regression_twin_sees_the_condition_alone_and_shares_all_other_shapes() -> None:
    twin, palette = network_of(tiny(image_inputs=False)), network_of(tiny())
    image = noise_images(1, 16)
    assert twin(image, None, torch.ones(1)).shape == image.shape
    with pytest.raises(RuntimeError, match="channels"):
        twin(image, image, torch.ones(1))
    shapes = [{name: tuple(value.shape) for name, value in n.state_dict().items()} for n in (twin, palette)]
    assert {name for name in shapes[1] if shapes[0][name] != shapes[1][name]} == {"stem.weight"}


def gradients(network: Network) -> list[Tensor]:
    network.zero_grad()
    image = noise_images(2, 16)
    network(image, image.flip(2), torch.tensor([0.9, 0.1])).square().sum().backward()
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


def test_what_is_computed_twice_has_equal_gradients() -> None:
    network = network_of(tiny()).train()
    kept = gradients(network)
    network.recompute_above(8)
    again = {name: module.recompute for name, module in network.named_modules() if hasattr(module, "recompute")}
    # The level of 16 pixels: a block and the way down; on the way up two blocks, after the one that leads there.
    assert [name for name, on in again.items() if on] == [
        "encoder.0",
        "encoder.1",
        "decoder.2",
        "decoder.3",
        "decoder.4",
    ]
    calls: list[str] = []
    for name, module in network.named_modules():
        if name in ("encoder.0", "encoder.0.residual", "encoder.2.residual"):
            module.register_forward_pre_hook(functools.partial(lambda name, *_: calls.append(name), name))
    repeated = gradients(network)
    assert [calls.count(name) for name in ("encoder.0", "encoder.0.residual", "encoder.2.residual")] == [1, 2, 1]
    assert len(kept) == len(repeated) == len(list(network.parameters()))
    for one, other in zip(kept, repeated, strict=True):
        torch.testing.assert_close(one, other)


# How the noise level enters.


def distance(embedding: GammaEmbedding, first: float, second: float) -> float:
    one, other = sinusoids(embedding.of(torch.tensor([first, second])), 64)
    return float((one - other).norm())


def test_scaled_embeddings_tell_small_gammas_apart_and_the_raw_one_hardly_does() -> None:
    assert distance(GammaEmbedding.SQRT_1000, 1e-4, 1e-3) == pytest.approx(5.4, abs=0.05)
    assert distance(GammaEmbedding.RAW, 1e-4, 1e-3) == pytest.approx(0.0014, abs=1e-4)
    assert distance(GammaEmbedding.SQRT_5000, 1e-4, 1e-3) > 5
    assert distance(GammaEmbedding.LOGSNR, 1e-4, 1e-3) > 5


def test_embeddings_are_their_formulas() -> None:
    gamma = torch.tensor([1e-4, 0.25, 1.0])
    assert GammaEmbedding.SQRT_1000.of(gamma).tolist() == pytest.approx([10.0, 500.0, 1000.0])
    assert GammaEmbedding.SQRT_5000.of(gamma).tolist() == pytest.approx([50.0, 2500.0, 5000.0])
    assert GammaEmbedding.RAW.of(gamma).tolist() == gamma.tolist()
    assert GammaEmbedding.LOGSNR.of(gamma).tolist() == pytest.approx([-921.024, -109.861, 1500.0], rel=1e-4)


def test_sinusoids_are_cosines_then_sines_from_frequency_one_to_a_ten_thousandth() -> None:
    embedded = sinusoids(torch.tensor([2.0, 500.0]), 8).double()
    frequencies = torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64)
    for row, position in zip(embedded, (2.0, 500.0), strict=True):
        torch.testing.assert_close(row[:4], (position * frequencies).cos(), rtol=0, atol=1e-4)
        torch.testing.assert_close(row[4:], (position * frequencies).sin(), rtol=0, atol=1e-4)
