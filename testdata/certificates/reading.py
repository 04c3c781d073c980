"""Certificates, models and images as docs/certificate.md describes them."""

import ast, base64, gzip, hashlib, json, math, os, re, struct, sys, zipfile
from fractions import Fraction
from json.decoder import scanstring

# Reals are integers in units of 2^-Q; weights, all of them float32, in units of 2^-F.
# Products are rounded down to a unit.
Q, F = 1024, 149


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
    need(len(dict(pairs)) == len(pairs), "line", "a key twice")
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
    need(type(v) is Number and re.fullmatch("0|[1-9][0-9]{0,9}", v) and int(v) < 1 << 31, key)
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


def members(line):
    """The members of a line, one key each, and its sum."""
    need(len(line) <= 64 << 20, "line")
    m = re.search(rb',"sum":"([0-9a-f]{64})"}\Z', line[-100:])
    need(m, "sum")
    body = line[: len(line) - len(m[0])]
    need(hashlib.sha256(body).hexdigest().encode() == m[1], "sum", "the line is not what was written")
    try:
        text = line.decode().lstrip(" \t\r")
        v, end = decoder.raw_decode(text)
        need(type(v) is dict and end == len(text), "line", "more than an object")
    except (ValueError, RecursionError) as e:
        raise Refused(f"line: {e}") from None
    return v, m[1].decode()


def parse(line):
    """The members of a certificate's line, each checked by itself."""
    v, total = members(line)
    if any(k in v for k in ("property", "low", "high", "clauses")) or v.get("version") == "3":
        return parse_region(v, total)
    known = "format version model level data index input norm eps run method certified sum".split()
    for key in known:
        need(key in v, key, "missing")
    for key in v:
        need(key in known + ["label", "rows", "offsets", "margin", "slopes"], key, "unknown")
    c = {k: string(v[k], k) for k in "format model level data input norm eps run method".split()}
    need(c["format"] == "epsball-certificate", "format")
    need(integer(v["version"], "version") in (1, 2), "version")
    for key in "model", "input":
        need(re.fullmatch("[0-9a-f]{64}", c[key]), key)
    need(c["level"] in ("real", "executed"), "level")
    need(c["norm"] in ("linf", "l2", "l1"), "norm")
    need(c["method"] in ("ibp", "crown-ibp", "crown", "alpha-crown", "bab"), "method")
    need((c["method"] == "bab") == (int(v["version"]) == 2), "method", "not of this version")
    need(c["method"] != "bab" or not {"margin", "slopes"} & set(v), "method", "bab has no margin and no slopes")
    c["sum"] = total
    need(type(v["certified"]) is bool, "certified")
    c["certified"], c["index"], c["eps"] = v["certified"], integer(v["index"], "index"), radius(c["eps"])
    need(("label" in v) != ("rows" in v), "label", "one of label and rows")
    need(("rows" in v) == ("offsets" in v), "offsets")
    if "label" in v:
        c["label"] = integer(v["label"], "label")
    else:
        rows_of(c, v)
    need(c["certified"] or not {"margin", "slopes"} & set(v), "certified", "claims nothing, but has a margin or slopes")
    need(c["method"] != "ibp" or "slopes" not in v, "slopes")
    c["margin"] = number(v["margin"], "margin") if "margin" in v else None
    need(c["margin"] is None or c["margin"] > 0, "margin")
    c["slopes"] = [slopes_block(b) for b in array(v.get("slopes", []), "slopes", 65536)]
    return c


def float_list(v, key):
    """Numbers as f32: and base64."""
    need(type(v) is Text and "\\" not in v.spelled, key)
    kind, _, body = str(v).partition(":")
    need(kind == "f32", key, "not f32:")
    try:
        raw = base64.b64decode(body, validate=True)
    except ValueError:
        raise Refused(f"{key}: not base64") from None
    need(base64.b64encode(raw).decode() == body and len(raw) % 4 == 0, key, "not numbers in base64")
    out = floats(raw)
    need(all(x - x == 0 for x in out), key, "not finite")
    return out


