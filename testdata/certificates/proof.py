"""Bounds of the nodes of a model, and of rows over them."""

import base64, math
from fractions import Fraction

import splits
from layers import BENDS, CURVE_ERROR, CURVES, ONE, SLOPED, asks, curve_interval, curve_line, down, kinked_line, linear, plane, quotient, up, value
from reading import F, Q, Refused, floats, need, units

# Values below 2^200 and fewer than 2^200 products, each rounded down to a unit, make an
# error below FLAT in a bound.
FLAT, LARGEST = 1 << (Q - 500), 1 << (Q + 200)
MAXFLOAT, ETA, U = ((1 << 24) - 1) << (Q + 104), 1 << (Q - 149), Fraction(1, 1 << 24)


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
    except ValueError:
        raise Refused("slopes: alpha: not base64") from None
    need(base64.b64encode(raw).decode() == body, "slopes", "alpha: not as base64 is written")
    stride = (size * bits + 7) // 8
    need(len(raw) in (stride, stride * rows), "slopes", "alpha: wrong length")
    if size == 0:
        return [[]]
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


def theta(y, size, want):
    """Where the sum of the sizes, each times theta - y, cut to [0, 1], is what is wanted."""
    ends = sorted([(k, s) for k, s in zip(y, size)] + [(k + ONE, -s) for k, s in zip(y, size)])
    at, total, slope = ends[0][0], 0, 0
    for end, change in ends:
        more = down(slope, end - at)
        if total + more >= want and slope > 0:
            return at + quotient(want - total, slope)
        at, total, slope = end, total + more, slope + change
    return at


