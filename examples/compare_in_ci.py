"""Fail a build if a model got worse, and only if that is certain.

python examples/compare_in_ci.py results/before results/now

Both results must be of the same set and task; anything else is refused. Put the first one into the repository.
"""

import argparse

import palette_bench as pb


def main() -> None:
    """Compare item by item. The verdict of each metric is adjusted for the number of metrics (Holm)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="the folder of the accepted result")
    parser.add_argument("now", help="the folder of the new result")
    parser.add_argument("--only", action="append", default=[], metavar="RECIPE", help="compare these recipes only")
    arguments = parser.parse_args()

    comparison = pb.compare(arguments.before, arguments.now, only=arguments.only)
    worse = []
    for found in comparison.metrics:
        difference, verdict = found.difference, found.ahead.value
        print(f"{found.recipe.name:24} {found.first:10.4g} {found.second:10.4g} {-difference.value:+10.3g}   ", end="")
        print({"A": "worse", "B": "better"}.get(verdict, "not decided"))
        if verdict == "A":
            worse.append(found.recipe.name)
    print(comparison.signature)
    if worse:
        raise SystemExit(f"decidedly worse than before: {', '.join(worse)}")


if __name__ == "__main__":
    main()
