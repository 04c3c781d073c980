"""The layers that are not linear: intervals, lines and planes of docs/certificate.md.

A line is a slope and an intercept in units of 2^-Q, rounded so that it stays on its side.
"""

import functools

from reading import Q

ONE = 1 << Q
SLOPED = ("relu", "leakyrelu", "clip")  # a certificate may state their slopes
CURVES = ("sigmoid", "tanh")
BENDS = SLOPED + CURVES + ("maxpool",)
CURVE_ERROR = ONE >> 20

# Curves are computed in units of 2^-P, and err by less than SLACK, in units of 2^-Q.
P, SLACK = 320, 1 << (Q - 256)


def down(a, b):
    return a * b >> Q


def up(a, b):
    return -(-a * b >> Q)


def quotient(a, b):
    return (a << Q) // b


def adaptive(n, l, kink, u):
    much = 1024 if n.kind == "relu" else 1025
    return ONE if 1024 * (u - kink) > much * (kink - l) else 0


# --- relu, leakyrelu and clip: linear but for kinks ---------------------------------


def value(n, k, z):
    """The function of element k of the node, of kinks, rounded down."""
    if n.kind == "clip":
        return min(max(z, n.least), n.most)
    return z if z > 0 else down(n.slope[k], z)


def kinks(n):
    return (n.least, n.most) if n.kind == "clip" else (0,)


def line(n, k, slope, l, u, sign):
    """The line of a slope that touches the function from below (sign 1) or above (-1)."""
    points = [l, u] + [p for p in kinks(n) if l < p < u]
    at = [sign * (value(n, k, p) - down(slope, p)) for p in points]
    return slope, sign * (min(at) - 2)  # of the roundings of value and down


def bent(n, l, u):
    return any(l < p < u for p in kinks(n))


def free_slope(n, k, alpha, l, u, side):
    """The slope for an alpha in [0, 1]."""
    if n.kind == "clip":
        start, end = (max(l, n.least), u) if side == "low" else (l, min(u, n.most))
        return down(alpha, quotient(value(n, k, end) - value(n, k, start), end - start))
    s = n.slope[k]
    return max(min(s, ONE), min(max(s, ONE), s + down(alpha, ONE - s)))


def free_side(n, k, l, u):
    """Which line a stated slope is for, or None."""
    if not bent(n, l, u):
        return None
    if n.kind == "clip":
        return None if l < n.least and n.most < u else "low" if l < n.least else "high"
    return "low" if n.slope[k] <= ONE else "high"


def kinked_line(n, k, l, u, side, alpha):
    """The low or the high line, slope and intercept; alpha: the stated one, or None."""
    sign = 1 if side == "low" else -1
    if not bent(n, l, u):
        if n.kind == "clip" and (u <= n.least or l >= n.most):
            return 0, value(n, k, l)
        return ONE if l >= 0 or n.kind == "clip" else n.slope[k], 0
    if n.kind != "clip":
        if side == free_side(n, k, l, u):
            return free_slope(n, k, adaptive(n, l, 0, u) if alpha is None else alpha, l, u, side), 0
        return line(n, k, quotient(u - value(n, k, l), u - l), l, u, sign)
    if alpha is None or side != free_side(n, k, l, u):
        alpha = ONE
        if side == "low" and l < n.least:
            alpha = adaptive(n, l, n.least, u)
        if side == "high" and u > n.most:
            alpha = ONE - adaptive(n, l, n.most, u)
    return line(n, k, free_slope(n, k, alpha, l, u, side), l, u, sign)


# --- sigmoid and tanh ----------------------------------------------------------------


def decay(x):
    """e^-x in units of 2^-P, of x >= 0 in these."""
    if x >= 512 << P:
        return 0
    r, term, total, n = x >> 20, 1 << P, 1 << P, 1
    while term:
        term = (term * r >> P) // n
        total += -term if n % 2 else term
        n += 1
    for _ in range(20):
        total = total * total >> P
    return total


