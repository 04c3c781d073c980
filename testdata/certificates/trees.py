"""Proofs by branch and bound: versions 2 and 3 of docs/certificate.md."""

import splits
from layers import BENDS, ONE, SLOPED
from proof import Proof, alphas
from reading import Number, Refused, Text, array, f32, float_list, integer, members, need, number, string, units

LIMIT, DEPTH, STEPS = 1 << 21, 1 << 10, 1 << 20


def plain(v, key):
    """A string without escapes."""
    need(type(v) is Text and "\\" not in v.spelled, key)
    return str(v)


def integers(v, key, count):
    need(len(array(v, key, count)) == count, key)
    return [integer(x, key) for x in v]


def keys(v, key, known):
    need(type(v) is dict and set(v) == set(known), key, "keys")


def window_slopes(v):
    kind = "point" if type(v) is dict and "point" in v else "alpha"
    keys(v, "slopes", ("relu", "window", kind))
    return integer(v["relu"], "slopes"), integers(v["window"], "slopes", 4), kind, plain(v[kind], "slopes")


def tree(v, kind):
    named = kind == "layer"
    keys(v, "trees", ("nodes", "beta") + {"layer": ("element", "end"), "row": (), "clause": ("rows",)}[kind])
    nodes = []
    for n in array(v["nodes"], "trees", LIMIT):
        nodes.append(splits.parse(array(n, "nodes", 4)) if type(n) is list else integer(n, "nodes"))
    end = string(v["end"], "trees") if named else None
    need(end in (None, "low", "high"), "trees", "end")
    rows = [integer(r, "rows") for r in array(v["rows"], "rows", LIMIT)] if kind == "clause" else None
    return {"rows": rows, "nodes": nodes, "beta": float_list(v["beta"], "beta"), "end": end, "element": integer(v["element"], "trees") if named else None}


def part(v):
    """A cut, an input and a float32, or the method of a leaf."""
    if type(v) is not list:
        need(string(v, "parts") in ("ibp", "crown-ibp", "crown"), "parts", "not a method of leaves")
        return str(v)
    need(len(v) == 2, "parts", "not a cut")
    at = number(v[1], "parts")
    need(abs(at) < 2.0**128 and f32(at) == at, "parts", "not a float32")
    return integer(v[0], "parts"), at


def parse_step(line):
    """The members of a step, each checked by itself; kind is layer, row or end."""
    v, _ = members(line)
    kinds = [k for k in ("layer", "row", "clause", "parts", "end") if k in v]
    need(len(kinds) == 1, "step", "one of layer, row, clause, parts and end")
    kind = kinds[0]
    known = {"layer": {"elements", "low", "high", "slopes", "trees"}, "row": {"slopes", "trees"}, "clause": {"slopes", "trees"}}.get(kind, set())
    for key in ("format", "version", "of", "step", "sum"):
        need(key in v, key, "missing")
    for key in v:
        need(key in {"format", "version", "of", "step", "sum", kind} | known, key, "unknown")
    need(string(v["format"], "format") == "epsball-certificate", "format")
    version = integer(v["version"], "version")
    need(version in (2, 3), "version")
    need(kind not in {2: ("clause", "parts"), 3: ("row",)}[version], "step", "not of this version")
    s = {"kind": kind, "version": version, "of": string(v["of"], "of"), "step": integer(v["step"], "step")}
    if kind == "end":
        need(v["end"] is True, "end")
        return s
    if kind == "parts":
        s["parts"] = [part(x) for x in array(v["parts"], "parts", LIMIT)]
        return s
    s[kind] = integer(v[kind], kind)
    s["slopes"] = [[window_slopes(w) for w in array(x, "slopes", 65536)] for x in array(v.get("slopes", []), "slopes", LIMIT)]
    s["trees"] = [tree(t, kind) for t in array(v.get("trees", []), "trees", LIMIT)]
    need(sum(len(t["nodes"]) for t in s["trees"]) <= LIMIT, "trees")
    if kind in ("row", "clause"):
        need(len(s["trees"]) == 1, "trees", "one")
        return s
    for key in ("elements", "low", "high"):
        need(key in v, key, "missing")
    e = s["elements"] = [integer(x, "elements") for x in array(v["elements"], "elements", LIMIT)]
    s["low"], s["high"] = float_list(v["low"], "low"), float_list(v["high"], "high")
    need(0 < len(e) == len(s["low"]) == len(s["high"]), "elements")
    need(all(a < b for a, b in zip(e, e[1:])), "elements", "to ascend")
    need(all(a <= b for a, b in zip(s["low"], s["high"])), "low", "above high")
    need(all(t["element"] in set(e) for t in s["trees"]), "trees", "an element that is not stated")
    return s


