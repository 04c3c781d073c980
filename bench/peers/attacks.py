"""Attacks by epsball and by the attack libraries of PyTorch, side by side: the same
network, images and radii, in turn. Prints robust accuracy, or success and mean
distance, and seconds. Run it through run.sh attacks, which makes the environment:

  bench/peers/run.sh attacks --json attacks.json              everything: most of a day
  bench/peers/run.sh attacks --only 'auto standard' --n 300   rows with these words
  bench/peers/run.sh attacks --list                           the rows

With --json, a run that is cut short goes on where it was: rows that the file has
are not measured again. --print shows the tables of such a file.
"""

import argparse
import dataclasses
import json
import logging
import os
import pathlib
import sys
import tempfile
import time
import warnings

import numpy as np
import torch

import attack_nets
import attack_ours
import attack_peers
import attack_report
import timing

PATIENCE = 30  # seconds: whoever takes longer runs once


@dataclasses.dataclass
class Row:
    """One attack against one network, by epsball and one peer. Counts are of images,
    distances means over the images that the attack fools."""
    attack: str
    norm: str
    model: str
    peer: str
    threads: int
    smallest: bool
    eps: str
    n: int
    clean: int = 0
    ours: dict | None = None  # robust, distance, seconds
    theirs: dict | None = None
    paired: float | None = None  # smallest distance: ours over theirs, images that both fool
    ratio: float | None = None  # of seconds, theirs over ours: the median of the rounds
    others: float = 0.0  # share of the CPUs that other processes took
    version: str = ""  # of epsball's attack, as it names itself
    missing: str = ""  # why one side has not run

    @property
    def words(self):
        return f"{self.attack} {self.norm} {self.model} {self.peer}"

    def key(self):
        return self.words, self.threads, self.n


def rows(options):
    """What is to be measured, networks outermost."""
    for recipe in attack_nets.RECIPES:
        for match in attack_peers.MATCHES:
            for norm in match.norms:
                for peer in match.peers:
                    for threads in options.threads:
                        eps = "" if match.smallest or match.anywhere else recipe.eps[norm]
                        row = Row(match.label, norm, recipe.name, peer, threads, match.smallest, eps, options.n)
                        if set(options.only.split()) <= set(row.words.replace(",", " ").split()):
                            yield recipe, match, row


def measure(row, match, subject, options, reused=None):
    """Runs both sides in turn: ours, theirs, ours, theirs. What the peer has done already
    is not done again."""
    row.clean = int(subject.correct.sum())
    case = attack_peers.Case(subject.module, subject.x[subject.correct], subject.y[subject.correct], row.norm,
                             attack_nets.radius(row.eps) if row.eps else 0.0)
    others = timing.Others([Children()])
    ours, theirs = [], []
    for case.seed in range(options.rounds):
        if not options.peers_only:
            try:
                ours.append(attack_ours.run(options, subject, match, row, case.seed))
            except attack_ours.Refused as e:
                row.missing = f"epsball: {e}"
        if not (options.ours_only or reused):
            try:
                theirs.append(judged(match.peers[row.peer], case, options.batch))
            except Exception as e:  # a peer's failure is a finding, and the next row has another peer
                row.missing = f"{row.peer}: {type(e).__name__}: {e}"[:300]
        if row.missing or sum(o.seconds for o in ours + theirs) > PATIENCE:
            break
    row.others = round(others.share(), 3)
    if ours:
        row.ours, row.version = summary(ours, row), ours[0].version
    if theirs:
        row.theirs = summary(theirs, row)
    if ours and theirs:
        row.ratio = float(np.median([t.seconds / max(1e-9, o.seconds) for o, t in zip(ours, theirs)]))
    if ours and reused:
        row.theirs = reused
        row.ratio = float(np.median(reused["seconds"]) / max(1e-9, np.median([o.seconds for o in ours])))
    compare(row)


def compare(row):
    """Fills in how far our points are for theirs, whenever each side has run."""
    if row.smallest and row.ours and row.theirs:
        both = [(o, t) for o, t in zip(row.ours["distances"], row.theirs["distances"]) if o is not None and t is not None]
        row.paired = sum(o for o, _ in both) / max(1e-12, sum(t for _, t in both)) if both else None


class Children:
    """epsball's runs, as timing.Others counts what is not of others."""

    @staticmethod
    def ticks():
        return sum(os.times()[2:4]) * os.sysconf("SC_CLK_TCK")


def judged(attack, case, batch):
    """Runs a peer's attack and looks at what it returns."""
    start, before, found = time.perf_counter(), time.process_time(), []
    for x, y in zip(case.x.split(batch), case.y.split(batch)):
        part = dataclasses.replace(case, x=x, y=y)
        torch.manual_seed(case.seed)
        np.random.seed(case.seed)
        found.append(attack(part).detach())
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    return dataclasses.replace(attack_ours.judge(case, torch.cat(found), seconds), cpu=cpu)