@functools.lru_cache(1 << 16)
def curve(kind, z):
    """The function and its slope at z."""
    one, x = 1 << P, abs(z) >> (Q - P)
    e = decay(2 * x if kind == "tanh" else x)
    slope = (e << 2 * P) // (one + e) ** 2 << (Q - P)
    if kind == "tanh":
        v = ((one - e) << P) // (one + e) << (Q - P)
        return (v if z >= 0 else -v), 4 * slope
    return ((one if z >= 0 else e) << P) // (one + e) << (Q - P), slope


def curve_high(kind, l, u):
    """The upper line of an S on [l, u]."""
    f = lambda z: curve(kind, z)[0]
    slope = lambda z: curve(kind, z)[1]
    touches = lambda d: f(d) - down(slope(d), d - l) >= f(l)
    middle = (l + u) // 2
    if l >= 0:
        t, a = middle, slope(middle)
    elif u - l < ONE >> 16:
        t, a = max(0, min(middle, u)), slope(middle)
    elif u <= 0 or not touches(u):
        t, a = max(0, u), quotient(f(u) - f(l), u - l)
    else:
        t = max(0, middle)
        if not touches(t):
            low, high = t, min(u, 512 * ONE)
            for _ in range(220):
                t = (low + high) // 2
                low, high = (low, t) if touches(t) else (t, high)
            t = high
        a = slope(t)
    g = lambda z: f(z) + SLACK - down(a, z) + 1
    if u <= 0:
        return a, max(g(l), g(u))
    rise = up(slope(t) + SLACK - a, u - t)
    fall = up(a - slope(t) + SLACK, t - max(l, 0))
    return a, max(g(l), g(t) + max(0, rise, fall))


def curve_line(kind, l, u, side):
    if side == "high":
        return curve_high(kind, l, u)
    a, at = curve_high(kind, -u, -l)
    return a, (ONE if kind == "sigmoid" else 0) - at


def curve_interval(kind, l, u, e):
    least = -ONE if kind == "tanh" else 0
    return max(least, curve(kind, l)[0] - SLACK - e), min(ONE, curve(kind, u)[0] + SLACK + e)


# --- maxpool -------------------------------------------------------------------------


def ends(at, l, u):
    """The first element of the largest u, the largest u of the others, the largest l."""
    first = max(at, key=lambda k: u[k])  # the first of equals
    return first, max((u[k] for k in at if k != first), default=None), max(l[k] for k in at)


def decided(at, l, u):
    first, second, _ = ends(at, l, u)
    return second is None or l[first] >= second


def plane(at, l, u, side):
    """An element, a slope and an intercept."""
    first, second, low = ends(at, l, u)
    if decided(at, l, u):
        return first, ONE, 0
    if side == "low":
        most = max(l[k] + u[k] for k in at)
        return next(k for k in at if (most - l[k] - u[k]) << 10 <= u[first] - low), ONE, 0
    slope = quotient(u[first] - second, u[first] - l[first])
    return first, slope, max(second - down(slope, l[first]), u[first] - down(slope, u[first])) + 1


# --- what linear bounds are wanted of ------------------------------------------------


def asks(n, l, u):
    """For each element that the node reads, whether better bounds would make better lines;
    a function of the element and its bounds."""
    if n.kind == "maxpool":
        may = set()
        for at in n.at:
            if not decided(at, l, u):
                may |= {k for k in at if u[k] > ends(at, l, u)[2]}
        return lambda k, low, high: k in may
    if n.kind in CURVES:
        return lambda k, low, high: low < high
    return lambda k, low, high: bent(n, low, high)


def linear(n, k, l, u):
    """Whether element k of the node, whose input has the bounds l and u, is linear there
    and not constant."""
    if n.kind in CURVES:
        return False
    if n.kind == "maxpool":
        return decided(n.at[k], l, u)
    return not bent(n, l[k], u[k]) and kinked_line(n, k, l[k], u[k], "low", None)[0] != 0
