"""Arrays on their way to the library and back, with NumPy or without."""

import array
import ctypes
import math
from typing import TYPE_CHECKING, Any, Tuple

from ._abi import ERR_ARGUMENT
from ._library import Error

np: Any
try:
    import numpy as np
except ImportError:
    np = None

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float32]
    Ints = NDArray[numpy.int64]
    Bytes = NDArray[numpy.uint8]
    Bools = NDArray[numpy.bool_]
else:
    Floats = Ints = Bytes = Bools = Any

_KINDS = {"f": "float32", "i": "int32", "B": "uint8"}


def zeros(kind: str, *shape: int) -> Any:
    """An array of float32 (f), int32 (i) or bytes (B) for the library to fill."""
    if np is not None:
        return np.zeros(shape, _KINDS[kind])
    return array.array(kind, bytes(array.array(kind).itemsize * math.prod(shape)))


def int64(a: Any) -> Any:
    return a if np is None else a.astype(np.int64)


def bools(a: Any) -> Any:
    return a if np is None else a.view(np.bool_)


def pointer(buffer: Any) -> Tuple[int, Any]:
    """The address of a buffer without gaps and what keeps it there. ctypes alone has no
    address for one that is read-only, which is copied then."""
    if np is not None:
        held = np.frombuffer(buffer, np.uint8) if memoryview(buffer).nbytes else np.empty(0)
        return held.ctypes.data, held
    if isinstance(buffer, array.array):
        return buffer.buffer_info()[0], buffer
    view = memoryview(buffer).cast("B")
    kind = ctypes.c_char * view.nbytes
    copy = kind.from_buffer_copy(view) if view.readonly else kind.from_buffer(view)
    return ctypes.addressof(copy), copy


def view(name: str, a: Any, want: str) -> "memoryview":
    """The buffer of a, or of the array that NumPy makes of it."""
    try:
        if np is not None and hasattr(a, "__array__") and not isinstance(a, np.ndarray):
            a = np.asarray(a)
        return memoryview(a)
    except Exception as e:  # whatever the type of a raises, such as a tensor that is not in memory
        text = str(e).rstrip(".") if hasattr(a, "__array__") else type(a).__name__
        raise Error(ERR_ARGUMENT, "%s: %s, want %s" % (name, text, want)) from None


def images(a: Any, shape: Tuple[int, int, int]) -> Tuple[int, Any, int]:
    """The address of images in float32 without gaps, what keeps it there, and how many."""
    size = math.prod(shape)
    v = view("images", a, "a buffer of float32: numpy.asarray(images, numpy.float32) or array.array")
    if v.format not in ("f", "d"):
        raise Error(ERR_ARGUMENT, "images: format %s, want float32 (f) or float64 (d) in [0, 1]: images.astype(numpy.float32), "
                    "divided by 255 if they are 0 to 255" % v.format)
    dimensions = v.shape or ()
    if v.nbytes % (v.itemsize * size) or v.ndim > 1 and not _fits(dimensions, shape):
        raise Error(ERR_ARGUMENT, "images: %s numbers, want (n, %d, %d, %d), channels first, or %d an image"
                    % (" x ".join(map(str, dimensions)), *shape, size))
    n = v.nbytes // (v.itemsize * size)
    if n == 0:
        v = memoryview(array.array("f"))
    elif v.format == "d" or not v.c_contiguous:
        v = memoryview(_copy(v))
    return (*pointer(v), n)


def _copy(v: "memoryview") -> Any:
    if np is not None:
        with np.errstate(over="ignore"):  # infinity, which the library refuses
            return np.ascontiguousarray(v, np.float32)
    return array.array("f", array.array(v.format, v.tobytes()))


def _fits(shape: Tuple[int, ...], image: Tuple[int, int, int]) -> bool:
    """Reports whether the last dimensions are those of an image."""
    grey = image[0] == 1 and image[1:] in (shape[-2:], shape[-3:-1] if shape[-1] == 1 else None)
    return shape[-3:] == image or shape[-1] == math.prod(image) or grey


def labels(a: Any, n: int) -> Tuple[int, Any]:
    """The address of n labels in int32 and what keeps it there."""
    want = "the number of a class for each image"
    if np is not None and hasattr(a, "__array__"):
        a = view("labels", a, want)
    if isinstance(a, memoryview) and a.ndim != 1:
        raise Error(ERR_ARGUMENT, "labels: %d dimensions, want (n,): %s" % (a.ndim, want))
    if isinstance(a, (memoryview, array.array)) and memoryview(a).format == "i" and memoryview(a).c_contiguous:
        y = a
    else:
        try:
            y = array.array("i", iter(a))
        except (TypeError, OverflowError, NotImplementedError) as e:
            raise Error(ERR_ARGUMENT, "labels: %s, want %s" % (e, want)) from None
    if len(y) != n:
        raise Error(ERR_ARGUMENT, "labels: %d, want one for each of %d images" % (len(y), n))
    return pointer(y)
