"""Measures epsball and its peers, interleaved, and prints the tables of
bench/results.md. Run it through run.sh, which makes the environment.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
import warnings

import numpy as np
import torch

import cells
import peers
import report
import timing
from worker import Worker

OURS = "epsball"
WINOGRAD = "epsball Winograd"  # an option that inference, attacks and training have, proofs do not


def check(cell, name, ours, theirs):
    """Are the results equal? Returns the largest deviation, for the log, or raises ValueError."""
    theirs = np.asarray(theirs, np.float32).reshape(-1)
    if ours.shape != theirs.shape or not np.isfinite(theirs).all():
        raise ValueError(f"{cell}: {name}: shape {theirs.shape}, want {ours.shape}, all finite")
    off = np.abs(ours - theirs)
    if cell.work == "pgd-step":
        # The sign of a gradient that is zero but for rounding may differ.
        deviation, most = (off > 1e-5).mean(), 2e-3
    elif cell.work == "pgd":
        # Random starts differ: compare the fraction of images fooled.
        deviation, most = abs(ours.mean() - theirs.mean()), 0.08
    elif cell.work == "smooth":
        # Noise differs: five standard deviations of a share's difference, at most.
        deviation, most = off.max(), 5 * (0.5 / cell.batch) ** 0.5
    else:
        deviation, most = off.max() / np.abs(ours).max(), 1e-4
        if cell.work == "train":
            most = 1e-3  # Adam's first update follows signs, too
        if cell.work in ("crown-ibp", "crown"):
            # They cover rounding, too, and take intervals where these are tighter.
            most = 0 if (ours > theirs + 1e-2 * np.abs(theirs).max()).any() else 0.02
        if cell.work == "alpha-crown":
            most = 1.0  # how far both optimisers get is told in the log
        if cell.work == "ibp":
            # Our bounds cover rounding, so they are a little lower, never higher.
            most = 0 if (ours > theirs + 1e-5 * np.abs(theirs).max()).any() else 0.02
    if deviation > most:
        raise ValueError(f"{cell}: {name}: results differ by {deviation:.3g}, at most {most:g} is allowed")
    return float(deviation)


def measure(cell, workers, options):
    """Prepares and checks all contestants, then times them. Returns the rounds,
    the CPU share of others, and name -> deviation."""
    torch.set_num_threads(cell.threads)
    first, ours = workers[0].prepare(cell)
    if "none fooled" in cell.label and first.any():
        raise ValueError(f"{cell}: {first.sum():g} images are fooled, want none")
    runs, deviations = {OURS: ours}, {}
    if cell.work in ("forward", "pgd-step", "pgd", "train", "smooth") and cell.batch >= 8:
        found = workers[1].prepare(cell, winograd=True)
        if found:
            deviations[WINOGRAD] = check(cell, WINOGRAD, first, found[0])
            runs[WINOGRAD] = found[1]
    if options.cpu_time:
        for name, worker in zip((OURS, WINOGRAD), workers):
            if name in runs:
                runs[name] = timing.by_cpu(runs[name], worker.cpu)
    for name, prepare in contestants(cell, options).items():
        try:
            result, call = prepare(cell)
        except (ImportError, NotImplementedError) as e:
            options.skipped.add(f"{name} ({cell.work}): {e}")
            continue
        deviations[name] = check(cell, name, first, result)
        runs[name] = timing.timer(call, time.process_time if options.cpu_time else time.perf_counter)
    return *timing.take_turns(runs, cell.batch, workers, options), deviations


def contestants(cell, options):
    found = dict(peers.CONTESTANTS[cell.work])
    if cell.work == "pgd" and cell.net.input[0] == 3:
        # Slow, and elsewhere these two equal torchattacks.
        del found["PyTorch"], found["foolbox"]
    if cell.work == "forward" and options.compile:
        found["PyTorch compiled"] = peers.torch_forward_compiled
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--worker", required=True, help="the built bench/peers/worker")
    p.add_argument("--quick", action="store_true", help="fewer rounds, C at batch 1 only, two whole attacks: about 2 minutes")
    p.add_argument("--only", default="", help="cells whose name contains this, such as 'pgd-step A'")
    p.add_argument("--compile", action="store_true", help="torch.compile as well (forward; needs a C++ compiler; slow to start)")
    p.add_argument("--cpu-time", action="store_true", help="rates by CPU time, for busy machines: on one thread alone, for waiting ones spin (Linux)")
    p.add_argument("--json", type=pathlib.Path, help="also write all measurements here")
    options = p.parse_args()
    # Rounds, seconds of a contestant's turn, seconds after which a cell gets no
    # more than 3 rounds.
    options.rounds, options.slice, options.patience = (3, 0.03, 0) if options.quick else (5, 0.06, 2)
    options.skipped = set()
    warnings.filterwarnings("ignore")
    workers = [Worker(options.worker) for _ in range(2)]
    start, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for cell in cells.every(options, pathlib.Path(folder), workers[0]):
            if options.only not in str(cell) or options.cpu_time and cell.threads > 1:
                continue
            measured = measure(cell, workers, options)
            for ours in OURS, WINOGRAD:
                if ours in measured[0][0]:
                    rows.append(report.Row.of(cell, *measured, ours))
                    print(rows[-1].log(), file=sys.stderr, flush=True)
        info = workers[0].ask(op="info")
    for w in workers:
        w.close()
    if not rows:
        sys.exit(f"--only {options.only}: no cell is called so")
    setup = report.setup(info, options, time.monotonic() - start)
    print(report.markdown(setup, rows))
    if options.json:
        options.json.write_text(json.dumps({"setup": setup, "rows": [dataclasses.asdict(r) for r in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
