"""epsball as a contestant: the Go program in worker/, driven over pipes."""

import base64
import json
import subprocess
import time

import numpy as np


class Worker:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise RuntimeError(f"worker: {reply['error']}")
        return reply

    def prepare(self, cell, winograd=False):
        """Like the functions of peers.py, but the call takes a number of calls
        and returns seconds, by the worker's clock. None if Winograd's algorithm
        is asked for and fits no layer."""
        reply = self.ask(
            op="open", **{"pass": cell.work}, model=str(cell.net.path), data=str(cell.data),
            threads=cell.threads, eps=cell.eps, step=cell.step, steps=cell.steps, lr=cell.lr, seed=1,
            sigma=cell.sigma, samples=cell.batch, winograd=winograd)
        if winograd and not reply.get("winograd"):
            return None
        first = np.frombuffer(base64.b64decode(reply["values"]), np.float32)
        return first, lambda calls: self.ask(op="run", calls=calls)["seconds"]

    def cpu(self):
        """The CPU time it has used, in seconds (Linux: the clock of a process, by its number)."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def ticks(self):
        """The CPU time it has used, in clock ticks (Linux)."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def close(self):
        self.process.stdin.close()
        self.process.wait()
