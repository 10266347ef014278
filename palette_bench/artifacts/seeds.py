"""The seed of an output: a function of what the output is, and of nothing that happens while it is made."""

import hashlib

import numpy as np

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


def generator_of(seed: int, stream: int) -> np.random.Generator:
    """A generator, a function of two numbers below 2**64: an output and what is drawn, or a run and an example."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))
