"""Palette and its regression twin as models that can be run: laws of their outputs, and bad cards and weights."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from palette_bench.artifacts.seeds import generator_of
from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting
from palette_bench.predict.models import unet
from palette_bench.predict.models.diffusion import KnownRegion
from palette_bench.predict.models.palette import (
    DEFAULT_BATCH,
    FILL_STREAM,
    SAMPLE_STREAM,
    Palette,
    Regression,
    load_network,
    read_config,
    save_network,
    to_uint8,
)
from palette_bench.predict.models.samplers import SamplerConfig
from palette_bench.predict.models.schedules import SMALLEST_TRAINED
from palette_bench.predict.models.unet import Mixing, Network, NetworkConfig
from palette_bench.protocol.tasks import TASKS
from tests.conftest import picture
from tests.predict.tiny_network import network_of, tiny

SIZE = 16
FAST = {"kind": "ddim", "steps": 3, "spacing": "logsnr"}


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(unet.PRESETS, "tiny", tiny())


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of drawn weights: of Palette, and of the regression twin."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for name, image_inputs in (("palette", True), ("regression", False)):
        paths[name] = folder / f"{name}.safetensors"
        paths[name].write_bytes(save_network(network_of(tiny(image_inputs=image_inputs)).state_dict(), half=False))
    return paths


Make = Callable[..., Palette]


@pytest.fixture
def make(weights: Mapping[str, Path]) -> Make:
    def built(task: str = "uncrop", size: int = SIZE, **config: object) -> Palette:
        table = {"network": "tiny", "batch": 4, "sampler": FAST, **config}
        return Palette(Setting(task=TASKS[task], size=size, config=table, weights=weights["palette"]))

    return built


def right_half(size: int = SIZE) -> HoleMask:
    hole = np.zeros((size, size), dtype=np.bool_)
    hole[:, size // 2 :] = True
    return hole


def given(number: int = 0, *, seed: int | None = None, hole: HoleMask | None = None, size: int = SIZE) -> ModelInput:
    image = picture(size, size, f"palette {number}")
    if hole is not None:
        image = image * ~hole[..., None]
    return ModelInput(f"item-{number}", image, hole, None, 100 + number if seed is None else seed)


def hidden(number: int = 0, *, seed: int | None = None) -> ModelInput:
    return given(number, seed=seed, hole=right_half())


# Outputs.


def test_a_hole_of_no_pixels_returns_the_input_bit_for_bit(make: Make) -> None:
    nothing = np.zeros((SIZE, SIZE), dtype=np.bool_)
    levels = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE)
    one = replace(given(hole=nothing), image=np.stack([levels, levels[::-1], levels.T], axis=-1))
    for known in KnownRegion:
        np.testing.assert_array_equal(make(known=known.value).predict([one])[0], one.image)
    # The twin: without a hole everything is predicted.
    assert (make("colorize").predict([replace(one, hole=None)])[0] != one.image).any()


@pytest.mark.parametrize(
    "sampler",
    [
        FAST,
        {"kind": "ancestral", "steps": 4, "clip": "dynamic", "skip_noise_steps": True},
        {"kind": "dpmpp_2m", "steps": 4, "spacing": "training"},
        {"kind": "diffusers", "scheduler": "EulerAncestralDiscreteScheduler", "steps": 3},
    ],
    ids=lambda sampler: sampler["kind"],
)
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_batch_order_and_neighbours_do_not_move_a_bit_and_the_seed_does(
    make: Make, sampler: Mapping[str, object]
) -> None:
    model = make(sampler=sampler)
    inputs = [hidden(number) for number in range(6)]
    together = model.predict(inputs)
    assert {(image.shape, image.dtype.name) for image in together} == {((SIZE, SIZE, 3), "uint8")}
    for one, image in zip(inputs, together, strict=True):
        np.testing.assert_array_equal(image[:, : SIZE // 2], one.image[:, : SIZE // 2])
    np.testing.assert_array_equal(model.predict(inputs[::-1])[::-1], together)
    np.testing.assert_array_equal([model.predict([one])[0] for one in inputs], together)
    np.testing.assert_array_equal(make(sampler=sampler).predict(inputs), together)
    for one, image in zip(inputs[:2], together, strict=False):
        reseeded = model.predict([replace(one, seed=one.seed + 1)])[0]
        assert (reseeded != image)[:, SIZE // 2 :].any()
    assert (model.predict([replace(inputs[0], image=inputs[1].image)])[0] != together[0]).any()


def test_tasks_without_a_hole_are_predicted_whole_and_depend_on_their_seed(make: Make) -> None:
    model = make("colorize")
    first, again, other = model.predict([given(0), given(0), given(0, seed=7)])
    np.testing.assert_array_equal(first, again)
    assert (first != other)[:, : SIZE // 2].any()


def test_images_of_other_sizes_than_that_of_training_work(make: Make) -> None:
    hole = right_half(24)
    assert make(size=24).predict([given(hole=hole, size=24)])[0].shape == (24, 24, 3)


# What the network is shown.


class Watched(Palette):
    """Palette whose network is watched, and says that there is no noise."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.calls: list[tuple[NDArray[np.float32], NDArray[np.float32], float]] = []

    def _call(self, condition: Tensor, noisy: Tensor | None, gamma: float) -> Tensor:
        assert noisy is not None
        self.calls.append((condition.numpy().copy(), noisy.numpy().copy(), gamma))
        return torch.zeros_like(noisy)


