"""A PyTorch model that fills a hole by averaging its neighbours, behind the two methods that palette-bench calls."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

import palette_bench as pb


class Average(torch.nn.Module):
    """``steps`` times, every hidden pixel becomes the mean of the 3x3 pixels around it that have a colour by then."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("kernel", torch.ones(1, 1, 3, 3))

    def forward(self, image: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        """``image`` [N, 3, H, W] in 0..1 and ``hole`` [N, 1, H, W], 1 = hidden, to [N, 3, H, W]."""
        known = 1 - hole
        filled, weight = image * known, known
        for _ in range(self.steps):
            counts = self._sum(weight)
            colour = self._sum((filled * weight).flatten(0, 1)[:, None]).view_as(image) / counts.clamp(min=1)
            filled = torch.where(hole.bool(), colour, image)
            weight = torch.maximum(weight, (counts > 0).float())
        return filled

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, self.get_buffer("kernel"), padding=1)


class SmoothFill:
    """What palette-bench sees of it: built once per process, then given batches of conditions."""

    def __init__(self, setting: pb.Setting) -> None:
        self.device = torch.device(setting.device)
        self.network = Average(int(str(setting.config.get("steps", 64)))).to(self.device).eval()
        # A model with weights would load them here: safetensors.torch.load_file(setting.weights).

    def predict(self, inputs: Sequence[pb.ModelInput]) -> list[NDArray[np.uint8]]:
        """One image [H, W, 3] uint8 for each input, in order. This model is deterministic: it needs no seed."""
        image = torch.from_numpy(np.stack([given.image for given in inputs])).to(self.device)
        holes = [np.zeros(given.image.shape[:2], bool) if given.hole is None else given.hole for given in inputs]
        hole = torch.from_numpy(np.stack(holes)).to(self.device)[:, None].float()
        with torch.inference_mode():
            filled = self.network(image.permute(0, 3, 1, 2).float() / 255, hole)
        pixels = (filled * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return [np.ascontiguousarray(one) for one in pixels]
