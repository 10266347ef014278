"""Which part of a colorization costs it the class: a small Palette's colours and luma, each put beside the scene's own.

python -m benchmarks.colours palette-scenes32-colorize
python -m benchmarks.colours palette-scenes32-colorize --weights my.safetensors

Scenes are those of `benchmarks.samplers`: of the train split, with numbers that no training reaches. *Other colours*
are the scene's own with its channels in another order: wrong everywhere, and whole.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.samplers import FIRST_SCENE, Judge, outputs, setting_of
from palette_bench.images.condition import luma, make_condition
from palette_bench.predict.card import find_card
from palette_bench.predict.models.palette import Palette
from palette_bench.prepare.sources.scenes32 import Split, render
from palette_bench.protocol.tasks import TASKS

Images = NDArray[np.uint8]


def joined(light: Images, colours: Images, blur: float = 0.0) -> Images:
    """The luma of ``light`` with what ``colours`` differ from their own luma, that blurred by ``blur`` pixels."""
    chroma = colours.astype(np.float64) - luma(colours)[..., None]
    smooth = gaussian_filter(chroma, (0.0, blur, blur, 0.0)) if blur else chroma
    return np.clip(np.rint(luma(light)[..., None] + smooth), 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a palette-scenes32-... card that colorizes")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--weights", type=Path, help="other weights than the card's")
    options = parser.parse_args()

    torch.set_num_threads(1)
    card = find_card(options.model)
    scenes, labels = render(Split.TRAIN, np.arange(FIRST_SCENE, FIRST_SCENE + options.scenes))
    conditions = [make_condition(TASKS["colorize"], scene, None) for scene in scenes]
    model = Palette(setting_of(card, "colorize", dict(card.config), options.weights))
    sample = np.stack(outputs(model, conditions, 0))

    print(f"{options.model}, {options.scenes} scenes of the train split")
    judge = Judge(scenes, labels)
    judge.head()
    judge.show("the scenes", scenes)
    judge.show("the scenes in other colours", joined(scenes, np.roll(scenes, 1, axis=-1)))
    judge.show("grey", np.repeat(luma(scenes)[..., None], 3, axis=-1))
    judge.show("a sample", sample)
    judge.show("the scene's colours on the sample's luma", joined(sample, scenes))
    judge.show("the sample's colours on the scene's luma", joined(scenes, sample))
    for blur in (1.0, 2.5):
        judge.show(f"  blurred by {blur:g} pixels", joined(scenes, sample, blur))
        judge.show(f"  the scene's own, blurred by {blur:g}", joined(scenes, scenes, blur))


if __name__ == "__main__":
    main()
