"""A folder of predictions as its writer and its reader both know it: names of its files, and its digest."""

from collections.abc import Mapping

from palette_bench.common.canonical import lines_digest

PREDICTIONS_FILE = "predictions.json"
FINISHED = "finished"
"""The ``status`` of a folder that lacks nothing."""


def output_name(item_id: str, sample: int, samples: int) -> str:
    """The path of one output in its folder: ``<id>.png``, or ``<id>/<k>.png`` where there are several samples."""
    return f"{item_id}.png" if samples == 1 else f"{item_id}/{sample}.png"


def tree_digest(digests: Mapping[str, str]) -> str:
    """sha256 over the sorted lines ``path sha256``: relative paths of all images and digests of their pixels."""
    return lines_digest(sorted(f"{path} {digest}" for path, digest in digests.items()))
