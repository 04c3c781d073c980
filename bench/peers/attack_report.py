"""Turns the rows of attacks.py into tables."""

import datetime
import os
import platform
import statistics

import report

PACKAGES = ("torch", "pyautoattack", "adv_lib", "torchattacks", "foolbox", "numpy")
# Robust accuracy that epsball's attack may leave above the reference's, in points; and
# what its mean distance may be of the best reference's.
POINTS, CASCADE_POINTS, DISTANCE = 0.3, 0.1, 1.02


def setup():
    return {
        "cpu": report.cpu(), "cores": os.cpu_count(), "os": platform.system(), "date": datetime.date.today().isoformat(),
        "versions": {"Python": platform.python_version()} | {p: report.importlib.metadata.version(p) for p in PACKAGES if report.installed(p)},
    }


def log(row):
    """One line for the progress of a run."""
    parts = [f"{row.words} {('ε ' + row.eps) if row.eps else 'no ε'}, n {row.n}, threads {row.threads}:"]
    for name, side in ("epsball", row.ours), (row.peer, row.theirs):
        if side:
            parts.append(f"{name} {findings(row, side)} in {statistics.median(side['seconds']):.2f} s{cpu(side)};")
    if row.ratio:
        parts.append(f"{row.ratio:.1f} times as fast;")
    if row.paired:
        parts.append(f"{row.paired:.3f} times as far;")
    if row.missing:
        parts.append(f"{row.missing};")
    parts.append(f"others {row.others:.0%}")
    return " ".join(parts)


def cpu(side):
    """On a busy machine, CPU time at one thread says more than the clock."""
    return f" (CPU {statistics.median(side['cpu']):.2f})" if "cpu" in side else ""


def findings(row, side):
    robust = f"{100 * side['robust'] / row.n:.2f} %"
    if not row.smallest:
        return f"robust {robust}" + outside(side)
    return f"fools {row.clean - side['robust']} of {row.clean}, mean {number(side['distance'])}, median {number(side['median'])}" + outside(side)


def outside(side):
    return (f", {side['outside']} outside" if side["outside"] else "") + (f", {side['denied']} on the boundary" if side.get("denied") else "")


def number(v):
    return "–" if v is None else f"{v:.4g}"


def markdown(rows):
    s = setup()
    parts = [f"{s['cpu']}, {s['cores']} cores, {s['os']}.", ", ".join(f"{k} {v}" for k, v in s["versions"].items()) + f". {s['date']}."]
    for smallest, table in (False, fixed_table), (True, smallest_table):
        some = [r for r in rows if r.smallest == smallest and (r.ours or r.theirs)]
        if some:
            parts.append(table(some))
    if any(r.others > report.BUSY for r in rows if r.ratio):
        parts.append(f"† Other processes took more than {report.BUSY:.0%} of the CPUs meanwhile: not to be relied on.")
    parts += [f"Not run: {r.words}, threads {r.threads}: {r.missing}." for r in rows if r.missing]
    found = weaker(rows)
    if found:
        parts.append("Weaker than the reference by more than the target:\n\n" + "\n".join(f"- {w}" for w in found))
    return "\n\n".join(parts)


def fixed_table(rows):
    lines = ["| attack | norm | net | ε | n | peer | clean | epsball robust | peer robust | threads | epsball, s | peer, s | ratio |",
             "|---|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|"]
    for r in rows:
        lines.append("| " + " | ".join([r.attack, r.norm, r.model, r.eps, str(r.n), r.peer, percent(r, r.clean),
                                       *(percent(r, s["robust"]) if s else "–" for s in (r.ours, r.theirs)), *times(r)]) + " |")
    return "\n".join(lines)


def smallest_table(rows):
    lines = ["| attack | norm | net | n | peer | epsball fools, mean | peer fools, mean | paired | threads | epsball, s | peer, s | ratio |",
             "|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|"]
    for r in rows:
        sides = (f"{r.clean - s['robust']} of {r.clean}, {number(s['distance'])}" if s else "–" for s in (r.ours, r.theirs))
        lines.append("| " + " | ".join([r.attack, r.norm, r.model, str(r.n), r.peer, *sides, number(r.paired), *times(r)]) + " |")
    return "\n".join(lines)


def times(r):
    seconds = [f"{statistics.median(s['seconds']):.3g}" if s else "–" for s in (r.ours, r.theirs)]
    return [str(r.threads), *seconds, "–" if r.ratio is None else f"**{r.ratio:.1f}**{'†' if r.others > report.BUSY else ''}"]


def percent(r, count):
    return f"{100 * count / r.n:.2f} %"


def weaker(rows):
    """Where epsball misses its targets of strength. A peer that finds points nearer only
    on fewer images does not count as the better one."""
    found = []
    for r in rows:
        if not (r.ours and r.theirs):
            continue
        allowed = CASCADE_POINTS if r.attack in ("auto", "fast") else POINTS
        excess = 100 * (r.ours["robust"] - r.theirs["robust"]) / r.n
        if excess > allowed + 1e-9:
            found.append(f"{r.words}, threads {r.threads}: {excess:.2f} points more robust images (at most {allowed})")
        if r.smallest and r.paired and r.paired > DISTANCE:
            found.append(f"{r.words}, threads {r.threads}: {r.paired:.3f} times the distance (at most {DISTANCE})")
    return found
