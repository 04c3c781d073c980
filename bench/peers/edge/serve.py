"""A runtime as a contestant of `epsball bench --edge`: answers one JSON request
a line on standard input with one a line on standard output.

    serve.py RUNTIME    onnxruntime, ncnn or litert

The first line tells of the interpreter with numpy, before the runtime is
imported. Then:

    open   loads a model and answers the first image, then the others
    run    answers the first image again and again, each call timed

This process does nothing else: models are converted beforehand (convert.py),
so that its memory is that of interpreter, numpy and runtime.
"""

import base64
import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time

import numpy as np


class OnnxRuntime:
    """Sequential execution, all optimisations, the batch fixed, memory bound in
    advance. Threads spin within a run and stop at its end: the others' turns
    come next."""
    package = "onnxruntime"

    def load(self, path, threads, x):
        import onnxruntime as ort
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
        o.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.add_free_dimension_override_by_name("N", 1)
        o.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        self.x = ort.OrtValue.ortvalue_from_numpy(x)
        self.z = ort.OrtValue.ortvalue_from_numpy(np.zeros(self.session.get_outputs()[0].shape, np.float32))
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self.session.get_inputs()[0].name, self.x)
        binding.bind_ortvalue_output(self.session.get_outputs()[0].name, self.z)
        run = self.session.run_with_iobinding
        self.call = lambda: run(binding)

    def set(self, x):
        self.x.update_inplace(x)

    def get(self):
        return self.z.numpy()


class Ncnn:
    """float32 throughout, with its defaults for packed layouts, Winograd's
    algorithm and matrix products, and allocators that keep their memory."""
    package = "ncnn"

    def load(self, path, threads, x):
        import ncnn
        net = ncnn.Net()
        o = net.opt
        o.num_threads, o.use_vulkan_compute = threads, False
        o.use_fp16_packed = o.use_fp16_storage = o.use_fp16_arithmetic = o.use_bf16_storage = False
        self.allocators = ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator()
        o.blob_allocator, o.workspace_allocator = self.allocators
        if net.load_param(path + ".param") != 0 or net.load_model(path + ".bin") != 0:
            raise RuntimeError(f"{path}: ncnn does not load it")
        self.net, self.ncnn = net, ncnn
        self.set(x)
        self.out = None
        extractor = net.create_extractor

        def call():
            ex = extractor()
            ex.input("input", self.x)
            self.out = ex.extract("logits")
        self.call = call

    def set(self, x):
        self.x = self.ncnn.Mat(np.ascontiguousarray(x[0])).clone()

    def get(self):
        status, z = self.out
        if status != 0:
            raise RuntimeError(f"ncnn: extract: {status}")
        return np.array(z)


class LiteRT:
    """The interpreter of TensorFlow Lite with the XNNPACK delegate, which it
    applies by default. Images are channels last before the clock starts."""
    package = "ai-edge-litert"

    def load(self, path, threads, x):
        from ai_edge_litert.interpreter import Interpreter
        self.interpreter = Interpreter(path, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]
        self.set(x)
        self.call = self.interpreter.invoke

    def set(self, x):
        self.interpreter.set_tensor(self.input, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))

    def get(self):
        return self.interpreter.get_tensor(self.output)


RUNTIMES = {"onnxruntime": OnnxRuntime, "ncnn": Ncnn, "litert": LiteRT}


def memory():
    """Resident bytes now and at most so far; zeros where the system does not tell."""
    found = {}
    try:
        with open("/proc/self/status") as f:
            for line in f:
                key, _, value = line.partition(":")
                if key in ("VmRSS", "VmHWM"):
                    found[key] = 1024 * int(value.split()[0])
    except OSError:
        pass
    return {"rss": found.get("VmRSS", 0), "max_rss": found.get("VmHWM", 0)}


def libraries(module):
    """Bytes on disk of the package's shared objects that are mapped (those that a
    wheel bundles lie in a folder NAME.libs beside it)."""
    folder = os.path.dirname(os.path.abspath(module.__file__))
    try:
        with open("/proc/self/maps") as f:
            paths = {line.split(maxsplit=5)[5].strip() for line in f if ".so" in line}
    except OSError:
        return 0
    return sum(os.path.getsize(p) for p in paths if p.startswith((folder + os.sep, folder + ".libs" + os.sep)))


def first_line(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]


class Server:
    def __init__(self, name):
        self.runtime = RUNTIMES[name]()

    def open(self, q):
        shape = (1, *q["shape"])
        images = np.fromfile(q["images"], "<f4").reshape(-1, *shape)
        r, start = self.runtime, time.perf_counter()
        try:
            module = importlib.import_module(r.package.replace("-", "_"))
            version = importlib.metadata.version(r.package)
        except (ImportError, importlib.metadata.PackageNotFoundError) as e:
            return {"absent": first_line(e)}
        imported = time.perf_counter()
        r.load(q["model"], q["threads"], images[0])
        loaded = time.perf_counter()
        r.call()
        values = [np.array(r.get(), np.float32).reshape(-1)]
        done = time.perf_counter()
        reply = memory()
        for x in images[1:]:
            r.set(x)
            r.call()
            values.append(np.array(r.get(), np.float32).reshape(-1))
        r.set(images[0])
        return reply | {
            "values": base64.b64encode(np.concatenate(values).astype("<f4").tobytes()).decode(),
            "import_s": imported - start, "load_s": loaded - imported, "first_s": done - loaded,
            "version": version, "library_bytes": libraries(module),
        }

    def run(self, q):
        call, clock, times = self.runtime.call, time.perf_counter_ns, [0] * q["calls"]
        gc.collect()
        gc.disable()
        for _ in range(q["warm"]):
            call()
        for i in range(q["calls"]):
            start = clock()
            call()
            times[i] = clock() - start
        gc.enable()
        return {"ns": times}


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # runtimes that log to standard output must not disturb the replies
    server = Server(sys.argv[1])

    def answer(**reply):
        out.write(json.dumps(reply) + "\n")
        out.flush()
    answer(**memory(), version=sys.version.split()[0])
    for line in sys.stdin:
        q = json.loads(line)
        try:
            answer(**{"open": server.open, "run": server.run}[q["op"]](q))
        except Exception as e:  # the parent decides what becomes of it
            answer(error=first_line(e))


if __name__ == "__main__":
    main()
