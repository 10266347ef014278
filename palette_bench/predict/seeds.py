"""The seed of an output: a function of what the output is, and of nothing that happens while it is made."""

import hashlib

from palette_bench.common.canonical import canonical_json

RULE = 'first 63 bits of sha256 of canonical JSON ["prediction", run seed, item id, sample number]'
"""The rule's name in predictions.json, from which anybody can recompute a seed."""


def seed_of(run_seed: int, item_id: str, sample: int) -> int:
    """The seed, 0 <= seed < 2**63, of one sample of one item in a run.

    Batch size, order, resumption, parts and ranks do not enter it, so they cannot change the noise.
    """
    # SCORE: every stochastic prediction depends on it.
    digest = hashlib.sha256(canonical_json(["prediction", run_seed, item_id, sample])).digest()
    return int.from_bytes(digest[:8], "big") >> 1
