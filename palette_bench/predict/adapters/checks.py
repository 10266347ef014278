"""What an adapter gives back is looked at before it is believed."""

from collections.abc import Sequence

import numpy as np

from palette_bench.common.errors import InputError, Problem
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput

CONTRACT = "one numpy array [H, W, 3] uint8 RGB for each input, in their order"
NEXT = "palette-bench adapter check tries a model on a few images"


def checked_outputs(name: str, inputs: Sequence[ModelInput], outputs: object) -> list[ImageU8]:
    """The outputs of model ``name`` as arrays of their own. Raises InputError with everything that is wrong."""
    where = items_of(inputs)
    try:
        found = list(outputs)  # type: ignore[call-overload]
    except TypeError as error:
        raise _bad(name, where, type(outputs).__name__) from error
    if len(found) != len(inputs):
        raise _bad(name, where, f"{len(found)} outputs for {len(inputs)} inputs")
    problems = [
        Problem("bad output", given.id, fault)
        for given, output in zip(inputs, found, strict=True)
        if (fault := _fault(output, given.image.shape)) is not None
    ]
    if problems:
        raise _bad(name, where, f"{len(problems)} bad outputs of {len(found)}", problems)
    return [np.array(output) for output in found]


def items_of(inputs: Sequence[ModelInput]) -> str:
    """A few items in words."""
    ids = list(dict.fromkeys(given.id for given in inputs))
    return ", ".join(ids) if len(ids) <= 4 else f"{ids[0]}, {ids[1]} ... {ids[-1]} ({len(ids)} items)"


def _bad(name: str, where: str, found: str, problems: Sequence[Problem] = ()) -> InputError:
    return InputError(
        f"model {name} gives no images", where=where, expected=CONTRACT, found=found, problems=problems, next_step=NEXT
    )


def _fault(output: object, shape: tuple[int, ...]) -> str | None:
    if not isinstance(output, np.ndarray):
        return f"{type(output).__module__}.{type(output).__qualname__} instead of a numpy array"
    if output.dtype != np.uint8:
        return f"{output.dtype}{_values(output)} instead of uint8"
    if output.shape != shape:
        return f"shape {list(output.shape)} instead of {list(shape)}"
    return None


def _values(output: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
    """What the values of an array of another type look like."""
    if not np.issubdtype(output.dtype, np.number) or np.issubdtype(output.dtype, np.complexfloating) or not output.size:
        return ""
    numbers = output.astype(np.float64)
    if (bad := int(np.count_nonzero(~np.isfinite(numbers)))) > 0:
        return f" with {bad} values that are NaN or infinite"
    return f" from {numbers.min():g} to {numbers.max():g}"
