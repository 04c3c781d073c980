"""Test vectors of branch and bound for make_vectors.py: proofs whose trees are drawn, and
changes that make them wrong."""

import base64, copy, json, random, struct

import check
from layers import BENDS, ONE
from reading import Refused, units
from trees import Steps, parse_step


def f32(v):
    return struct.unpack("<f", struct.pack("<f", v))[0]


def below(v):
    """A float32 below v units by enough for the rounding of other checkers."""
    v -= abs(v) >> 26
    bits = struct.unpack("<i", struct.pack("<f", v / ONE))[0]
    at = bits if bits >= 0 else -(bits & 0x7FFFFFFF)
    number = lambda k: struct.unpack("<f", struct.pack("<I", k if k >= 0 else -k | 0x80000000))[0]
    while units(number(at)) > v:
        at -= 1
    return number(at)


def numbers(v):
    return "f32:" + base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode()


class Search:
    """A proof in the making: bounds of elements by drawn trees, layer by layer, then rows."""

    def __init__(self, seal, claim, sets, seed):
        self.seal, self.draw, self.steps = seal, random.Random(seed), []
        self.line = claim
        c = check.parse(claim)
        x, rows = check.claim(c, *sets)
        self.total, self.nodes = c["sum"], sets[0][0]
        self.proof = Steps(self.nodes, {**c, "slopes": []}, x, rows)

    def run(self):
        p = self.proof
        for i, n in enumerate(self.nodes):
            if i and any(r.kind in BENDS for r in n.readers):
                p.forward(i)
                ends = {k: (below(l), -below(-u)) for k, (l, u) in enumerate(zip(p.l[i], p.u[i])) if l < 0 < u}
                if ends:
                    self.state(i, ends)
                    self.tighten(i, ends)
        p.forward(len(self.nodes) - 1)
        for r, (row, offset) in enumerate(p.rows):
            best = max((self.tree(len(self.nodes) - 1, row) for _ in range(12)), key=lambda t: t[0])
            if best[0] + offset <= 0:
                raise Refused("no tree that was drawn proves it")
            self.add({"row": r, "slopes": best[2], "trees": [best[1]]})
        self.add({"end": True})
        return self

    def add(self, fields):
        self.steps.append(fields)
        self.proof.step(parse_step(sealed(self.seal, self.total, len(self.steps), fields)))

    def state(self, i, ends, slopes=(), trees=()):
        f = {"layer": i - 1, "elements": sorted(ends), "low": numbers([ends[k][0] for k in sorted(ends)]), "high": numbers([ends[k][1] for k in sorted(ends)])}
        self.add(f | ({"slopes": list(slopes), "trees": list(trees)} if trees else {}))

    def tighten(self, i, ends):
        slopes, trees, better = [], [], dict(ends)
        for k, (low, high) in ends.items():
            for end, sign in ("low", 1), ("high", -1):
                bound, tree, vectors = self.tree(i, {k: sign * ONE}, len(slopes))
                v = below(bound)
                if v > (low if sign > 0 else -high):
                    better[k] = (v, better[k][1]) if sign > 0 else (better[k][0], -v)
                    trees.append({"element": k, "end": end} | tree)
                    slopes += vectors
        if trees:
            self.state(i, {k: better[k] for k in {t["element"] for t in trees}}, slopes, trees)

    def tree(self, i, form, first=0):
        """A drawn tree over node i, its bound and its vectors, which are numbered from first."""
        relus = [j for j in range(1, i + 1) if self.nodes[j].kind == "relu" and self.proof.open(j)]
        vectors, beta, nodes = [], [], []
        for _ in range(self.draw.randint(0, 2) if relus else 0):
            vectors.append([self.window(j) for j in relus if self.draw.random() < 0.8] + self.points(relus))

        def grow(above):
            left = self.choices(i, relus, above)
            if len(above) < 3 and left and self.draw.random() < 0.6:
                split = self.draw.choice(left)
                nodes.append(list(split))
                for active in True, False:
                    grow(above + [(split, active)])
                return
            nodes.append(self.draw.choice([0] + [first + n + 1 for n in range(len(vectors))]))
            beta.extend(f32(self.draw.choice([0, 0, 0.01, 0.1, 0.5]) * self.draw.random()) for _ in above)

        grow([])
        read = {"slopes": [[spelled(w) for w in v] for v in [[]] * first + vectors], "trees": []}
        bound = min(self.proof.leaves(read, {"nodes": [tuple(n) if type(n) is list else n for n in nodes], "beta": beta}, i, [form]))
        return bound, {"nodes": nodes, "beta": numbers(beta)}, vectors

    def choices(self, i, relus, above):
        """The splits that a tree over node i may have below others."""
        return [(j - 1, k) for j in relus for k in self.proof.open(j) if (j - 1, k) not in [s for s, _ in above]]

    def points(self, relus):
        return []

    def window(self, j):
        _, h, w = self.nodes[j].shape
        y, x = self.draw.randrange(h), self.draw.randrange(w)
        window = [y, self.draw.randint(y + 1, h), x, self.draw.randint(x + 1, w)]
        at = [k for k in self.proof.open(j) if window[0] <= k // w % h < window[1] and x <= k % w < window[3]]
        raw = bytes(self.draw.randrange(256) for _ in at)
        return {"relu": j - 1, "window": window, "alpha": "u8:" + base64.b64encode(raw).decode()}


def spelled(w):
    """An object of a vector of slopes as it is read."""
    kind = "point" if "point" in w else "alpha"
    return w["relu"], w["window"], kind, w[kind]


def sealed(seal, total, number, fields):
    head = {"format": "epsball-certificate", "version": 2, "of": total, "step": number}
    return seal(json.dumps(head | fields, separators=(",", ":"))[:-1])


def search(seal, body, sets, name, **over):
    """A proof for the largest of some radii, by one of some draws."""
    for eps in "0.1", "0.07", "0.05", "0.03", "0.02", "0.01", "0.005", "0.001":
        for seed in range(3):
            try:
                return Search(seal, seal(body(name, method="bab", version=2, **{"eps": eps} | over)), sets[name], seed).run()
            except Refused:
                pass
    raise SystemExit(f"{name}: no proof of {over}")


def write(seal, body, sets, put):
    """Writes the vectors by put(name, verdict, line, steps, reason, model)."""
    for name in "residual", "kinks":
        for norm in "linf", "l2", "l1":
            for level, index in ("executed", 0), ("real", 2):
                s = search(seal, body, sets, name, norm=norm, level=level, index=index)
                put(f"{name}: {norm}, {level}", "valid", s.line, [sealed(seal, s.total, n + 1, f) for n, f in enumerate(s.steps)], None, name)
    s = search(seal, body, sets, "residual", index=3)
    row = next(n for n, f in enumerate(s.steps) if "row" in f and len(f["trees"][0]["nodes"]) > 2)
    bounds = max(n for n, f in enumerate(s.steps) if "trees" in f and "layer" in f)

    def bad(what, reason, at, change, verdict="invalid"):
        steps = copy.deepcopy(s.steps)
        change(steps[at])
        put(what, verdict, s.line, [sealed(seal, s.total, n + 1, f) for n, f in enumerate(steps)], reason, "residual")

    nodes = lambda f: f["trees"][0]["nodes"]
    leaf = lambda f: max(k for k, n in enumerate(nodes(f)) if type(n) is int)
    split = lambda f: next(k for k, n in enumerate(nodes(f)) if type(n) is list)
    bad("a part of a split is missing", "", row, lambda f: nodes(f).pop())
    bad("a leaf too many", "", row, lambda f: nodes(f).append(0))
    bad("a split of a layer that is no relu", "", row, lambda f: nodes(f).__setitem__(split(f), [3, 0]))
    bad("a split of an element that is not there", "", row, lambda f: nodes(f).__setitem__(split(f), [2, 18]))
    bad("the same split above", "", row, lambda f: f.update(trees=[{"nodes": [[2, 0], [2, 0], 0, 0, 0], "beta": numbers([0] * 5)}]))
    bad("a vector that is not there", "slopes", row, lambda f: nodes(f).__setitem__(leaf(f), 99))
    bad("a multiplier below 0", "beta", row, lambda f: f.update(trees=[{"nodes": [[2, 0], 0, 0], "beta": numbers([0, -1])}]))
    bad("a multiplier too few", "beta", row, lambda f: f.update(trees=[{"nodes": [[2, 0], 0, 0], "beta": numbers([0])}]))
    bad("a multiplier too many", "", row, lambda f: f.update(trees=[{"nodes": [[2, 0], 0, 0], "beta": numbers([0] * 3)}]))
    bad("a multiplier that lifts nothing", "not proved", row, lambda f: f.update(trees=[{"nodes": [[2, 0], 0, 0], "beta": numbers([1e6, 1e6])}]), "unproved")
    bad("a row that is not there", "row", row, lambda f: f.update(row=2))
    bad("a row twice", "row", row, lambda f: f.update(row=1 - f["row"]), "unproved")
    bad("bounds that are better than their trees prove", "not proved", bounds, lambda f: f.update(low=f["high"]))
    bad("bounds without their trees", "", bounds, lambda f: f.update(trees=[]))
    bad("bounds of an element that is not there", "elements", bounds, lambda f: f.update(elements=[18], low=numbers([-1]), high=numbers([1]), trees=[]))
    bad("elements that do not ascend", "elements", bounds, lambda f: f.update(elements=[1, 0], low=numbers([-99] * 2), high=numbers([99] * 2), trees=[]))
    bad("bounds of a layer that no bend reads", "layer", bounds, lambda f: f.update(layer=3))
    bad("a key that is not known", "hint", row, lambda f: f.update(hint=1))
    bad("an end and more", "", len(s.steps) - 1, lambda f: f.update(trees=[]))
    whole = [sealed(seal, s.total, n + 1, f) for n, f in enumerate(s.steps)]
    put("no steps", "invalid", s.line, [], "missing", "residual")
    put("no end", "invalid", s.line, whole[:-1], "missing", "residual")
    put("a step less", "invalid", s.line, whole[:1] + whole[2:], "step", "residual")
    put("an end without a row", "invalid", s.line, whole[:row] + [sealed(seal, s.total, row + 1, {"end": True})], "end", "residual")
    put("a step changed after sealing", "invalid", s.line, [whole[0].replace(b'"step":1', b'"step":7')] + whole[1:], "sum", "residual")
    for what, change, reason in (
        ("bab in version 1", {"version": 1}, "version"), ("crown in version 2", {"method": "crown"}, "version"),
        ("bab with a margin", {"margin": 1}, "margin"), ("bab with slopes", {"slopes": []}, "slopes"),
    ):
        put(what, "invalid", seal(body("residual", **{"method": "bab", "version": 2} | change)), [], reason, "residual")
    put("bab that claims nothing", "nothing", seal(body("residual", method="bab", version=2, certified=False)), [], None, "residual")
