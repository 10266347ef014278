"""What the numbers of scenes32 mean: every metric for inputs and fillings that need no model, as a table.

python -m benchmarks.scenes32_facts

Right-half uncropping keeps the left half of every image and fills the right one; colorization is fed with grey in three
channels; JPEG restoration with the decoded file. n = 2,000 (the eval split); FID is against the 10,000 scenes of the
reference split, PD against the scene itself. Takes about 40 seconds on one core.
"""

import argparse
import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from palette_bench.prepare.sources.scenes32 import (
    CLASSES,
    SIZE,
    SceneFacts,
    Split,
    describe,
    draw,
    render_split,
)
from palette_bench.score.backbones.scenes32 import load
from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.frechet import frechet_distance, moments
from palette_bench.score.metrics.inception_score import inception_score
from palette_bench.score.metrics.perceptual import Power, perceptual_distance

Images = NDArray[np.uint8]
HALF = SIZE // 2


def psnr(images: Images, references: Images) -> float:
    """Mean over images of the PSNR in dB, equal images left out."""
    error = ((images.astype(np.float64) - references) ** 2).mean(axis=(1, 2, 3))
    return float((10.0 * np.log10(255.0**2 / error[error > 0])).mean())


def uncropped(references: Images) -> Iterator[tuple[str, Images]]:
    """The right half filled in ways that need no model."""
    left = references[:, :, :HALF]
    mean = np.broadcast_to(left.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8), left.shape)
    fillings = {
        "mirror": left[:, :, ::-1],
        "tile": left,
        "edge": np.broadcast_to(left[:, :, -1:], left.shape),
        "mean": mean,
        "another scene": references[np.roll(np.arange(len(references)), 7), :, HALF:],
    }
    for name, right in fillings.items():
        yield name, np.concatenate([left, right], axis=2)
    # What a model could do at best that knows the world: it draws the hidden object that company suggests.
    indices = np.arange(len(references))
    facts = describe(Split.EVAL, indices)
    guessed = dataclasses.replace(
        facts,
        host=np.where(facts.host_x > HALF, facts.host_company, facts.host),
        satellite=np.where(facts.satellite_x > HALF, facts.satellite_company, facts.satellite),
    )
    right = np.concatenate([draw(Split.EVAL, part, _part(guessed, part)) for part in np.array_split(indices, 40)])
    yield "guess by context", np.concatenate([left, right[:, :, HALF:]], axis=2)


def _part(facts: SceneFacts, part: NDArray[np.int64]) -> SceneFacts:
    return dataclasses.replace(
        facts, **{field.name: getattr(facts, field.name)[part] for field in dataclasses.fields(facts)}
    )


def grey(references: Images) -> Images:
    return np.stack([np.asarray(Image.fromarray(image).convert("L").convert("RGB")) for image in references])


def jpeg(references: Images, quality: int) -> Images:
    decoded = []
    for image in references:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(stream)))
    return np.stack(decoded)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    backbone = load()
    references, labels = render_split(Split.EVAL)
    reference_moments = moments(backbone.extract(render_split(Split.REFERENCE)[0])["features"])
    real = backbone.extract(references)["features"]
    print(f"{'task':<8} {'prediction':<17} {'FID':>7} {'IS':>6} {'CA %':>6} {'PD':>6} {'PSNR':>6}")

    def row(task: str, name: str, images: Images) -> None:
        outputs = backbone.extract(images)
        fid = frechet_distance(outputs["features"], reference_moments).value
        score = inception_score(outputs["logits"]).value
        percent = accuracy(outputs["logits"], labels).percent
        distance = perceptual_distance(outputs["features"], real, power=Power.L2).mean
        fidelity = "-" if np.array_equal(images, references) else f"{psnr(images, references):.2f}"
        print(
            f"{task:<8} {name:<17} {fid:7.2f} {score:6.2f} {percent:6.1f} {distance:6.2f} {fidelity:>6}",
            flush=True,
        )

    row("-", "the scene itself", references)
    for name, images in uncropped(references):
        row("uncrop", name, images)
    row("colorize", "grey", grey(references))
    for quality in (5, 10, 20):
        row("jpeg", f"QF {quality}", jpeg(references, quality))
    row("any", "uniform noise", np.random.default_rng(0).integers(0, 256, references.shape, dtype=np.uint8))
    print(f"chance: CA {100 / len(CLASSES):.1f} %")


if __name__ == "__main__":
    main()
