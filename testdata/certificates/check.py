#!/usr/bin/env python3
"""A second checker of certificates, written from docs/certificate.md.

    check.py CERTIFICATES --model M.safetensors --data D   prove a file's lines
    check.py FOLDER                                        judge FOLDER/vectors.json

D is an .npz with x and y, or a folder with MNIST's t10k files. Models are .safetensors
files of version 1 or 2 as epsball writes them. It needs Python 3.9 and nothing else, and
takes its time: all arithmetic is on integers.
"""

import argparse, ast, base64, binascii, gzip, hashlib, json, math, os, re, struct, sys, zipfile
from fractions import Fraction
from json.decoder import scanstring

# Reals are integers in units of 2^-Q; weights, all of them float32, in units of 2^-F.
# Products are rounded down to a unit. With values below 2^200 and fewer than 2^200
# products the roundings of a bound are together below FLAT.
Q, F = 1024, 149
ONE, FLAT, LARGEST = 1 << Q, 1 << (Q - 500), 1 << (Q + 200)
MAXFLOAT, ETA, U = ((1 << 24) - 1) << (Q + 104), 1 << (Q - 149), Fraction(1, 1 << 24)


class Refused(Exception):
    """The line is not valid; the text starts with the key at fault."""


def need(ok, key, why=""):
    if not ok:
        raise Refused(f"{key}: {why or 'not as the page says'}")


def units(v, scale=Q):
    """A float, or a Fraction, in units, rounded down."""
    n, d = v.as_integer_ratio() if isinstance(v, float) else (v.numerator, v.denominator)
    return (n << scale) // d


# --- reading a line ---------------------------------------------------------------


class Number(str):
    """A number as it is spelled."""


class Text(str):
    """A string that knows how many bytes it takes in the line, and its spelling."""


def text_at(s, end, strict=True):
    value, stop = scanstring(s, end, strict)
    t = Text(value)
    t.spelled = s[end : stop - 1]
    return t, stop


def one_key_each(pairs):
    for key, _ in pairs:
        need([k for k, _ in pairs].count(key) == 1, key, "twice")
    return dict(pairs)


def constant(name):
    raise ValueError(name)


decoder = json.JSONDecoder(object_pairs_hook=one_key_each, parse_int=Number, parse_float=Number, parse_constant=constant)
decoder.parse_string = text_at
decoder.scan_once = json.scanner.py_make_scanner(decoder)


def string(v, key, limit=4096):
    need(type(v) is Text and len(v.spelled.encode()) + 2 <= limit, key)
    return str(v)


def integer(v, key):
    need(type(v) is Number and re.fullmatch("0|[1-9][0-9]*", v) and int(v) < 1 << 31, key)
    return int(v)


def number(v, key):
    need(type(v) is Number and v.isascii() and math.isfinite(float(v)), key)
    return float(v)


def array(v, key, limit):
    need(type(v) is list and len(v) <= limit, key)
    return v


def radius(s):
    m = re.fullmatch(r"([0-9]+(\.[0-9]+)?)([eE][+-]?[0-9]{1,3})?|([0-9]+)/([0-9]*[1-9][0-9]*)", s)
    need(m and len(s) <= 64, "eps")
    return Fraction(int(m[4]), int(m[5])) if m[4] else Fraction(m[1]) * Fraction(10) ** int((m[3] or "e0")[1:])


def slopes_block(v):
    need(type(v) is dict and set(v) == {"for", "relu", "alpha"}, "slopes")
    target = v["for"] if v["for"] in ("all", "rows") and type(v["for"]) is Text else integer(v["for"], "slopes")
    alpha = v["alpha"]
    need(type(alpha) is Text and "\\" not in alpha.spelled, "slopes")
    return target, integer(v["relu"], "slopes"), str(alpha)


