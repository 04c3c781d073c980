"""epsball from Python: ctypes and the standard library alone.

    import epsball
    with epsball.Model("model.safetensors", threads=2) as m:
        labels, logits = m.classify(images)           # float32 in [0, 1], channels first
        adversarial, outcomes = m.attack(images, labels, "linf", "8/255", steps=40)
        robust, margins = m.certify(images, labels, "linf", "8/255", method="crown")

Images are anything with a buffer of float32: array.array("f"), a memoryview, a numpy
array. Strided ones and float64, which is rounded to float32, are copied. An array of more
than one dimension is (n, channels, rows, columns) or (n, pixels). Results are array.array,
which numpy.frombuffer takes without a copy. The library is libepsball.so (.dylib, .dll)
beside this file, or what EPSBALL_LIBRARY names. A Model is safe for concurrent use; the
interpreter is free while a call runs.
"""

import array
import ctypes
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

ABI_VERSION = 1
OK = 0
ERR_ARGUMENT = 1
ERR_HANDLE = 2
ERR_FILE = 3
ERR_MODEL = 4
ERR_UNSUPPORTED = 5
ERR_CANCELLED = 6
ERR_TIMEOUT = 7
ERR_INTERNAL = 8
ERR_SIZE = 512
RESISTED = 0
FOOLED = 1
WRONG = 2
NOT_DONE = 255


class Options(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("threads", c_uint32), ("isa", c_char_p),
                ("few_images", c_uint32), ("in_place", c_uint32)]


class Info(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("classes", c_uint32), ("channels", c_uint32), ("rows", c_uint32),
                ("columns", c_uint32), ("reserved", c_uint32), ("bytes", c_uint64), ("hash", ctypes.c_char * 72)]


class AttackOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("timeout_ms", c_uint32), ("method", c_char_p), ("steps", c_uint32),
                ("restarts", c_uint32), ("step_size", c_double), ("seed", c_uint64), ("random_start", c_uint32),
                ("reserved", c_uint32)]


class CertifyOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("timeout_ms", c_uint32), ("method", c_char_p)]


class Error(Exception):
    """A call failed: code is one of ERR_..., the text says what is wrong. An attack that
    was cancelled or ran out of time has what it found until then in result."""

    def __init__(self, code, text):
        super().__init__(text or _lib.epsball_code_name(code).decode())
        self.code = code
        self.result = None


def _load():
    name = "libepsball" + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    path = os.environ.get("EPSBALL_LIBRARY") or os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    try:
        return ctypes.CDLL(path)
    except OSError as e:
        raise ImportError("epsball: %s: put the library (capi/README.md builds it) beside epsball.py, or name its path in "
                          "EPSBALL_LIBRARY" % e) from None


_lib = _load()


def _declare(name, result, *arguments):
    function = getattr(_lib, name)
    function.restype, function.argtypes = result, arguments


_ERR = (c_void_p, c_size_t)
_BALL = (c_void_p, c_void_p, c_int64, c_void_p, c_char_p, c_char_p)  # model, images, n, labels, norm, eps
_declare("epsball_abi_version", c_uint32)
_declare("epsball_version", c_char_p)
_declare("epsball_code_name", c_char_p, c_int32)
_declare("epsball_load", c_int32, c_char_p, POINTER(Options), POINTER(c_void_p), *_ERR)
_declare("epsball_load_memory", c_int32, c_char_p, c_size_t, c_char_p, POINTER(Options), POINTER(c_void_p), *_ERR)
_declare("epsball_close", c_int32, c_void_p)
_declare("epsball_cancel", c_int32, c_void_p)
_declare("epsball_get_info", c_int32, c_void_p, POINTER(Info), *_ERR)
_declare("epsball_classify", c_int32, c_void_p, c_void_p, c_int64, c_void_p, c_void_p, *_ERR)
_declare("epsball_attack", c_int32, *_BALL, POINTER(AttackOptions), c_void_p, c_void_p, *_ERR)
_declare("epsball_certify", c_int32, *_BALL, POINTER(CertifyOptions), c_void_p, c_void_p, *_ERR)
if _lib.epsball_abi_version() != ABI_VERSION:
    raise ImportError("epsball: the library has interface %d, want %d" % (_lib.epsball_abi_version(), ABI_VERSION))


def version():
    return _lib.epsball_version().decode()


def _call(name, *arguments):
    text = ctypes.create_string_buffer(ERR_SIZE)
    code = getattr(_lib, name)(*arguments, text, len(text))
    if code != OK:
        raise Error(code, text.value.decode())


def _struct(type, **fields):
    return type(ctypes.sizeof(type), **{k: v.encode() if isinstance(v, str) else v for k, v in fields.items()})


def _pointer(buffer):
    """The address of a buffer and what keeps it there; a copy where it is read-only."""
    if isinstance(buffer, array.array):
        return buffer.buffer_info()[0], buffer
    view = memoryview(buffer).cast("B")
    kind = ctypes.c_char * view.nbytes
    held = kind.from_buffer_copy(view) if view.readonly else kind.from_buffer(view)
    return ctypes.addressof(held), held


def _zeros(kind, n):
    return array.array(kind, bytes(array.array(kind).itemsize * n))


