"""Test vectors of splits of all kinds for make_vectors.py: proofs whose trees are drawn, and
splits that no tree may have."""

from itertools import permutations

import splits
from layers import ONE, decided
from reading import Refused
from tree_vectors import Search, f32, numbers, sealed


class Splits(Search):
    """A proof whose trees have splits of all bends that can be split."""

    def choices(self, i, relus, above):
        """Some splits of each kind, so that none is rare."""
        p, out = self.proof, []
        for j in range(1, i + 1):
            n, some = self.nodes[j], []
            l, u = (p.l[n.reads[0]], p.u[n.reads[0]]) if n.reads else ([], [])
            for k in range(n.size):
                if n.kind in ("relu", "leakyrelu") and l[k] < 0 < u[k]:
                    some.append((j - 1, k))
                if n.kind == "clip":
                    some += [(j - 1, k, f32(c / ONE)) for c in (n.least, n.most) if l[k] < c < u[k]]
                if n.kind in ("sigmoid", "tanh"):
                    some += [(j - 1, k, f32((l[k] + (u[k] - l[k]) * q // 8) / ONE)) for q in range(1, 8)]
                if n.kind == "maxpool" and not decided(n.at[k], l, u):
                    some += [(j - 1, k, a, b) for a, b in permutations(n.at[k], 2)]
            good = [s for s in some if self.allowed(s, above, i)]
            out += self.draw.sample(good, min(4, len(good)))
        return out

    def allowed(self, split, above, i):
        try:
            splits.check(self.nodes, split, above, i)
        except Refused:
            return False
        return True

    def forms(self):
        """How many splits there are of each form."""
        found = {}
        for f in self.steps:
            for t in f.get("trees", []):
                for n in t["nodes"]:
                    if type(n) is list:
                        found[len(n)] = found.get(len(n), 0) + 1
        return found


def search(seal, body, sets, name, wanted, **over):
    """A proof with splits of the wanted forms, for the largest of some radii."""
    for eps in "0.1", "0.05", "0.02", "0.01", "0.005", "0.001":
        for seed in range(4):
            try:
                s = Splits(seal, seal(body(name, method="bab", version=2, **{"eps": eps} | over)), sets[name], seed).run()
            except Refused:
                continue
            if wanted <= set(s.forms()):
                return s
    raise SystemExit(f"{name}: no proof of {over}")


def write(seal, body, sets, put):
    """Writes the vectors by put(name, verdict, line, steps, reason, model)."""
    for name, wanted in ("kinks", {2, 4}), ("curves", {3, 4}):
        for norm, level, index in ("linf", "executed", 0), ("l2", "executed", 1), ("l1", "real", 2):
            s = search(seal, body, sets, name, wanted, norm=norm, level=level, index=index)
            put(f"{name}: splits of all kinds, {norm}, {level}", "valid", s.line, [sealed(seal, s.total, n + 1, f) for n, f in enumerate(s.steps)], None, name)
        row = next(n for n, f in enumerate(s.steps) if "row" in f)

        def bad(what, nodes, reason="nodes"):
            leaves = sum(type(n) is int for n in nodes)
            beta = numbers([0.0] * {2: 2, 3: 5}[leaves])  # one below the other
            steps = s.steps[:row] + [{"row": s.steps[row]["row"], "trees": [{"nodes": nodes, "beta": beta}]}]
            put(f"{name}: {what}", "invalid", s.line, [sealed(seal, s.total, n + 1, f) for n, f in enumerate(steps)], reason, name)

        pool = next(j for j, n in enumerate(s.nodes) if n.kind == "maxpool")
        window = next(k for k, at in enumerate(s.nodes[pool].at) if len(at) > 2)
        a, b, c = s.nodes[pool].at[window][:3]
        outside = next(e for e in range(s.nodes[s.nodes[pool].reads[0]].size) if e not in s.nodes[pool].at[window])
        bad("a pair beyond the window", [[pool - 1, window, a, outside], 0, 0])
        bad("a pair of one", [[pool - 1, window, a, a], 0, 0])
        clip = next((j for j, n in enumerate(s.nodes) if n.kind == "clip"), 0) - 1
        if clip >= 0:
            bad("a clip split by its sign", [[clip, 0], 0, 0])
            bad("a clip split beyond the part above", [[clip, 0, 0.75], [clip, 0, -0.5], 0, 0, 0])
        bad("a maxpool split at a number", [[pool - 1, window, 0.5], 0, 0])
        bad("a pair with an element that is gone", [[pool - 1, window, a, b], [pool - 1, window, b, c], 0, 0, 0])
        if name == "curves":
            tanh = next(j for j, n in enumerate(s.nodes) if n.kind == "tanh") - 1
            bad("a tanh split by its sign", [[tanh, 0], 0, 0])
            bad("a tanh split at no float32", [[tanh, 0, 0.1], 0, 0])
            bad("a tanh split beyond the part above", [[tanh, 0, 0.5], [tanh, 0, 0.25], 0, 0, 0])
            bad("a tanh split twice at a number", [[tanh, 0, 0.5], [tanh, 0, 0.5], 0, 0, 0])