def summary(runs, row):
    """Of several runs: the first run's findings, everyone's seconds."""
    first = runs[0]
    s = {
        "robust": int((~first.fooled).sum()), "seconds": [round(r.seconds, 4) for r in runs], "cpu": [round(r.cpu, 3) for r in runs],
        "distance": float(first.distance[first.fooled].mean()) if first.fooled.any() else None,
        # Failures count as infinitely far.
        "median": finite(np.median(np.where(first.fooled, first.distance, np.inf))),
        "outside": first.outside, "denied": first.denied,
        "robust_of_rounds": [int((~r.fooled).sum()) for r in runs],
    }
    if row.smallest:
        s["distances"] = [float(f"{d:.6g}") if f else None for d, f in zip(first.distance, first.fooled)]
    return s


def finite(v):
    return float(v) if np.isfinite(v) else None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--epsball", type=pathlib.Path, help="the built program")
    p.add_argument("--n", type=int, default=1000, help="images of MNIST; CIFAR has 100 (default 1000)")
    p.add_argument("--threads", default="1,2", help="thread counts (default 1,2)")
    p.add_argument("--only", default="", help="rows that have all these words, such as 'auto linf standard'")
    p.add_argument("--rounds", type=int, default=3, help=f"turns of each side; one if they take more than {PATIENCE} s (default 3)")
    p.add_argument("--batch", type=int, default=250, help="images the peers attack at a time, auto-attack's default (default 250)")
    p.add_argument("--json", type=pathlib.Path, help="file of the measurements, written after each row, and read first")
    p.add_argument("--again", action="store_true", help="measure rows again that the file has")
    p.add_argument("--peers-only", action="store_true", help="do not run epsball")
    p.add_argument("--ours-only", action="store_true", help="do not run the peers")
    p.add_argument("--unbound", action="store_true", help="do not bind to CPUs: for strength alone, on a busy machine")
    p.add_argument("--list", action="store_true", help="only name the rows")
    p.add_argument("--print", action="store_true", help="only print the tables of --json")
    options = p.parse_args()
    options.threads = [int(t) for t in options.threads.split(",")]
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    done = load(options.json)
    if options.print:
        print(attack_report.markdown(done))
        return
    chosen = list(rows(options))
    if not chosen:
        sys.exit(f"--only {options.only!r}: no row has these words, see --list")
    if options.list:
        print("\n".join(f"{r.words}, threads {r.threads}" for _, _, r in chosen))
        return
    if options.epsball is None:
        sys.exit("--epsball: want the built program")
    with tempfile.TemporaryDirectory() as folder:
        options.folder = pathlib.Path(folder)
        for row in measured(chosen, done, options):
            done = [r for r in done if r.key() != row.key()] + [row]
            save(options.json, done)
            print(attack_report.log(row), file=sys.stderr, flush=True)
    print(attack_report.markdown(done))


def measured(chosen, done, options):
    """Measures what is not done and yields it."""
    known = {r.key(): r for r in done}
    subjects, absent = {}, set()
    for recipe, match, row in chosen:
        if recipe.name in absent:
            continue
        if recipe.name not in subjects:
            try:
                subjects = {recipe.name: attack_nets.prepare(recipe, options.epsball, options.folder, options.n)}
            except attack_nets.Absent as e:
                absent.add(recipe.name)
                print(f"{recipe.name}: skipped: {e}", file=sys.stderr)
                continue
        subject = subjects[recipe.name]
        row.n = len(subject.x)
        before = known.get(row.key())
        if before and not options.again:
            continue
        same = known.get(dataclasses.replace(row, attack=match.reuse).key())
        theirs = same.theirs if same else None
        with cores(row.threads, not options.unbound):
            measure(row, match, subject, options, theirs)
        if before:  # what has not run this time is as it was
            row.ours, row.theirs = row.ours or before.ours, row.theirs or before.theirs
            compare(row)
        known[row.key()] = row
        yield row


class cores:
    """Everyone, programs started meanwhile included, has as many CPUs as threads, where
    the system can bind them."""

    def __init__(self, threads, bind):
        self.threads, self.bind = threads, bind and hasattr(os, "sched_setaffinity")

    def __enter__(self):
        torch.set_num_threads(self.threads)
        if self.bind:
            self.before = os.sched_getaffinity(0)
            if len(self.before) > self.threads:
                os.sched_setaffinity(0, sorted(self.before)[-self.threads:])

    def __exit__(self, *_):
        if self.bind:
            os.sched_setaffinity(0, self.before)


def load(path):
    if path is None or not path.exists():
        return []
    return [Row(**r) for r in json.loads(path.read_text())["rows"]]


def save(path, done):
    if path is None:
        return
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"setup": attack_report.setup(), "rows": [dataclasses.asdict(r) for r in done]}, indent=1) + "\n")
    part.replace(path)


if __name__ == "__main__":
    main()
