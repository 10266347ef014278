"""A Palette small enough for tests: two levels, attention at the lower one, all weights drawn."""

import torch
from torch import nn

from palette_bench.predict.models.unet import Mixing, Network, NetworkConfig


def tiny(*, mixing: Mixing = Mixing.GLOBAL, image_inputs: bool = True, patch: int = 1) -> NetworkConfig:
    """16 pixels, 16 and 32 channels, one block a level, attention at 8 pixels."""
    return NetworkConfig(
        size=16,
        channels=16,
        multipliers=(1, 2),
        blocks=1,
        attention=(8 // patch,),
        head_channels=16,
        groups=4,
        patch=patch,
        mixing=mixing,
        image_inputs=image_inputs,
    )


def drawn(network: nn.Module, seed: int = 0) -> None:
    """Draw all weights anew, so that nothing is zero as it is before training."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        scale = 0.3 if name.endswith("bias") else (parameter[0].numel() if parameter.ndim > 1 else 1) ** -0.5
        parameter.data = torch.randn(parameter.shape, generator=generator) * scale


def network_of(config: NetworkConfig, seed: int = 0) -> Network:
    """A network with drawn weights, ready to predict."""
    network = Network(config)
    drawn(network, seed)
    return network.eval()


def noise_images(count: int, side: int, seed: int = 1) -> torch.Tensor:
    """[count, 3, side, side] draws of N(0, 1)."""
    return torch.randn((count, 3, side, side), generator=torch.Generator().manual_seed(seed))
