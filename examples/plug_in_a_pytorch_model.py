"""Plug in a PyTorch model: check that it keeps the rules, run it, score it.

python examples/plug_in_a_pytorch_model.py --out preds/smooth-fill

The model is smooth_fill/smooth_fill.py, its card smooth_fill/card.toml. Copy both and put your network in.
"""

import argparse
from pathlib import Path

import palette_bench as pb

CARD = Path(__file__).parent / "smooth_fill" / "card.toml"


def main() -> None:
    """Check, run and score the model of the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="preds/smooth-fill", help="where the predictions go")
    parser.add_argument("--task", default="uncrop")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    # The rules: shapes and types, the same seed gives the same output, batch size and order do not matter, ...
    checked = pb.check_model(CARD, task=arguments.task, size=32, device=arguments.device)
    if not checked.conforms:
        raise SystemExit(f"the model breaks a rule; palette-bench adapter check {CARD} shows which")

    # Processes of their own; if this is interrupted, the same call continues.
    scenes = pb.prepare_set("scenes32")
    folder = pb.run_model(CARD, scenes, arguments.task, arguments.out, device=arguments.device)
    print(pb.score_predictions(folder, scenes, arguments.task))


if __name__ == "__main__":
    main()
