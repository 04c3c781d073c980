"""What holds with NumPy and without."""

import array
import math
import os
import pathlib
import subprocess
import sys
import threading
import unittest
from fractions import Fraction

from support import DATA, IMAGE, MODEL, Case, epsball, flat, numpy, read, want


class TestModel(Case):
    def test_installed(self):
        """The tests see the NumPy and the epsball they are meant for."""
        self.assertEqual(numpy is not None, os.environ["EPSBALL_TEST_NUMPY"] == "1")
        self.assertTrue(os.path.realpath(epsball.__file__).startswith(os.path.realpath(os.environ["EPSBALL_TEST_PACKAGE"])))
        self.assertTrue(os.path.exists(os.path.join(os.path.dirname(epsball.__file__), "py.typed")))

    def test_model(self):
        self.assertTrue(epsball.version())
        self.assertTrue(epsball.__version__)
        self.assertFalse(hasattr(epsball, "__nothing__"))
        self.assertEqual(self.model.shape, (1, 28, 28))
        self.assertEqual(self.model.classes, 10)
        self.assertEqual(self.model.hash, read("hash").decode())
        content = read("model.safetensors")
        for data in (content, bytearray(content), memoryview(content), memoryview(bytes(b for c in content for b in (c, 0)))[::2]):
            with epsball.Model("m.safetensors", data=data, few_images=True) as m:
                self.assertEqual(m.hash, self.model.hash)
        with epsball.Model(pathlib.Path(MODEL), few_images=True, in_place=True) as m:
            self.same(m.classify(self.images).logits, "logits.f32")

    def test_classify(self):
        labels, logits = self.model.classify(self.images)
        self.same(labels, "predicted.i32")
        self.same(logits, "logits.f32")
        for part in (self.images[:IMAGE], memoryview(self.images)[:IMAGE], memoryview(bytes(self.images[:IMAGE])).cast("f")):
            self.same(self.model.classify(part).logits, "logits.f32", 10)
        self.assertEqual(len(self.model.classify(array.array("f")).labels), 0)

    def test_copies(self):
        """Strided images and float64 are copied."""
        pairs = memoryview(array.array("f", [v for p in self.images[:IMAGE] for v in (p, -1)]))
        self.same(self.model.classify(pairs[::2]).logits, "logits.f32", 10)
        doubles = array.array("d", self.images)
        self.same(self.model.classify(doubles).logits, "logits.f32")
        attack = self.model.attack(doubles, self.labels, "linf", "0.1", steps=8, restarts=2, seed=7)
        self.same(attack.adversarial, "adversarial.f32")
        self.same(self.model.certify(memoryview(doubles), self.labels, "linf", "0.1").margins, "margins.f32")

    def test_lattice(self):
        """Pictures of 8 bits: every pixel is k / 255 in float32."""
        adversarial = self.model.attack(self.images, self.labels, "linf", "0.1", steps=8, lattice=8).adversarial
        self.assertTrue(all(abs(v * 255 - round(v * 255)) < 1e-4 for v in flat(adversarial)))
        free = self.model.attack(self.images, self.labels, "linf", "0.1", steps=8).adversarial
        self.assertFalse(all(abs(v * 255 - round(v * 255)) < 1e-4 for v in flat(free)))
        self.fails(epsball.ERR_ARGUMENT, "lattice: 9 bits", self.model.attack, self.images, self.labels, "linf", "0.1", lattice=9)

    def test_attack(self):
        for options in (dict(steps=8, restarts=2, seed=7), dict(method="pgd:steps=8,restarts=2,seed=7"),
                        dict(method="pgd:steps=8", restarts=2, seed=7)):
            adversarial, outcomes = self.model.attack(self.images, self.labels, "linf", "0.1", **options)
            self.same(outcomes, "outcomes.u8")
            self.same(adversarial, "adversarial.f32")
        e = self.fails(epsball.ERR_TIMEOUT, "deadline", self.model.attack, self.images, self.labels, "linf", "0.0001",
                       steps=1 << 20, restarts=1 << 20, timeout_ms=20)
        self.assertEqual(e.result.outcomes[0], epsball.NOT_DONE)
        self.same(e.result.adversarial[:1] if numpy else e.result.adversarial[:IMAGE], "images.f32", IMAGE)

    def test_methods(self):
        """Every family of attacks is there by its name, and what it finds is what it says."""
        n = 6
        images, labels = self.images[:n * IMAGE], self.labels[:n]
        fooled = {}
        for method, norm, eps in (("fast", "linf", "0.3"), ("auto:version=rand", "linf", "0.1"), ("square:queries=50", "l2", 2),
                                  ("ddn", "l2", "inf"), ("fmn:steps=20", "l0", "inf"), ("sparse-rs:queries=50", "l0", 30),
                                  ("fab-t:steps=10,targets=2", "l1", float("inf"))):
            adversarial, outcomes = self.model.attack(images, labels, norm, eps, method=method)
            predicted = self.model.classify(adversarial).labels
            for i, y in enumerate(labels):
                self.assertEqual(predicted[i] == y, outcomes[i] == epsball.RESISTED, method)
            fooled[method] = sum(o == epsball.FOOLED for o in outcomes)
        self.assertEqual(fooled["ddn"], n)
        self.assertGreater(fooled["fast"], 0)
        self.fails(epsball.ERR_ARGUMENT, "norm l0", self.model.attack, images, labels, "l0", 3, method="pgd")

    def test_apgd(self):
        """Another method does something else, and what it finds is what it says."""
        n = 20
        images, labels = self.images[:n * IMAGE], self.labels[:n]
        adversarial, outcomes = self.model.attack(images, labels, "linf", "8/255", method="apgd:steps=20")
        self.assertNotEqual(flat(adversarial), flat(self.model.attack(images, labels, "linf", "8/255", steps=20).adversarial))
        self.assertLessEqual(max(abs(a - b) for a, b in zip(flat(adversarial), images)), 8 / 255)
        predicted = self.model.classify(adversarial).labels
        clean = self.model.classify(images).labels
        for i, y in enumerate(labels):
            want = epsball.WRONG if clean[i] != y else epsball.FOOLED if predicted[i] != y else epsball.RESISTED
            self.assertEqual(outcomes[i], want)
        self.assertEqual(flat(self.model.attack(images, labels, "linf", Fraction(8, 255), method="apgd", steps=20).adversarial),
                         flat(adversarial))

    def test_certify(self):
        robust, margins = self.model.certify(self.images, self.labels, "linf", "0.1")
        self.same(robust, "robust.u8")
        self.same(margins, "margins.f32")
        margins = self.model.certify(self.images[:2 * IMAGE], self.labels[:2], "linf", "8/255", method="crown").margins
        self.same(margins, "crown.f32")

    def test_threads(self):
        results = [None] * 4

        def work(i):
            results[i] = self.model.classify(self.images).logits

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for r in results:
            self.same(r, "logits.f32")

    def test_errors(self):
        self.fails(epsball.ERR_FILE, "no/such", epsball.Model, "no/such")
        self.fails(epsball.ERR_MODEL, "half.safetensors", epsball.Model, "half.safetensors", data=read("model.safetensors")[:5000])
        self.fails(epsball.ERR_MODEL, "m.safetensors", epsball.Model, "m.safetensors", data=b"")
        self.fails(epsball.ERR_ARGUMENT, "data: str", epsball.Model, "m.safetensors", data="text")
        self.fails(epsball.ERR_UNSUPPORTED, "isa", epsball.Model, MODEL, isa="mmx")
        self.fails(epsball.ERR_ARGUMENT, "threads: -1", epsball.Model, MODEL, threads=-1)
        self.fails(epsball.ERR_ARGUMENT, "images", self.model.classify, array.array("f", [0] * 5))
        self.fails(epsball.ERR_ARGUMENT, "784 an image", self.model.classify, array.array("d", [0] * 5))
        self.fails(epsball.ERR_ARGUMENT, "divided by 255", self.model.classify, bytes(IMAGE))
        self.fails(epsball.ERR_ARGUMENT, "images: list", self.model.classify, [0.0] * IMAGE)
        self.fails(epsball.ERR_ARGUMENT, "28 x 14 x 2", self.model.classify, memoryview(bytes(4 * IMAGE)).cast("f", (28, 14, 2)))
        self.fails(epsball.ERR_ARGUMENT, "NaN", self.model.classify, array.array("f", [math.nan] * IMAGE))
        self.fails(epsball.ERR_ARGUMENT, "image 0", self.model.classify, array.array("d", [1e300] * IMAGE))
        one, y = self.images[:IMAGE], self.labels[:1]
        for labels in ([], [10], [0.5], [1 << 40], 3, b"", "0", [-1], array.array("d", [1]), memoryview(bytes(4)).cast("i", (1, 1))):
            self.fails(epsball.ERR_ARGUMENT, "label", self.model.certify, one, labels, "linf", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "norm", self.model.certify, one, y, "l0", "0.1")
        self.fails(epsball.ERR_ARGUMENT, "epsilon", self.model.certify, one, y, "linf", "-1")
        for text, options in (("method", dict(method="nosuch")), ("method", dict(method="pgd:stps=4")), ("method: 5", dict(method=5)),
                              ("step_size: 'a'", dict(step_size="a")),
                              ("steps", dict(method="apgd:steps=4", steps=5)), ("steps: -1", dict(steps=-1)),
                              ("steps: 0.5", dict(steps=0.5)), ("seed", dict(seed=1 << 64)), ("timeout_ms", dict(timeout_ms=1.5))):
            self.fails(epsball.ERR_ARGUMENT, text, self.model.attack, one, y, "linf", "0.1", **options)
        self.model.close()
        self.model.close()
        self.fails(epsball.ERR_HANDLE, "closed", self.model.classify, one)

    def test_labels(self):
        """Labels of any whole numbers; bytes are numbers, not memory of numbers."""
        margins = flat(self.model.certify(self.images, self.labels, "linf", "0.1").margins)
        for labels in (list(self.labels), tuple(self.labels), bytes(list(self.labels)), array.array("q", self.labels),
                       memoryview(array.array("h", self.labels)), iter(self.labels)):
            self.assertEqual(flat(self.model.certify(self.images, labels, "linf", "0.1").margins), margins)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_fork(self):
        """After a fork a call fails rather than waits for ever."""
        child = os.fork()
        if child == 0:
            try:
                self.model.classify(self.images)
            except epsball.Error as e:
                self.model.close()
                os._exit(7 if "fork" in str(e) else 1)
            os._exit(2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)
        self.same(self.model.classify(self.images).logits, "logits.f32")

    def test_no_library(self):
        environment = dict(os.environ, EPSBALL_LIBRARY="./none.so", PYTHONPATH=os.environ["EPSBALL_TEST_PACKAGE"])
        r = subprocess.run([sys.executable, "-c", "import epsball"], cwd=DATA, env=environment, capture_output=True, text=True)
        self.assertIn("none.so", r.stderr)
        self.assertIn("EPSBALL_LIBRARY", r.stderr)


if __name__ == "__main__":
    unittest.main()
