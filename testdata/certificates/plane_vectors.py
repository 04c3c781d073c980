"""Test vectors of planes for make_vectors.py: proofs whose leaves bound relus by them, and points
that no vector of slopes may have."""

import base64, copy

from reading import Refused
from tree_vectors import Search, numbers, sealed


class Planes(Search):
    """A proof whose vectors of slopes have points."""

    def points(self, relus):
        out = []
        for j in relus:
            before = self.nodes[self.nodes[j].reads[0]]
            if before.kind not in ("conv", "fc") or self.draw.random() < 0.2:
                continue
            c, h, w = self.nodes[before.reads[0]].shape
            y, x = self.draw.randrange(h), self.draw.randrange(w)
            window = [y, self.draw.randint(y + 1, h), x, self.draw.randint(x + 1, w)] if self.draw.random() < 0.4 else [0, h, 0, w]
            size = c * (window[1] - window[0]) * (window[3] - window[2])
            raw = bytes(self.draw.randrange(64, 192) if self.draw.random() < 0.8 else self.draw.choice([0, 255]) for _ in range(size))
            out.append({"relu": j - 1, "window": window, "point": "u8:" + base64.b64encode(raw).decode()})
        return out


def used(s):
    """How many leaves of a proof have points."""
    n = 0
    for f in s.steps:
        have = {k + 1 for k, v in enumerate(f.get("slopes", [])) if any("point" in w for w in v)}
        n += sum(type(leaf) is int and leaf in have for t in f.get("trees", []) for leaf in t["nodes"])
    return n


def search(seal, body, sets, name, **over):
    """A proof with points for the largest of some radii."""
    for eps in "0.1", "0.07", "0.05", "0.03", "0.02", "0.01", "0.005", "0.001":
        for seed in range(3):
            try:
                s = Planes(seal, seal(body(name, method="bab", version=2, **{"eps": eps} | over)), sets[name], seed).run()
            except Refused:
                continue
            if used(s) > 3:
                return s
    raise SystemExit(f"{name}: no proof of {over}")


def write(seal, body, sets, put):
    """Writes the vectors by put(name, verdict, line, steps, reason, model)."""
    for norm, level, index in ("linf", "executed", 0), ("l2", "real", 2), ("linf", "real", 1), ("l1", "executed", 3):
        s = search(seal, body, sets, "residual", norm=norm, level=level, index=index)
        put(f"planes: {norm}, {level}", "valid", s.line, [sealed(seal, s.total, n + 1, f) for n, f in enumerate(s.steps)], None, "residual")
    s = search(seal, body, sets, "residual", index=3)
    at = next(n for n, f in enumerate(s.steps) if any("point" in w for v in f.get("slopes", []) for w in v))
    nodes = s.nodes

    def bad(what, reason, change):
        steps = copy.deepcopy(s.steps)
        vector = next(v for v in steps[at]["slopes"] if any("point" in w for w in v))
        change(vector, next(w for w in vector if "point" in w))
        put(f"planes: {what}", "invalid", s.line, [sealed(seal, s.total, n + 1, f) for n, f in enumerate(steps)], reason, "residual")

    other = next(j for j, n in enumerate(nodes) if n.kind == "relu" and nodes[n.reads[0]].kind not in ("conv", "fc"))
    bad("a relu that reads no conv or fc", "slopes", lambda v, w: w.update(relu=other - 1))
    bad("a layer that is no relu", "slopes", lambda v, w: w.update(relu=w["relu"] - 1))
    bad("twice for a relu", "slopes", lambda v, w: v.append(w))
    bad("a point and slopes in one", "slopes", lambda v, w: w.update(alpha=w["point"]))
    bad("neither", "slopes", lambda v, w: w.pop("point"))
    bad("a share above 1", "slopes", lambda v, w: w.update(point=numbers([1.5]), window=[0, 1, 0, 1]))
    bad("shares too few", "slopes", lambda v, w: w.update(point="u8:"))
    bad("adaptive", "slopes", lambda v, w: w.update(point="adaptive"))
    bad("a window beyond the map", "slopes", lambda v, w: w.update(window=[0, 99, 0, 1]))