def parse(line):
    """The members of a line, each checked by itself."""
    need(len(line) <= 64 << 20, "line")
    m = re.search(rb',"sum":"([0-9a-f]{64})"}\Z', line[-100:])
    need(m, "sum")
    body = line[: len(line) - len(m[0])]
    need(hashlib.sha256(body).hexdigest().encode() == m[1], "sum", "the line is not what was written")
    try:
        v, end = decoder.raw_decode(line.decode().lstrip(" \t\r"))
        need(type(v) is dict and end == len(line.decode().lstrip(" \t\r")), "line", "more than an object")
    except (ValueError, RecursionError) as e:
        raise Refused(f"line: {e}") from None
    known = "format version model level data index input norm eps run method certified sum".split()
    for key in known:
        need(key in v, key, "missing")
    for key in v:
        need(key in known + ["label", "rows", "offsets", "margin", "slopes"], key, "unknown")
    c = {k: string(v[k], k) for k in "format model level data input norm eps run method".split()}
    need(c["format"] == "epsball-certificate", "format")
    need(integer(v["version"], "version") == 1, "version")
    for key in "model", "input":
        need(re.fullmatch("[0-9a-f]{64}", c[key]), key)
    need(c["level"] in ("real", "executed"), "level")
    need(c["norm"] in ("linf", "l2", "l1"), "norm")
    need(c["method"] in ("ibp", "crown-ibp", "crown", "alpha-crown"), "method")
    need(type(v["certified"]) is bool, "certified")
    c["certified"], c["index"], c["eps"] = v["certified"], integer(v["index"], "index"), radius(c["eps"])
    need(("label" in v) != ("rows" in v), "label", "one of label and rows")
    need(("rows" in v) == ("offsets" in v), "offsets")
    if "label" in v:
        c["label"] = integer(v["label"], "label")
    else:
        c["rows"] = [[number(x, "rows") for x in array(r, "rows", 1 << 20)] for r in array(v["rows"], "rows", 4096)]
        c["offsets"] = [number(x, "offsets") for x in array(v["offsets"], "offsets", 4096)]
        need(c["rows"] and sum(map(len, c["rows"])) <= 1 << 20, "rows")
        need(len(c["rows"]) == len(c["offsets"]), "offsets")
    need(c["certified"] or not {"margin", "slopes"} & set(v), "certified", "claims nothing, but has a margin or slopes")
    need(c["method"] != "ibp" or "slopes" not in v, "slopes")
    c["margin"] = number(v["margin"], "margin") if "margin" in v else None
    need(c["margin"] is None or c["margin"] > 0, "margin")
    c["slopes"] = [slopes_block(b) for b in array(v.get("slopes", []), "slopes", 65536)]
    return c


# --- the model and the data -------------------------------------------------------


class Node:
    """The input or a layer: its kind, the nodes it reads, its shape; of conv and fc the
    terms (input element, weight) of each output element, and each one's bias."""

    def __init__(self, kind, reads, shape):
        self.kind, self.reads, self.shape = kind, reads, shape
        self.size = math.prod(shape)
        self.readers = []
        self.layer = -1


def floats(raw):
    return [x[0] for x in struct.iter_unpack("<f", raw)]


def affine(node, source, kernel, stride, padding, weights):
    (_, h, w), (out, rows, columns) = source.shape, node.shape
    node.fan_in = source.shape[0] * kernel[0] * kernel[1]
    scaled = [units(v, F) for v in weights]
    for o in range(out):
        for y in range(rows):
            for x in range(columns):
                terms = []
                for t in range(node.fan_in):
                    c, ky, kx = t // (kernel[0] * kernel[1]), t // kernel[1] % kernel[0], t % kernel[1]
                    iy, ix = y * stride[0] - padding[0] + ky, x * stride[1] - padding[1] + kx
                    if 0 <= iy < h and 0 <= ix < w:
                        terms.append(((c * h + iy) * w + ix, scaled[o * node.fan_in + t]))
                node.at.append([k for k, _ in terms])
                node.w.append([v for _, v in terms])


def pair(v):
    return [v, v] if isinstance(v, int) else v


