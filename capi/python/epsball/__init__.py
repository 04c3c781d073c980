"""Attack, bound and certify convolutional image classifiers on a CPU.

    import epsball
    with epsball.Model("model.safetensors", threads=2) as m:
        labels, logits = m.classify(images)           # float32 in [0, 1], channels first
        adversarial, outcomes = m.attack(images, labels, "linf", "8/255", method="apgd:steps=100")
        robust, margins = m.certify(images, labels, "linf", "8/255", method="crown")

Images are anything with a buffer of float32: a NumPy array, array.array("f"), a
memoryview; or what NumPy makes an array of without copying, such as a tensor of PyTorch.
Strided ones and float64, which is rounded to float32, are copied. An array of more than
one dimension is (n, channels, rows, columns) or (n, pixels).

Results are NumPy arrays. Where NumPy is not installed they are array.array, flat, with
labels in "i", numbers in "f", outcomes and robust in "B".

The shared library is beside this file, or where EPSBALL_LIBRARY says. It is not to be
used after fork: start processes by "spawn".
"""

from ._abi import (
    ERR_ARGUMENT,
    ERR_CANCELLED,
    ERR_FILE,
    ERR_HANDLE,
    ERR_INTERNAL,
    ERR_MODEL,
    ERR_TIMEOUT,
    ERR_UNSUPPORTED,
    FOOLED,
    NOT_DONE,
    OK,
    RESISTED,
    WRONG,
)
from ._library import Error, version
from .model import Attack, Certificate, Model, Prediction


def __getattr__(name: str) -> str:
    """__version__ is that of the installed package, or else of the library."""
    if name != "__version__":
        raise AttributeError("module epsball has no attribute %r" % name)
    from importlib import metadata

    try:
        return metadata.version("epsball")
    except metadata.PackageNotFoundError:
        return version()


__all__ = [
    "ERR_ARGUMENT", "ERR_CANCELLED", "ERR_FILE", "ERR_HANDLE", "ERR_INTERNAL", "ERR_MODEL", "ERR_TIMEOUT",
    "ERR_UNSUPPORTED", "FOOLED", "NOT_DONE", "OK", "RESISTED", "WRONG",
    "Attack", "Certificate", "Error", "Model", "Prediction", "version",
]
