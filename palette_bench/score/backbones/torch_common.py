"""What the pretrained networks share: vetting a weights file, the device, exact float32, folding, the 224 crop."""

import io
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from palette_bench.common.errors import InputError, UsageError

Interpolation = Literal["bilinear", "bicubic"]

SHORT_SIDE = 256
CROP = 224
BATCH_ON_CPU, BATCH_ON_DEVICE = 4, 16
"""Images that PyTorch gets at once, always so many: what it computes depends on the number in its last bits."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STANDARD_DEVIATION = (0.229, 0.224, 0.225)

_SHOWN_CHARACTERS = 400


def torch_device(name: str) -> torch.device:
    """The device called ``name``; UsageError if there is none, which is better told before images are read."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError("this device cannot be used", found=name, expected="for example cpu, cuda, cuda:1") from error
    return device


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, on the CPU. Nothing in the file is executed.

    InputError if it is no plain mapping of names to finite tensors: unpickled code, truncated files and whole models
    included.
    """
    # A damaged file may raise anything.
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(state, Mapping):
        raise _unusable(path, f"a {type(state).__name__}")
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise _unusable(path, f"{key!r} is a {type(value).__name__}")
        if value.is_complex() or value.layout != torch.strided:
            raise _unusable(path, f"{key} is {value.dtype}, {value.layout}")
        if not bool(torch.isfinite(value).all()):
            raise _unusable(path, f"{key} has numbers that are not finite")
        tensors[key] = value.detach()
    return tensors


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give ``network`` exactly the tensors of ``state``; InputError naming ``path`` if a name or shape differs.

    Buffers that count batches move no number and may be absent, as they are in files older than they are.
    """
    with rejected(path):
        network.load_state_dict(state, strict=True, assign=True)
    network.float()


@contextmanager
def rejected(path: Path) -> Iterator[None]:
    """Around a strict load of the state in ``path``: names and shapes that do not fit become an InputError."""
    try:
        yield
    except RuntimeError as error:
        raise _unusable(path, str(error)) from error


def plain_pickle(state: Mapping[str, Tensor]) -> io.BytesIO:
    """``state`` as a weights file in memory, for a peer that unpickles whatever it is given."""
    stream = io.BytesIO()
    torch.save(dict(state), stream)
    stream.seek(0)
    return stream


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, computed in float64: fewer passes over memory, 1e-5
    relative at most.

    A norm is found beside its convolution: as ``bn`` beside ``conv``, ``bn1`` beside ``conv1`` and so on, or next in a
    sequence. Raises ValueError if one is left.
    """
    for module in network.modules():
        names = [name for name, _ in module.named_children()]
        if isinstance(module, nn.Sequential):
            pairs = list(itertools.pairwise(names))
        else:
            pairs = [(name, name.replace("conv", "bn")) for name in names if name.startswith("conv")]
        for first, second in pairs:
            convolution, norm = getattr(module, first), getattr(module, second, None)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(convolution, norm)
                setattr(module, second, nn.Identity())
    if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise ValueError("a batch norm is not beside its convolution")


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None or convolution.bias is not None:
        raise ValueError("only a convolution without bias and a norm with running statistics can be folded")
    with torch.no_grad():
        gain = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
        weight = convolution.weight.double() * gain[:, None, None, None]
        bias = norm.bias.double() - mean.double() * gain
        convolution.weight = nn.Parameter(weight.float(), requires_grad=False)
        convolution.bias = nn.Parameter(bias.float(), requires_grad=False)


@dataclass(frozen=True, slots=True)
class Trunk:
    """A pretrained network, ready for any backend.

    ``module`` maps what ``to_input`` returns, [n, 3, h, w] float32, to one [n, width] for each of ``outputs``, a
    tuple where there are several. ``to_input`` takes images [n, H, W, 3] uint8 and a device.
    """

    module: nn.Module
    to_input: Callable[[NDArray[np.uint8], torch.device], Tensor]
    outputs: tuple[str, ...]


class TorchNetwork:
    """A `Trunk` run by PyTorch; a `palette_bench.score.backbones.base.Network`."""

    def __init__(self, trunk: Trunk, device: torch.device, *, bfloat16: bool = False) -> None:
        self._module = ready(trunk.module, device)
        self._trunk = trunk
        self._device = device
        self._bfloat16 = bfloat16

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 of any size to one [N, width] float32 array an output.

        A row is the same in every bit whatever batch its image is in.
        """
        size = BATCH_ON_CPU if self._device.type == "cpu" else BATCH_ON_DEVICE
        parts: list[tuple[Tensor, ...]] = []
        with exact_float32(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            for start in range(0, len(images), size):
                inputs = self._trunk.to_input(images[start : start + size], self._device)
                # SCORE: a short batch is filled up, because kernels round differently at other lengths.
                inputs = functional.pad(inputs, (0, 0, 0, 0, 0, 0, 0, size - len(inputs)))
                values = self._module(inputs.contiguous(memory_format=torch.channels_last))
                parts.append(values if isinstance(values, tuple) else (values,))
        joined = (to_array(torch.cat(values))[: len(images)] for values in zip(*parts, strict=True))
        return dict(zip(self._trunk.outputs, joined, strict=True))


def ready(network: nn.Module, device: torch.device) -> nn.Module:
    """``network`` in inference mode on ``device``, its weights in the memory layout convolutions are fastest in."""
    network.eval().requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)


