"""Draw the canary's tiny samples and write the digests that this machine finds: run once, by hand, when the canary
changes.

python -m benchmarks.make_canary
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from palette_bench.common.bits import CounterBits, sincos
from palette_bench.images.canary import EXPECTED_FILE, measure, software

FOLDER = Path(__file__).parent.parent / "palette_bench" / "prepare" / "canary"


def picture(height: int, width: int, purpose: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Waves, a hard edge and noise in three channels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    noise = CounterBits(["canary", purpose]).normal(height * width * 3).reshape(height, width, 3)
    waves = np.stack([sincos(x / 5.0 + y / 11.0)[0], sincos(y / 4.0)[1], sincos((x + y) / 3.0)[0]], axis=-1)
    image = 128.0 + 70.0 * waves + 12.0 * noise + 40.0 * (x > y)[..., None]
    samples: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return samples


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    colour = Image.fromarray(picture(67, 91, "colour"))
    colour.save(FOLDER / "colour-420.jpg", quality=80, subsampling="4:2:0")
    colour.save(FOLDER / "colour-444-progressive.jpg", quality=92, subsampling="4:4:4", progressive=True)
    colour.convert("L").save(FOLDER / "grey.jpg", quality=75)
    colour.convert("CMYK").save(FOLDER / "cmyk.jpg", quality=85)
    Image.fromarray(picture(140, 60, "tall")).save(FOLDER / "tall.png")
    colour.quantize(32).save(FOLDER / "palette.png")
    content = {"software": software(), "digests": measure()}
    (FOLDER / EXPECTED_FILE).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
