"""Test vectors of regions for make_vectors.py: proofs by cuts and by trees, and changes that
make them wrong."""

import copy, json

import check
from tree_vectors import f32, numbers
from trees import Steps

ROWS, CLAUSES = [[1, -1, 0], [0, 1, -1], [1, 0, -1]], [2, 1]
WIDTH = 0.015


class Region:
    """A claim about a box around an image, moved to where no pixels are, and its steps."""

    def __init__(self, seal, name, sets, steps, level="executed", room=0.01):
        self.seal, self.name, self.steps = seal, name, steps
        (self.nodes, self.digest), (images, _) = sets
        self.low, self.high = [[f32(v - 0.25 + k * WIDTH) for v in images[0]] for k in (-1, 1)]
        self.high[3] = self.low[3]  # one that does not vary
        self.level = level
        self.offsets = [0.0] * 3
        best = self.bounds()
        self.offsets = [f32(room - check.Fraction(best[i], check.ONE)) for i in (0, 0, 1)]

    def line(self, **over):
        c = {
            "format": "epsball-certificate", "version": 3, "model": self.digest, "level": self.level, "property": "p.vnnlib", "index": 0,
            "low": numbers(self.low), "high": numbers(self.high), "rows": ROWS, "offsets": self.offsets, "clauses": CLAUSES,
            "run": "test", "method": "bab", "certified": True,
        } | over
        return self.seal(json.dumps({k: v for k, v in c.items() if v is not None}, separators=(",", ":"))[:-1])

    def lines(self, steps=None, claim=None):
        total = check.parse(claim or self.line())["sum"]
        out = []
        for n, f in enumerate(steps or self.steps):
            head = {"format": "epsball-certificate", "version": 3, "of": total, "step": n + 1}
            out.append(self.seal(json.dumps(head | f, separators=(",", ":"))[:-1]))
        return out

    def bounds(self):
        """What the steps prove of each clause, with offsets of 0."""
        self.offsets = [2.0**30] * 3
        p = Steps(self.nodes, check.parse(self.line()), *check.claim(check.parse(self.line()), (self.nodes, self.digest), None))
        for line in self.lines():
            p.step(check.parse_step(line))
        return [p.bounds[k] - check.units(2.0**30) for k in range(2)]


def write(seal, sets, put):
    """Writes the vectors by put(name, verdict, line, steps, reason, model)."""

    def good(what, r):
        put(what, "valid", r.line(), r.lines(), None, r.name)
        return r

    end = {"end": True}
    for name in "residual", "kinks":
        middle = lambda k: f32(sets[name][1][0][0][k] - 0.25)
        cuts = [[0, middle(0)], [1, middle(1)], "crown", "crown-ibp", "crown"]
        for level in "executed", "real":
            good(f"{name}: cuts, {level}", Region(seal, name, sets[name], [{"parts": cuts}, end], level))
        good(f"{name}: the whole box", Region(seal, name, sets[name], [{"parts": ["ibp"]}, end]))
    relu = next(n.layer for n in sets["residual"][0][0] if n.kind == "relu")
    tree = lambda clause, nodes, rows, beta: {"clause": clause, "trees": [{"nodes": nodes, "rows": rows, "beta": numbers(beta)}]}
    t = [tree(0, [[relu, 0], [relu, 5], 0, 0, 0], [0, 1, 0], [0.01, 0, 0, 0.125, 0.5]), tree(1, [0], [2], []), end]
    trees = good("residual: trees", Region(seal, "residual", sets["residual"], t))
    leaky = next((n.layer for n in sets["kinks"][0][0] if n.kind == "leakyrelu"), None)
    t = [tree(0, [[leaky, 1], 0, 0], [1, 0], [0.03125, 0.25]), tree(1, [[leaky, 0], 0, 0], [2, 2], [0.5, 0]), end]
    good("kinks: splits of a leakyrelu", Region(seal, "kinks", sets["kinks"], t))

    r = Region(seal, "residual", sets["residual"], [{"parts": [[0, f32(sets["residual"][1][0][0][0] - 0.25)], "crown", "crown"]}, end])

    def bad(what, reason, change, of=r, at=0, verdict="invalid"):
        steps = copy.deepcopy(of.steps)
        change(steps[at])
        put(what, verdict, of.line(), of.lines(steps), reason, of.name)

    cut = r.steps[0]["parts"][0]
    one = lambda f: f["trees"][0]
    bad("a part of a cut is missing", "", lambda f: f["parts"].pop())
    bad("a part too many", "parts", lambda f: f["parts"].append("crown"))
    bad("a cut at an end", "parts", lambda f: f.update(parts=[[0, r.low[0]], "crown", "crown"]))
    bad("a cut beyond", "parts", lambda f: f.update(parts=[[0, 7], "crown", "crown"]))
    bad("the same cut twice", "parts", lambda f: f.update(parts=[cut, cut, "crown", "crown", "crown"]))
    bad("a cut of an input that does not vary", "parts", lambda f: f.update(parts=[[3, r.low[3]], "crown", "crown"]))
    bad("a cut of an input that is not there", "parts", lambda f: f.update(parts=[[99, cut[1]], "crown", "crown"]))
    bad("a cut that is no float32", "parts", lambda f: f.update(parts=[[0, cut[1] + 1e-12], "crown", "crown"]))
    bad("a method that leaves do not have", "parts", lambda f: f.update(parts=["alpha-crown"]))
    bad("a leaf by less than it takes", "not proved", lambda f: f.update(parts=["ibp"]), verdict="unproved")
    bad("a row of another clause", "rows", lambda f: one(f).update(rows=[0, 2, 0]), trees)
    bad("a row too few", "rows", lambda f: one(f).update(rows=[0, 1]), trees)
    bad("no rows", "", lambda f: one(f).pop("rows"), trees)
    bad("a clause that is not there", "clause", lambda f: f.update(clause=2), trees)
    bad("a row in place of a clause", "", lambda f: f.update(row=f.pop("clause")), trees)
    put("one clause alone", "invalid", trees.line(), trees.lines([trees.steps[0], end]), "end", "residual")
    put("no end of a region", "invalid", r.line(), r.lines()[:-1], "missing", "residual")
    wide = r.line(high=numbers([v + 0.25 for v in r.high]))
    put("a larger box", "unproved", wide, r.lines(claim=wide), "not proved", "residual")
    for what, reason, over in (
        ("a region in version 2", "version", {"version": 2}), ("a region with a label", "label", {"label": 0}),
        ("a region with an image", "input", {"input": "0" * 64}), ("ends that cross", "low", {"low": numbers(r.high), "high": numbers(r.low)}),
        ("an end too few", "high", {"high": numbers(r.high[:-1])}), ("an end that is not finite", "high", {"high": numbers([float("inf")] * len(r.high))}),
        ("clauses of too few rows", "clauses", {"clauses": [2]}), ("a clause of no rows", "clauses", {"clauses": [0, 3]}),
        ("a region by crown", "method", {"method": "crown"}), ("a region without a property", "property", {"property": None}),
    ):
        put(what, "invalid", r.line(**over), [], reason, "residual")
    put("a region that claims nothing", "nothing", r.line(certified=False), [], None, "residual")
