"""example.py MODEL IMAGE.pgm: what example.c does, in Python. capi/README.md says how to
run it."""

import array
import re
import sys

import epsball


def read_pgm(name, rows, columns):
    """A grey image of the given size as float32 in [0, 1]."""
    with open(name, "rb") as f:
        data = f.read()
    header = re.match(rb"P5\s+(\d+)\s+(\d+)\s+255\s", data)
    pixels = data[header.end():] if header else b""
    if not header or (int(header[1]), int(header[2]), len(pixels)) != (columns, rows, rows * columns):
        sys.exit("%s: want a binary PGM file of %dx%d pixels, up to 255" % (name, columns, rows))
    return array.array("f", (p / 255 for p in pixels))


if len(sys.argv) != 3:
    sys.exit("usage: example.py MODEL IMAGE.pgm")
with epsball.Model(sys.argv[1], threads=1, few_images=True) as m:
    channels, rows, columns = m.shape
    if channels != 1:
        sys.exit("%s: takes images of %d channels, want 1" % (sys.argv[1], channels))
    image = read_pgm(sys.argv[2], rows, columns)
    labels, _ = m.classify(image)
    robust, margins = m.certify(image, labels, "linf", "0.1", method="crown", timeout_ms=1000)
    print("class %d, %s for linf 0.1, margin %g" % (labels[0], "proved" if robust[0] else "not proved", margins[0]))
