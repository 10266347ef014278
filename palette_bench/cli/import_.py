"""``palette-bench import``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs

if TYPE_CHECKING:
    from palette_bench.predict.importing.bring import Crop


@click.command(
    name="import",
    epilog="""\b
Examples:
  palette-bench import lama-outputs/ --from lama --task inpaint-center --out preds/lama
  palette-bench import results/ckpt/samples_nfe100 --from i2sb --order list.txt --task jpeg-qf5 --out preds/i2sb
  palette-bench import outputs.zip --from generic --strip-suffix _fake --task colorize --out preds/mine
  palette-bench import outputs.npy --from generic --range 0..1 --order list.txt --task uncrop --out preds/mine""",
)
@click.argument("outputs", metavar="DIR", type=ANY_PATH)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="MODEL",
    help="Whose conventions: deepfillv2, hifill, lama, mat, comodgan, repaint, i2sb, boundless, infinitygan, coltran, "
    "ddcolor, fbcnn, qgac, janspiry, guided-diffusion, or generic.",
)
@click.option("--set", "set_name", help="A prepared set.  [default: the only one that has the task]")
@click.option("--task", "task_name", required=True, help="What was predicted, e.g. uncrop.")
@click.option("--out", type=ANY_PATH, required=True, help="An empty or new folder for the predictions.")
@click.option("--name", help="What to call the model.  [default: that of --from]")
@click.option("--pattern", metavar="REGEX", help="Of a file's relative path, with a group 'id' and maybe 'sample'.")
@click.option("--strip-prefix", metavar="TEXT", help="What comes before the id in a file's name.")
@click.option("--strip-suffix", metavar="TEXT", help="What comes between the id and the extension.")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave out files or folders, e.g. '*_LR.png'; repeatable."
)
@click.option(
    "--order", type=ANY_PATH, metavar="FILE", help="Ids, one per line, for outputs that have only an order; or: set."
)
@click.option("--crop", metavar="X,Y[,W,H]", help="Take this part of every output, e.g. one panel of several.")
@click.option(
    "--range", "value_range", type=click.Choice(["-1..1", "0..1", "0..255"]), help="Black and white in floats."
)
@click.option("--axes", "--layout", "axes", type=click.Choice(["NHWC", "NCHW"]), help="How an array's axes lie.")
@click.option("--array-key", metavar="KEY", help="Which array of a file.")
@click.option("--clip", is_flag=True, help="Clip values that are beyond the range, for a model that does not.")
@click.option(
    "--resize",
    type=click.Choice(["nearest", "area", "bilinear", "bicubic", "lanczos"]),
    help="Resize square outputs of any size, with this filter.",
)
@click.option(
    "--composite/--no-composite",
    default=None,
    help="Take the known region from the condition, for tasks with a hole.  [default: yes]",
)
@click.option("--luma-paste", is_flag=True, default=None, help="Colorize: keep the luma of the condition.")
@click.option("--about", multiple=True, metavar="KEY=VALUE", help="Something to keep beside: commit, seed, seconds.")
@click.option("--strict", is_flag=True, help="Refuse what the checks only warn of.")
@jobs
@as_json
def command(
    outputs: Path,
    source: str,
    set_name: str | None,
    task_name: str,
    out: Path,
    name: str | None,
    pattern: str | None,
    strip_prefix: str | None,
    strip_suffix: str | None,
    exclude: tuple[str, ...],
    order: Path | None,
    crop: str | None,
    value_range: str | None,
    axes: str | None,
    array_key: str | None,
    resize: str | None,
    about: tuple[str, ...],
    *,
    clip: bool,
    composite: bool | None,
    luma_paste: bool | None,
    strict: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Read the outputs of a model that ran elsewhere into a folder of predictions.

    DIR is a folder, .zip or .tar of images, or an .npz, .npy, .safetensors or .pt that holds them all. Nothing is
    guessed that can move a number: sizes, value ranges and orders are the model's own or declared, and all that was
    done is written to predictions.json. A missing, extra or unusable output and nothing is imported; what looks wrong
    (a mask read inverted, shifted pixels, JPEG-coded files, equal samples) is reported with numbers.
    """
    from palette_bench.artifacts.evalset import open_only_set
    from palette_bench.common.workers import default_jobs
    from palette_bench.predict.importing.bring import Options, import_outputs
    from palette_bench.predict.importing.conventions import Axes, Resize, ValueRange, convention

    chosen = convention(source)
    options = Options(
        pattern=pattern,
        strip_prefix=strip_prefix,
        strip_suffix=strip_suffix,
        exclude=exclude,
        order=order,
        crop=_crop(crop),
        value_range=ValueRange(value_range) if value_range else None,
        axes=Axes(axes) if axes else None,
        array_key=array_key,
        composite=composite,
        resize=Resize(resize) if resize else None,
        luma_paste=luma_paste,
        clip=clip,
        strict=strict,
        name=name,
        about=_pairs(about),
    )
    eval_set = open_only_set(set_name, task_name)
    imported = import_outputs(
        outputs,
        chosen,
        eval_set,
        eval_set.task(task_name),
        out,
        options,
        jobs=jobs or default_jobs(),
        progress=console.progress(),
    )
    for verdict in imported.verdicts:
        click.echo(str(verdict), err=True)
    if as_json:
        console.print_json({"folder": str(imported.folder), **imported.described})
        return
    samples = f", {imported.samples} samples each" if imported.samples > 1 else ""
    click.echo(f"{imported.folder}: {imported.count} items of {eval_set.set_id}, {task_name}{samples}")
    declared = imported.described.get("import")
    if isinstance(declared, dict) and declared.get("left_out"):
        click.echo(f"  left out: {declared['left_out']} files")
    steps = imported.described["post_processing"]
    for step in steps if isinstance(steps, list) else []:
        facts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in step.items() if key != "step")
        click.echo(f"  {step['step'].replace('_', ' ')}: {facts}")
    if chosen.note:
        click.echo(f"  {chosen.title}: {chosen.note}")
    click.echo(f"then: palette-bench score --set {eval_set.set_id} --task {task_name} --preds {imported.folder}")


def _crop(text: str | None) -> "Crop | None":
    """``X,Y`` or ``X,Y,W,H`` as a `Crop`. Raises UsageError."""
    from palette_bench.common.errors import UsageError
    from palette_bench.predict.importing.bring import Crop

    if text is None:
        return None
    words = text.split(",")
    good = len(words) in (2, 4) and all(word.isascii() and word.isdigit() and len(word) < 6 for word in words)
    numbers = [int(word) for word in words] if good else []
    if not good or 0 in numbers[2:]:
        raise UsageError("--crop wants pixels", expected="X,Y or X,Y,W,H, for example 64,0", found=text)
    return Crop(*numbers)


def _pairs(about: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE`` options as a table. Raises UsageError."""
    from palette_bench.common.errors import UsageError

    pairs = dict(text.split("=", 1) for text in about if "=" in text)
    if len(pairs) != len(about):
        raise UsageError("--about wants every key once", expected="KEY=VALUE", found=", ".join(about))
    return pairs
