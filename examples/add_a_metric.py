"""Add a metric of your own, in a package of your own.

pip install examples/mean_absolute_error
python examples/add_a_metric.py preds/ --task uncrop

Nothing else is needed: `palette-bench score`, `recipes` and `compare` know the metric once its package is installed.
"""

import argparse

import palette_bench as pb


def main() -> None:
    """Score a folder, and show the new number with its error and its items."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preds", help="a folder of predictions on scenes32")
    parser.add_argument("--task", default="uncrop")
    arguments = parser.parse_args()

    result = pb.score_predictions(arguments.preds, pb.prepare_set("scenes32"), arguments.task)
    if "mae-rgb" not in result.record.metrics:
        raise SystemExit("the metric is not installed: pip install examples/mean_absolute_error")
    number = result.metrics.loc["mae-rgb"]
    print(f"{number['title']} {number['value']:.2f} ± {number['standard_error']:.2f} grey levels")
    print(number["signature"])
    print(result.items.nlargest(3, "mae")[["id", "mae"]].to_string(index=False))


if __name__ == "__main__":
    main()
