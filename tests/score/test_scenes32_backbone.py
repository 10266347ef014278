"""The scenes32 backbone: the shipped weights, what they see, and how they were made."""

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError
from palette_bench.prepare.sources.scenes32 import CLASSES, SIZE, Split, describe, render_split
from palette_bench.score.backbones import base, loading, scenes32_training
from palette_bench.score.backbones.scenes32 import Scenes32Backbone, load
from palette_bench.score.backbones.scenes32_weights import WEIGHTS_SHA256, weights_path
from palette_bench.score.metrics.frechet import frechet_distance
from palette_bench.score.metrics.inception_score import inception_score

HALF = SIZE // 2
REFERENCES = 4_000
"""Scenes of the reference split that the Fréchet distances here are against: enough for what is asserted."""


@cache
def backbone() -> Scenes32Backbone:
    return load()


@cache
def eval_scenes() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return render_split(Split.EVAL)


@cache
def eval_outputs() -> dict[str, NDArray[np.float32]]:
    return backbone().extract(eval_scenes()[0])


@cache
def reference_features() -> NDArray[np.float32]:
    return backbone().extract(render_split(Split.REFERENCE)[0][:REFERENCES])["features"]


def fid(images: NDArray[np.uint8]) -> float:
    return frechet_distance(backbone().extract(images)["features"], reference_features()).value


def uncropped(right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([eval_scenes()[0][:, :, :HALF], right], axis=2)


def correct(logits: NDArray[np.float32]) -> float:
    return float((logits.argmax(axis=1) == eval_scenes()[1]).mean())


def test_the_weights_are_the_pinned_ones_and_small() -> None:
    data = weights_path().read_bytes()
    assert bytes_digest(data) == WEIGHTS_SHA256
    assert len(data) < 2_000_000


def test_accuracy_on_real_scenes_leaves_room_above_and_below() -> None:
    assert 0.90 <= correct(eval_outputs()["logits"]) <= 0.97


def test_outputs_have_the_declared_widths_and_are_float32() -> None:
    outputs = backbone().extract(eval_scenes()[0][:3])
    assert {name: values.shape for name, values in outputs.items()} == {"features": (3, 64), "logits": (3, 20)}
    assert {name: values.shape[1] for name, values in outputs.items()} == dict(backbone().outputs)
    assert all(values.dtype == np.float32 for values in outputs.values())


@pytest.mark.parametrize("count", [1, 7, 128, 129, 300])
def test_a_scene_has_the_same_outputs_in_batches_of_any_length(count: int) -> None:
    outputs = backbone().extract(eval_scenes()[0][:count])
    for name, values in outputs.items():
        assert np.array_equal(values, eval_outputs()[name][:count])


def test_a_scene_has_the_same_outputs_at_any_place_in_a_batch() -> None:
    order = np.random.default_rng(0).permutation(200)
    outputs = backbone().extract(eval_scenes()[0][order])
    for name, values in outputs.items():
        np.testing.assert_allclose(values, eval_outputs()[name][order], atol=1e-5)


def test_it_is_the_backbone_that_recipes_ask_for() -> None:
    loaded = loading.load("scenes32")
    assert loaded.fingerprint == backbone().fingerprint == base.canonical_fingerprint("scenes32")
    assert loaded.name == backbone().name == "scenes32"
    found = loaded.extract(eval_scenes()[0][:5])
    assert np.array_equal(found["logits"], eval_outputs()["logits"][:5])


@pytest.mark.parametrize("shape", [(2, 16, 32, 3), (2, 32, 32, 4), (32, 32, 3)])
def test_images_of_another_size_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="cannot take"):
        backbone().extract(np.zeros(shape, dtype=np.uint8))


def test_other_weights_are_an_error(tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    data = bytearray(weights_path().read_bytes())
    copy.write_bytes(data)
    load(copy)
    data[-1] ^= 1
    copy.write_bytes(data)
    with pytest.raises(InputError, match="not the weights"):
        load(copy)
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "missing.safetensors")


def test_filling_half_a_scene_by_rule_is_far_from_real() -> None:
    left = eval_scenes()[0][:, :, :HALF]
    real = fid(eval_scenes()[0])
    mirror, tile = fid(uncropped(left[:, :, ::-1])), fid(uncropped(left))
    edge = fid(uncropped(np.broadcast_to(left[:, :, -1:], left.shape)))
    assert real < 0.5
    assert min(mirror, tile) > 20 * real
    assert 1.5 * max(mirror, tile) < edge


def test_the_class_needs_both_halves() -> None:
    left = eval_scenes()[0][:, :, :HALF]
    mirrored = backbone().extract(uncropped(left[:, :, ::-1]))["logits"]
    assert correct(mirrored) < 0.4
    # Company alone would name four in five of the hidden objects: a completion can do much better than a mirror.
    facts = describe(Split.EVAL, range(len(left)))
    host = np.where(facts.host_x > HALF, facts.host_company, facts.host)
    satellite = np.where(facts.satellite_x > HALF, facts.satellite_company, facts.satellite)
    assert ((host == facts.host) & (satellite == facts.satellite)).mean() > 0.75


def test_features_see_colour_and_detail() -> None:
    images = eval_scenes()[0]
    real = fid(images)
    luma = (images.astype(np.float64) @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    smoothed = images.astype(np.float64)
    smoothed = (smoothed + np.roll(smoothed, 1, axis=1) + np.roll(smoothed, 1, axis=2)) / 3
    assert fid(np.repeat(luma[..., None], 3, axis=3)) > 10 * real
    assert fid(images[..., ::-1]) > 2 * real
    assert fid(smoothed.astype(np.uint8)) > 10 * real


def test_the_inception_score_does_not_saturate() -> None:
    assert 4 < inception_score(eval_outputs()["logits"]).value < 0.9 * len(CLASSES)


def test_training_is_deterministic_on_one_thread() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe = scenes32_training.Recipe(scenes=96, batch=32)
        reports: list[scenes32_training.Progress] = []
        first = scenes32_training.train(recipe, reports.append, report_every=2).state_dict()
        second = scenes32_training.train(recipe, reports.append, report_every=2).state_dict()
        other = scenes32_training.train(
            scenes32_training.Recipe(scenes=96, batch=32, seed=1), reports.append
        ).state_dict()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["logits.weight"], other["logits.weight"])
    assert [report.step for report in reports] == [2, 3, 2, 3, 3]


def test_training_sees_scenes_whose_company_tells_nearly_nothing() -> None:
    recipe = scenes32_training.Recipe(batch=500)
    chosen = np.concatenate(list(itertools.islice(scenes32_training.chosen_scenes(recipe), 12)))
    facts = describe(Split.TRAIN, chosen)
    assert (facts.host == facts.host_company).mean() == pytest.approx(recipe.company_rate, abs=0.03)
    assert (facts.satellite == facts.satellite_company).mean() == pytest.approx(recipe.company_rate, abs=0.03)
    assert len(np.unique(chosen)) == len(chosen)
    assert np.bincount(facts.label, minlength=20).min() > 200
