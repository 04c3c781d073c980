"""Turns measurements into the tables of bench/results.md."""

import collections
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import statistics

PACKAGES = ("torch", "onnxruntime", "auto_LiRPA", "torchattacks", "foolbox", "numpy")
BUSY = 0.1
WORKS = {
    "forward": "forward, images/s",
    "pgd-step": "PGD step, image-steps/s",
    "pgd": "PGD-40, images/s",
    "ibp": "IBP, images/s",
    "crown-ibp": "CROWN-IBP, images/s",
    "crown": "CROWN, images/s",
    "alpha-crown": "α-CROWN, 20 iterations, images/s",
    "train": "training step, images/s",
    "smooth": "smoothing, samples/s",
}


@dataclasses.dataclass
class Row:
    work: str
    net: str
    batch: int
    threads: int
    rates: dict  # name -> median images/s
    best: str  # the fastest peer
    ratio: float  # ours over it: the median of the rounds' ratios
    spread: tuple  # smallest and largest of these
    deviations: dict  # name -> how far its results are from ours
    others: float  # share of the CPUs that other processes took
    ours: str

    @staticmethod
    def of(cell, rounds, others, deviations, ours):
        medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
        best = max((n for n in medians if not n.startswith("epsball")), key=medians.get)
        ratios = [r[ours] / r[best] for r in rounds]
        return Row(cell.work, cell.label, cell.batch, cell.threads, medians, best,
                   statistics.median(ratios), (min(ratios), max(ratios)), deviations, others, ours)

    def log(self):
        rates = ", ".join(f"{n} {short(v)}" for n, v in self.rates.items())
        worst = max(self.deviations.values())
        return (f"{self.ours}, {self.work} {self.net} batch {self.batch} threads {self.threads}: {self.ratio:.2f} "
                f"({self.spread[0]:.2f} to {self.spread[1]:.2f}); {rates}; deviation {worst:.1e}; others {self.others:.0%}")


def short(v):
    if v >= 1e4:
        return f"{v / 1e3:.1f}k"
    if v >= 1e3:
        return f"{v / 1e3:.2f}k"
    return f"{v:.0f}" if v >= 100 else f"{v:.1f}"


def setup(info, options, seconds):
    return {
        "cpu": cpu(), "cores": os.cpu_count(), "os": platform.system(),
        "peak_gflops": round(info["peak_gflops"], 1), "isa": info["isa"],
        "versions": {"Go": info["go"].removeprefix("go"), "Python": platform.python_version()}
        | {p: importlib.metadata.version(p) for p in PACKAGES if installed(p)},
        "command": "bench/peers/run.sh" + (" --quick" if options.quick else "") + (" --compile" if options.compile else "")
        + (" --cpu-time" if options.cpu_time else "")
        + (f" --only '{options.only}'" if options.only else ""),
        "date": datetime.date.today().isoformat(), "minutes": round(seconds / 60, 1),
        "rounds": options.rounds, "skipped": sorted(options.skipped),
    }


def installed(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu():
    """The model and the widest vectors, as far as the system tells."""
    try:
        with open("/proc/cpuinfo") as f:
            fields = dict(l.split(":", 1) for l in f.read().split("\n\n")[0].replace("\t", "").splitlines() if ":" in l)
    except OSError:
        return platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    widest = next((w for w, f in (("AVX-512", "avx512f"), ("AVX2", "avx2")) if f in flags), "no AVX2")
    family = fields.get("cpu family", "?").strip()
    return f"{fields.get('model name', platform.machine()).strip()} (family {family}, model {fields.get('model', '?').strip()}, {widest})"


def markdown(setup, rows):
    parts = [
        f"{setup['cpu']}, {setup['cores']} cores, {setup['os']}; "
        f"FMA peak of one core with {setup['isa']}: {setup['peak_gflops']} GFLOP/s.",
        ", ".join(f"{k} {v}" for k, v in setup["versions"].items()) + ".",
        f"`{setup['command']}` on {setup['date']}: {setup['minutes']} minutes, medians of {setup['rounds']} rounds.",
        *(f"Not measured: {s}." for s in setup["skipped"]),
        ratio_table(rows),
        *([f"† Other processes took more than {BUSY:.0%} of the CPUs meanwhile: not to be relied on."]
          if any(r.others > BUSY for r in rows) else []),
        *(detail_table(work, [r for r in rows if r.work == work and r.ours == 'epsball']) for work in WORKS if any(r.work == work for r in rows)),
    ]
    return "\n\n".join(parts)


def ratio_table(rows):
    """Ours over the best peer, one and two threads side by side."""
    lines = ["| work | net | batch | 1 thread: epsball | best peer | ratio | 2 threads: epsball | best peer | ratio |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for (work, net, batch, ours), pair in group(rows, "work", "net", "batch", "ours").items():
        halves = []
        for threads in (1, 2):
            r = next((r for r in pair if r.threads == threads), None)
            halves.append("– | – | –" if r is None else
                          f"{short(r.rates[r.ours])} | {short(r.rates[r.best])} {initials(r.best)} | **{r.ratio:.2f}**{'†' if r.others > BUSY else ''}")
        variant = ours.removeprefix("epsball")
        lines.append(f"| {WORKS[work]} | {net}{variant} | {batch} | {halves[0]} | {halves[1]} |")
    return "\n".join(lines)


def detail_table(work, rows):
    """Every contestant, one thread · two threads."""
    names = list(dict.fromkeys(n for r in rows for n in r.rates))
    lines = [f"| {WORKS[work]} | batch | " + " | ".join(names) + " |", "|---|--:|" + "--:|" * len(names)]
    for (net, batch), pair in group(rows, "net", "batch").items():
        by_threads = {r.threads: r.rates for r in pair}
        values = [" · ".join(short(by_threads[t][n]) if n in by_threads.get(t, {}) else "–" for t in (1, 2)) for n in names]
        lines.append(f"| {net} | {batch} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def group(rows, *keys):
    """Rows of equal keys, in the order of the tables."""
    found = collections.defaultdict(list)
    for r in sorted(rows, key=lambda r: (list(WORKS).index(r.work), r.net, r.batch, r.ours)):
        found[tuple(getattr(r, k) for k in keys)].append(r)
    return found


INITIALS = {"ONNX Runtime": "ORT", "PyTorch": "PT", "auto_LiRPA": "aL", "torchattacks": "ta", "foolbox": "fb"}


def initials(name):
    return next(short for full, short in INITIALS.items() if name.startswith(full))