class _Exact:
    """torch's precision switches, which are the process's, held off while any thread needs them off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._restore = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if not self._users:
                # SCORE: TF32 off, no autotuned algorithms.
                flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
                self._restore.enter_context(flags)
                matmul = torch.backends.cuda.matmul
                self._restore.callback(setattr, matmul, "allow_tf32", matmul.allow_tf32)
                matmul.allow_tf32 = False
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._restore.close()


_exact = _Exact()


@contextmanager
def exact_float32() -> Iterator[None]:
    """Inference in float32 as written: TensorFloat-32, the default for convolutions on GPUs, moves features by 1e-3.

    The switches are as they were when the last thread has left.
    """
    _exact.enter()
    try:
        with torch.inference_mode():
            yield
    finally:
        _exact.leave()


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images [N, H, W, 3] uint8 as a tensor [N, 3, H, W] uint8 on ``device``, channels last in memory."""
    images = np.ascontiguousarray(images)
    # An axis of length 1 may run backwards in an array that NumPy calls contiguous.
    tensor = torch.from_numpy(images.copy() if min(images.strides) < 0 else images)
    if device.type == "cuda":
        tensor = tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device).permute(0, 3, 1, 2)


def crop_224(images: NDArray[np.uint8], device: torch.device, *, interpolation: Interpolation = "bilinear") -> Tensor:
    """Images [N, H, W, 3] uint8 to the ImageNet classifiers' input [N, 3, 224, 224] float32, normalised.

    torchvision's ``ImageClassification(crop_size=224, resize_size=256)`` of a Pillow image, bit for bit: short side
    to 256 with Pillow's filter on uint8, centre crop, /255, minus mean, over standard deviation. The resize is the
    identity where the short side is 256.
    """
    if min(images.shape[1:3]) == SHORT_SIDE:
        top = round((images.shape[1] - CROP) / 2.0)
        left = round((images.shape[2] - CROP) / 2.0)
        cropped = images[:, top : top + CROP, left : left + CROP]
    else:
        cropped = np.stack([_resized_crop(image, interpolation) for image in images])
    return imagenet_normalised(cropped, device)


def squeeze_224(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images [N, H, W, 3] uint8, each squeezed whole to 224x224 with Pillow's bicubic filter, to [N, 3, 224, 224]
    float32, normalised.
    """
    squeezed = [Image.fromarray(image).resize((CROP, CROP), Image.Resampling.BICUBIC) for image in images]
    return imagenet_normalised(np.stack([np.asarray(image) for image in squeezed]), device)


def native_256(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images [N, H, W, 3] uint8 without crop to [N, 3, h, w] float32, normalised; the short side of h and w is 256,
    by Pillow's bilinear filter on uint8 where it was not.
    """
    if min(images.shape[1:3]) != SHORT_SIDE:
        images = np.stack([np.asarray(_resized(image, "bilinear")) for image in images])
    return imagenet_normalised(images, device)


def imagenet_normalised(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images [N, H, W, 3] uint8 to [N, 3, H, W] float32: / 255, minus ImageNet's mean, over its deviation."""
    # SCORE: operations and their order are torchvision's.
    pixels = to_tensor(images, device).to(torch.float32).div_(255)
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(-1, 1, 1)
    deviation = torch.tensor(IMAGENET_STANDARD_DEVIATION, device=device).view(-1, 1, 1)
    return pixels.sub_(mean).div_(deviation)


def _resized(image: NDArray[np.uint8], interpolation: Interpolation) -> Image.Image:
    # Not for every network, and torchvision takes longer to import than torch.
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as tvf

    # SCORE: Pillow's filter on uint8, not torch's on float.
    mode = InterpolationMode(interpolation)
    resized: Image.Image = tvf.resize(Image.fromarray(image), [SHORT_SIDE], interpolation=mode)
    return resized


def _resized_crop(image: NDArray[np.uint8], interpolation: Interpolation) -> NDArray[np.uint8]:
    from torchvision.transforms import functional as tvf

    return np.asarray(tvf.center_crop(_resized(image, interpolation), [CROP]), dtype=np.uint8)


def to_array(values: Tensor) -> NDArray[np.float32]:
    """A tensor [N, D] as a float32 array on the CPU."""
    array: NDArray[np.float32] = values.to(device="cpu", dtype=torch.float32).numpy()
    return array


def _unusable(path: Path, found: str) -> InputError:
    return InputError(
        "a weights file cannot be used",
        where=path,
        expected="a mapping of parameter names to tensors of this network's shapes, and nothing else",
        found=" ".join(found.split())[:_SHOWN_CHARACTERS],
        next_step="fetch or import the published file: `palette-bench weights list`",
    )
