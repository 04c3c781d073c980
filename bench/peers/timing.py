"""Takes the contestants' times, in turn."""

import gc
import os
import time

# Pause between two contestants, in seconds: the idle threads of the one just
# timed (OpenMP's spin for some milliseconds) are asleep before the next starts.
PAUSE = 0.03

# A round counts as quiet if others took at most this share of the CPUs.
QUIET = 0.05


class Others:
    """The share of the machine's CPU time that goes to other processes (and, in
    a virtual machine, to its neighbours). Zero where there is no /proc/stat."""

    def __init__(self, workers):
        self.workers, self.start = workers, self.now(workers)

    @staticmethod
    def now(workers):
        try:
            with open("/proc/stat") as f:
                ticks = [int(t) for t in f.readline().split()[1:9]]
        except OSError:
            return None
        total, idle = sum(ticks), ticks[3] + ticks[4]
        own = sum(os.times()[:2]) * os.sysconf("SC_CLK_TCK") + sum(w.ticks() for w in workers)
        return total, total - idle - own

    def share(self):
        if self.start is None:
            return 0.0
        total, others = (b - a for a, b in zip(self.start, self.now(self.workers)))
        return max(0.0, others / max(1, total))


def timer(call, clock=time.perf_counter):
    """The Python contestants' clock."""
    def timed(calls):
        start = clock()
        for _ in range(calls):
            call()
        return clock() - start
    return timed


def by_cpu(run, clock):
    """A run that returns the time by clock, of the process that does it."""
    def timed(calls):
        start = clock()
        run(calls)
        return clock() - start
    return timed


def take_turns(runs, batch, workers, options):
    """Times the contestants, name -> run, round after round. Returns for each
    round that counts name -> images/s, and the CPU share that other processes
    took in the worst of them."""
    calls = {name: calibrate(run, options.slice) for name, run in runs.items()}
    rounds = []
    gc.collect()
    gc.disable()
    start = time.monotonic()
    while more_rounds([o for o, _ in rounds], time.monotonic() - start, options):
        others, turn = Others(workers), len(rounds) % len(runs)
        rates = dict.fromkeys(runs)
        for name in list(runs)[turn:] + list(runs)[:turn]:
            time.sleep(PAUSE)
            rates[name] = batch * calls[name] / runs[name](calls[name])
        rounds.append((others.share(), rates))
    gc.enable()
    rounds = sorted(rounds, key=lambda r: r[0])[:options.rounds]
    return [rates for _, rates in rounds], rounds[-1][0]


def more_rounds(others, seconds, options):
    """Rounds in which other processes were busy are made up for, the quietest
    count. Slow cells have to do with 3 rounds."""
    if len(others) < 3:
        return True
    if seconds > options.patience:
        return False
    return sum(o <= QUIET for o in others) < options.rounds


def calibrate(run, target):
    """The number of calls that take about target seconds."""
    seconds, calls = run(1), 1
    while seconds < target / 4 and calls < 1 << 16:
        calls *= 2
        seconds = run(calls)
    return max(1, round(calls * target / seconds))