@pytest.fixture
def watch(weights: Mapping[str, Path]) -> Callable[..., Watched]:
    def built(**config: object) -> Watched:
        table = {"network": "tiny", "batch": 1, "sampler": {"steps": 8}, **config}
        model = Watched(Setting(task=TASKS["uncrop"], size=SIZE, config=table, weights=weights["palette"]))
        model.predict([hidden(seed=42)])
        return model

    return built


def draws(stream: int) -> NDArray[np.float32]:
    return generator_of(42, stream).standard_normal((3, SIZE, SIZE), dtype=np.float32)


def test_the_hole_of_the_condition_and_the_noisy_image_have_noises_of_their_own(watch: Callable[..., Watched]) -> None:
    image = hidden().image.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    for condition, noisy, _ in watch().calls:
        np.testing.assert_array_equal(condition[0, :, :, 8:], draws(FILL_STREAM)[:, :, 8:])
        for shown in (condition, noisy):
            np.testing.assert_allclose(shown[0, :, :, :8], image[:, :, :8], rtol=0, atol=1e-6)
    _, first, _ = watch().calls[0]
    np.testing.assert_array_equal(first[0, :, :, 8:], draws(SAMPLE_STREAM)[:, :, 8:])
    assert (draws(FILL_STREAM) != draws(SAMPLE_STREAM)).all()


def test_sharing_the_noise_of_the_fill_starts_sampling_from_it(watch: Callable[..., Watched]) -> None:
    condition, noisy, _ = watch(share_fill_noise=True).calls[0]
    np.testing.assert_array_equal(condition[0, :, :, 8:], noisy[0, :, :, 8:])
    condition, noisy, _ = watch(share_fill_noise=False).calls[0]
    assert (condition[0, :, :, 8:] != noisy[0, :, :, 8:]).all()
    # And what follows is fresh.
    _, second, _ = watch(share_fill_noise=True).calls[1]
    assert np.abs(second - noisy)[0, :, :, 8:].mean() > 1e-3


def test_noised_known_pixels_are_noise_at_first_and_known_at_the_end(watch: Callable[..., Watched]) -> None:
    noised = watch(known="noised")
    _, first, _ = noised.calls[0]
    np.testing.assert_array_equal(first[0], draws(SAMPLE_STREAM))
    output = noised.predict([hidden(seed=42)])[0]
    np.testing.assert_array_equal(output[:, :8], hidden().image[:, :8])


def test_the_network_is_never_told_less_than_it_was_trained_for(watch: Callable[..., Watched]) -> None:
    levels = [gamma for _, _, gamma in watch().calls]
    below = [gamma for gamma in SamplerConfig(steps=8).gammas() if gamma < SMALLEST_TRAINED]
    assert len(below) == 5
    assert levels[:5] == [SMALLEST_TRAINED] * 5
    assert levels[5:] == SamplerConfig(steps=8).gammas()[3:0:-1].tolist()


