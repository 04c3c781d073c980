#!/usr/bin/env python3
"""Writes the test vectors: five tiny models, their images, lines, and vectors.json.

Margins are those of check.py. A false claim comes with a witness, found here by exact
evaluation. Run it in this folder; it needs nothing but Python.
"""

import base64, hashlib, io, itertools, json, math, os, random, re, struct, zipfile
from fractions import Fraction

import check, layers, plane_vectors, region_vectors, split_vectors, tree_vectors
from proof import Proof
from reading import F

os.chdir(os.path.dirname(os.path.abspath(__file__)))


# --- models and images ------------------------------------------------------------


def f32(v):
    return struct.unpack("<f", struct.pack("<f", v))[0]


def save_model(path, arch, params, version="2"):
    text, header, data = json.dumps(arch, separators=(",", ":")), {}, b""
    for name, (shape, values) in params.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    meta = {"format": "epsball", "version": version, "architecture": text}
    head = json.dumps({"__metadata__": meta} | header, separators=(",", ":"))
    head += " " * (-len(head) % 8)
    open(path, "wb").write(struct.pack("<Q", len(head)) + head.encode() + data)


def save_images(path, shape, images, labels):
    def npy(descr, shape, raw):
        head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
        head += " " * (-(len(head) + 11) % 64) + "\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + raw

    n, flat = len(images), [v for x in images for v in x]
    with zipfile.ZipFile(path, "w") as z:
        for name, content in ("x", npy("<f4", (n, *shape), struct.pack(f"<{len(flat)}f", *flat))), ("y", npy("<i8", (n,), struct.pack(f"<{n}q", *labels))):
            z.writestr(zipfile.ZipInfo(name + ".npy"), content)


def evaluate(nodes, x):
    """The outputs for a list of Fractions, exactly."""
    values = [x]
    for n in nodes[1:]:
        p = values[n.reads[0]]
        if n.kind == "relu":
            v = [max(Fraction(0), a) for a in p]
        elif n.kind == "normalize":
            v = [(a - m) / s for a, m, s in zip(p, n.mean, n.std)]
        elif n.kind == "add":
            v = [a + b for a, b in zip(p, values[n.reads[1]])]
        elif n.kind == "leakyrelu":
            v = [a if a > 0 else a * Fraction(s, check.ONE) for a, s in zip(p, n.slope)]
        elif n.kind == "clip":
            v = [min(max(a, Fraction(n.least, check.ONE)), Fraction(n.most, check.ONE)) for a in p]
        elif n.kind in layers.CURVES:  # within 2^-250
            v = [Fraction(layers.curve(n.kind, math.floor(a * check.ONE))[0], check.ONE) for a in p]
        elif n.kind == "maxpool":
            v = [max(p[k] for k in at) for at in n.at]
        elif n.kind == "avgpool":
            v = [sum(p[k] for k in at) / d for at, d in zip(n.at, n.divisor)]
        elif n.kind == "concat":
            v = [a for k in n.reads for a in values[k]]
        else:
            v = [
                sum((Fraction(w, 1 << F) * p[k] for k, w in zip(at, row)), Fraction(b, check.ONE))
                for at, row, b in zip(n.at, n.w, n.b)
            ]
        values.append(v)
    return values[-1]


def conv(out, kernel, padding, inputs=None):
    l = {"type": "conv"} | ({"inputs": inputs} if inputs else {})
    return l | {"out": out, "kernel": [kernel] * 2, "stride": [1, 1], "padding": [padding] * 2}


RELU = {"type": "relu"}
draw = random.Random(110)
eighths = lambda n, top: [draw.randint(-top, top) / 8 for _ in range(n)]

