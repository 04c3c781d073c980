"""Builds the shared library with Go and packs it into a wheel for this platform; the rest
is in pyproject.toml. To build for another machine set GOOS, GOARCH, CC and
_PYTHON_HOST_PLATFORM, such as linux-aarch64."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = os.path.dirname(os.path.abspath(__file__))
PACKED = os.path.join(HERE, "go")  # the Go code in a source distribution
SOURCE = PACKED if os.path.isdir(PACKED) else os.path.dirname(os.path.dirname(HERE))
STAMP = os.path.join(PACKED, "VERSION")

MACHINES = {"amd64": ("x86_64", "amd64"), "arm64": ("aarch64", "arm64"), "386": ("i386", "i686", "win32"),
            "arm": ("armv6l", "armv7l"), "riscv64": ("riscv64",), "s390x": ("s390x",), "ppc64le": ("ppc64le",)}
MACOS = "12.0"  # the oldest that Go 1.26 runs on


def go(*arguments):
    environment = dict(os.environ, CGO_ENABLED="1")
    environment.setdefault("MACOSX_DEPLOYMENT_TARGET", MACOS)
    try:
        r = subprocess.run(["go", *arguments], cwd=SOURCE, env=environment, stdout=subprocess.PIPE, text=True)
    except OSError as e:
        sys.exit("epsball: %s: building takes Go 1.26 (go.dev/dl) and a C compiler" % e)
    if r.returncode:
        sys.exit("epsball: go %s failed, see above: building takes Go 1.26 and a C compiler" % arguments[0])
    return r.stdout


def build_library():
    """Returns the path of the library. Go sees by itself that one is up to date."""
    system, machine = go("env", "GOOS", "GOARCH").split()
    folder = os.path.join(HERE, "build", "go-%s-%s" % (system, machine))
    path = os.path.join(folder, "libepsball" + {"darwin": ".dylib", "windows": ".dll"}.get(system, ".so"))
    flags = "-s -w"
    if os.path.exists(STAMP):
        flags += " -X main.stamp=" + read_stamp()
    go("build", "-buildmode=c-shared", "-trimpath", "-ldflags=" + flags, "-o", path, "./capi")
    return path


def read_stamp():
    with open(STAMP, encoding="utf-8") as f:
        return f.read().strip()


@functools.lru_cache(None)  # a build puts files beside those of Git
def go_version():
    """What Go has stamped into the library: a tag of Git, or the last one, date and commit."""
    if os.path.exists(STAMP):
        return read_stamp()
    return re.search(r"^\s*mod\s+\S+\s+(\S+)", go("version", "-m", build_library()), re.M)[1]


def python_version(version):
    """A version of Go's in the form of Python's (PEP 440): v1.2.3 is 1.2.3, v1.2.3-rc.1 is
    1.2.3rc1, a commit after them 1.2.4.dev20261128190439+g31c47dee3802. Code that is not
    in Git has no version and becomes 0.0.0.dev0."""
    if version == "(devel)":
        return "0.0.0.dev0"
    m = re.fullmatch(r"v(?P<base>\d+\.\d+\.\d+)(-(?P<pre>alpha|beta|rc)\.?(?P<n>\d+))?"
                     r"([-.](0\.)?(?P<date>\d{14})-(?P<commit>[0-9a-f]{12}))?(?P<dirty>\+dirty)?", version)
    if not m:
        sys.exit("epsball: version %s, want one such as v1.2.3 or v1.2.3-rc.1" % version)
    text = m["base"]
    if m["pre"]:
        text += {"alpha": "a", "beta": "b", "rc": "rc"}[m["pre"]] + m["n"]
    local = ["dirty"] if m["dirty"] else []
    if m["date"]:
        text += (".post0" if m["pre"] else "") + ".dev" + m["date"]
        local.insert(0, "g" + m["commit"])
    return text + ("+" + ".".join(local) if local else "")


def platform_tag(tag, system, machine):
    """The tag of a wheel that setuptools would take, checked against what Go builds for."""
    if system == "darwin":  # Python may be for two machines and an older system
        version = os.environ.get("MACOSX_DEPLOYMENT_TARGET", MACOS)
        return "macosx_%s_%s" % (version.replace(".", "_"), {"amd64": "x86_64"}.get(machine, machine))
    start = {"windows": "win"}.get(system, system)
    if not tag.startswith(start) or not tag.endswith(MACHINES.get(machine, (machine,))):
        sys.exit("epsball: Go builds for %s/%s, the wheel would be for %s: set GOOS, GOARCH and _PYTHON_HOST_PLATFORM "
                 "to the same machine" % (system, machine, tag))
    return tag


class Platform(Distribution):
    def has_ext_modules(self):
        return True  # so that the wheel is for one platform


class BuildPy(build_py):
    def run(self):
        super().run()
        folder = os.path.join(HERE if self.editable_mode else self.build_lib, "epsball")
        self.copy_file(build_library(), folder)


class BdistWheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", platform_tag(super().get_tag()[2], *go("env", "GOOS", "GOARCH").split())


class Sdist(sdist):
    def make_release_tree(self, base_dir, files):
        """Adds the Go code that the library is built from."""
        super().make_release_tree(base_dir, files)
        target = os.path.join(base_dir, "go")
        if SOURCE == PACKED:
            shutil.copytree(PACKED, target, dirs_exist_ok=True)
            return
        kinds = ("GoFiles", "CgoFiles", "CFiles", "HFiles", "SFiles", "IgnoredGoFiles", "IgnoredOtherFiles", "EmbedFiles")
        each = "".join("{{range .%s}}{{$d}}/{{.}}\n{{end}}" % k for k in kinds)
        listing = go("list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}%s{{end}}{{end}}" % each, "./capi")
        for path in [os.path.join(SOURCE, name) for name in ("go.mod", "go.sum")] + listing.splitlines():
            if path:
                copy = os.path.join(target, os.path.relpath(path, SOURCE))
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy(path, copy)
        with open(os.path.join(target, "VERSION"), "w", encoding="utf-8") as f:
            f.write(go_version() + "\n")


if __name__ == "__main__":
    # In a folder of its own, so that no module of yesterday's gets into a wheel.
    with tempfile.TemporaryDirectory() as build_base:
        setup(version=python_version(go_version()), distclass=Platform,
              cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel, "sdist": Sdist}, options={"build": {"build_base": build_base}})
