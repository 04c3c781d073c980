"""A classifier that classifies, attacks and certifies."""

import ctypes
import os
from ctypes import byref
from typing import Any, NamedTuple, Optional, Tuple, Union

from . import _abi, _arrays
from ._arrays import Bools, Bytes, Floats, Ints
from ._library import Error, call, notify, struct


class Prediction(NamedTuple):
    """labels (n,): the classes, the first of equals, -1 if a logit is NaN. logits (n, classes)."""

    labels: Ints
    logits: Floats


class Attack(NamedTuple):
    """adversarial (n, channels, rows, columns): the worst images found. outcomes (n,):
    RESISTED, FOOLED, WRONG (before the attack already), or NOT_DONE."""

    adversarial: Floats
    outcomes: Bytes


class Certificate(NamedTuple):
    """robust (n,): whether an image is proved. margins (n,): a proved lower bound of the
    lead of its label in logits, or -infinity."""

    robust: Bools
    margins: Floats


class Model:
    """A classifier from a .safetensors, .onnx or .onnx.gz file.

    data, if given, is the content of the file that path names. threads: how many compute,
    0 is one for each CPU. isa names a set of kernels ("avx2"); None is the best one here.
    few_images packs weights for at most six images a call, in half the memory. With
    in_place a file is mapped instead of read: it must not change meanwhile.

    shape is (channels, rows, columns), classes how many there are, hash the SHA-256 of
    architecture and weights. A Model is safe for concurrent use: calls take turns, and
    the interpreter is free while one runs. Errors are epsball.Error.
    """

    shape: Tuple[int, int, int]
    classes: int
    hash: str

    def __init__(self, path: Union[str, "os.PathLike[str]"], data: Any = None, threads: int = 0, isa: Optional[str] = None,
                 few_images: bool = False, in_place: bool = False) -> None:
        self._model = ctypes.c_void_p()
        options = struct(_abi.Options, threads=threads, isa=isa, few_images=bool(few_images),
                         in_place=bool(in_place and data is None))
        if data is None:
            call("epsball_load", os.fsencode(path), byref(options), byref(self._model))
        else:
            content = _arrays.view("data", data, "the bytes of a file")
            if not content.c_contiguous:
                content = memoryview(content.tobytes())
            address, held = _arrays.pointer(content)
            call("epsball_load_memory", address, content.nbytes, os.fsencode(path), byref(options), byref(self._model))
        info = self.info()
        self.shape = (info.channels, info.rows, info.columns)
        self.classes = info.classes
        self.hash = info.hash.decode()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Ends the model, after the calls under way; twice is once."""
        model, self._model = self._model, ctypes.c_void_p()
        if model:
            notify("epsball_close", model)

    def cancel(self) -> None:
        """Makes calls in other threads fail with ERR_CANCELLED."""
        notify("epsball_cancel", self._model)

    def info(self) -> _abi.Info:
        """Returns what epsball_get_info says, the bytes of memory of the weights among it."""
        info = struct(_abi.Info)
        call("epsball_get_info", self._model, byref(info))
        return info

    def classify(self, images: Any) -> Prediction:
        """Predicts the class of images, float32 in [0, 1]."""
        address, held, n = _arrays.images(images, self.shape)
        labels, logits = _arrays.zeros("i", n), _arrays.zeros("f", n, self.classes)
        call("epsball_classify", self._model, address, n, _arrays.pointer(labels)[0], _arrays.pointer(logits)[0])
        return Prediction(_arrays.int64(labels), logits)

    def attack(self, images: Any, labels: Any, norm: str, eps: Any, method: str = "pgd", steps: int = 0, restarts: int = 0,
               step_size: float = 0, seed: int = 0, random_start: bool = False, timeout_ms: int = 0,
               lattice: int = 0) -> Attack:
        """Searches the ball around each image for one that is not classified as its label says.

        norm is "linf", "l2", "l1" or "l0", as far as the method has it. eps is exact: "8/255",
        "0.1", or what str makes so, such as Fraction(8, 255) or, for l0, a number of values;
        "inf" is for methods that look for the smallest distance. method is any of
        docs/attacks.md, such as "pgd", "auto", "fast" or "ddn", and may have options:
        "apgd:steps=100,loss=dlr". steps, restarts, step_size and seed are options too; 0 is
        as method says. random_start is of fgsm alone. With lattice 8 only
        pictures of 8 bits are tried, which files hold as they are. After ERR_TIMEOUT and ERR_CANCELLED
        the Error has what was found in result.
        """
        ball, held, n = self._ball(images, labels, norm, eps)
        options = struct(_abi.AttackOptions, timeout_ms=timeout_ms, method=method, steps=steps, restarts=restarts,
                         step_size=step_size, seed=seed, random_start=bool(random_start), lattice=lattice)
        adversarial, outcomes = _arrays.zeros("f", n, *self.shape), _arrays.zeros("B", n)
        try:
            call("epsball_attack", *ball, byref(options), _arrays.pointer(adversarial)[0], _arrays.pointer(outcomes)[0])
        except Error as e:
            if e.code in (_abi.ERR_CANCELLED, _abi.ERR_TIMEOUT):
                e.result = Attack(adversarial, outcomes)
            raise
        return Attack(adversarial, outcomes)

    def certify(self, images: Any, labels: Any, norm: str, eps: Any, method: str = "ibp", timeout_ms: int = 0) -> Certificate:
        """Tries to prove that every image of the ball around each image, with pixels in [0, 1],
        is classified as its label says.

        norm is "linf", "l2" or "l1", eps as for attack, method "ibp", "crown-ibp", "crown"
        or "alpha-crown".
        """
        ball, held, n = self._ball(images, labels, norm, eps)
        options = struct(_abi.CertifyOptions, timeout_ms=timeout_ms, method=method)
        robust, margins = _arrays.zeros("B", n), _arrays.zeros("f", n)
        call("epsball_certify", *ball, byref(options), _arrays.pointer(robust)[0], _arrays.pointer(margins)[0])
        return Certificate(_arrays.bools(robust), margins)

    def _ball(self, images: Any, labels: Any, norm: str, eps: Any) -> Tuple[Tuple[Any, ...], Any, int]:
        """The arguments that say which images, labels and ball, what keeps them there, and
        the number of images."""
        address, held, n = _arrays.images(images, self.shape)
        y, kept = _arrays.labels(labels, n)
        return (self._model, address, n, y, str(norm).encode(), str(eps).encode()), (held, kept), n
