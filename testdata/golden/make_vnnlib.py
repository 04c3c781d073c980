"""Writes vnnlib.json: what the reference parser of VNN-LIB 2 says of some files at points.

The package vnnlib on PyPI parses internal/vnnlib/testdata; its tree is evaluated here in
exact fractions. Files of VNN-LIB 1 are not for it.

    pip install vnnlib==1.0.2
    python testdata/golden/make_vnnlib.py
"""

import fractions
import json
import pathlib
import random
import re

import vnnlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def value(e, at):
    if isinstance(e, vnnlib.Var):
        return at[e.name][offset(e)]
    if isinstance(e, vnnlib.Literal):
        return fractions.Fraction(e.lexeme)
    if isinstance(e, vnnlib.Negate):
        return -value(e.expr, at)
    if isinstance(e, vnnlib.Minus):
        return value(e.head, at) - sum(value(a, at) for a in e.rest)
    args = [value(a, at) for a in e.args]
    if isinstance(e, vnnlib.Plus):
        return sum(args)
    assert isinstance(e, vnnlib.Multiply), e
    product = fractions.Fraction(1)
    for a in args:
        product *= a
    return product


def offset(var):
    i = 0
    for index, size in zip(var.indices, var.shape):
        i = i * size + index
    return i


def truth(f, at):
    if isinstance(f, vnnlib.And):
        return all(truth(a, at) for a in f.args)
    if isinstance(f, vnnlib.Or):
        return any(truth(a, at) for a in f.args)
    a, b = value(f.lhs, at), value(f.rhs, at)
    return {
        vnnlib.LessEqual: a <= b, vnnlib.LessThan: a < b, vnnlib.GreaterEqual: a >= b,
        vnnlib.GreaterThan: a > b, vnnlib.Equal: a == b, vnnlib.NotEqual: a != b,
    }[type(f)]


def main():
    rng, out = random.Random(1), {}
    for path in sorted((ROOT / "internal" / "vnnlib" / "testdata").glob("*.vnnlib")):
        if "vnnlib-version <2" not in path.read_text():
            continue
        # The parser takes no type Real beside a constant.
        query = vnnlib.parse_query_string(re.sub(r" (R|r)eal ", " float32 ", path.read_text()))
        (net,) = query.networks
        (x,), (y,) = net.inputs, net.outputs
        sizes = {}
        for t in x, y:
            sizes[t.name] = 1
            for d in t.shape:
                sizes[t.name] *= d
        # Half of the points have numbers of the file, such as ends of boxes.
        usual = [-3, -1, -0.5, 0, 0.5, 1, 2, 3, 5.5]
        own = sorted({float(v) for v in re.findall(r"(?<= )-?\d+\.\d+", path.read_text())}) or usual
        points = []
        while len(points) < 60 or sum(p["holds"] for p in points) < 20:
            values = rng.choice([usual, own])
            at = {n: [rng.choice(values) for _ in range(s)] for n, s in sizes.items()}
            exact = {n: [fractions.Fraction(v) for v in vs] for n, vs in at.items()}
            holds = all(truth(a.expr, exact) for a in query.assertions)
            points.append({"x": at[x.name], "y": at[y.name], "holds": holds})
        points = [p for p in points if p["holds"]][:30] + [p for p in points if not p["holds"]][:30]
        print(path.name, sum(p["holds"] for p in points), "of", len(points))
        out[path.name] = points
    file = pathlib.Path(__file__).with_name("vnnlib.json")
    file.write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
