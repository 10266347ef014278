"""Score a folder of predictions, and look at the numbers and at the worst items.

python examples/score_my_folder.py preds/ --task uncrop --out results/mine
"""

import argparse

import palette_bench as pb


def main() -> None:
    """Score ``preds``: ID.png for every item of the set, ID/K.png for several samples, or an .npz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preds", help="the folder of predictions")
    parser.add_argument("--set", default="scenes32", help="a prepared set; scenes32 is prepared on the way")
    parser.add_argument("--task", default="uncrop")
    parser.add_argument("--out", help="where to write result.json and items.csv")
    arguments = parser.parse_args()

    eval_set = pb.prepare_set("scenes32") if arguments.set == "scenes32" else pb.open_set(arguments.set)
    try:
        result = pb.score_predictions(arguments.preds, eval_set, arguments.task, out=arguments.out)
    except pb.errors.InputError as error:
        # Every missing, extra, broken or wrongly sized file is named, and nothing is scored.
        raise SystemExit(f"the predictions cannot be scored: {error}") from error

    print(result)
    print(result.metrics[["title", "value", "standard_error", "reference_value"]].round(3).to_string())
    print("\nthe five items with the lowest PSNR:")
    print(result.items.nsmallest(5, "psnr")[["id", "psnr", "ssim"]].to_string(index=False))


if __name__ == "__main__":
    main()
