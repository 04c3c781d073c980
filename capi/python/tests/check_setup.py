"""Checks how setup.py names versions and platforms. Needs setuptools."""

import os
import runpy

path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "setup.py")
setup = runpy.run_path(path, run_name="setup")


def fails(f, *arguments):
    try:
        got = f(*arguments)
    except SystemExit:
        return
    raise AssertionError("%s%r is %s, want an error" % (f.__name__, arguments, got))


# In the order of time, which pip must see as well.
VERSIONS = [
    ("(devel)", "0.0.0.dev0"),
    ("v0.0.0-20261128190439-31c47dee3802", "0.0.0.dev20261128190439+g31c47dee3802"),
    ("v0.0.0-20261129190439-31c47dee3802+dirty", "0.0.0.dev20261129190439+g31c47dee3802.dirty"),
    ("v0.1.0-rc.1", "0.1.0rc1"),
    ("v0.1.0-rc.1.0.20261201190439-31c47dee3802", "0.1.0rc1.post0.dev20261201190439+g31c47dee3802"),
    ("v0.1.0-rc.2", "0.1.0rc2"),
    ("v0.1.0", "0.1.0"),
    ("v0.1.0+dirty", "0.1.0+dirty"),
    ("v0.1.1-0.20261202190439-31c47dee3802", "0.1.1.dev20261202190439+g31c47dee3802"),
    ("v0.1.1", "0.1.1"),
]
for go, python in VERSIONS:
    got = setup["python_version"](go)
    assert got == python, (go, got, python)
try:
    from setuptools.extern.packaging.version import Version
except ImportError:
    from packaging.version import Version
order = [Version(python) for _, python in VERSIONS]
assert order == sorted(order), order
for wrong in ("", "1.2.3", "v1.2", "v1.2.3-dev"):
    fails(setup["python_version"], wrong)

os.environ.pop("MACOSX_DEPLOYMENT_TARGET", None)
tag = setup["platform_tag"]
for arguments, want in ((("linux_x86_64", "linux", "amd64"), "linux_x86_64"), (("linux_aarch64", "linux", "arm64"), "linux_aarch64"),
                        (("win_amd64", "windows", "amd64"), "win_amd64"), (("win32", "windows", "386"), "win32"),
                        (("macosx_10_9_universal2", "darwin", "arm64"), "macosx_12_0_arm64"),
                        (("macosx_11_0_x86_64", "darwin", "amd64"), "macosx_12_0_x86_64")):
    assert tag(*arguments) == want, arguments
fails(tag, "linux_x86_64", "linux", "arm64")
fails(tag, "linux_i686", "linux", "amd64")
fails(tag, "linux_x86_64", "windows", "amd64")
