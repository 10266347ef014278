"""Foreign checkpoints become our weights: the same function, every tensor accounted for, nothing run."""

import math
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from palette_bench.common.errors import InputError
from palette_bench.predict.models.converters import Origin, convert, convert_file, names_of, read_tensors
from palette_bench.predict.models.unet import (
    GammaEmbedding,
    Network,
    NetworkConfig,
    count_parameters,
    preset,
)
from tests.conftest import RunCommand

Shapes = dict[str, tuple[int, ...]]
Tensors = Mapping[str, Tensor]

TINY = NetworkConfig(
    size=16,
    channels=32,
    multipliers=(1, 1, 2),
    blocks=2,
    attention=(8, 4),
    head_channels=16,
    gamma_embedding=GammaEmbedding.RAW,
)
"""Three levels as in the foreign projects, attention at the two lower ones, two heads and four."""


def foreign_shapes(config: NetworkConfig, origin: Origin, *, classes: int = 0) -> Shapes:
    """Names and shapes as the two projects define their networks, counted level by level."""
    inputs, outputs = (3, 6) if origin is Origin.ADM else (6, 3)
    width, embedding = config.channels, 4 * config.channels
    shapes: Shapes = {}

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    def residual(name: str, there: int, here: int) -> None:
        layer(f"{name}.in_layers.0", there)
        layer(f"{name}.in_layers.2", here, there, 3, 3)
        layer(f"{name}.emb_layers.1", 2 * here, embedding)
        layer(f"{name}.out_layers.0", here)
        layer(f"{name}.out_layers.3", here, here, 3, 3)
        if there != here:
            layer(f"{name}.skip_connection", here, there, 1, 1)

    def attention(name: str, here: int) -> None:
        layer(f"{name}.norm", here)
        layer(f"{name}.qkv", 3 * here, here, 1)
        layer(f"{name}.proj_out", here, here, 1)

    time = "time_embed" if origin is Origin.ADM else "cond_embed"
    layer(f"{time}.0", embedding, width)
    layer(f"{time}.2", embedding, embedding)
    if classes:
        shapes["label_emb.weight"] = (classes, embedding)
    layer("input_blocks.0.0", width, inputs, 3, 3)
    attends = [config.size >> level in config.attention for level in range(len(config.multipliers))]
    skips, number = [width], 0
    for level, multiplier in enumerate(config.multipliers):
        for _ in range(config.blocks):
            number += 1
            residual(f"input_blocks.{number}.0", width, width := config.channels * multiplier)
            if attends[level]:
                attention(f"input_blocks.{number}.1", width)
            skips.append(width)
        if level + 1 < len(config.multipliers):
            number += 1
            residual(f"input_blocks.{number}.0", width, width)
            skips.append(width)
    residual("middle_block.0", width, width)
    attention("middle_block.1", width)
    residual("middle_block.2", width, width)
    number = -1
    for level, multiplier in reversed(list(enumerate(config.multipliers))):
        for index in range(config.blocks + 1):
            number += 1
            residual(f"output_blocks.{number}.0", width + skips.pop(), width := config.channels * multiplier)
            if attends[level]:
                attention(f"output_blocks.{number}.1", width)
            if level and index == config.blocks:
                residual(f"output_blocks.{number}.{2 if attends[level] else 1}", width, width)
    layer("out.0", width)
    layer("out.2", outputs, width, 3, 3)
    if origin is Origin.ADM:
        return shapes
    schedule = ["gammas", "sqrt_recip_gammas", "sqrt_recipm1_gammas", "posterior_log_variance_clipped"]
    schedule += ["posterior_mean_coef1", "posterior_mean_coef2"]
    return {f"denoise_fn.{name}": shape for name, shape in shapes.items()} | dict.fromkeys(schedule, (2000,))


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    """Random tensors of these shapes, of a size that keeps signals at about one."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes.items():
        scale = 0.3 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
        tensors[name] = torch.randn(shape, generator=generator) * scale + (
            name.endswith("0.weight") and len(shape) == 1
        )
    return tensors


def foreign_forward(t: Tensors, x: Tensor, level: Tensor, config: NetworkConfig, *, by_head: bool = True) -> Tensor:
    """The foreign network by its own names: blocks in the order of their numbers, parts told by what they hold."""

    def apply(name: str, x: Tensor) -> Tensor:
        return functional.conv2d(x, t[f"{name}.weight"], t[f"{name}.bias"], padding=t[f"{name}.weight"].shape[-1] // 2)

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.group_norm(x, 32, t[f"{name}.weight"], t[f"{name}.bias"])

    def residual(name: str, x: Tensor, change: str) -> Tensor:
        inner = functional.silu(norm(f"{name}.in_layers.0", x))
        if change == "down":
            inner, x = functional.avg_pool2d(inner, 2), functional.avg_pool2d(x, 2)
        if change == "up":
            inner, x = (v.repeat_interleave(2, 2).repeat_interleave(2, 3) for v in (inner, x))
        inner = apply(f"{name}.in_layers.2", inner)
        both = functional.silu(emb) @ t[f"{name}.emb_layers.1.weight"].T + t[f"{name}.emb_layers.1.bias"]
        scale, shift = both[:, : inner.shape[1], None, None], both[:, inner.shape[1] :, None, None]
        inner = functional.silu(norm(f"{name}.out_layers.0", inner) * (1 + scale) + shift)
        skip = apply(f"{name}.skip_connection", x) if f"{name}.skip_connection.weight" in t else x
        return skip + apply(f"{name}.out_layers.3", inner)

    def attention(name: str, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        weight, bias = t[f"{name}.qkv.weight"][..., 0], t[f"{name}.qkv.bias"]
        mixed = torch.einsum("oc,ncl->nol", weight, norm(f"{name}.norm", x).flatten(2)) + bias[:, None]
        heads, each = channels // config.head_channels, config.head_channels
        out = []
        for head in range(heads):
            if by_head:
                query, key, value = mixed[:, 3 * each * head : 3 * each * (head + 1)].chunk(3, dim=1)
            else:
                query, key, value = (mixed[:, c * channels + each * head :][:, :each] for c in range(3))
            weights = torch.softmax(torch.einsum("nct,ncs->nts", query, key) / math.sqrt(each), dim=-1)
            out.append(torch.einsum("nts,ncs->nct", weights, value))
        projected = torch.einsum("oc,ncl->nol", t[f"{name}.proj_out.weight"][..., 0], torch.cat(out, dim=1))
        return x + (projected + t[f"{name}.proj_out.bias"][:, None]).reshape(n, channels, height, width)

    def block(name: str, x: Tensor, change: str) -> Tensor:
        parts = sorted({int(key.removeprefix(f"{name}.").split(".")[0]) for key in t if key.startswith(f"{name}.")})
        for part in parts:
            if f"{name}.{part}.qkv.weight" in t:
                x = attention(f"{name}.{part}", x)
            elif f"{name}.{part}.in_layers.0.weight" in t:
                alone = name.startswith("input")
                last = part == parts[-1] and part > 0 and not name.startswith("middle")
                x = residual(f"{name}.{part}", x, change if alone or last else "")
            else:
                x = apply(f"{name}.{part}", x)
        return x

    half = config.channels // 2
    angles = level[:, None] * (10_000.0 ** (-torch.arange(half) / half))
    time = "time_embed" if "time_embed.0.weight" in t else "cond_embed"
    emb = torch.cat([angles.cos(), angles.sin()], dim=1)
    emb = functional.silu(emb @ t[f"{time}.0.weight"].T + t[f"{time}.0.bias"])
    emb = emb @ t[f"{time}.2.weight"].T + t[f"{time}.2.bias"]
    per_level, kept = config.blocks + 1, []
    for number in range(per_level * len(config.multipliers)):
        down = number > 0 and number % per_level == 0
        x = block(f"input_blocks.{number}", x, "down" if down else "")
        kept.append(x)
    x = block("middle_block", x, "")
    for number in range(per_level * len(config.multipliers)):
        x = block(f"output_blocks.{number}", torch.cat([x, kept.pop()], dim=1), "up")
    return apply("out.2", functional.silu(norm("out.0", x)))


def converted_network(tensors: Tensors, origin: Origin) -> Network:
    network = Network(TINY)
    network.load_state_dict(dict(convert(tensors, origin, config=TINY).weights))
    return network.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def images() -> tuple[Tensor, Tensor, Tensor]:
    """Conditions and noisy images [2, 3, 16, 16], and noise levels [2]."""
    generator = torch.Generator().manual_seed(1)
    condition, noisy = (torch.randn(2, 3, 16, 16, generator=generator) for _ in range(2))
    return condition, noisy, torch.tensor([0.3, 0.9])


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("classes", [0, 10])
def test_adm_computes_what_it_computed(images: tuple[Tensor, Tensor, Tensor], classes: int) -> None:
    condition, noisy, level = images
    tensors = drawn(foreign_shapes(TINY, Origin.ADM, classes=classes))
    network = converted_network(tensors, Origin.ADM)
    expected = foreign_forward(tensors, noisy, level, TINY)[:, :3]
    assert float(expected.std()) > 0.1
    assert close(network(condition, noisy, level), expected)
    assert close(network(torch.zeros_like(condition), noisy, level), expected), "the condition counts for nothing yet"
    assert not close(network(noisy, condition, level), expected)
    assert not close(network(condition, noisy, level.flip(0)), expected)
    assert not close(foreign_forward(tensors, noisy, level, TINY, by_head=False)[:, :3], expected)


def test_janspirys_port_computes_what_it_computed(images: tuple[Tensor, Tensor, Tensor]) -> None:
    condition, noisy, level = images
    tensors = drawn(foreign_shapes(TINY, Origin.JANSPIRY))
    network = converted_network(tensors, Origin.JANSPIRY)
    inner = {name.removeprefix("denoise_fn."): value for name, value in tensors.items()}
    expected = foreign_forward(inner, torch.cat([condition, noisy], dim=1), level, TINY)
    assert float(expected.std()) > 0.1
    assert close(network(condition, noisy, level), expected)
    assert not close(network(noisy, condition, level), expected)


@pytest.mark.parametrize(
    ("origin", "classes", "parameters"),
    [(Origin.ADM, 0, 552_814_086), (Origin.ADM, 1000, 553_838_086), (Origin.JANSPIRY, 0, 62_641_347)],
)
def test_the_published_checkpoints_fit(origin: Origin, classes: int, parameters: int) -> None:
    config = preset(origin.network)
    shapes = foreign_shapes(config, origin, classes=classes)
    learned = {name: shape for name, shape in shapes.items() if shape != (2000,)}
    assert sum(math.prod(shape) for shape in learned.values()) == parameters
    result = convert({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, origin)
    with torch.device("meta"):
        network = Network(config)
    assert {name: value.shape for name, value in result.weights.items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }
    assert sum(value.numel() for value in result.weights.values()) == count_parameters(network)
    used = set(names_of(network, origin).values())
    assert used | set(result.dropped) >= set(shapes), "every tensor is used or named"
    expected = {"label_emb.weight"} if classes else set()
    if origin is Origin.ADM:
        assert set(result.dropped) == expected | {"out.2.weight[3..5]", "out.2.bias[3..5]"}
    else:
        assert set(result.dropped) == set(shapes) - set(learned)


def test_every_problem_is_reported() -> None:
    tensors = drawn(foreign_shapes(TINY, Origin.ADM))
    del tensors["input_blocks.1.0.in_layers.2.weight"]
    tensors["ema_rate"] = torch.ones(1)
    tensors["out.2.bias"] = torch.ones(3)
    tensors["middle_block.1.qkv.bias"][5] = float("nan")
    with pytest.raises(InputError) as caught:
        convert(tensors, Origin.ADM, config=TINY)
    found = {(problem.kind, problem.where) for problem in caught.value.problems}
    assert found == {
        ("missing", "input_blocks.1.0.in_layers.2.weight"),
        ("unknown", "ema_rate"),
        ("shape", "out.2.bias"),
        ("not-finite", "middle_block.1.qkv.bias"),
    }


def test_one_projects_checkpoint_is_not_the_others() -> None:
    with pytest.raises(InputError, match="not a checkpoint"):
        convert(drawn(foreign_shapes(TINY, Origin.ADM)), Origin.JANSPIRY, config=TINY)
    with pytest.raises(InputError, match="not a checkpoint"):
        convert(drawn(foreign_shapes(TINY, Origin.JANSPIRY)), Origin.ADM, config=TINY)


class _Wish:
    """What, unpickled without care, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not(tmp_path: Path, kind: str) -> None:
    mark, path = tmp_path / "was-run", tmp_path / "weights.pt"
    held = drawn(foreign_shapes(TINY, Origin.ADM)) | {"more": _Wish(mark)}
    if kind == "plain":
        path.write_bytes(pickle.dumps(held, protocol=2))
    else:
        torch.save(held, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(InputError, match=r"weights\.pt") as caught:
        read_tensors(path)
    assert not mark.exists()
    assert "weights_only" not in str(caught.value), "no advice to open it all the same"
    if kind != "plain":
        assert "mkdir" in str(caught.value)
    with path.open("rb") as stream:
        (pickle.load(stream) if kind == "plain" else torch.load(stream, weights_only=False))  # noqa: S301
    assert mark.exists(), "it would have run"


@pytest.mark.parametrize("damage", ["cut", "noise", "text", "empty", "missing", "list", "nested", "safetensors"])
def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / ("weights.safetensors" if damage == "safetensors" else "weights.pth")
    torch.save([1] if damage == "list" else {"model": {"a": torch.ones(500)}, "epoch": 3}, path)
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-200])
        case "noise":
            path.write_bytes(np.random.default_rng(0).bytes(500))
        case "text":
            path.write_text("<html>404</html>")
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
    with pytest.raises(InputError, match="weights"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_is_converted(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, run: RunCommand) -> None:
    from palette_bench.predict.models import unet

    monkeypatch.setitem(unet.PRESETS, "palette256", TINY)
    tensors = drawn(foreign_shapes(TINY, Origin.ADM, classes=3))
    source, out = tmp_path / f"theirs{suffix}", tmp_path / "ours.safetensors"
    if suffix == ".pt":
        torch.save(tensors, source)
    else:
        safetensors.torch.save_file(tensors, source)
    code, stdout, _ = run("convert", source, "--from", "adm", "--out", out)
    assert code == 0
    assert "label_emb.weight" in stdout
    assert "--start-from" in stdout
    found = safetensors.torch.load_file(out)
    assert found.keys() == Network(TINY).state_dict().keys()
    assert torch.equal(found["head.weight"], tensors["out.2.weight"][:3])
    written = convert_file(source, Origin.ADM, out, half=True)
    assert written.sha256 in run("convert", source, "--from", "adm", "--out", out, "--half")[1]
    tensors.pop("out.0.bias")
    torch.save(tensors, tmp_path / "lacking.pt")
    code, _, err = run("convert", tmp_path / "lacking.pt", "--from", "adm", "--out", tmp_path / "no")
    assert code == 3
    assert "out.0.bias" in err
    assert "lacking.pt" in err
    assert not (tmp_path / "no").exists()