class Model:
    """A classifier. data, if given, is the content of the file that path names. With
    in_place a file is mapped instead of read: it must not change meanwhile."""

    def __init__(self, path, data=None, threads=0, isa=None, few_images=False, in_place=False):
        self._model = c_void_p()
        options = _struct(Options, threads=threads, isa=isa, few_images=int(few_images),
                          in_place=int(in_place and data is None))
        if data is None:
            _call("epsball_load", os.fsencode(path), byref(options), byref(self._model))
        else:
            _call("epsball_load_memory", bytes(data), len(data), os.fsencode(path), byref(options), byref(self._model))
        info = self.info()
        self.shape = (info.channels, info.rows, info.columns)
        self.classes = info.classes
        self.hash = info.hash.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()

    def close(self):
        """Ends the model; twice is once."""
        model, self._model = self._model, c_void_p()
        if model:
            _lib.epsball_close(model)

    def cancel(self):
        """Makes calls in other threads fail with ERR_CANCELLED."""
        _lib.epsball_cancel(self._model)

    def info(self):
        info = _struct(Info)
        _call("epsball_get_info", self._model, byref(info))
        return info

    def _images(self, images):
        """The address of images in float32 without gaps, what keeps it there, and how many."""
        size = self.shape[0] * self.shape[1] * self.shape[2]
        try:
            view = memoryview(images)
        except TypeError:
            raise Error(ERR_ARGUMENT, "images: %s, want a buffer of float32: numpy.asarray(images, numpy.float32) or array.array"
                        % type(images).__name__) from None
        if view.format not in ("f", "d"):
            raise Error(ERR_ARGUMENT, "images: format %s, want float32 (f) or float64 (d) in [0, 1]: images.astype(numpy.float32), "
                        "divided by 255 if they are 0 to 255" % view.format)
        if view.nbytes % (view.itemsize * size) or view.ndim > 1 and not self._fits(view.shape, size):
            raise Error(ERR_ARGUMENT, "images: %s numbers, want (n, %d, %d, %d), channels first, or %d an image"
                        % ((" x ".join(map(str, view.shape)),) + self.shape + (size,)))
        n = view.nbytes // (view.itemsize * size)
        if n == 0:
            images = array.array("f")
        elif view.format == "d":
            images = array.array("f", array.array("d", view.tobytes()))
        elif not view.c_contiguous:
            images = array.array("f", view.tobytes())
        return _pointer(images), n

    def _fits(self, shape, size):
        """Whether the last dimensions are those of an image."""
        grey = self.shape[0] == 1 and self.shape[1:] in (shape[-2:], shape[-3:-1] if shape[-1] == 1 else None)
        return shape[-3:] == self.shape or shape[-1] == size or grey

    def classify(self, images):
        """Returns labels ("i") and logits ("f", n times classes)."""
        (address, held), n = self._images(images)
        labels, logits = _zeros("i", n), _zeros("f", n * self.classes)
        _call("epsball_classify", self._model, address, n, _pointer(labels)[0], _pointer(logits)[0])
        return labels, logits

    def _ball(self, images, labels, norm, eps):
        (address, held), n = self._images(images)
        try:
            y = array.array("i", labels)
        except (TypeError, OverflowError) as e:
            raise Error(ERR_ARGUMENT, "labels: %s, want the number of a class for each image" % e) from None
        if len(y) != n:
            raise Error(ERR_ARGUMENT, "labels: %d, want one for each of %d images" % (len(y), n))
        arguments = (self._model, address, n, _pointer(y)[0], norm.encode(), str(eps).encode())
        return arguments, (held, y), n

    def attack(self, images, labels, norm, eps, method="pgd", steps=0, restarts=0, step_size=0, seed=0,
               random_start=False, timeout_ms=0):
        """Returns the worst images found ("f") and outcomes ("B": RESISTED, FOOLED, WRONG).
        eps is exact: "8/255", "0.1". method may have options: "apgd:steps=100,loss=dlr"."""
        arguments, held, n = self._ball(images, labels, norm, eps)
        options = _struct(AttackOptions, timeout_ms=timeout_ms, method=method, steps=steps, restarts=restarts,
                          step_size=step_size, seed=seed, random_start=int(random_start))
        adversarial, outcomes = _zeros("f", n * self.shape[0] * self.shape[1] * self.shape[2]), _zeros("B", n)
        try:
            _call("epsball_attack", *arguments, byref(options), _pointer(adversarial)[0], _pointer(outcomes)[0])
        except Error as e:
            if e.code in (ERR_CANCELLED, ERR_TIMEOUT):
                e.result = adversarial, outcomes
            raise
        return adversarial, outcomes

    def certify(self, images, labels, norm, eps, method="ibp", timeout_ms=0):
        """Returns which images are proved ("B") and their margins ("f")."""
        arguments, held, n = self._ball(images, labels, norm, eps)
        options = _struct(CertifyOptions, timeout_ms=timeout_ms, method=method)
        robust, margins = _zeros("B", n), _zeros("f", n)
        _call("epsball_certify", *arguments, byref(options), _pointer(robust)[0], _pointer(margins)[0])
        return robust, margins
