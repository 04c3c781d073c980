"""Replays a witness of `epsball verify` on ONNX Runtime.

    pip install onnxruntime numpy
    epsball verify --json NET.onnx PROPERTY.vnnlib | python replay.py NET.onnx PROPERTY.vnnlib

Both files may be packed by gzip. The property is evaluated in exact fractions at the inputs
of the witness and the outputs that ONNX Runtime computes for them; this file shares nothing
with epsball's own reader. What is printed is a JSON document: result is

    valid      the property file holds exactly of them, inputs inside all bounds
    tolerance  it holds within 1e-4, in each comparison of the file
    invalid    it does not, or the outputs of the witness are not those of ONNX Runtime
               within 1e-3 of the largest

These are the tolerances of VNN-COMP 2023 to 2025 (absolute and relative; there, outputs are
those of the tool). reason says more, and relative_error is that of the outputs.
"""

import fractions
import gzip
import json
import re
import sys

import numpy as np
import onnxruntime

ABSOLUTE = fractions.Fraction(1, 10**4)
RELATIVE = 1e-3
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
# A comment, a parenthesis, or a word, perhaps with indices: X_0, X[0, 1], float32 [1,2].
TOKEN = re.compile(r";[^\n]*|[()]|[^\s()\[\];]+(?:\s*\[[\d,\s]*\])?")


def contents(path):
    with open(path, "rb") as f:
        data = f.read()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def expressions(text):
    """Nested lists of the words between parentheses."""
    stack = [[]]
    for token in TOKEN.findall(text):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        elif not token.startswith(";"):
            stack[-1].append(re.sub(r"\s", "", token))
    assert len(stack) == 1, "parentheses do not match"
    return stack[0]


class Property:
    """A property file, with the values of its variables."""

    def __init__(self, text, x, y):
        self.values, self.asserted, self.shapes = {}, [], {}
        for e in expressions(text):
            if e[0] == "assert":
                self.asserted.append(e[1])
            elif e[0] == "declare-network":
                tensors = e[2:]
                kinds = [d[0] for d in tensors]
                assert kinds == ["declare-input", "declare-output"], f"want one input and one output, got {kinds}"
                for d, v in zip(tensors, (x, y)):
                    self.declare(d[1], d[2], v)
        if not self.values:  # VNN-LIB 1
            self.values = {f"X_{i}": v for i, v in enumerate(x)} | {f"Y_{i}": v for i, v in enumerate(y)}

    def declare(self, name, kind, values):
        dims = re.search(r"\[(.*)\]", kind).group(1)
        shape = tuple(int(d) for d in dims.split(",")) if dims else ()
        assert np.prod(shape) == len(values), f"{name} has the shape {shape}, got {len(values)} values"
        for at, v in zip(np.ndindex(shape), values):
            self.values[f"{name}[{','.join(map(str, at))}]" if shape else name] = v

    def number(self, e):
        if isinstance(e, str):
            return self.values[e] if e in self.values else fractions.Fraction(e)
        op, args = e[0], [self.number(a) for a in e[1:]]
        total = args[0] if len(args) > 1 or op != "-" else -args[0]
        for a in args[1:]:
            total = {"+": total + a, "-": total - a, "*": total * a, "/": total / a if op == "/" else None}[op]
        return total

    def holds(self, e, tolerance):
        if e[0] in ("and", "or"):
            return {"and": all, "or": any}[e[0]](self.holds(a, tolerance) for a in e[1:])
        a, b = self.number(e[1]), self.number(e[2])
        strict = tolerance == 0
        return {
            "<=": a <= b + tolerance, ">=": a >= b - tolerance,
            "<": a < b if strict else a <= b + tolerance, ">": a > b if strict else a >= b - tolerance,
            "=": abs(a - b) <= tolerance, "==": abs(a - b) <= tolerance, "!=": a != b or not strict,
        }[e[0]]

    def satisfied(self, tolerance):
        return all(self.holds(e, tolerance) for e in self.asserted)


def execute(path, x):
    """The outputs of the network for the inputs, in the order of its own file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # By its path where that can be, so that weights beside it are found.
    source = contents(path) if path.endswith(".gz") else path
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    shape = [d if isinstance(d, int) and d > 0 else 1 for d in given.shape]
    fed = np.array(x, dtype=np.float64).astype(TYPES[given.type]).reshape(shape)
    (out,) = session.run(None, {given.name: fed})
    return fed.flatten(), out.flatten()


def exact(values):
    return [fractions.Fraction(float(v)) for v in values]


def judge(network, property_file, document):
    witness = document["witness"]
    if document["verdict"] != "sat" or not witness:
        raise SystemExit(f"replay: got the verdict {document['verdict']}, want sat and a witness")
    text = contents(property_file).decode()
    inputs = len(witness["names"]) - outputs_of(witness["names"])
    x, claimed = witness["values"][:inputs], np.array(witness["values"][inputs:], dtype=np.float64)
    x, y = execute(network, x)
    answer = {"result": "invalid", "reason": "", "relative_error": None, "onnxruntime": onnxruntime.__version__}
    if len(y) != len(claimed) or not np.isfinite(y.astype(np.float64)).all():
        return answer | {"reason": f"{len(y)} outputs, some not finite perhaps, want {len(claimed)}"}
    largest = np.abs(claimed).max()
    error = 0.0 if largest < 1e-6 else float(np.abs(y.astype(np.float64) - claimed).max() / largest)
    answer["relative_error"] = error
    if error > RELATIVE:
        return answer | {"reason": f"outputs differ by {error:.3g} of the largest"}
    p = Property(text, exact(x), exact(y))
    if p.satisfied(0):
        return answer | {"result": "valid"}
    if p.satisfied(ABSOLUTE):
        return answer | {"result": "tolerance", "reason": f"the property holds within {float(ABSOLUTE)} alone"}
    return answer | {"reason": "the property does not hold of the inputs and the outputs of ONNX Runtime"}


def outputs_of(names):
    """How many of the names, which are NAME_0, NAME_1 …, are those of the last tensor."""
    return int(names[-1].rsplit("_", 1)[1]) + 1


if __name__ == "__main__":
    json.dump(judge(sys.argv[1], sys.argv[2], json.load(sys.stdin)), sys.stdout)
    print()
