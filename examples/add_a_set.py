"""Your own images as an evaluation set, a model as a function, and a metric on arrays.

python examples/add_a_set.py my-photos/ --name my-photos --size 64

Without a folder, eight pictures are drawn first. The masks are generated once per image and frozen with the set.
Scoring photographs needs the published weights (palette-bench weights fetch); this uses PSNR, which needs none.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import palette_bench as pb


def draw_pictures(folder: Path, count: int = 8, size: int = 96) -> None:
    """Blobs on a gradient, to have something."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:size, 0:size] / size
    for number in range(count):
        random = np.random.default_rng(number)
        image = np.stack([x, y, 1 - x * y], axis=-1) * random.uniform(0.3, 1, 3)
        for _ in range(5):
            blob = np.exp(-40 * ((x - random.random()) ** 2 + (y - random.random()) ** 2))[..., None]
            image += blob * random.uniform(-0.6, 0.6, 3)
        Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"picture-{number}.png")


def fill_with_mean(given: pb.ModelInput) -> NDArray[np.uint8]:
    """A model as a function: the mean colour of the known pixels in the hole."""
    assert given.hole is not None
    output = given.image.copy()
    output[given.hole] = given.image[~given.hole].mean(axis=0).round()
    return output


def main() -> None:
    """Prepare the set, show what a model is given, run one, and measure it in the hole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="a folder of images")
    parser.add_argument("--name", default="my-pictures", help="what to call the set")
    parser.add_argument("--size", type=int, default=64, help="the side that images get, in pixels")
    parser.add_argument("--task", default="inpaint-freeform-20-30")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        source = Path(arguments.source or Path(temporary) / "pictures")
        if arguments.source is None:
            draw_pictures(source)
        eval_set = pb.prepare_set("folder", source, name=arguments.name, size=arguments.size)
        print(eval_set)

        folder = pb.run_model(fill_with_mean, eval_set, arguments.task, Path(temporary) / "preds")
        for item, condition in eval_set.conditions(arguments.task):
            hole = condition.hole
            assert hole is not None
            prediction = np.asarray(Image.open(folder / f"{item.id}.png"))
            decibels = pb.metrics.psnr(prediction, eval_set.reference(item))
            print(f"{item.id}: {hole.mean():.0%} hidden, PSNR {decibels:.2f} dB")


if __name__ == "__main__":
    main()
