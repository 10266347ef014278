from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from palette_bench.predict.models import unet
from palette_bench.predict.models.unet import Layout, Norm
from palette_bench.predict.training import grids
from tests.predict.training.runs import TINY


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The networks ``tiny`` and ``fast``, grids of few steps, and one thread, so that sums have one order."""
    monkeypatch.setitem(unet.PRESETS, "tiny", TINY)
    fast = replace(TINY, norm=Norm.RMS, layout=Layout.LIGHT, unit_queries=True)
    monkeypatch.setitem(unet.PRESETS, "fast", fast)
    monkeypatch.setattr(grids, "SAMPLER", replace(grids.SAMPLER, steps=3))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
