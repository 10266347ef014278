"""Arrays from the files of other people: .npz, .npy, .safetensors, and .pt without ever running what is in it."""

import contextlib
import io
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError

if TYPE_CHECKING:
    pass

ARRAY_SUFFIXES = frozenset((".npz", ".npy", ".pt", ".pth", ".safetensors"))
PICKLE_SUFFIXES = frozenset((".pkl", ".pickle", ".p", ".ckpt"))

Array = NDArray[Any]


class _KeyProblemError(Exception):
    """The keys of a file are not what was asked for."""


def load_array(path: Path, keys: Sequence[str], chosen: str | None) -> tuple[Array, str | None]:
    """The array of a file and the key it was under (None: the file is one array).

    ``chosen`` is the key that the user names, else the first of ``keys`` that is there, else the only array there is.
    Raises InputError; a pickle that asks for anything but tensors is refused with the names of what it asks for, and
    nothing of it is run.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise pickle_refused(path)
    readers: Mapping[str, Callable[[Path], Array | Mapping[str, object]]] = {
        ".npz": _npz,
        ".npy": _npy,
        ".pt": _torch,
        ".pth": _torch,
        ".safetensors": _safetensors,
    }
    # A damaged file may raise anything.
    try:
        content = readers[path.suffix.lower()](path)
        return _pick(content, keys, chosen)
    except InputError:
        raise
    except _KeyProblemError as error:
        raise InputError(
            "a file does not hold the array that is wanted",
            where=path,
            expected=f"an array {chosen or ' or '.join(keys)}",
            found=error,
            next_step="say which it is with --array-key",
        ) from error
    except Exception as error:
        raise InputError(
            "a file of arrays cannot be read",
            where=path,
            expected="an array of numbers",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}",
            next_step="write it again, or save the images as PNG files",
        ) from error


def pickle_refused(path: Path) -> InputError:
    """What is said of a plain pickle."""
    return InputError(
        "this is a pickle, which could run any code: it is not opened",
        where=path,
        expected="images, .npz, .npy, .safetensors, or tensors in a .pt",
        found=_asks_for(path),
        next_step="save the array with numpy.save, on a machine that trusts the file",
    )


def _pick(content: Array | Mapping[str, object], keys: Sequence[str], chosen: str | None) -> tuple[Array, str | None]:
    if isinstance(content, np.ndarray):
        if chosen is not None:
            raise _KeyProblemError("one array without a key")
        return content, None
    if chosen is not None and chosen not in content:
        raise _KeyProblemError(f"keys {', '.join(map(str, content)) or 'none'}")
    images = [name for name, value in content.items() if len(getattr(value, "shape", ())) in (3, 4)]
    key = chosen or next((key for key in keys if key in content), images[0] if len(images) == 1 else None)
    if key is None:
        raise _KeyProblemError(f"keys {', '.join(map(str, content)) or 'none'}")
    value = content[key]
    array = value if isinstance(value, np.ndarray) else _of_tensors(value)
    if array is None:
        raise _KeyProblemError(f"{key} is {type(value).__name__}")
    return array, key


def _of_tensor(value: object) -> Array | None:
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    tensor: torch.Tensor = value.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


class _Npz(Mapping[str, object]):
    """The arrays of an .npz, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._archive = np.load(path, allow_pickle=False)

    def __getitem__(self, key: str) -> object:
        return self._archive[key]

    def __iter__(self) -> Any:  # noqa: ANN401
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)


def _npz(path: Path) -> Mapping[str, object]:
    return _Npz(path)


def _npy(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _safetensors(path: Path) -> Mapping[str, object]:
    from safetensors.numpy import load_file

    content: Mapping[str, object] = load_file(path)
    return content


def _torch(path: Path) -> Array | Mapping[str, object]:
    import torch

    # A file may be damaged in any way, and a refusal of torch's is an UnpicklingError or a RuntimeError.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        asked = _asks_for(path)
        if not asked:
            raise
        raise InputError(
            "a file of tensors asks for more than tensors: it is not opened, because that could run any code",
            where=path,
            expected="tensors, or a dictionary of tensors",
            found=asked,
            next_step="save only the tensor: torch.save(images, ...), or numpy.save",
        ) from error
    if isinstance(content, Mapping):
        return content
    array = _of_tensors(content)
    if array is None:
        raise InputError(
            "a file of tensors holds no images",
            where=path,
            expected="a tensor, tensors by name, or a list of tensors of one shape, an image or a batch each",
            found=_shapes(content) if isinstance(content, list | tuple) else type(content).__name__,
            next_step="save them as one: torch.save(torch.stack(images), ...)",
        )
    return array


def _shapes(values: Sequence[object]) -> str:
    shapes = list(dict.fromkeys(str(list(getattr(value, "shape", ()))) for value in values))
    return f"a list of {len(values)}, of the shapes {', '.join(shapes[:4]) or 'none'}"


def _of_tensors(value: object) -> Array | None:
    """A tensor, a list of images of one shape, or a list of batches of such, as one array; None for anything else."""
    if not isinstance(value, list | tuple):
        return _of_tensor(value)
    parts = [_of_tensor(part) for part in value]
    arrays = [part for part in parts if part is not None]
    if not arrays or len(arrays) < len(parts) or {part.ndim for part in arrays} not in ({2}, {3}, {4}):
        return None
    batches = arrays[0].ndim == 4
    if len({part.shape[batches:] for part in arrays}) > 1:
        return None
    return np.concatenate(arrays) if batches else np.stack(arrays)


_HARMLESS = frozenset(("collections.OrderedDict",))


def _asks_for(path: Path) -> str:
    """What a pickle would import, apart from tensors, by reading and not running it; empty if nothing or unreadable."""
    names: set[str] = set()
    # Damaged streams raise anything; what was seen before is said all the same.
    with contextlib.suppress(Exception):
        stream = io.BytesIO(_pickle_bytes(path))
        # Files of older versions of torch are several pickles, one after the other.
        for _ in range(_PICKLES_IN_A_FILE):
            _add_globals(stream, names)
    foreign = sorted(name for name in names if not name.startswith("torch") and name not in _HARMLESS)
    return ", ".join(foreign)


_LONGEST_PICKLE = 1 << 26
_PICKLES_IN_A_FILE = 5


def _pickle_bytes(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            return stream.read(_LONGEST_PICKLE)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as member:
            return member.read(_LONGEST_PICKLE)


def _add_globals(stream: io.BytesIO, found: set[str]) -> None:
    """Add ``module.name`` of everything that the next pickle of a stream would look up. Raises for a damaged one."""
    recent: list[str] = []
    memo: dict[int, str] = {}
    for operation, argument, _ in pickletools.genops(stream):
        name = operation.name
        if name == "GLOBAL" and isinstance(argument, str):
            found.add(argument.replace(" ", "."))
        elif name == "STACK_GLOBAL" and len(recent) >= 2:
            found.add(".".join(recent[-2:]))
        elif name.endswith("GET") and isinstance(argument, int):
            recent.append(memo.get(argument, ""))
        elif name == "MEMOIZE" or (name.endswith("PUT") and isinstance(argument, int)):
            memo[len(memo) if argument is None else argument] = recent[-1] if recent else ""
        elif "UNICODE" in name and isinstance(argument, str):
            recent.append(argument)
