"""Arrays of NumPy in all their layouts, and what comes back."""

import unittest

from support import Case, epsball, numpy, read, want
from epsball import _arrays


class Tensor:
    """An array of another library: no buffer, but NumPy knows how to ask for one."""

    def __init__(self, a):
        self.a = a

    def __array__(self, dtype=None, copy=None):
        if self.a is None:
            raise RuntimeError("not in memory")
        return self.a


@unittest.skipUnless(numpy, "no numpy")
class TestNumpy(Case):
    def setUp(self):
        super().setUp()
        self.array = numpy.frombuffer(read("images.f32"), numpy.float32).reshape(-1, 1, 28, 28)
        self.y = numpy.frombuffer(read("labels.i32"), numpy.int32)
        self.logits = numpy.frombuffer(read("logits.f32"), numpy.float32).reshape(-1, 10)

    def check(self, images, logits):
        before = numpy.array(images, copy=True)
        numpy.testing.assert_array_equal(self.model.classify(images).logits, logits)
        numpy.testing.assert_array_equal(images, before)

    def test_shapes(self):
        x = self.array
        for images in (x, x.copy(), x.reshape(-1, 784), x.reshape(-1), x[:, 0], x.reshape(-1, 28, 28, 1), x.astype(numpy.float64)):
            self.check(images, self.logits)
        self.check(x[7], self.logits[7:8])
        self.check(x[:0], self.logits[:0])

    def test_strided(self):
        x = self.array
        self.check(x[::3], self.logits[::3])
        self.check(x[::-1], self.logits[::-1])
        self.check(x.astype(numpy.float64)[5::7], self.logits[5::7])
        self.check(numpy.asfortranarray(x), self.logits)
        wide = numpy.zeros((len(x), 1, 28, 40), numpy.float32)
        wide[..., 6:34] = x
        self.check(wide[..., 6:34], self.logits)
        turned = numpy.ascontiguousarray(x.transpose(0, 3, 2, 1))
        self.check(turned.transpose(0, 3, 2, 1), self.logits)
        robust, margins = self.model.certify(x[::2], self.y[::2], "linf", "0.1")
        self.assertEqual(robust.tobytes(), want("robust.u8")[::2].tobytes())
        adversarial, outcomes = self.model.attack(x.astype(numpy.float64), self.y.astype(numpy.int64), "linf", "0.1",
                                                  steps=numpy.int64(8), restarts=2, seed=7)
        self.assertEqual(adversarial.tobytes(), want("adversarial.f32").tobytes())

    def test_results(self):
        x, n = self.array, len(self.array)
        labels, logits = self.model.classify(x)
        adversarial, outcomes = self.model.attack(x, labels, "linf", "0.1", method="fgsm")
        robust, margins = self.model.certify(x, labels, "linf", "0.1")
        for got, shape, dtype in ((labels, (n,), numpy.int64), (logits, (n, 10), numpy.float32),
                                  (adversarial, (n, 1, 28, 28), numpy.float32), (outcomes, (n,), numpy.uint8),
                                  (robust, (n,), numpy.bool_), (margins, (n,), numpy.float32)):
            self.assertIs(type(got), numpy.ndarray)
            self.assertEqual((got.shape, got.dtype), (shape, dtype))
            self.assertTrue(got.flags.c_contiguous and got.flags.writeable)
        numpy.testing.assert_array_equal(labels, logits.argmax(1))
        self.assertGreater(margins[robust].min(), 0)
        self.assertGreater(robust.sum(), 0)
        self.assertFalse((robust & (outcomes == epsball.FOOLED)).any())
        self.assertEqual(self.model.classify(x[:0]).logits.shape, (0, 10))

    def test_no_copies(self):
        """Images and labels are used where they lie, those that are read-only too."""
        x, y = self.array, self.y
        self.assertFalse(x.flags.writeable)
        for images in (x, x.copy(), x[3:9], memoryview(x), Tensor(x)):
            address = numpy.asarray(getattr(images, "a", images)).ctypes.data
            self.assertEqual(_arrays.images(images, (1, 28, 28))[0], address)
        for labels in (y, y.copy(), y[3:9], Tensor(y)):
            labels_of = getattr(labels, "a", labels)
            self.assertEqual(_arrays.labels(labels, len(labels_of))[0], labels_of.ctypes.data)

    def test_tensors(self):
        self.check(Tensor(self.array), self.logits)
        self.fails(epsball.ERR_ARGUMENT, "images: not in memory", self.model.classify, Tensor(None))
        self.fails(epsball.ERR_ARGUMENT, "labels: not in memory", self.model.certify, self.array, Tensor(None), "linf", "0.1")

    def test_refused(self):
        x = self.array
        for images, text in ((x.astype(numpy.float16), "astype"), ((x * 255).astype(numpy.uint8), "divided by 255"),
                             (x.astype(">f4"), "astype"), (x.reshape(-1, 14, 56), "channels first"),
                             (x[:, :, :, :27], "27"), (numpy.float32(0.5), "784 an image"), (x.astype("M8[s]"), "images: ")):
            self.fails(epsball.ERR_ARGUMENT, text, self.model.classify, images)
        y = self.y
        for labels in (numpy.eye(10)[y], y[:, None], y.astype(numpy.float32), y.astype(">i4"), y.astype(numpy.int64) + (1 << 40), y[:5], y[0]):
            self.fails(epsball.ERR_ARGUMENT, "labels: ", self.model.certify, x, labels, "linf", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "label", self.model.certify, x, y + 10, "linf", "0.1")


if __name__ == "__main__":
    unittest.main()
