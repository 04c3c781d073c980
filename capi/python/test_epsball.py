"""Run by go test ./capi, which builds the library and writes what the Go API says:
EPSBALL_LIBRARY and EPSBALL_TEST_DATA name them."""

import array
import math
import os
import subprocess
import sys
import threading
import unittest

import epsball

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


class Case(unittest.TestCase):
    def setUp(self):
        self.images, self.labels = want("images.f32"), want("labels.i32")
        self.model = epsball.Model(MODEL, threads=2)
        self.addCleanup(self.model.close)

    def fails(self, code, text, f, *arguments, **options):
        with self.assertRaises(epsball.Error) as e:
            f(*arguments, **options)
        self.assertEqual(e.exception.code, code)
        self.assertIn(text, str(e.exception))
        return e.exception


class TestEpsball(Case):
    def test_model(self):
        self.assertTrue(epsball.version())
        self.assertEqual(self.model.shape, (1, 28, 28))
        self.assertEqual(self.model.classes, 10)
        self.assertEqual(self.model.hash, read("hash").decode())
        with epsball.Model("m.safetensors", data=read("model.safetensors"), few_images=True) as m:
            self.assertEqual(m.hash, self.model.hash)
        with epsball.Model(MODEL, few_images=True, in_place=True) as m:
            self.assertEqual(m.classify(self.images)[1].tobytes(), want("logits.f32").tobytes())

    def test_classify(self):
        labels, logits = self.model.classify(self.images)
        self.assertEqual(labels, want("predicted.i32"))
        self.assertEqual(logits.tobytes(), want("logits.f32").tobytes())
        for part in (self.images[:IMAGE], memoryview(self.images)[:IMAGE], memoryview(bytes(self.images[:IMAGE])).cast("f")):
            labels, logits = self.model.classify(part)
            self.assertEqual(logits, want("logits.f32")[:10])
        self.assertEqual(len(self.model.classify(array.array("f"))[0]), 0)

    def test_copies(self):
        """Strided images and float64 are copied."""
        pairs = memoryview(array.array("f", [v for p in self.images[:IMAGE] for v in (p, -1)]))
        self.assertEqual(self.model.classify(pairs[::2])[1], want("logits.f32")[:10])
        doubles = array.array("d", self.images)
        labels, logits = self.model.classify(doubles)
        self.assertEqual(logits.tobytes(), want("logits.f32").tobytes())
        adversarial, outcomes = self.model.attack(doubles, self.labels, "linf", "0.1", steps=8, restarts=2, seed=7)
        self.assertEqual(adversarial.tobytes(), want("adversarial.f32").tobytes())
        robust, margins = self.model.certify(memoryview(doubles), self.labels, "linf", "0.1")
        self.assertEqual(margins.tobytes(), want("margins.f32").tobytes())

    def test_attack(self):
        adversarial, outcomes = self.model.attack(self.images, self.labels, "linf", "0.1", steps=8, restarts=2, seed=7)
        self.assertEqual(outcomes, want("outcomes.u8"))
        self.assertEqual(adversarial.tobytes(), want("adversarial.f32").tobytes())
        e = self.fails(epsball.ERR_TIMEOUT, "deadline", self.model.attack, self.images, self.labels, "linf", "0.0001",
                       steps=1 << 20, restarts=1 << 20, timeout_ms=20)
        self.assertEqual(e.result[1][0], epsball.NOT_DONE)

    def test_certify(self):
        robust, margins = self.model.certify(self.images, self.labels, "linf", "0.1")
        self.assertEqual(robust, want("robust.u8"))
        self.assertEqual(margins.tobytes(), want("margins.f32").tobytes())
        robust, margins = self.model.certify(self.images[:2 * IMAGE], self.labels[:2], "linf", "8/255", method="crown")
        self.assertEqual(margins.tobytes(), want("crown.f32").tobytes())

    def test_threads(self):
        results = [None] * 4

        def work(i):
            results[i] = self.model.classify(self.images)[1]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for r in results:
            self.assertEqual(r, want("logits.f32"))

    def test_errors(self):
        self.fails(epsball.ERR_FILE, "no/such", epsball.Model, "no/such")
        self.fails(epsball.ERR_MODEL, "half.safetensors", epsball.Model, "half.safetensors", data=read("model.safetensors")[:5000])
        self.fails(epsball.ERR_UNSUPPORTED, "isa", epsball.Model, MODEL, isa="mmx")
        self.fails(epsball.ERR_ARGUMENT, "images", self.model.classify, array.array("f", [0] * 5))
        self.fails(epsball.ERR_ARGUMENT, "784 an image", self.model.classify, array.array("d", [0] * 5))
        self.fails(epsball.ERR_ARGUMENT, "divided by 255", self.model.classify, bytes(IMAGE))
        self.fails(epsball.ERR_ARGUMENT, "images: list", self.model.classify, [0.0] * IMAGE)
        self.fails(epsball.ERR_ARGUMENT, "28 x 14 x 2", self.model.classify, memoryview(bytes(4 * IMAGE)).cast("f", (28, 14, 2)))
        self.fails(epsball.ERR_ARGUMENT, "NaN", self.model.classify, array.array("f", [math.nan] * IMAGE))
        one, y = self.images[:IMAGE], self.labels[:1]
        self.fails(epsball.ERR_ARGUMENT, "labels", self.model.certify, one, [], "linf", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "label", self.model.certify, one, [10], "linf", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "labels", self.model.certify, one, [0.5], "linf", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "labels", self.model.certify, one, [1 << 40], "linf", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "norm", self.model.certify, one, y, "l0", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "epsilon", self.model.certify, one, y, "linf", "-1")
        self.fails(epsball.ERR_ARGUMENT, "method", self.model.attack, one, y, "linf", "0.1", method="cw")
        self.model.close()
        self.fails(epsball.ERR_HANDLE, "closed", self.model.classify, one)


    def test_no_library(self):
        environment = dict(os.environ, EPSBALL_LIBRARY="./none.so", PYTHONPATH=os.path.dirname(epsball.__file__))
        r = subprocess.run([sys.executable, "-c", "import epsball"], env=environment, capture_output=True, text=True)
        self.assertIn("none.so", r.stderr)
        self.assertIn("EPSBALL_LIBRARY", r.stderr)


