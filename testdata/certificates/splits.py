"""What the splits above a leaf make of an element (docs/certificate.md, Trees)."""

from layers import CURVES, curve_line, down, kinked_line, plane
from reading import f32, integer, need, number, units

FORMS = {"relu": 2, "leakyrelu": 2, "clip": 3, "sigmoid": 3, "tanh": 3, "maxpool": 4}


def parse(v):
    """A split as it is spelled: a layer, an element, and what its kind has besides."""
    need(len(v) in (2, 3, 4), "nodes", "a split")
    if len(v) != 3:
        return tuple(integer(x, "nodes") for x in v)
    at = number(v[2], "nodes")
    need(abs(at) < 2.0**128 and f32(at) == at, "nodes", "not a float32")
    return integer(v[0], "nodes"), integer(v[1], "nodes"), at


def check(nodes, split, above, end):
    """Refuses a split that a tree over node end cannot have below others, (split, active)."""
    j, k = split[0] + 1, split[1]
    need(j <= end and FORMS.get(nodes[j].kind) == len(split) and k < nodes[j].size, "nodes", "no such split")
    if len(split) == 4:
        need(split[2] != split[3] and all(e in nodes[j].at[k] for e in split[2:]), "nodes", "no such pair")
    for other, active in above:
        if other[:2] != split[:2]:
            continue
        if len(split) == 2:
            need(False, "nodes", "split above")
        elif len(split) == 3:
            need(split[2] > other[2] if active else split[2] < other[2], "nodes", "not within the part above")
        else:
            need(other[3 if active else 2] not in split[2:], "nodes", "an element that is gone")


def passed(n, k, v, l, u, splits):
    """What element k of a bend with coefficient v passes on, by element, and a constant; l and
    u are the bounds of what it reads, splits (split, active, beta)."""
    if n.kind in ("relu", "leakyrelu"):
        ((_, active, beta),) = splits
        if active:
            return {k: v - beta}, 0
        return {k: beta + (down(v, n.slope[k]) if n.kind == "leakyrelu" else 0)}, 0
    side = "low" if v > 0 else "high"
    if n.kind == "clip" or n.kind in CURVES:
        low = max([l[k]] + [units(s[2]) for s, active, _ in splits if active])
        high = min([u[k]] + [units(s[2]) for s, active, _ in splits if not active])
        if low > high:
            low, high = l[k], u[k]
        slope, at = kinked_line(n, k, low, high, side, None) if n.kind == "clip" else curve_line(n.kind, low, high, side)
        c, constant = down(v, slope), down(v, at)
        for s, active, beta in splits:
            sign = -1 if active else 1
            c += sign * beta
            constant += down(-sign * beta, units(s[2]))
        return {k: c}, constant
    to, gone = {}, set()
    for s, active, beta in splits:
        win, lose = s[2:] if active else s[:1:-1]
        to[win], to[lose] = to.get(win, 0) - beta, to.get(lose, 0) + beta
        gone.add(lose)
    which, slope, at = plane([e for e in n.at[k] if e not in gone], l, u, side)
    to[which] = to.get(which, 0) + down(v, slope)
    return to, down(v, at)