def load_model(path):
    """The nodes of a model, the input first, and its hash."""
    raw = open(path, "rb").read()
    size = 8 + int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8:size]), raw[size:]
    meta = header.pop("__metadata__")
    if meta["format"] != "epsball" or meta["version"] not in ("1", "2"):
        sys.exit(f"{path}: want a model file of version 1 or 2")
    arch = json.loads(meta["architecture"])
    nodes, used = [Node("input", [], arch["input"])], 0
    for i, l in enumerate(arch["layers"]):
        reads = [k + 1 for k in l.get("inputs", [i - 1])]
        source = nodes[reads[0]]
        node = Node(l["type"], reads, source.shape)
        node.layer = i
        if l["type"] in ("conv", "fc"):
            _, h, w = source.shape
            kernel, stride, padding = (h, w), (1, 1), (0, 0)
            if l["type"] == "conv":
                kernel, stride, padding = pair(l["kernel"]), pair(l.get("stride", 1)), pair(l.get("padding", 0))
            rows, columns = ((n + 2 * p - k) // s + 1 for n, p, k, s in zip((h, w), padding, kernel, stride))
            node.shape, params = [l["out"], rows, columns], []
            node.size, node.at, node.w = math.prod(node.shape), [], []
            for name, n in ("weight", l["out"] * source.shape[0] * kernel[0] * kernel[1]), ("bias", l["out"]):
                tensor = header[f"layers.{i}.{name}"]  # the hash is of the tensors in the layers' order
                if tensor["dtype"] != "F32" or tensor["data_offsets"] != [used, used + 4 * n]:
                    sys.exit(f"{path}: layers.{i}.{name}: want float32, tensors in the order of the layers")
                params.append(floats(data[used : used + 4 * n]))
                used += 4 * n
            affine(node, source, kernel, stride, padding, params[0])
            node.b = [units(v) for v in params[1] for _ in range(rows * columns)]
        elif l["type"] == "normalize":
            f32 = lambda v: Fraction(struct.unpack("<f", struct.pack("<f", v))[0])
            each = node.shape[1] * node.shape[2]
            node.mean = [f32(v) for v in l["mean"] for _ in range(each)]
            node.std = [f32(v) for v in l["std"] for _ in range(each)]
        for k in reads:
            nodes[k].readers.append(node)
        nodes.append(node)
    if used != len(data):
        sys.exit(f"{path}: want no bytes after the tensors")
    return nodes, hashlib.sha256(meta["architecture"].encode() + data).hexdigest()


def pixel(b):
    return struct.unpack("<f", struct.pack("<f", b / 255))[0]


def load_npy(raw):
    start = 12 if raw[6] > 1 else 10
    end = start + int.from_bytes(raw[8:start], "little")
    head = ast.literal_eval(raw[start:end].decode())
    kind = {"|u1": "B", "<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q"}[head["descr"]]
    return head, [v[0] for v in struct.iter_unpack("<" + kind, raw[end:])]


def load_data(path):
    """Images, each a list of pixels, and their labels."""
    if os.path.isdir(path):
        raw = [gzip.open(os.path.join(path, f"t10k-{n}-ubyte.gz")).read() for n in ("images-idx3", "labels-idx1")]
        each, x, y = 784, [pixel(b) for b in range(256)], list(raw[1][8:])
        return [[x[b] for b in raw[0][i : i + each]] for i in range(16, len(raw[0]), each)], y
    with zipfile.ZipFile(path) as z:
        (head, x), (_, y) = load_npy(z.read("x.npy")), load_npy(z.read("y.npy"))
    if head["fortran_order"]:
        sys.exit(f"{path}: want C order")
    if head["descr"] == "|u1":
        x = [pixel(b) for b in x]
    each = len(x) // len(y)
    x = floats(struct.pack(f"<{len(x)}f", *x))
    return [x[i : i + each] for i in range(0, len(x), each)], y


# --- bounds -----------------------------------------------------------------------


def down(a, b):
    return a * b >> Q


def up(a, b):
    return -(-a * b >> Q)


def dot(w, v):
    return sum(map(int.__mul__, w, v)) >> F


def alphas(text, size, rows):
    """Vectors of slopes in units, one or as many as rows; None: adaptive."""
    if text == "adaptive":
        return None
    kind, _, body = text.partition(":")
    bits = {"bits": 1, "u8": 8, "f32": 32}.get(kind)
    need(bits, "slopes", "alpha")
    try:
        raw = base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise Refused("slopes: alpha: not base64") from None
    need(base64.b64encode(raw).decode() == body, "slopes", "alpha: not as base64 is written")
    stride = (size * bits + 7) // 8
    need(len(raw) in (stride, stride * rows), "slopes", "alpha: wrong length")
    vectors = []
    for at in range(0, len(raw), stride):
        part = raw[at : at + stride]
        if bits == 1:
            need(int.from_bytes(part, "little") >> size == 0, "slopes", "alpha: bits beyond the last slope")
            v = [float(part[k // 8] >> k % 8 & 1) for k in range(size)]
        else:
            v = [Fraction(b, 255) for b in part] if bits == 8 else floats(part)
        need(all(0 <= a <= 1 for a in v), "slopes", "alpha: outside of [0, 1]")
        vectors.append([units(a) for a in v])
    return vectors


class Proof:
    """One line's bounds: l, u, E and M of each node, as far as they are known."""

    def __init__(self, nodes, c, x, rows):
        self.nodes, self.c, self.rows = nodes, c, rows
        self.executed = c["level"] == "executed"
        self.x = [units(v) for v in x]
        self.eps = -units(-c["eps"])
        self.l, self.u, self.e, self.m, self.s = [], [], [], [], []
        self.bound_by_lines = lambda n: any(r.kind == "relu" for r in n.readers)
        self.slopes = {}
        for target, relu, text in c["slopes"]:
            need(relu + 1 < len(nodes) and nodes[relu + 1].kind == "relu", "slopes", "relu")
            if target not in ("all", "rows"):
                need(c["method"] != "crown-ibp", "slopes", "for")
                need(relu < target < len(nodes) - 1 and self.bound_by_lines(nodes[target + 1]), "slopes", "for")
            need((target, relu) not in self.slopes, "slopes", "twice")
            self.slopes[target, relu] = alphas(text, nodes[relu + 1].size, len(rows) if target == "rows" else 1)

    def interval(self, i):
        n = self.nodes[i]
        p = n.reads[0] if n.reads else None
        e = s = [0] * n.size
        if n.kind == "input":
            l = [max(0, v - self.eps) for v in self.x]
            u = [min(ONE, v + self.eps) for v in self.x]
        elif n.kind == "relu":
            l, u = [max(0, v) for v in self.l[p]], [max(0, v) for v in self.u[p]]
        elif n.kind == "normalize":
            exact = lambda v, k: (Fraction(v) - n.mean[k] * ONE) / n.std[k]
            l = [math.floor(exact(v, k)) for k, v in enumerate(self.l[p])]
            u = [math.ceil(exact(v, k)) for k, v in enumerate(self.u[p])]
            s = [math.ceil((m + abs(n.mean[k]) * ONE) / n.std[k]) for k, m in enumerate(self.m[p])]
            e = [math.ceil(3 * U * max(-a, b)) + ETA for a, b in zip(l, u)]
        elif n.kind == "add":
            q = n.reads[1]
            l, u = [a + b for a, b in zip(self.l[p], self.l[q])], [a + b for a, b in zip(self.u[p], self.u[q])]
            s = [a + b for a, b in zip(self.m[p], self.m[q])]
            e = [math.ceil(U * max(-a, b)) for a, b in zip(l, u)]
            for one, other in (p, q), (q, p):
                o = self.nodes[one]
                if o.kind in ("conv", "fc") and o.readers == [n]:  # its sum may take the other one in
                    e = [max(a, math.ceil(gamma(o.fan_in + 2) * m)) for a, m in zip(e, self.m[other])]
                    s = [max(a, b + m) for a, b, m in zip(s, self.s[one], self.m[other])]
        else:
            low, high, m = self.l[p], self.u[p], self.m[p]
            l, u, s = [], [], []
            for at, w, b in zip(n.at, n.w, n.b):
                l.append(dot(w, [low[k] if v > 0 else high[k] for k, v in zip(at, w)]) + b)
                u.append(dot(w, [high[k] if v > 0 else low[k] for k, v in zip(at, w)]) + b + 1)
                s.append(dot(map(abs, w), [m[k] for k in at]) + abs(b) + 1)
            g = gamma(n.fan_in + (2 if any(r.kind == "add" for r in n.readers) else 1))
            e = [math.ceil(g * v) + n.fan_in * ETA for v in s]
        if not self.executed:
            e = [0] * n.size
        self.l.append([a - b for a, b in zip(l, e)])
        self.u.append([a + b for a, b in zip(u, e)])
        self.e.append(e)
        self.s.append([a + b for a, b in zip(s, e)])
        self.m.append(None)
        self.close(i)
        if self.executed:
            need(all(v <= MAXFLOAT for v in self.s[i]), "level", "float32 may overflow")

    def close(self, i):
        self.m[i] = [max(-a, b) for a, b in zip(self.l[i], self.u[i])]
        need(all(v <= LARGEST for v in self.m[i]), "level", "a bound is above 2^200")

    def alpha(self, relu, target, row):
        vectors = self.slopes.get((target, relu.layer), self.slopes.get(("all", relu.layer)))
        return vectors and vectors[row if len(vectors) > 1 else 0]

    def lower(self, i, form, boxes, target, row=0):
        """A lower bound of the row form, a dict, over the elements of node i."""
        forms, c = {i: form}, -FLAT
        for j in range(i, -1, -1):
            a, n = forms.pop(j, {}), self.nodes[j]
            c -= sum(up(abs(v), self.e[j][k]) for k, v in a.items())
            if n.kind == "input" or j in boxes:
                box = sum(min(down(v, self.l[j][k]), down(v, self.u[j][k])) for k, v in a.items())
                c += max(box, self.dual(a)) if n.kind == "input" else box
                continue
            for p in n.reads if a else []:
                to = forms.setdefault(p, {})
                if n.kind == "add":
                    for k, v in a.items():
                        to[k] = to.get(k, 0) + v
                elif n.kind == "normalize":
                    for k, v in a.items():
                        to[k] = to.get(k, 0) + math.floor(v / n.std[k])
                        c -= math.ceil(v * n.mean[k] / n.std[k])
                elif n.kind == "relu":
                    alpha = self.alpha(n, target, row)
                    for k, v in a.items():
                        l, u = self.l[p][k], self.u[p][k]
                        if l >= 0:
                            to[k] = to.get(k, 0) + v
                        elif u > 0 and v >= 0:
                            to[k] = to.get(k, 0) + down(v, alpha[k] if alpha else ONE if u > -l else 0)
                        elif u > 0:
                            slope = (u << Q) // (u - l)
                            to[k] = to.get(k, 0) + down(v, slope)
                            c += down(v, max(0, up(-slope, l), u - down(slope, u)))
                else:
                    for o, v in a.items():
                        c += down(v, n.b[o])
                        for k, w in zip(n.at[o], n.w[o]):
                            to[k] = to.get(k, 0) + (v * w >> F)
        return c

    def dual(self, a):
        if self.c["norm"] == "linf":
            return -math.inf
        sizes = [abs(v) for v in a.values()]
        norm = math.isqrt(sum(v * v for v in sizes)) + 1 if self.c["norm"] == "l2" else max(sizes, default=0)
        return sum(down(v, self.x[k]) for k, v in a.items()) - up(self.eps, norm)

    def tighten(self, i, every):
        l, u, layer = self.l[i], self.u[i], self.nodes[i].layer
        for k in range(len(l)):
            for sign in (-1, 1) if u[k] < -l[k] else (1, -1):
                if not every and not l[k] < 0 < u[k]:
                    break
                v = self.lower(i, {k: sign * ONE}, (), layer)
                if sign > 0:
                    l[k] = max(l[k], v)
                else:
                    u[k] = min(u[k], -v)
        self.close(i)

    def prove(self, thorough):
        """The bound of the worst row, in units."""
        self.l, self.u, self.e, self.m, self.s = [], [], [], [], []
        for i, n in enumerate(self.nodes):
            self.interval(i)
            if n.kind in ("conv", "fc") and self.nodes[n.reads[0]].kind in ("input", "normalize"):
                if self.c["norm"] != "linf":
                    self.tighten(i, True)
            elif self.bound_by_lines(n) and self.c["method"] in ("crown", "alpha-crown"):
                self.tighten(i, thorough)
        last = len(self.nodes) - 1
        relus = {i for i, n in enumerate(self.nodes) if n.kind == "relu"}
        ways = [relus] + ([relus - {last}] if last in relus else []) + ([()] if self.c["method"] != "ibp" else [])
        return min(
            max(self.lower(last, dict(row), boxes, "rows", r) for boxes in ways) + offset
            for r, (row, offset) in enumerate(self.rows)
        )


def gamma(n):
    return n * U / (1 - n * U)


def check(line, model, data):
    """None for a line that claims nothing, or the bound of its worst row."""
    (nodes, digest), (images, labels) = model, data
    c = parse(line)
    if not c["certified"]:
        return None
    need(c["model"] == digest, "model", "another one")
    need(c["index"] < len(images), "index", "not in the data")
    x, y, outputs = images[c["index"]], labels[c["index"]], nodes[-1].size
    need(len(x) == nodes[0].size and hashlib.sha256(struct.pack(f"<{len(x)}f", *x)).hexdigest() == c["input"], "input", "another image")
    need(all(0 <= v <= 1 for v in x), "input", "pixels outside of [0, 1]")
    if "label" in c:
        need(c["label"] < outputs >= 2, "label", "not an output")
        need(c["label"] == y, "label", f"the data say {y}")
        rows = [({c["label"]: ONE, k: -ONE}, 0) for k in range(outputs) if k != c["label"]]
    else:
        for r, o in zip(c["rows"], c["offsets"]):
            need(len(r) == outputs, "rows", "wrong length")
            need(any(r), "rows", "zeros alone")
            need(all(abs(v) <= 2.0**50 for v in r + [o]), "rows", "a coefficient or offset above 2^50")
        rows = [({k: units(v) for k, v in enumerate(r) if v}, units(o)) for r, o in zip(c["rows"], c["offsets"])]
    executed = c["level"] == "executed"
    need(not executed or all(getattr(n, "fan_in", 0) <= 1 << 20 for n in nodes), "level", "fan-in above 2^20")
    proof = Proof(nodes, c, x, rows)
    for thorough in (False, True) if c["method"] in ("crown", "alpha-crown") else (False,):
        bound = proof.prove(thorough) if not thorough else max(bound, proof.prove(thorough))
        if bound > 0 and bound >= units(c["margin"] or 0.0):
            return bound
    why = f"only {decimal(bound)} is proved" if bound > 0 else f"not proved: {decimal(bound)}"
    e = Refused(("margin: " if bound > 0 else "") + why)
    e.bound = bound
    raise e


def decimal(bound):
    """20 significant digits, rounded down in magnitude."""
    v, exponent = abs(bound), 0
    if not v:
        return "0"
    while v >= 10 << Q:
        v, exponent = v // 10, exponent + 1
    while v < ONE:
        v, exponent = v * 10, exponent - 1
    digits = str(v * 10**19 >> Q)
    return f"{'-' if bound < 0 else ''}{digits[0]}.{digits[1:]}e{exponent}"


# --- the command line -------------------------------------------------------------


def lines(path):
    """The lines of a file; of one without a newline at its end, None."""
    parts = open(path, "rb").read().split(b"\n")
    return parts[:-1] + ([None] if parts[-1] else [])


def judge(line, model, data):
    """A verdict, the bound in units or None, and the reason."""
    try:
        if line is None:
            raise Refused("line: no newline at its end")
        bound = check(line, model, data)
        return ("nothing" if bound is None else "valid"), bound, ""
    except Refused as e:
        return "invalid", getattr(e, "bound", None), str(e)


def vectors(folder):
    wrong, cache = 0, {}
    load = lambda f, name: cache.setdefault(name, None) or cache.update({name: f(os.path.join(folder, name))}) or cache[name]
    entries = json.load(open(os.path.join(folder, "vectors.json")))
    for v in entries:
        line = lines(os.path.join(folder, v["file"]))[v["line"] - 1]
        verdict, bound, why = judge(line, load(load_model, v["model"]), load(load_data, v["data"]))
        want = "invalid" if v["verdict"] == "unproved" else v["verdict"]
        ok = verdict == want and v.get("reason", "") in why and (bound is None or decimal(bound) == v["margin"])
        if not ok:
            wrong += 1
            print(f"{v['file']}:{v['line']}: {v['name']}: got {verdict} {bound is not None and decimal(bound)} {why}, want {v}")
    print(f"{len(entries)} vectors, {wrong} judged otherwise")
    return wrong > 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("path")
    p.add_argument("--model")
    p.add_argument("--data")
    a = p.parse_args()
    if os.path.isdir(a.path):
        return vectors(a.path)
    if not a.model or not a.data:
        p.error("want --model and --data")
    model, data, counts, claims = load_model(a.model), load_data(a.data), {}, set()
    for i, line in enumerate(lines(a.path), 1):
        verdict, bound, why = judge(line, model, data)
        if verdict == "valid":
            c = parse(line)
            same = (c["index"], c["level"], c["norm"], c["eps"], str([c.get("label"), *c.get("rows", []), c.get("offsets")]).replace("-0.0", "0.0"))
            if same in claims:
                verdict, why = "invalid", "says the same as an earlier line"
            claims.add(same)
        counts[verdict] = counts.get(verdict, 0) + 1
        print(f"line {i}: {verdict} {decimal(bound) if bound is not None else ''} {why}".rstrip(), flush=True)
    print(counts)
    return counts.get("valid", 0) == 0 or "invalid" in counts


if __name__ == "__main__":
    sys.exit(main())
