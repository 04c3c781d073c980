"""Stands in for the controller of Kubernetes: runs the pods of deploy/k8s as processes.

    python3 pods.py EPSBALL JOB.yaml MERGE.yaml FOLDER [SEED]

The container's arguments are those of the manifests, with FOLDER in place of the volume. Pods of
the Indexed Job get JOB_COMPLETION_INDEX, as many at once as parallelism says. Some are killed: by
SIGKILL, as on a node that dies, and by SIGTERM, as on one that is drained, both of which the Job's
podFailurePolicy ignores. One that fails by itself is started again up to backoffLimitPerIndex
times; an index that fails more often fails the Job. Then the merge's pod runs.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import time

import yaml


def load(path):
    with open(path) as f:
        return yaml.safe_load(f)


def container(job):
    pod = job["spec"]["template"]["spec"]
    (c,) = pod["containers"]
    assert pod["restartPolicy"] == "Never" and not c.get("command"), "the image's entry point runs"
    return c


def arguments(job, folder):
    c = container(job)
    (mount,) = [m["mountPath"] for m in c["volumeMounts"] if m["name"] == "job"]
    return [folder + a[len(mount):] if a == mount or a.startswith(mount + "/") else a for a in c["args"]]


def main():
    epsball, job_file, merge_file, folder = sys.argv[1:5]
    rng = random.Random(int(sys.argv[5]) if len(sys.argv) > 5 else 1)
    job, merge = load(job_file), load(merge_file)
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "Ignore" and rule["onPodConditions"] == [{"type": "DisruptionTarget"}]
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]

    waiting = collections.deque(range(spec["completions"]))
    failures, running, counts = collections.Counter(), {}, collections.Counter()
    while waiting or running:
        while waiting and len(running) < spec["parallelism"]:
            index = waiting.popleft()
            env = dict(os.environ, JOB_COMPLETION_INDEX=str(index))
            log = open(os.path.join(folder, f"pod-{index}.log"), "a")
            pod = subprocess.Popen([epsball, *arguments(job, folder)], env=env, stdout=log, stderr=log)
            log.close()
            running[index] = pod
            counts["pods"] += 1
        time.sleep(0.05)
        for index, pod in list(running.items()):
            code, disrupted = pod.poll(), False
            if code is None and rng.random() < 0.01 and counts["disrupted"] < 3 * spec["completions"]:
                how = rng.choice([signal.SIGKILL, signal.SIGTERM])
                pod.send_signal(how)
                code = pod.wait(timeout=grace)
                disrupted = code != 0
                counts[how.name] += 1
            if code is None:
                continue
            del running[index]
            if code == 0:
                counts["succeeded"] += 1
                continue
            waiting.append(index)
            if disrupted:
                counts["disrupted"] += 1
                continue
            failures[index] += 1
            if failures[index] > spec["backoffLimitPerIndex"]:
                sys.exit(f"index {index} has failed {failures[index]} times, the last one with exit status {code}")
    print(f"{counts['pods']} pods for {spec['completions']} indices, {counts['SIGKILL']} killed, {counts['SIGTERM']} drained, {sum(failures.values())} failed")
    sys.exit(subprocess.run([epsball, *arguments(merge, folder)]).returncode)


main()