def parse_region(v, total):
    """The members of a line of version 3, about a box of inputs."""
    known = "format version model level property index low high rows offsets run method certified sum".split()
    for key in known:
        need(key in v, key, "missing")
    for key in v:
        need(key in known + ["clauses"], key, "not of a region, or unknown")
    c = {k: string(v[k], k) for k in "format model level property run method".split()}
    need(c["format"] == "epsball-certificate", "format")
    need(integer(v["version"], "version") == 3, "version")
    need(re.fullmatch("[0-9a-f]{64}", c["model"]), "model")
    need(c["level"] in ("real", "executed"), "level")
    need(c["method"] == "bab", "method", "not of this version")
    need(type(v["certified"]) is bool, "certified")
    c["sum"], c["certified"], c["index"], c["slopes"], c["norm"] = total, v["certified"], integer(v["index"], "index"), [], "linf"
    c["low"], c["high"] = float_list(v["low"], "low"), float_list(v["high"], "high")
    need(0 < len(c["low"]) == len(c["high"]), "high")
    need(all(a <= b for a, b in zip(c["low"], c["high"])), "low", "above high")
    rows_of(c, v)
    c["clauses"] = [integer(n, "clauses") for n in array(v.get("clauses", [Number("1")] * len(c["rows"])), "clauses", 4096)]
    need(all(n > 0 for n in c["clauses"]) and sum(c["clauses"]) == len(c["rows"]), "clauses")
    return c


def rows_of(c, v):
    c["rows"] = [[number(x, "rows") for x in array(r, "rows", 1 << 20)] for r in array(v["rows"], "rows", 4096)]
    c["offsets"] = [number(x, "offsets") for x in array(v["offsets"], "offsets", 4096)]
    need(c["rows"] and sum(map(len, c["rows"])) <= 1 << 20, "rows")
    need(len(c["rows"]) == len(c["offsets"]), "offsets")


# --- the model and the data -------------------------------------------------------


class Node:
    """The input or a layer: its kind, the nodes it reads, its shape; of conv, fc and
    batchnorm the inputs, weights and bias of each output element."""

    def __init__(self, kind, reads, shape):
        self.kind, self.reads, self.shape = kind, reads, shape
        self.size = math.prod(shape)
        self.readers = []
        self.layer, self.terms, self.part, self.fan_in = -1, 0, False, 0


def f32(v):
    return struct.unpack("<f", struct.pack("<f", v))[0]


def floats(raw):
    return [x[0] for x in struct.iter_unpack("<f", raw)]


def taps(source, node, layer):
    """For each output position, the positions within the kernel and on a channel of the
    input of its taps that are on the input, in the kernel's order."""
    (_, h, w), (_, rows, columns) = source.shape, node.shape
    kernel, stride, padding, dilation = geometry(source, layer)
    out = []
    for y in range(rows):
        for x in range(columns):
            places = []
            for ky in range(kernel[0]):
                for kx in range(kernel[1]):
                    iy, ix = y * stride[0] - padding[0] + ky * dilation[0], x * stride[1] - padding[1] + kx * dilation[1]
                    if 0 <= iy < h and 0 <= ix < w:
                        places.append((ky * kernel[1] + kx, iy * w + ix))
            out.append(places)
    return out


def geometry(source, layer):
    """Kernel, stride, padding and dilation; fc is a kernel as large as the input."""
    if layer["type"] == "fc":
        return source.shape[1:], (1, 1), (0, 0), (1, 1)
    return pair(layer["kernel"]), pair(layer.get("stride", 1)), pair(layer.get("padding", 0)), pair(layer.get("dilation", 1))


