"""A small prepared set, and other people's models in miniature: each reads and writes files as the original does."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.progress import Silent
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.predict.importing.bring import Imported, Options, import_outputs
from palette_bench.predict.importing.conventions import convention
from palette_bench.prepare.build import build
from palette_bench.prepare.export import export
from palette_bench.prepare.plan import Choices, make_plan

SIZE = 32
FILLED = (30, 120, 210)


def prepare(source: Path, name: str) -> EvalSet:
    """A folder set of small images."""
    plan = make_plan("folder", Choices(source=source, name=name, size=SIZE), progress=Silent())
    return EvalSet(build(plan, jobs=1, replace=False, progress=Silent()).folder)


def exported(eval_set: EvalSet, task: str, out: Path, layout: str, source: Path | None = None) -> Path:
    """A task's conditions in a model's layout."""
    export(
        eval_set,
        eval_set.task(task),
        out,
        holes=None,
        references=False,
        jobs=1,
        progress=Silent(),
        layout=layout,
        source=source,
    )
    return out


def imported(
    eval_set: EvalSet, where: Path, name: str, task: str, out: Path, options: Options | None = None
) -> Imported:
    """Outputs as predictions."""
    return import_outputs(
        where, convention(name), eval_set, eval_set.task(task), out, options or Options(), jobs=1, progress=Silent()
    )


def steps(result: Imported) -> list[dict[str, object]]:
    """What ``predictions.json`` says was done."""
    found = result.described["post_processing"]
    assert isinstance(found, list)
    return found


def pixels(path: Path) -> ImageU8:
    """An image file as it is."""
    return np.asarray(Image.open(path))


def save(path: Path, image: ImageU8) -> None:
    """An image file, its folders too; a JPEG of high quality where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        Image.fromarray(image).save(path, quality=98, subsampling=0)
    else:
        Image.fromarray(image).save(path)


def painted(image: ImageU8, region: HoleMask) -> ImageU8:
    """What every model here does: one colour in the region it is told to fill."""
    return np.where(region[..., None], np.array(FILLED, np.uint8), image)


def _grey(mask: ImageU8) -> ImageU8:
    return mask if mask.ndim == 2 else mask[..., 0]


def deepfillv2(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """One image a call, 255 = hole in three channels."""
    for path in sorted((inputs / "images").iterdir()):
        mask = pixels(inputs / "masks" / path.name)
        assert mask.ndim == 3
        save(out / path.name, painted(pixels(path), (_grey(mask) > 127) ^ inverted))
    return out


def lama(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """Pairs in one folder, > 0 = hole, outputs named like the masks."""
    for path in sorted((inputs / "pairs").glob("*_mask*.png")):
        image = pixels(path.with_name(path.name.split("_mask")[0] + ".png"))
        save(out / path.name, painted(image, (_grey(pixels(path)) > 0) ^ inverted))
    return out


def mat(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """Images and masks paired by sorted order, 0 = hole."""
    images, masks = sorted((inputs / "images").iterdir()), sorted((inputs / "masks").iterdir())
    for image, mask in zip(images, masks, strict=True):
        save(out / image.name, painted(pixels(image), (pixels(mask) == 0) ^ inverted))
    return out


def comodgan(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """The mask is converted to one bit, with dithering; true = keep."""
    for path in sorted((inputs / "images").iterdir()):
        keep = np.asarray(Image.open(inputs / "masks" / path.name).convert("1"))
        save(out / path.name, painted(pixels(path), ~keep ^ inverted))
    return out


def repaint(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """``gt_keep_masks``, 255 = keep; the log folder has more than the outputs."""
    for path in sorted((inputs / "gt").iterdir()):
        keep = pixels(inputs / "gt_keep_masks" / path.name) == 255
        save(out / "log" / "inpainted" / path.name, painted(pixels(path), ~keep ^ inverted))
        for clutter in ("gt_masked", "gt", "gt_keep_mask"):
            save(out / "log" / clutter / path.name, pixels(path))
    return out


def hifill(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """Sorted pairing, 255 = keep; writes JPEG under a double suffix."""
    images, masks = sorted((inputs / "images").iterdir()), sorted((inputs / "masks").iterdir())
    for image, mask in zip(images, masks, strict=True):
        hole = (255 - pixels(mask)) > 0
        filled = painted(pixels(image), hole ^ inverted)
        save(out / f"{image.name}_inpainted.jpg", filled)
    return out


def janspiry(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """File lists, 1 = hole; ``Out_`` beside what else it saves."""
    images = (inputs / "images.flist").read_text().split()
    masks = (inputs / "masks.flist").read_text().split()
    for image, mask in zip(images, masks, strict=True):
        hole = pixels(inputs / mask) == 255
        result = painted(pixels(inputs / image), hole ^ inverted)
        for prefix in ("Out", "GT", "Process", "Mask"):
            save(out / "test" / "0" / f"{prefix}_{Path(image).name}", result if prefix == "Out" else 255 - result)
    return out


def i2sb(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """Packed masks by line of the list; a .pt of floats NCHW."""
    with np.load(inputs / "masks.npz") as archive:
        packed = archive[archive.files[0]]
    arrays = []
    for row, name in zip(packed, (inputs / "list.txt").read_text().splitlines(), strict=True):
        image = pixels(inputs / "images" / f"{name.replace('/', '__')}.png")
        hole = np.unpackbits(row).reshape(SIZE, SIZE).astype(np.bool_)
        arrays.append(painted(image, hole ^ inverted))
    save_recon(out / "recon.pt", np.stack(arrays))
    return out


def save_recon(path: Path, images: ImageU8) -> None:
    """What I2SB saves: floats of -1..1, NCHW, beside labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensor = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1
    torch.save({"arr": tensor, "label_arr": torch.zeros(len(images), dtype=torch.int64)}, path)


def guided_diffusion(inputs: Path, out: Path, *, inverted: bool = False) -> Path:
    """One array in, one array out."""
    (conditions,) = inputs.glob("conditions_*.npz")
    with np.load(conditions) as archive, np.load(inputs / "masks.npz") as masks:
        images, holes = archive["arr_0"], masks["arr_0"].astype(np.bool_)
    out.mkdir(parents=True)
    filled = np.stack([painted(image, hole ^ inverted) for image, hole in zip(images, holes, strict=True)])
    np.savez(out / f"samples_{'x'.join(map(str, filled.shape))}.npz", filled)
    return out


Model = Callable[..., Path]
MASKED: dict[str, Model] = {
    "deepfillv2": deepfillv2,
    "lama": lama,
    "mat": mat,
    "comodgan": comodgan,
    "repaint": repaint,
    "hifill": hifill,
    "janspiry": janspiry,
    "i2sb": i2sb,
    "guided-diffusion": guided_diffusion,
}


def zipped(path: Path, folder: Path) -> Path:
    """A folder as a .zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, str(file.relative_to(folder)))
    return path
