"""The order in which Google's pipelines read a split written by TensorFlow Datasets.

Source: computed from the names alone and equal to two released lists, see docs/protocol.md 1.1.
"""

import hashlib
from collections.abc import Iterable
from itertools import pairwise

SHARDS = 64
CYCLE_LENGTH = 16
BLOCK_LENGTH = 16


def tfds_order(names: Iterable[str], *, salt: bytes = b"validation") -> list[str]:
    """``names`` in read order.

    Names are sorted by ``md5(salt + name)`` as a big integer and cut into 64 shards at ``round(n * i / 64)``; 16 shards
    are open at a time and give 16 consecutive names each in turn. A shard that runs dry is replaced in its slot by the
    next unopened one, and the turn passes on.
    """
    hashed = sorted(names, key=lambda name: hashlib.md5(salt + name.encode(), usedforsecurity=False).digest())
    total = len(hashed)
    bounds = [round(total * i / SHARDS) for i in range(SHARDS + 1)]
    unopened = [iter(hashed[start:stop]) for start, stop in pairwise(bounds)]
    unopened.reverse()
    slots = [unopened.pop() for _ in range(CYCLE_LENGTH)]
    order: list[str] = []
    turn = 0
    while slots:
        shard = slots[turn % len(slots)]
        turn = turn % len(slots)
        block = [name for _, name in zip(range(BLOCK_LENGTH), shard, strict=False)]
        order += block
        if len(block) == BLOCK_LENGTH:
            turn += 1
        elif unopened:
            slots[turn] = unopened.pop()
            turn += 1
        else:
            del slots[turn]
    return order
