"""What is measured: every piece of work, in order."""

import dataclasses
import itertools
import pathlib

import numpy as np

import nets

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Cell:
    """A piece of work that all contestants do."""
    work: str
    net: nets.Net
    label: str  # of the net, in the tables
    batch: int  # images, or samples of the first one (smooth)
    threads: int
    x: np.ndarray
    y: np.ndarray
    data: pathlib.Path  # x and y for the worker
    eps: str = "0.1"
    steps: int = 40
    lr: float = 1e-3  # of the two training steps that are checked
    sigma: str = "0.25"  # of the noise of smooth

    @property
    def eps_float(self):
        return float(self.eps)

    @property
    def step(self):
        return self.eps_float / 4

    def __str__(self):
        return f"{self.work} {self.label} batch {self.batch} threads {self.threads}"


def every(options, folder, worker):
    """All cells, nets with random weights first, then whole attacks."""
    for number, preset in enumerate(("mnist-small", "mnist-medium", "cifar-large")):
        path = folder / f"{preset}.safetensors"
        worker.ask(op="random", preset=preset, seed=1, model=str(path))
        net, label = nets.load(path), "ABC"[number]
        for batch in (1, 16, 128):
            x, y = nets.random_batch(net, batch)
            data = save(folder / f"{preset}-{batch}.npz", x, y)
            for work, threads in itertools.product(("forward", "pgd-step", "ibp", "train"), (1, 2)):
                if options.quick and label == "C" and batch > 1:
                    continue
                yield Cell(work, net, label, batch, threads, x, y, data)
        if not options.quick:
            yield from unfooled_random(net, label, folder)
    yield from zoo_attacks(folder, worker, (16,) if options.quick else (1, 16, 128))
    yield from linear_bounds(folder, worker, options.quick)
    yield from smoothing(folder, worker, options.quick)


def unfooled_random(net, label, folder):
    """PGD-40 on random weights in a ball so small that no image is fooled, so
    that everyone takes all steps. A has trained weights instead (zoo_attacks)."""
    if label == "A":
        return
    batch, counts = (16, (2,)) if label == "C" else (128, (1, 2))  # an attack on C takes seconds
    x, _ = nets.random_batch(net, batch)
    y = nets.predictions(net, x)
    data = save(folder / f"{net.name}-predicted.npz", x, y)
    for threads in counts:
        yield Cell("pgd", net, f"{label}, none fooled", batch, threads, x, y, data, eps="0.00001")


def zoo_attacks(folder, worker, batches):
    """PGD-40 on MNIST: first where none of the images can be fooled, which
    interval bounds prove, then where most are."""
    x, y = nets.mnist(ROOT)
    robust = nets.load(ROOT / "zoo" / "mnist-small-ibp-0.1.safetensors")
    data = save(folder / "head.npz", x[:200], y[:200])
    margins, _ = worker.prepare(Cell("ibp", robust, "A", 200, 1, x, y, data))
    proved = np.flatnonzero(margins > 0)
    standard = nets.load(ROOT / "zoo" / "mnist-small-standard.safetensors")
    for net, label, chosen in (robust, "A, none fooled", proved), (standard, "A, most fooled", np.arange(128)):
        for batch in batches if label == "A, none fooled" else (128,):
            bx, by = x[chosen[:batch]], y[chosen[:batch]]
            data = save(folder / f"{net.name}-{label}-{batch}.npz", bx, by)
            for threads in (1, 2):
                yield Cell("pgd", net, label, batch, threads, bx, by, data)


def linear_bounds(folder, worker, quick):
    """CROWN and its kin, 9 margins an image, on one thread: on a trained net with some
    unstable neurons, and on random weights with hardly a stable one."""
    x, y = nets.mnist(ROOT)
    standard = nets.load(ROOT / "zoo" / "mnist-small-standard.safetensors")
    path = folder / "mnist-small.safetensors"
    worker.ask(op="random", preset="mnist-small", seed=1, model=str(path))
    for net, label, eps in (standard, "A standard, ε 0.02", "0.02"), (nets.load(path), "A random, ε 0.1", "0.1"):
        for work, batch in ("crown-ibp", 32), ("crown", 8 if quick else 32), ("alpha-crown", 2):
            if work == "alpha-crown" and (quick or eps != "0.02"):
                continue  # minutes
            data = save(folder / f"bounds-{work}-{eps}.npz", x[:batch], y[:batch])
            yield Cell(work, net, label, batch, 1, x[:batch], y[:batch], data, eps=eps, steps=20)


def smoothing(folder, worker, quick):
    """Samples of one image of 8 bits with noise, the one of some whose votes are split most, so
    that a contestant with other noise is found out."""
    for preset, label, samples, images in ("mnist-small", "A", 1024, 16), ("cifar-large", "C", 128, 4):
        if quick and label == "C":
            continue
        path = folder / f"{preset}.safetensors"
        worker.ask(op="random", preset=preset, seed=1, model=str(path))
        net = nets.load(path)
        x, y = nets.random_batch(net, images)
        x = np.round(x * 255).astype(np.float32) / np.float32(255)
        noise = np.random.default_rng(2).normal(0, float(Cell.sigma), (16, *net.input)).astype(np.float32)
        votes = [np.bincount(nets.predictions(net, image + noise)).max() for image in x]
        split = int(np.argmin(votes))
        x, y = x[split:][:1], y[split:][:1]
        data = save(folder / f"smooth-{preset}.npz", x, y)
        for threads in (1, 2):
            yield Cell("smooth", net, label, samples, threads, x, y, data)


def save(path, x, y):
    np.savez(path, x=x, y=y)
    return path
