"""Finds the shared library and calls it."""

import ctypes
import operator
import os
import sys
from typing import Any, Type, TypeVar

from . import _abi

_S = TypeVar("_S", bound=ctypes.Structure)


class Error(Exception):
    """A call failed.

    code is one of ERR_..., the text says what is wrong. An attack that was cancelled or
    ran out of time has what it found until then, an Attack, in result.
    """

    code: int
    result: Any

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text or _lib.epsball_code_name(code).decode())
        self.code = code
        self.result = None


def _load() -> ctypes.CDLL:
    name = "libepsball" + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    folder = os.path.dirname(os.path.abspath(__file__))
    path = os.environ.get("EPSBALL_LIBRARY") or os.path.join(folder, name)
    try:
        lib = ctypes.CDLL(path)
    except OSError as e:
        raise ImportError("epsball: %s: install a wheel, or build the library as capi/README.md says and name its path in "
                          "EPSBALL_LIBRARY" % e) from None
    for function, (result, *arguments) in _abi.FUNCTIONS.items():
        f = getattr(lib, function)
        f.restype, f.argtypes = result, arguments
    if lib.epsball_abi_version() != _abi.ABI_VERSION:
        raise ImportError("epsball: %s has interface %d, want %d" % (path, lib.epsball_abi_version(), _abi.ABI_VERSION))
    return lib


_lib = _load()
_process = os.getpid()


def version() -> str:
    """Returns the version of the library, as Go writes it: "v1.2.3"."""
    text: bytes = _lib.epsball_version()
    return text.decode()


def call(name: str, *arguments: Any) -> None:
    """Calls a function that returns a code, and raises Error unless that is OK."""
    if os.getpid() != _process:  # where the threads of Go are not
        raise Error(_abi.ERR_UNSUPPORTED, "epsball was loaded before a fork: start processes by spawn "
                    "(multiprocessing.get_context(\"spawn\")), or import epsball after the fork")
    text = ctypes.create_string_buffer(_abi.ERR_SIZE)
    code = getattr(_lib, name)(*arguments, text, len(text))
    if code != _abi.OK:
        raise Error(code, text.value.decode())


def notify(name: str, model: ctypes.c_void_p) -> None:
    """Calls a function that cannot fail; does nothing after a fork."""
    if os.getpid() == _process:
        getattr(_lib, name)(model)


def struct(kind: Type[_S], **values: Any) -> _S:
    """Fills a struct with values of the types that its fields are for: ctypes would cut
    whole numbers, and take one for the address of a text."""
    s = kind(ctypes.sizeof(kind))
    for name, field, *_ in kind._fields_:
        if name in values:
            setattr(s, name, _value(name, field, values[name]))
    return s


def _value(name: str, field: Any, value: Any) -> Any:
    if field is ctypes.c_char_p:
        if value is None or isinstance(value, str):
            return value and value.encode()
        want = "a text"
    elif field is ctypes.c_double:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            want = "a number"
    else:
        most = (1 << 8 * ctypes.sizeof(field)) - 1
        try:
            if 0 <= operator.index(value) <= most:
                return operator.index(value)
        except TypeError:
            pass
        want = "a whole number from 0 to %d" % most
    raise Error(_abi.ERR_ARGUMENT, "%s: %r, want %s" % (name, value, want))