residual = [
    {"type": "normalize", "mean": [0.5], "std": [0.25]}, conv(2, 2, 1), RELU, conv(2, 3, 1),
    {"type": "add", "inputs": [3, 2]}, RELU, {"type": "fc", "out": 3}, RELU,
]
save_model("residual.safetensors", {"name": "residual", "input": [1, 2, 2], "layers": residual}, {
    "layers.1.weight": ([2, 1, 2, 2], eighths(8, 8)), "layers.1.bias": ([2], eighths(2, 4)),
    "layers.3.weight": ([2, 2, 3, 3], eighths(36, 4)), "layers.3.bias": ([2], eighths(2, 4)),
    "layers.6.weight": ([3, 18], eighths(54, 4)), "layers.6.bias": ([3], [3.0, -1.0, 1.0]),
})
images = [[0.25, 0.75, 0.5, 0.125], [0.0, 1.0, -0.0, 0.5], [f32(b / 255) for b in (3, 200, 77, 254)], [1.0, 0.0, 0.625, 1.0], [0.5] * 4]
residual_model = check.load_model("residual.safetensors")
outputs = [evaluate(residual_model[0], [Fraction(v) for v in x]) for x in images]
labels = [max(range(3), key=lambda k: z[k]) for z in outputs]
labels[4] = (labels[4] + 1) % 3  # one that the model gets wrong
save_images("residual.npz", (1, 2, 2), images, labels)

save_model("large.safetensors", {"name": "large", "input": [1, 1, 4], "layers": [{"type": "fc", "out": 2}]}, {
    "layers.0.weight": ([2, 4], [2e38, 2e38, 0, 0, 0, 0, 0, 0]), "layers.0.bias": ([2], [1.0, 0.0]),
})
large = [[1.0] * 4, [0.25, 0.0, 0.125, 0.0]]
save_images("large.npz", (1, 1, 4), large, [0, 0])

# 16 products of 0.9·2^-24 are lost one by one if they are added to 1.
tiny = f32(0.9 * 2**-24)
save_model("absorb.safetensors", {"name": "absorb", "input": [16, 1, 1], "layers": [
    conv(1, 1, 0), conv(1, 1, 0, [-1]), RELU, {"type": "add", "inputs": [0, 2]}, {"type": "fc", "out": 2},
]}, {
    "layers.0.weight": ([1, 16, 1, 1], [tiny] * 16), "layers.0.bias": ([1], [0.0]),
    "layers.1.weight": ([1, 16, 1, 1], [0.0] * 16), "layers.1.bias": ([1], [1.0]),
    "layers.4.weight": ([2, 1], [1.0, 0.0]), "layers.4.bias": ([2], [f32(-1 - 2**-23), 0.0]),
})
save_images("absorb.npz", (16, 1, 1), [[1.0] * 16], [0])


# --- lines ------------------------------------------------------------------------

SETS = {
    name: (check.load_model(name + ".safetensors"), check.load_data(name + ".npz")) for name in ("residual", "large", "absorb")
}
vectors, files = [], {}


def input_hash(x):
    return hashlib.sha256(struct.pack(f"<{len(x)}f", *x)).hexdigest()


def body(name="residual", **over):
    (_, digest), (x, y) = SETS[name]
    index = over.get("index", 0)
    c = {
        "format": "epsball-certificate", "version": 1, "model": digest, "level": "executed", "data": name + ".npz", "index": index,
        "input": input_hash(x[min(index, len(x) - 1)]), "label": y[min(index, len(x) - 1)], "norm": "linf", "eps": "0.01",
        "run": "test", "method": "crown", "certified": True,
    } | over
    if "rows" in c:
        del c["label"]
    return json.dumps({k: v for k, v in c.items() if v is not None}, separators=(",", ":"))[:-1]