@unittest.skipUnless(numpy, "no numpy")
class TestNumpy(Case):
    """Arrays of numpy in all their layouts."""

    def setUp(self):
        super().setUp()
        self.array = numpy.frombuffer(read("images.f32"), numpy.float32).reshape(-1, 1, 28, 28)
        self.y = numpy.frombuffer(read("labels.i32"), numpy.int32)
        self.logits = numpy.frombuffer(read("logits.f32"), numpy.float32).reshape(-1, 10)

    def check(self, images, logits):
        before = numpy.array(images, copy=True)
        got = numpy.frombuffer(self.model.classify(images)[1], numpy.float32).reshape(-1, 10)
        numpy.testing.assert_array_equal(got, logits)
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
        self.assertEqual(robust, want("robust.u8")[::2])
        adversarial, outcomes = self.model.attack(x.astype(numpy.float64), self.y.astype(numpy.int64), "linf", "0.1",
                                                  steps=8, restarts=2, seed=7)
        self.assertEqual(adversarial.tobytes(), want("adversarial.f32").tobytes())

    def test_refused(self):
        x = self.array
        for images, text in ((x.astype(numpy.float16), "astype"), ((x * 255).astype(numpy.uint8), "divided by 255"),
                             (x.astype(">f4"), "astype"), (x.reshape(-1, 14, 56), "channels first"),
                             (x[:, :, :, :27], "27"), (numpy.float32(0.5), "784 an image")):
            self.fails(epsball.ERR_ARGUMENT, text, self.model.classify, images)
        self.fails(epsball.ERR_ARGUMENT, "labels", self.model.certify, x, numpy.eye(10)[self.y], "linf", "0.1")


if __name__ == "__main__":
    unittest.main()