class Proof:
    """One line's bounds: l, u, E and M of each node, as far as they are known."""

    def __init__(self, nodes, c, x, rows):
        self.nodes, self.c, self.rows = nodes, c, rows
        self.executed = c["level"] == "executed"
        self.x = [units(v) for v in x]
        if "low" in c:
            self.low, self.high = [[units(v) for v in c[end]] for end in ("low", "high")]
        else:
            eps = self.eps = -units(-c["eps"])
            self.low, self.high = [max(0, v - eps) for v in self.x], [min(ONE, v + eps) for v in self.x]
        self.l, self.u, self.e, self.m, self.a = [], [], [], [], []
        self.bound_by_lines = lambda n: n.kind not in ("input", "normalize") and any(r.kind in BENDS for r in n.readers)
        self.slopes, self.fixes, self.points = {}, {}, {}
        for target, relu, text in c["slopes"]:
            need(relu + 1 < len(nodes) and nodes[relu + 1].kind in SLOPED, "slopes", "relu")
            if target not in ("all", "rows"):
                need(c["method"] != "crown-ibp", "slopes", "for")
                need(relu < target < len(nodes) - 1 and self.bound_by_lines(nodes[target + 1]), "slopes", "for")
            need((target, relu) not in self.slopes, "slopes", "twice")
            self.slopes[target, relu] = alphas(text, nodes[relu + 1].size, len(rows) if target == "rows" else 1)

    def interval(self, i):
        n = self.nodes[i]
        p = n.reads[0] if n.reads else None
        e = a = [0] * n.size
        gamma = n.terms * U / (1 - n.terms * U)
        if n.kind == "input":
            l, u = self.low, self.high
        elif n.kind in SLOPED:
            l, u = self.kinked(n, self.l[p], self.u[p])
            if n.kind == "leakyrelu":
                e = [math.ceil(U * abs(up(s, v))) + ETA if v < 0 else 0 for s, v in zip(n.slope, self.l[p])]
                a = [up(max(ONE, abs(s)), m) + v for s, m, v in zip(n.slope, self.m[p], e)]
        elif n.kind in CURVES:
            e = [CURVE_ERROR if self.executed else 0] * n.size
            l, u = zip(*(curve_interval(n.kind, *v) for v in zip(self.l[p], self.u[p], e)))
        elif n.kind == "maxpool":
            l, u = ([max(end[k] for k in at) for at in n.at] for end in (self.l[p], self.u[p]))
        elif n.kind == "avgpool":
            mean = lambda v: [sum(v[k] for k in at) // d for at, d in zip(n.at, n.divisor)]
            l, u, a = mean(self.l[p]), [v + 1 for v in mean(self.u[p])], [v + 1 for v in mean(self.m[p])]
            e = [math.ceil(gamma * v) + n.fan_in * ETA for v in a]
            a = [v * d for v, d in zip(a, n.divisor)]
        elif n.kind == "concat":
            l, u = ([v for k in n.reads for v in end[k]] for end in (self.l, self.u))
        elif n.kind == "normalize":
            exact = lambda v, k: (v - n.mean[k] * ONE) / n.std[k]
            l = [math.floor(exact(v, k)) for k, v in enumerate(self.l[p])]
            u = [math.ceil(exact(v, k)) for k, v in enumerate(self.u[p])]
            e = [math.ceil(3 * U * max(-v, w)) + ETA for v, w in zip(l, u)]
            a = [math.ceil((m + abs(n.mean[k]) * ONE) / n.std[k]) + e[k] for k, m in enumerate(self.m[p])]
        elif n.kind == "add":
            l, u = ([sum(v) for v in zip(*(end[k] for k in n.reads))] for end in (self.l, self.u))
            whole = [self.m[k] for k in n.reads if not self.nodes[k].part]
            e = [math.ceil(gamma * sum(v)) for v in zip(*whole)] or e
            a = [sum(v) for v in zip(*whole, *(self.a[k] for k in n.reads if self.nodes[k].part))]
        else:
            low, high, m = self.l[p], self.u[p], self.m[p]
            l, u, a = [], [], []
            for at, w, b in zip(n.at, n.w, n.b):
                l.append(dot(w, [low[k] if v > 0 else high[k] for k, v in zip(at, w)]) + b)
                u.append(dot(w, [high[k] if v > 0 else low[k] for k, v in zip(at, w)]) + b + 1)
                a.append(dot(map(abs, w), [m[k] for k in at]) + abs(b) + 1)
            e = [math.ceil(gamma * v) + n.fan_in * ETA for v in a]
        e = e if self.executed else [0] * n.size
        wide = [0] * n.size if n.kind in CURVES else e  # which have it within their range
        self.l.append([v - w for v, w in zip(l, wide)])
        self.u.append([v + w for v, w in zip(u, wide)])
        self.e.append(e)
        self.a.append(a)
        self.m.append(None)
        self.close(i)
        if self.executed:
            need(all(v * (1 + gamma) + n.terms * ETA <= MAXFLOAT for v in a), "level", "float32 may overflow")

    def close(self, i):
        self.m[i] = [max(-a, b) for a, b in zip(self.l[i], self.u[i])]
        need(all(v <= LARGEST for v in self.m[i]), "level", "a bound is above 2^200")

    def kinked(self, n, low, high):
        """The interval of a bend of kinks: of its values at the ends and at the kink of 0."""
        l, u = [], []
        for k, (a, b) in enumerate(zip(low, high)):
            v, w = value(n, k, a), value(n, k, b)
            also = [0] if n.kind == "leakyrelu" and a < 0 < b else []
            l.append(min(v, w, *also))
            u.append(max(v, w, *also) + (n.kind == "leakyrelu"))
        return l, u

    def line(self, j, k, side, alpha):
        """The line, or plane, of element k of a bend: of which element, slope and intercept."""
        key, n = (j, k, side, alpha), self.nodes[j]
        if key not in self.lines:
            l, u = self.l[n.reads[0]], self.u[n.reads[0]]
            if n.kind == "maxpool":
                self.lines[key] = plane(n.at[k], l, u, side)
            elif n.kind in CURVES:
                self.lines[key] = k, *curve_line(n.kind, l[k], u[k], side)
            else:
                self.lines[key] = k, *kinked_line(n, k, l[k], u[k], side, alpha)
        return self.lines[key]

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
            fixed = self.fixes.get(j, {})  # elements that are split
            for nth, p in enumerate(n.reads if a or fixed else []):
                to = forms.setdefault(p, {})
                if n.kind == "add":
                    for k, v in a.items():
                        to[k] = to.get(k, 0) + v
                elif n.kind == "normalize":
                    for k, v in a.items():
                        to[k] = to.get(k, 0) + math.floor(v / n.std[k])
                        c -= math.ceil(v * n.mean[k] / n.std[k])
                elif n.kind in BENDS:
                    for k, above in fixed.items():
                        part, constant = splits.passed(n, k, a.pop(k, 0), self.l[p], self.u[p], above)
                        for which, v in part.items():
                            to[which] = to.get(which, 0) + v
                        c += constant
                    if n.layer in self.points:
                        c += self.through_planes(n, a, forms)
                    alpha = self.alpha(n, target, row) if n.kind in SLOPED else None
                    for k, v in a.items():
                        which, slope, at = self.line(j, k, "low" if v > 0 else "high", alpha and alpha[k])
                        to[which] = to.get(which, 0) + down(v, slope)
                        c += down(v, at)
                elif n.kind == "avgpool":
                    for o, v in a.items():
                        for k in n.at[o]:
                            to[k] = to.get(k, 0) + v // n.divisor[o]
                elif n.kind == "concat":
                    first = sum(self.nodes[q].size for q in n.reads[:nth])
                    for k in range(self.nodes[p].size):
                        if first + k in a:
                            to[k] = to.get(k, 0) + a[first + k]
                else:
                    for o, v in a.items():
                        c += down(v, n.b[o])
                        for k, w in zip(n.at[o], n.w[o]):
                            to[k] = to.get(k, 0) + (v * w >> F)
        return c

    def through_planes(self, relu, a, forms):
        """Takes what is negative of a form on a relu, where it is open, to what the conv or fc
        before it reads, and returns what that adds to the constant."""
        p, point, c = relu.reads[0], self.points[relu.layer], 0
        n = self.nodes[p]
        q = n.reads[0]
        to, l, u = forms.setdefault(q, {}), self.l[q], self.u[q]
        for o in [k for k, v in a.items() if v < 0 and self.l[p][k] < 0 < self.u[p][k]]:
            v = a.pop(o)
            at, w = n.at[o], n.w[o]
            middle = [l[k] + u[k] >> 1 for k in at]
            size = [-(-abs(x) * max(u[k] - m, m - l[k]) >> F) for k, x, m in zip(at, w, middle)]
            y = [(1 if x >= 0 else -1) * (2 * point.get(k, ONE >> 1) - ONE) for k, x in zip(at, w)]
            highest = n.b[o] + sum(s - (-x * m >> F) for x, m, s in zip(w, middle, size))
            t = theta(y, size, highest >> 1)
            share = [min(max(t - k, 0), ONE) for k in y]
            total = sum(up(s, m) for s, m in zip(size, share))
            for k, x, m, s in zip(at, w, middle, share):
                passed = v * x * s >> F + Q
                to[k] = to.get(k, 0) + passed
                c -= up(passed, m)
            c += down(v, max(total, highest - total)) - up(-v, self.e[p][o])
        return c

    def dual(self, a):
        """A lower bound over ball and box at once: of a part of a over the ball, the rest over the box."""
        if self.c["norm"] == "linf":
            return -math.inf
        a = {k: v for k, v in a.items() if v}
        room = {k: self.x[k] - self.l[0][k] if v > 0 else self.u[0][k] - self.x[k] for k, v in a.items()}
        ball = self.stretched(a, room) if self.c["norm"] == "l2" else self.levelled(a, room)
        sizes = [abs(v) for v in ball.values()]
        norm = math.isqrt(sum(v * v for v in sizes)) + 1 if self.c["norm"] == "l2" else max(sizes, default=0)
        rest = sum(min(down(v - ball[k], self.l[0][k]), down(v - ball[k], self.u[0][k])) for k, v in a.items())
        return rest + sum(down(v, self.x[k]) for k, v in ball.items()) - up(self.eps, norm)

    def stretched(self, a, room):
        """In l2: where x - kappa a, cut to the box, is eps away, a where it is not cut, else room / kappa."""
        kappa, last = 0, None
        while True:
            cut = {k for k, v in a.items() if down(kappa, abs(v)) > room[k]}
            left = self.eps**2 - sum(room[k] ** 2 for k in cut)
            free = sum(v * v for k, v in a.items() if k not in cut)
            if left <= 0 or free == 0 or cut == last:
                break
            kappa, last = math.isqrt((left << 2 * Q) // free), cut
        if free == 0 and left > 0 or kappa == 0:  # all of the box is in the ball
            return {k: 0 for k in a} if kappa else a
        part = lambda k, v: min(abs(v), quotient(room[k], kappa))
        return {k: (part(k, v) if v > 0 else -part(k, v)) if k in cut else v for k, v in a.items()}

    def levelled(self, a, room):
        """In l1: cut to +-t; what is more takes no more than eps as far as it may go."""
        left, t = self.eps, 0
        for k in sorted(a, key=lambda k: -abs(a[k])):
            left -= room[k]
            if left <= 0:
                t = abs(a[k])
                break
        return {k: min(max(v, -t), t) for k, v in a.items()}

    def tighten(self, i, every):
        l, u, n = self.l[i], self.u[i], self.nodes[i]
        wanted = [asks(r, l, u) for r in n.readers if r.kind in BENDS]
        for k in range(len(l)):
            if n.kind in BENDS and not linear(n, k, self.l[n.reads[0]], self.u[n.reads[0]]):
                continue
            for sign in (-1, 1) if u[k] < -l[k] else (1, -1):
                if not every and not any(ask(k, l[k], u[k]) for ask in wanted):
                    break
                v = self.lower(i, {k: sign * ONE}, (), n.layer)
                if sign > 0:
                    l[k] = max(l[k], v)
                else:
                    u[k] = min(u[k], -v)
        self.close(i)

    def prove(self, thorough):
        """The bound of the worst row, in units."""
        return min(self.prove_rows(thorough))

    def prove_rows(self, thorough):
        """The bound of each row, in units."""
        self.l, self.u, self.e, self.m, self.a, self.lines = [], [], [], [], [], {}
        for i, n in enumerate(self.nodes):
            self.interval(i)
            if n.kind in ("conv", "fc", "batchnorm", "avgpool") and self.nodes[n.reads[0]].kind in ("input", "normalize"):
                if self.c["norm"] != "linf":
                    self.tighten(i, True)
            elif self.bound_by_lines(n) and self.c["method"] in ("crown", "alpha-crown"):
                self.tighten(i, thorough)
        last = len(self.nodes) - 1
        bends = {i for i, n in enumerate(self.nodes) if n.kind in BENDS}
        ways = [bends] + ([bends - {last}] if last in bends else []) + ([()] if self.c["method"] != "ibp" else [])
        return [
            max(self.lower(last, dict(row), boxes, "rows", r) for boxes in ways) + offset
            for r, (row, offset) in enumerate(self.rows)
        ]