class Steps(Proof):
    """Proves the steps of a claim, one after the other."""

    def __init__(self, nodes, c, x, rows):
        super().__init__(nodes, c, x, rows)
        self.stated, self.bounds, self.count, self.ended, self.lines = {}, {}, 0, False, {}
        self.before = []  # whether there is a bend before a node, or it is one
        self.clauses, first = [], 0  # the rows of each
        for n in c.get("clauses", [1] * len(rows)):
            self.clauses.append(range(first, first + n))
            first += n
        for n in nodes:
            self.before.append(n.kind in BENDS or any(self.before[p] for p in n.reads))

    def alpha(self, relu, target, row):
        return self.vector.get(relu.layer) if self.vector else None

    def forward(self, n):
        for i in range(len(self.l), n + 1):
            self.own(i)
            self.apply(i)

    def own(self, i):
        n, self.vector, self.fixes, self.points = self.nodes[i], None, {}, {}
        self.interval(i)
        first = n.kind in ("conv", "fc", "batchnorm", "avgpool") and self.nodes[n.reads[0]].kind in ("input", "normalize")
        if self.c["norm"] != "linf" and (first or self.bound_by_lines(n) and not self.before[i]):
            self.tighten(i, True)

    def apply(self, i):
        for k, (low, high) in self.stated.get(i, {}).items():
            self.l[i][k], self.u[i][k] = low, high
        self.close(i)
        self.lines = {}

    def step(self, s):
        self.count += 1
        need(not self.ended, "step", "after the end")
        need(s["version"] == (3 if "low" in self.c else 2), "version", "another one than the certificate's")
        need(s["of"] == self.c["sum"], "of", "another certificate's")
        need(s["step"] == self.count <= STEPS, "step", "out of order")
        if s["kind"] == "end":
            need(set(self.bounds) == set(range(len(self.clauses))), "end", "a row or clause is not proved")
            self.ended = True
        elif s["kind"] in ("row", "clause"):
            number, t = s[s["kind"]], s["trees"][0]
            need(number < len(self.clauses), s["kind"])
            rows = t["rows"] if s["kind"] == "clause" else [number] * sum(type(n) is int for n in t["nodes"])
            need(all(r in self.clauses[number] for r in rows), "rows", "not of the clause")
            self.forward(len(self.nodes) - 1)
            lows = self.leaves(s, t, len(self.nodes) - 1, [self.rows[r][0] for r in rows])
            low = min(v + self.rows[r][1] for v, r in zip(lows, rows))
            need(low > 0, s["kind"], "not proved")
            self.bounds[number] = max(low, self.bounds.get(number, low))
        elif s["kind"] == "parts":
            self.parts(s["parts"])
        else:
            self.layer(s)

    def parts(self, nodes):
        """Proves the clauses on each leaf of a division of the region by cuts at inputs."""
        low, high, path, lows = list(self.c["low"]), list(self.c["high"]), [], []
        whole, leaves = False, []
        for n in nodes:
            need(not whole, "parts", "more after the whole region")
            if type(n) is tuple:
                k, at = n
                need(k < len(low) and low[k] < at < high[k], "parts", "a cut that is not within the part")
                path.append((k, at, high[k], False))
                need(len(path) <= DEPTH, "parts", "too many cuts above each other")
                high[k] = at
                continue
            leaves.append((n, list(low), list(high)))
            while path and path[-1][3]:
                k, _, other, _ = path.pop()
                low[k] = other
            whole = not path
            if path:
                k, at, other, _ = path[-1]
                path[-1] = k, at, low[k], True
                low[k], high[k] = at, other
        need(whole, "parts", "a part of a cut is missing")
        for number, (method, l, u) in enumerate(leaves):
            p = Proof(self.nodes, {**self.c, "method": method, "low": l, "high": u}, [], self.rows)
            best = p.prove_rows(False)
            clauses = lambda: [max(best[r] for r in rows) for rows in self.clauses]
            if method == "crown" and min(clauses()) <= 0:
                best = [max(v) for v in zip(best, p.prove_rows(True))]
            need(min(clauses()) > 0, "parts", f"leaf {number} is not proved")
            lows.append(clauses())
        for number, v in enumerate(map(min, zip(*lows))):
            self.bounds[number] = max(v, self.bounds.get(number, v))

    def layer(self, s):
        i = s["layer"] + 1
        need(i < len(self.nodes) and any(r.kind in BENDS for r in self.nodes[i].readers), "layer")
        need(s["elements"][-1] < self.nodes[i].size, "elements")
        self.forward(i - 1)
        for known in (self.l, self.u, self.e, self.m, self.a):
            del known[i:]
        self.own(i)
        best = lambda k: self.stated.get(i, {}).get(k, (self.l[i][k], self.u[i][k]))
        low, high = dict(zip(s["elements"], s["low"])), dict(zip(s["elements"], s["high"]))
        shown = set()
        for t in s["trees"]:
            k, sign = t["element"], 1 if t["end"] == "low" else -1
            least = min(self.leaves(s, t, i, [{k: sign * ONE}]))
            need(least >= units(low[k] if sign > 0 else -high[k]), "trees", "not proved")
            shown.add((k, t["end"]))
        for k in s["elements"]:
            need((k, "low") in shown or units(low[k]) <= max(best(k)[0], self.l[i][k]), "low", "not known")
            need((k, "high") in shown or units(high[k]) >= min(best(k)[1], self.u[i][k]), "high", "not known")
        self.stated.setdefault(i, {}).update({k: (units(low[k]), units(high[k])) for k in s["elements"]})
        self.apply(i)

    def open(self, j):
        """The elements that are stated to be of open sign in front of a relu."""
        return sorted(k for k, (low, high) in self.stated.get(self.nodes[j].reads[0], {}).items() if low < 0 < high)

    def read_vector(self, vector, end):
        out, points = {}, {}
        for relu, (y0, y1, x0, x1), kind, text in vector:
            j, to = relu + 1, out if kind == "alpha" else points
            need(j <= end and self.nodes[j].kind in ("relu", "leakyrelu") and relu not in to, "slopes", "relu")
            which, among = j, self.open(j)
            if kind == "point":
                before = self.nodes[self.nodes[j].reads[0]]
                need(self.nodes[j].kind == "relu" and before.kind in ("conv", "fc"), "slopes", "relu")
                which = before.reads[0]
                among = range(self.nodes[which].size)
            _, h, w = self.nodes[which].shape
            need(y0 < y1 <= h and x0 < x1 <= w, "slopes", "window")
            need(text != "adaptive", "slopes", "alpha")
            at = [k for k in among if y0 <= k // w % h < y1 and x0 <= k % w < x1]
            to[relu] = dict(zip(at, alphas(text, len(at), 1)[0]))
        full = {}
        for j in range(1, end + 1):
            if self.nodes[j].kind in ("relu", "leakyrelu"):
                is_open = set(self.open(j))
                stated = out.get(j - 1, {})
                full[j - 1] = [stated.get(k, 0) if k in is_open else None for k in range(self.nodes[j].size)]
        return full, points

    def leaves(self, s, t, end, forms):
        """The bounds of a tree's leaves over a node, of a form each, or all of the same one."""
        vectors = [(None, {})] + [self.read_vector(v, end) for v in s["slopes"]]
        path, beta, out, whole = [], iter(t["beta"]), [], False
        for n in t["nodes"]:
            need(not whole, "nodes", "more after the tree")
            if type(n) is tuple:
                splits.check(self.nodes, n, path, end)
                path.append((n, True))
                need(len(path) <= DEPTH, "nodes", "too many splits above each other")
                continue
            need(n < len(vectors), "slopes", "no such vector")
            self.fixes, (self.vector, self.points) = {}, vectors[n]
            for split, active in path:
                b = next(beta, None)
                need(b is not None and b >= 0, "beta")
                self.fixes.setdefault(split[0] + 1, {}).setdefault(split[1], []).append((split, active, units(b)))
            need(len(forms) == 1 or len(out) < len(forms), "rows", "too few")
            out.append(self.lower(end, dict(forms[len(out) if len(forms) > 1 else 0]), (), "rows"))
            while path and not path[-1][1]:
                path.pop()
            whole = not path
            if path:
                path[-1] = path[-1][0], False
        need(whole and next(beta, None) is None, "nodes", "not a whole tree with its multipliers")
        need(t.get("rows") is None or len(t["rows"]) == len(out), "rows", "not one for each leaf")
        self.fixes, self.vector, self.points = {}, None, {}
        return out
