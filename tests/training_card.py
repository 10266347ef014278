"""A card whose training takes a second, for the tests that train through the program."""

from pathlib import Path

CARD = """\
format = 1
name = "{name}"
title = "Small"
description = "A small Palette that is trained for a moment."
tasks = ["inpaint-center", "jpeg-qf5"]
sizes = [32]
stochastic = true
licence = "Apache-2.0"
citation = "none"

[adapter]
kind = "python"
entry = "palette_bench.predict.models.palette:Palette"

[config]
network = "mini32"

[training]
network = "mini32"
tasks = {{ inpaint = 1.0, jpeg = 1.0 }}
source = "{source}"
steps = {steps}
batch = 4
learning_rate = 0.001
warm_up = 4
epsilon = 1e-4
ema = 0.9
{more}
"""


def write_card(folder: Path, *, steps: int = 12, source: str = "scenes32", more: str = "") -> Path:
    """Write ``small/card.toml`` below ``folder``; returns the card."""
    path = folder / "small" / "card.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CARD.format(name="small", steps=steps, source=source, more=more))
    return path