def test_every_grey_level_survives_the_way_through_floats_and_values_are_rounded() -> None:
    levels = np.arange(256, dtype=np.float32) * np.float32(1 / 127.5) - np.float32(1)
    through = to_uint8(torch.from_numpy(levels).reshape(1, 1, 16, 16).expand(1, 3, 16, 16))
    np.testing.assert_array_equal(through[0, ..., 1].ravel(), np.arange(256))
    odd = torch.tensor([-3.0, -1 + 1.6 / 127.5, 3.0, 0.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    # Rounded, not cut: 1.6 is 2; a half goes to the even level.
    assert to_uint8(odd)[0, ..., 0].ravel().tolist() == [0, 2, 255, 128]


# The regression twin.


def regression(weights: Mapping[str, Path], task: str) -> Regression:
    return Regression(
        Setting(task=TASKS[task], size=SIZE, config={"network": "tiny", "batch": 4}, weights=weights["regression"])
    )


def test_the_regression_twin_depends_on_its_input_alone(weights: Mapping[str, Path]) -> None:
    model = regression(weights, "uncrop")
    inputs = [hidden(number) for number in range(5)]
    together = model.predict(inputs)
    for one, image in zip(inputs, together, strict=True):
        np.testing.assert_array_equal(image[:, :8], one.image[:, :8])
        np.testing.assert_array_equal(model.predict([replace(one, seed=one.seed + 1)])[0], image)
    assert (together[0] != together[1])[:, 8:].any()


def test_the_regression_twin_is_one_pass_of_the_network_at_gamma_one(weights: Mapping[str, Path]) -> None:
    one = given()
    condition = torch.from_numpy(one.image.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)[None]
    network = network_of(tiny(image_inputs=False))
    with torch.no_grad():
        expected, twin = (to_uint8(network(condition, None, torch.full((1,), gamma)))[0] for gamma in (1.0, 0.5))
    found = regression(weights, "colorize").predict([one])[0]
    np.testing.assert_allclose(found.astype(int), expected, rtol=0, atol=1)
    assert np.abs(found.astype(int) - twin).max() > 3


# Weights.


def saved(path: Path, change: Callable[[dict[str, Tensor]], object], config: NetworkConfig | None = None) -> Path:
    tensors = dict(Network(config or tiny()).state_dict())
    change(tensors)
    safetensors.torch.save_file(tensors, path)
    return path


CPU = torch.device("cpu")


def test_every_way_in_which_weights_do_not_fit_is_named_by_tensor(tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        del tensors["embed.0.bias"]
        tensors["surplus"] = torch.zeros(1)
        tensors["norm.weight"] = torch.ones(15)
        tensors["head.bias"] = torch.tensor([0.0, float("nan"), 0.0])
        tensors["stem.bias"] = torch.full((16,), float("inf"))

    with pytest.raises(InputError, match="not those of this network") as caught:
        load_network(tiny(), saved(tmp_path / "w", spoil), CPU)
    assert {(problem.kind, problem.where) for problem in caught.value.problems} == {
        ("missing", "embed.0.bias"),
        ("extra", "surplus"),
        ("shape", "norm.weight"),
        ("not-finite", "head.bias"),
        ("not-finite", "stem.bias"),
    }
    assert "expected [16], found [15]" in str(caught.value)
    loaded = load_network(tiny(), saved(tmp_path / "w", lambda tensors: tensors), CPU)
    assert isinstance(loaded, Network)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (tiny(image_inputs=False), "stem.weight: expected [16, 6, 3, 3], found [16, 3, 3, 3]"),
        (tiny(mixing=Mixing.BLOCKS), "middle.0.attention.norm.weight"),
        (replace(tiny(), blocks=2), "extra: decoder.6.residual.norm_in.weight"),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path: Path, other: NetworkConfig, named: str) -> None:
    path = saved(tmp_path / "other", lambda tensors: tensors, other)
    with pytest.raises(InputError) as caught:
        load_network(tiny(), path, CPU)
    assert named in "\n".join(map(str, caught.value.problems))


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PK\x03\x04 a .pth is a zip", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(InputError, match=r"expected: +safetensors"):
        load_network(tiny(), tmp_path / "weights", CPU)


def test_a_file_cut_short_is_refused_and_so_is_none(tmp_path: Path, weights: Mapping[str, Path]) -> None:
    whole = weights["palette"].read_bytes()
    (tmp_path / "short").write_bytes(whole[: len(whole) // 2])
    for name in ("short", "nothing"):
        with pytest.raises(InputError, match="cannot be read"):
            load_network(tiny(), tmp_path / name, CPU)


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    network = network_of(tiny())
    (tmp_path / "half").write_bytes(save_network(network.state_dict(), half=True))
    loaded = load_network(tiny(), tmp_path / "half", CPU)
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, network.state_dict()[name].half().float())


# Cards and settings.


def test_a_models_defaults() -> None:
    config = read_config({}, image_inputs=True)
    assert config.network == unet.preset("palette256")
    assert (config.batch, config.known, config.share_fill_noise) == (DEFAULT_BATCH, KnownRegion.CLEAN, False)
    assert config.sampler == SamplerConfig()


def test_everything_that_is_wrong_with_a_config_is_said_at_once() -> None:
    table = {
        "network": "palette512",
        "mixing": "some",
        "gamma_embedding": 3,
        "known": "dirty",
        "share_fill_noise": "no",
        "batch": True,
        "sampler": {"stepz": 3},
        "netwrok": "tiny",
    }
    with pytest.raises(InputError) as caught:
        read_config(table, image_inputs=True)
    assert {p.where for p in caught.value.problems} == (set(table) - {"sampler"}) | {"sampler.stepz"}
    with pytest.raises(InputError, match="stepz"):
        read_config({"sampler": {"stepz": 3}}, image_inputs=True)
    with pytest.raises(InputError, match="a table"):
        read_config({"sampler": 3}, image_inputs=True)


def test_sizes_that_do_not_divide_and_missing_weights_are_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="multiple of 2"):
        make(size=17)
    with pytest.raises(UsageError, match="multiple of 8"):
        make(size=20, mixing="local")
    with pytest.raises(InputError, match="needs weights"):
        Palette(Setting(task=TASKS["uncrop"], size=SIZE, config={"network": "tiny"}))


def test_images_keep_their_arrays(make: Make) -> None:
    one = hidden()
    before: ImageU8 = one.image.copy()
    make().predict([one])
    np.testing.assert_array_equal(one.image, before)