def seal(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return raw + b',"sum":"' + hashlib.sha256(raw).hexdigest().encode() + b'"}'


def put(file, name, verdict, line, reason=None, model="residual", steps=(), **more):
    """Adds a line to a file, with its steps, and what it is to be judged."""
    at = files.setdefault(file, [])
    at.append(line)
    got, bound, why = check.judge(line, steps, *SETS[model])
    want = "invalid" if verdict == "unproved" else verdict
    assert got == want and (not reason or reason in why), (name, got, why)
    v = {"file": file, "line": len(at), "model": model + ".safetensors", "data": model + ".npz", "name": name, "verdict": verdict}
    if bound is not None:
        v["margin"] = check.decimal(bound)
    if reason:
        v["reason"] = reason
    vectors.append(v | more)
    at.extend(steps)
    return bound


def claimed(factor=0.99, **over):
    """A line that claims a part of what is proved."""
    bound = check.judge(seal(body(**over)), (), *SETS["residual"])[1]
    return seal(body(margin=float(f"{bound / check.ONE * factor:.12g}"), **over))


def alpha(values, kind="bits"):
    """One vector of slopes, or several."""
    raw = b""
    for v in values if isinstance(values[0], list) else [values]:
        if kind == "bits":
            raw += sum(int(a) << k for k, a in enumerate(v)).to_bytes((len(v) + 7) // 8, "little")
        else:
            raw += bytes(round(a * 255) for a in v) if kind == "u8" else struct.pack(f"<{len(v)}f", *v)
    return f"{kind}:" + base64.b64encode(raw).decode()


def block(target, relu, text):
    return {"for": target, "relu": relu, "alpha": text}


def some(n, steps):
    return [draw.randint(0, steps) / steps for _ in range(n)]


SIZE = {2: 18, 5: 18, 7: 3}  # of the relus
ok = lambda name, line, **more: put("valid.jsonl", name, "valid", line, **more)

for k, method in enumerate(("ibp", "crown-ibp", "crown", "alpha-crown")):
    for norm, eps in ("linf", f"0.0{k + 1}1"), ("l2", f"0.0{k + 1}2"), ("l1", f"0.0{k + 1}3"):
        ok(f"{method}, {norm}", claimed(method=method, norm=norm, eps=eps))
        ok(f"{method}, {norm}, level real", claimed(method=method, norm=norm, eps=eps, level="real", index=2))
ok("no margin", seal(body(index=1)))
ok("a point", claimed(eps="0", index=1, method="ibp"))
ok("pixels at 0 and 1, and -0", claimed(eps="0.015", index=1))
ok("a radius beyond the pixel box", claimed(eps="20", method="ibp", rows=[[0, 0, 1]], offsets=[0.25]))
ok("leading zeros are decimal", claimed(eps="0010/01255"))
ok("an exponent", claimed(eps="1.20E-02"))
ok("64 characters", claimed(eps="0.012" + "0" * 58 + "1"))
ok("slopes of 0 and 1", claimed(eps="0.0211", method="alpha-crown", slopes=[block("all", r, alpha(some(SIZE[r], 1))) for r in SIZE]))
ok("slopes of bytes", claimed(eps="0.022", method="alpha-crown", slopes=[block("all", r, alpha(some(SIZE[r], 255), "u8")) for r in SIZE]))
ok("slopes of float32", claimed(eps="0.023", method="alpha-crown", slopes=[block("all", r, alpha(some(SIZE[r], 1000), "f32")) for r in SIZE]))
ok("slopes for each row", claimed(eps="0.024", slopes=[block("rows", r, alpha([some(SIZE[r], 1) for _ in range(2)])) for r in SIZE]))
ok("one vector for all rows", claimed(eps="0.025", slopes=[block("rows", 5, alpha(some(18, 1000), "f32"))]))
ok("slopes for a layer override those for all", claimed(eps="0.026", slopes=[block("all", 2, alpha([0] * 18)), block(4, 2, alpha([1] * 18))]))
ok("adaptive overrides them, too", claimed(eps="0.027", slopes=[block("all", 2, alpha([0] * 18)), block(4, 2, "adaptive"), block("rows", 2, "adaptive")]))
ok("slopes of rows alone, with crown-ibp", claimed(eps="0.028", method="crown-ibp", slopes=[block("rows", 2, alpha(some(18, 255), "u8"))]))
ok("rows and offsets", claimed(eps="0.011", rows=[[1, -1, 0.5], [0.1, 1e-300, -3]], offsets=[8, 30.25]))
ok("one row, a zero with a sign", claimed(eps="0.011", rows=[[1, -0.0, 0]], offsets=[1e3]))
ok("the largest coefficient", claimed(eps="0.011", rows=[[2.0**50, 0, 0]], offsets=[2.0**50]))
ok("a row that a tiny coefficient keeps from being zeros", claimed(eps="0.011", rows=[[5e-324, 0, 0]], offsets=[1]))
ok("a margin within 1e-9 of the bound", claimed(1 - 1e-9, eps="0.013", level="real"))
ok("white space, keys in another order, escapes", seal(
    re.sub(r'"format":("[^"]*"),(.*)"norm":"linf"', r'"norm" : "\\u006cinf",\t\2"form\\u0061t":\1', " " + body(eps="0.014")).replace(',"run":"test"', ',"run":"\\ud800 \\"\\n"')))
ok("the longest string", seal(body(eps="0.016", run="x" * 4094)))
nothing = seal(body(eps="0.5", certified=False))
put("valid.jsonl", "claims nothing", "nothing", nothing)

# A row whose bound counts only with the relu at the end replaced by its lines.
for k in range(1, 400):
    line = body(eps=f"{k}/2000", method="ibp", index=k % 4)
    proof = Proof(residual_model[0], check.parse(seal(line)), images[k % 4], [({labels[k % 4]: check.ONE, o: -check.ONE}, 0) for o in range(3) if o != labels[k % 4]])
    both = proof.prove(False)
    boxes = min(proof.lower(8, dict(row), {3, 6, 8}, "rows") for row, _ in proof.rows)
    if boxes < 0 < both and both > check.ONE // 10:
        ok("needs the relu at the end replaced by its lines", seal(line))
        break
else:
    raise SystemExit("no line needs the second way")

put("valid.jsonl", "slopes of elements that are stable", "valid", claimed(eps="0.00001", slopes=[block("all", 2, alpha(some(18, 1)))]))

# --- refused ----------------------------------------------------------------------

bad = lambda name, reason, line, **more: put("invalid.jsonl", name, "invalid", line, reason, **more)
whole = body()
swap = lambda old, new: seal(whole.replace(old, new, 1) if old in whole else 1 / 0)
rows = lambda r, o: seal(body(rows=r, offsets=o))
steps = lambda *blocks, **over: seal(body(slopes=list(blocks), **over))

good = seal(whole)
bad("changed after sealing", "sum", good.replace(b'"eps":"0.01"', b'"eps":"0.02"'))
bad("no sum", "sum", (whole + "}").encode())
bad("sum not last", "sum", good[:-1] + b',"x":1}')
bad("upper case in the sum", "sum", good[:-66] + good[-66:].upper())
bad("a space at the end", "sum", good + b" ")
bad("a carriage return at the end", "sum", good + b"\r")
bad("half a line", "sum", good[: len(good) // 2])
bad("an empty line", "sum", b"")
bad("not UTF-8", "", seal(whole.encode().replace(b"test", b"te\xffst")))
bad("a byte order mark", "", seal("\ufeff" + whole))
bad("two objects", "", seal("{}" + whole))
bad("NaN", "", seal(body(margin=math.nan)))
bad("a key twice", "", swap('"level"', '"version":1,"level"'))
bad("a key twice, by an escape", "", swap('"level"', '"v\\u0065rsion":1,"level"'))
bad("an unknown key", "hint", swap('"level"', '"hint":1,"level"'))
bad("a missing key", "run", seal(body(run=None)))
bad("null", "data", swap('"data":"residual.npz"', '"data":null'))
bad("another format", "format", seal(body(format="other")))
bad("another version", "version", seal(body(version=2)))
bad("an integer with a fraction", "version", swap('"version":1', '"version":1.0'))
bad("minus zero", "index", swap('"index":0', '"index":-0'))
bad("an integer with an exponent", "index", swap('"index":0', '"index":0e0'))
bad("a leading zero", "", swap('"index":0', '"index":00'))
bad("a large integer", "index", swap('"index":0', '"index":2147483648'))
bad("an index beyond the data", "index", seal(body(index=9)))
for eps in "-0.01", "+0.01", ".5", "5.", "1e1000", "0x1p-9", "1/0", "1/2/3", "0,1", " 0.1", "0.1\n", "", "inf", "0." + "0" * 63:
    bad(f"eps {eps!r}", "eps", seal(body(eps=eps)))
bad("eps as a number", "eps", swap('"eps":"0.01"', '"eps":0.01'))
bad("a norm in upper case", "norm", seal(body(norm="L2")))
bad("another level", "level", seal(body(level="exact")))
bad("another method", "method", seal(body(method="trust")))
bad("certified as a number", "certified", swap("true", "1"))
bad("a string too long", "run", seal(body(run="x" * 4095)))
bad("a string too long by its escapes", "run", seal(body(run="é" * 683)))
bad("another model", "model", seal(body(model="0" * 64)))
bad("upper case in a hash", "model", seal(body(model=residual_model[1].upper())))
bad("another image", "input", seal(body(input=input_hash(images[1]))))
bad("not the label of the data", "label", seal(body(label=(labels[0] + 1) % 3)))
bad("a label that is no output", "label", seal(body(label=3)))
bad("label and rows", "label", swap('"label":', '"rows":[[1,0,0]],"offsets":[1],"label":'))
bad("neither label nor rows", "label", seal(body(label=None)))
bad("rows without offsets", "offsets", seal(body(rows=[[1, 0, 0]])))
bad("no rows", "rows", rows([], []))
bad("more offsets than rows", "offsets", rows([[1, 0, 0]], [1, 1]))
bad("a row too short", "rows", rows([[1, 0, 0], [1, 0]], [9, 9]))
bad("a row of zeros", "rows", rows([[1, 0, 0], [0, -0.0, 0]], [9, 9]))
bad("a coefficient of 1e-999 is 0", "rows", seal(body(rows=[[7.5, 0, 0]], offsets=[9]).replace("7.5", "1e-999")))
bad("a coefficient too large", "rows", rows([[2.0**50 + 1, 0, 0]], [9]))
bad("an offset too large", "rows", rows([[1, 0, 0]], [2.0**50 + 1]))
bad("a coefficient that is not finite", "rows", seal(body(rows=[[7.5, 0, 0]], offsets=[9]).replace("7.5", "1e999")))
bad("rows of strings", "rows", rows([["1", 0, 0]], [9]))
bad("4097 rows", "rows", rows([[1]] * 4097, [9] * 4097))
for m in "0", "-1", "1e-999", "1e999", '"1"':
    bad(f"margin {m}", "margin", seal(body(margin=7.5).replace('"margin":7.5', '"margin":' + m)))
bad("a margin with nothing certified", "certified", seal(body(certified=False, margin=1)))
bad("slopes with ibp", "slopes", steps(block("all", 2, "adaptive"), method="ibp"))
bad("slopes of a layer that is no relu", "slopes", steps(block("all", 1, "adaptive")))
bad("slopes for a layer that no relu reads", "slopes", steps(block(3, 2, "adaptive")))
bad("slopes for a layer before the relu", "slopes", steps(block(1, 5, "adaptive")))
bad("slopes for a layer with crown-ibp", "slopes", steps(block(4, 2, "adaptive"), method="crown-ibp"))
bad("a pair twice", "slopes", steps(block("rows", 2, "adaptive"), block("rows", 2, alpha([0] * 18))))
bad("another for", "slopes", steps(block("none", 2, "adaptive")))
bad("a key too many in slopes", "slopes", steps(block("all", 2, "adaptive") | {"note": ""}))
bad("escapes in alpha", "slopes", seal(body(slopes=[block("all", 2, "~")]).replace("~", "ad\\u0061ptive")))
bad("another encoding", "slopes", steps(block("all", 2, "f64:AAAA")))
bad("too few slopes", "slopes", steps(block("all", 2, alpha([0] * 17, "u8"))))
bad("as many vectors as rows, for all", "slopes", steps(block("all", 2, alpha([[0] * 18] * 2))))
bad("Base64 without padding", "slopes", steps(block("all", 7, alpha([0, 1, 1]).rstrip("="))))
bad("Base64 with bits that belong to no byte", "slopes", steps(block("all", 7, "bits:AB==")))
bad("Base64 for URLs", "slopes", steps(block("all", 7, "u8:__8=")))
bad("a bit beyond the last slope", "slopes", steps(block("all", 7, "bits:CA==")))
for v in 1.0000001, -1e-45, math.nan, math.inf:
    bad(f"a slope of {v}", "slopes", steps(block("all", 7, alpha([0, v, 1], "f32"))))


def false_claim(name, **over):
    """A claim that a corner of the ball or the box breaks."""
    c = check.parse(seal(body(**over)))
    x = [Fraction(v) for v in images[c["index"]]]
    c_rows = list(zip(c.get("rows", []), c.get("offsets", []))) or [
        ([1 if k == c["label"] else -1 if k == o else 0 for k in range(3)], 0) for o in range(3) if o != c["label"]
    ]
    for d in itertools.product((-1, 0, 1), repeat=4):
        point = [min(Fraction(1), max(Fraction(0), v + s * c["eps"])) for v, s in zip(x, d)]
        point = [Fraction(math.floor(v * 2**20), 2**20) if v > a else Fraction(math.ceil(v * 2**20), 2**20) for v, a in zip(point, x)]
        if c["norm"] != "linf" and sum(p != v for p, v in zip(point, x)) > 1:
            continue
        z = evaluate(residual_model[0], point)
        low = min(sum(Fraction(a) * b for a, b in zip(r, z)) + Fraction(o) for r, o in c_rows)
        if low < Fraction(c["margin"] or 0) or low == 0:
            put("invalid.jsonl", name, "invalid", seal(body(**over)), "margin" if c["margin"] else "not proved",
                witness=[float(v) for v in point], outputs=[float(v) for v in z])
            return
    raise SystemExit(name + ": no witness")


false_claim("a ball too large", eps="0.45", index=3)
false_claim("the same in l2", eps="0.9", norm="l2", index=3)
false_claim("the same in l1", eps="1", norm="l1", index=3)
false_claim("a margin too large", margin=float(f"{min(outputs[0][labels[0]] - v for k, v in enumerate(outputs[0]) if k != labels[0]) * 1.01:.6g}"))
false_claim("a row that does not hold", rows=[[-1, 0, 0]], offsets=[0])
false_claim("a row that is 0 at the centre", rows=[[0, 1, 0]], offsets=[-float(outputs[0][1])], eps="0", method="ibp")
for method in "ibp", "crown":
    bound = check.judge(seal(body(method=method, level="real")), (), *SETS["residual"])[1]
    put("invalid.jsonl", f"a margin above the bound of {method}", "unproved", seal(body(method=method, level="real", margin=bound / check.ONE * (1 + 1e-6))), "margin")
for k in range(10, 200):  # a claim that crown proves and intervals do not
    over = dict(eps=f"{k}/1000", index=2)
    if check.judge(seal(body(method="ibp", **over)), (), *SETS["residual"])[0] == "invalid":
        ok("crown proves it", seal(body(**over)))
        put("invalid.jsonl", "intervals do not", "unproved", seal(body(method="ibp", **over)), "not proved")
        break
bad("no newline at its end", "", None)
files["invalid.jsonl"][-1] = good[:-1]

put("large.jsonl", "sums that may overflow, level real", "valid", seal(body("large", level="real", eps="0", method="ibp")), model="large")
put("large.jsonl", "none that does", "valid", seal(body("large", index=1, eps="0.01", rows=[[1, 0]], offsets=[1])), model="large")
put("large.jsonl", "sums that may overflow", "invalid", seal(body("large", eps="0", method="ibp")), "overflow", model="large")
put("absorb.jsonl", "terms that an add may absorb, level real", "valid", seal(body("absorb", eps="0.1", level="real", method="ibp", margin=6e-7)), model="absorb")
for method in "ibp", "crown":
    put("absorb.jsonl", f"terms that an add may absorb, {method}", "invalid", seal(body("absorb", eps="0.1", method=method)), "not proved", model="absorb")

# --- other layers -------------------------------------------------------------------

POOL = {"kernel": [2, 2], "stride": [1, 1], "padding": [0, 0]}
kinks = [
    conv(4, 2, 1), {"type": "leakyrelu", "slope": [0.125, 2, -0.5, 1]}, {"type": "maxpool"} | POOL, conv(4, 2, 1) | {"groups": 4},
    {"type": "clip", "min": -0.5, "max": 0.75}, {"type": "concat", "inputs": [4, 1]}, conv(2, 2, 1) | {"dilation": [2, 2]},
    {"type": "avgpool", "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "count_padding": True}, RELU,
    {"type": "add", "inputs": [8, 7]}, {"type": "fc", "out": 3},
]
curves = [
    conv(3, 2, 1), {"type": "batchnorm", "eps": 0.001}, {"type": "sigmoid"}, {"type": "avgpool"} | POOL | {"padding": [1, 1]}, conv(2, 3, 0), {"type": "tanh"},
    {"type": "maxpool"} | POOL | {"padding": [1, 1]}, {"type": "fc", "out": 3}, {"type": "sigmoid"},
]
rough = lambda n, top: [f32(draw.uniform(-top, top) / 8) for _ in range(n)]
save_model("kinks.safetensors", {"name": "kinks", "input": [1, 2, 2], "layers": kinks}, {
    "layers.0.weight": ([4, 1, 2, 2], rough(16, 8)), "layers.0.bias": ([4], rough(4, 4)),
    "layers.3.weight": ([4, 1, 2, 2], rough(16, 8)), "layers.3.bias": ([4], rough(4, 4)),
    "layers.6.weight": ([2, 8, 2, 2], rough(64, 8)), "layers.6.bias": ([2], rough(2, 4)),
    "layers.10.weight": ([3, 8], rough(24, 16)), "layers.10.bias": ([3], [3.0, -1.0, 1.0]),
}, "4")
save_model("curves.safetensors", {"name": "curves", "input": [1, 2, 2], "layers": curves}, {
    "layers.0.weight": ([3, 1, 2, 2], rough(12, 16)), "layers.0.bias": ([3], rough(3, 8)),
    "layers.1.weight": ([3], rough(3, 16)), "layers.1.bias": ([3], rough(3, 8)),
    "layers.1.running_mean": ([3], rough(3, 4)), "layers.1.running_var": ([3], [0.3, 1.7, 0.01]),
    "layers.4.weight": ([2, 3, 3, 3], rough(54, 16)), "layers.4.bias": ([2], rough(2, 8)),
    "layers.7.weight": ([3, 18], rough(54, 16)), "layers.7.bias": ([3], rough(3, 8)),
}, "4")
for name in "kinks", "curves":
    model = check.load_model(name + ".safetensors")
    z = [evaluate(model[0], [Fraction(v) for v in x]) for x in images]
    save_images(name + ".npz", (1, 2, 2), images, [max(range(3), key=lambda k: v[k]) for v in z])
    SETS[name] = model, check.load_data(name + ".npz")
    more = lambda verdict, what, reason=None, **over: put("layers.jsonl", f"{name}: {what}", verdict, seal(body(name, **over)), reason, name)

    def valid(what, factor=0.99, **over):
        """The largest of some radii with which the line is proved, and a part of its margin."""
        for eps in "0.2", "0.1", "0.05", "0.02", "0.01", "0.002", "0.0001":
            got, bound, why = check.judge(seal(body(name, eps=eps, **over)), (), *SETS[name])
            if got == "valid":
                return more("valid", what, eps=eps, margin=float(f"{bound / check.ONE * factor:.12g}"), **over)
        raise SystemExit(f"{name}: {what}: {why}")

    for k, method in enumerate(("ibp", "crown-ibp", "crown", "alpha-crown")):
        for j, norm in enumerate(("linf", "l2", "l1")):
            valid(f"{method}, {norm}", method=method, norm=norm, index=(k + j) % 5)
            valid(f"{method}, {norm}, level real", method=method, norm=norm, level="real", index=(k + j + 1) % 5)
    valid("a margin within 1e-9 of the bound", 1 - 1e-9, level="real", index=2)
    for method in "ibp", "crown":
        _, bound, _ = check.judge(seal(body(name, method=method, level="real", eps="0.002")), (), *SETS[name])
        more("unproved", f"a margin above the bound of {method}", "margin", method=method, level="real", eps="0.002", margin=bound / check.ONE * (1 + 1e-6))
    for eps in range(1, 100):
        over = dict(eps=f"{eps}/400", index=1)
        if check.judge(seal(body(name, method="ibp", **over)), (), *SETS[name])[0] == "invalid":
            more("valid", "crown proves it", **over)
            more("unproved", "intervals do not", "not proved", method="ibp", **over)
            break
    label, outputs = SETS[name][1][1][3], z[3]
    other = max((k for k in range(3) if k != label), key=lambda k: outputs[k])
    row = [[1.0 if k == other else -1.0 if k == label else 0.0 for k in range(3)]]
    put("layers.jsonl", f"{name}: a row that does not hold", "invalid", seal(body(name, rows=row, offsets=[0], index=3)), "not proved", name,
        witness=images[3], outputs=[float(v) for v in outputs])
    if name == "kinks":
        for what, relu, size in ("leakyrelu", 1, 36), ("clip", 4, 36), ("relu", 8, 8):
            valid(f"slopes of {what}", slopes=[block("all", relu, alpha(some(size, 255), "u8"))], index=2)
            valid(f"slopes of {what}, for each row", slopes=[block("rows", relu, alpha([some(size, 1) for _ in range(2)]))])
            more("invalid", f"a slope of {what} above 1", "slopes", slopes=[block("all", relu, alpha([1.5] * size, "f32"))])
        valid("slopes for a layer that a maxpool reads", slopes=[block(7, 1, alpha(some(36, 1))), block(7, 4, alpha(some(36, 1000), "f32"))])
        more("invalid", "slopes of a maxpool", "slopes", slopes=[block("all", 2, "adaptive")])
        more("invalid", "slopes for a layer that no bend reads", "slopes", slopes=[block(5, 1, "adaptive")])
        more("invalid", "slopes for the layer that has them", "slopes", slopes=[block(1, 1, "adaptive")])
    else:
        more("invalid", "slopes of a tanh", "slopes", slopes=[block("all", 5, "adaptive")])

tree_vectors.write(seal, body, SETS, lambda name, verdict, line, steps, reason, model: put("trees.jsonl", name, verdict, line, reason, model, steps))
region_vectors.write(seal, SETS, lambda name, verdict, line, steps, reason, model: put("regions.jsonl", name, verdict, line, reason, model, steps))
split_vectors.write(seal, body, SETS, lambda name, verdict, line, steps, reason, model: put("splits.jsonl", name, verdict, line, reason, model, steps))
plane_vectors.write(seal, body, SETS, lambda name, verdict, line, steps, reason, model: put("planes.jsonl", name, verdict, line, reason, model, steps))

for name, content in files.items():
    open(name, "wb").write(b"\n".join(content) + (b"" if name == "invalid.jsonl" else b"\n"))
with open("vectors.json", "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors) + "\n]\n")
print({v: sum(e["verdict"] == v for e in vectors) for v in ("valid", "invalid", "unproved", "nothing")})
