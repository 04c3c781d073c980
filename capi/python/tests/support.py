"""What the tests share. go test ./capi runs them; it writes a model, images and what the Go
API says of them into the folder EPSBALL_TEST_DATA. EPSBALL_TEST_NUMPY=0 hides NumPy."""

import array
import os
import sys
import unittest

if os.environ.get("EPSBALL_TEST_NUMPY") == "0":
    sys.modules["numpy"] = None  # an import fails

import epsball  # noqa: E402

try:
    import numpy
except ImportError:
    numpy = None

DATA = os.environ["EPSBALL_TEST_DATA"]
MODEL = os.path.join(DATA, "model.safetensors")
IMAGE = 784


def read(name):
    with open(os.path.join(DATA, name), "rb") as f:
        return f.read()


def want(name):
    kind = {"f32": "f", "i32": "i", "u8": "B"}[name.rsplit(".", 1)[1]]
    return array.array(kind, read(name))


def flat(a):
    """What array.array has of a result, with NumPy or without."""
    if numpy is None:
        return a
    kind, number = {"float32": ("f", a), "int64": ("i", a.astype("int32")), "uint8": ("B", a), "bool": ("B", a)}[a.dtype.name]
    return array.array(kind, number.tobytes())


class Case(unittest.TestCase):
    def setUp(self):
        self.images, self.labels = want("images.f32"), want("labels.i32")
        self.model = epsball.Model(MODEL, threads=2)
        self.addCleanup(self.model.close)

    def same(self, got, file, n=None):
        """A result has the bits of a file, or of its first n numbers."""
        self.assertEqual(flat(got).tobytes(), want(file)[:n].tobytes())

    def fails(self, code, text, f, *arguments, **options):
        with self.assertRaises(epsball.Error) as e:
            f(*arguments, **options)
        self.assertEqual(e.exception.code, code)
        self.assertIn(text, str(e.exception))
        return e.exception