def place(node, source, layer, channels):
    """Sets the shape of a conv, an fc or a pool, and returns its taps."""
    kernel, stride, padding, dilation = geometry(source, layer)
    sides = ((n + 2 * p - (k - 1) * d - 1) // s + 1 for n, p, k, s, d in zip(source.shape[1:], padding, kernel, stride, dilation))
    node.shape = [channels, *sides]
    node.size = math.prod(node.shape)
    return taps(source, node, layer)


def affine(node, source, layer, taps, weights, bias):
    """Inputs, weights and bias of each output element of a conv or an fc."""
    groups, plane = layer.get("groups", 1), source.shape[1] * source.shape[2]
    kernel = math.prod(geometry(source, layer)[0])
    each, outs = source.shape[0] // groups, layer["out"] // groups
    node.fan_in = each * kernel
    scaled = [units(v, F) for v in weights]
    for o in range(layer["out"]):
        first = o // outs * each
        for places in taps:
            terms = [((first + c) * plane + p, scaled[(o * each + c) * kernel + t]) for c in range(each) for t, p in places]
            node.at.append([k for k, _ in terms])
            node.w.append([v for _, v in terms])
            node.b.append(units(bias[o]))


def pair(v):
    return [v, v] if isinstance(v, int) else v


def load_model(path):
    """The nodes of a model, the input first, and its hash."""
    raw = open(path, "rb").read()
    size = 8 + int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8:size]), raw[size:]
    meta = header.pop("__metadata__")
    if meta["format"] != "epsball" or meta["version"] not in ("1", "2", "4"):
        sys.exit(f"{path}: want a model file of version 1, 2 or 4")
    arch = json.loads(meta["architecture"])
    nodes, used = [Node("input", [], arch["input"])], 0
    for i, l in enumerate(arch["layers"]):
        reads = [k + 1 for k in l.get("inputs", [i - 1])]
        source = nodes[reads[0]]
        node = Node(l["type"], reads, source.shape)
        node.layer = i
        node.at, node.w, node.b = [], [], []
        channels, hw = source.shape[0], source.shape[1] * source.shape[2]

        def tensors(*wanted):
            nonlocal used
            params = []
            for name, n in wanted:
                tensor = header[f"layers.{i}.{name}"]  # the hash is of the tensors in the layers' order
                if tensor["dtype"] != "F32" or tensor["data_offsets"] != [used, used + 4 * n]:
                    sys.exit(f"{path}: layers.{i}.{name}: want float32, tensors in the order of the layers")
                params.append(floats(data[used : used + 4 * n]))
                used += 4 * n
            return params

        if l["type"] in ("conv", "fc"):
            each = channels // l.get("groups", 1) * math.prod(geometry(source, l)[0])
            at = place(node, source, l, l["out"])
            affine(node, source, l, at, *tensors(("weight", l["out"] * each), ("bias", l["out"])))
        elif l["type"] == "batchnorm":
            params = tensors(*((name, channels) for name in ("weight", "bias", "running_mean", "running_var")))
            node.fan_in = 1
            for k in range(node.size):
                w, b, mean, var = (v[k // hw] for v in params)
                scale = w / math.sqrt(var + f32(l["eps"]))
                node.at.append([k])
                node.w.append([units(f32(scale), F)])
                node.b.append(units(f32(b - mean * scale)))
        elif l["type"] in ("maxpool", "avgpool"):
            at = place(node, source, l, channels)
            node.at = [[c * hw + p for _, p in places] for c in range(channels) for places in at]
            node.fan_in = math.prod(pair(l["kernel"])) if l["type"] == "avgpool" else 0
            node.divisor = [node.fan_in if l.get("count_padding") else len(a) for a in node.at]
        elif l["type"] == "concat":
            node.shape = [sum(nodes[k].shape[0] for k in reads), *source.shape[1:]]
            node.size = math.prod(node.shape)
        elif l["type"] in ("relu", "leakyrelu"):
            slope = l.get("slope", [0.0])
            node.slope = [units(f32(slope[k // hw % len(slope)])) for k in range(node.size)]
        elif l["type"] == "clip":
            node.least, node.most = units(f32(l["min"])), units(f32(l["max"]))
        elif l["type"] == "normalize":
            node.mean = [Fraction(f32(v)) for v in l["mean"] for _ in range(hw)]
            node.std = [Fraction(f32(v)) for v in l["std"] for _ in range(hw)]
        elif l["type"] not in ("add", "sigmoid", "tanh"):
            sys.exit(f"{path}: layers.{i}: {l['type']}: not known")
        for k in reads:
            nodes[k].readers.append(node)
        nodes.append(node)
    for n in nodes:
        n.part = n.kind in ("conv", "fc", "add") and [r.kind for r in n.readers] == ["add"]
        others = [nodes[k] for k in n.reads] if n.kind == "add" else []
        n.terms = n.fan_in + 1 if n.kind != "add" else sum(o.terms if o.part else 1 for o in others)
    for n in reversed(nodes):
        if n.part:
            n.terms = n.readers[0].terms
    if used != len(data):
        sys.exit(f"{path}: want no bytes after the tensors")
    return nodes, hashlib.sha256(meta["architecture"].encode() + data).hexdigest()


def pixel(b):
    return f32(b / 255)


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
