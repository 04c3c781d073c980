package main

import (
	"archive/zip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pythonWith returns EPSBALL_PYTHON, or python3, and skips unless it has the modules.
func pythonWith(t *testing.T, modules ...string) string {
	t.Helper()
	python := os.Getenv("EPSBALL_PYTHON")
	if python == "" {
		python = "python3"
	}
	out, err := exec.Command(python, "-c", "import "+strings.Join(modules, ", ")).CombinedOutput()
	if err != nil {
		t.Skipf("%s has not all of %s (EPSBALL_PYTHON names another Python): %v\n%s", python, strings.Join(modules, ", "), err, out)
	}
	return python
}

// testPython runs the tests of python/tests with the epsball of folder.
func testPython(t *testing.T, python, folder, data string, numpy bool) {
	t.Helper()
	absolute, err := filepath.Abs(folder)
	require.NoError(t, err)
	t.Setenv("EPSBALL_TEST_PACKAGE", absolute)
	t.Setenv("EPSBALL_TEST_DATA", data)
	t.Setenv("EPSBALL_TEST_NUMPY", map[bool]string{true: "1", false: "0"}[numpy])
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	run(t, python, "-W", "error", "-m", "unittest", "discover", "-s", "python/tests")
}

// TestPythonWheel builds the wheel, from the checkout and from a source distribution, as
// pip does but without a network, and tests what it installs.
func TestPythonWheel(t *testing.T) {
	compiler(t)
	python := pythonWith(t, "setuptools.command.bdist_wheel", "pip", "venv")
	if exec.Command(python, "-c", "import setuptools; assert int(setuptools.__version__.split('.')[0]) >= 77").Run() != nil {
		t.Skip(python + " has setuptools before 77")
	}
	keepClean(t, "python/build", "python/epsball.egg-info")
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	dir := t.TempDir()
	wheel := func(source, to string) string {
		run(t, python, "-m", "pip", "wheel", "--no-build-isolation", "--no-index", "--no-deps", "-w", to, source)
		return only(t, to, "*.whl")
	}
	built := wheel("./python", filepath.Join(dir, "wheel"))
	files, err := zip.OpenReader(built)
	require.NoError(t, err)
	defer files.Close()
	_, err = files.Open("epsball/libepsball.so") // in a folder for this platform
	require.NoError(t, err)
	assert.Regexp(t, `^epsball-\d+\.\d+\.\d+\S*-py3-none-linux_\w+\.whl$`, filepath.Base(built))

	venv := filepath.Join(dir, "venv")
	run(t, python, "-m", "venv", "--without-pip", venv)
	inside := filepath.Join(venv, "bin", "python")
	run(t, python, "-m", "pip", "--python", inside, "install", "--no-index", "--no-deps", built)
	packages := strings.TrimSpace(run(t, inside, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"))
	data := writeExpected(t, "mnist-small-ibp-0.1", true)

	t.Run("without NumPy", func(t *testing.T) { testPython(t, inside, packages, data, false) })
	t.Run("content", func(t *testing.T) { checkWheel(t, python, inside, packages) })
	t.Run("with NumPy", func(t *testing.T) {
		folder := run(t, pythonWith(t, "numpy"), "-c", "import numpy, os; print(os.path.dirname(os.path.dirname(numpy.__file__)))")
		pth := filepath.Join(packages, "numpy_of_another.pth")
		require.NoError(t, os.WriteFile(pth, []byte(folder), 0o600))
		testPython(t, inside, packages, data, true)
		readmeLines(t, inside, data)
	})
	t.Run("source distribution", func(t *testing.T) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "sdist"), 0o700))
		script := "import os, sys; from setuptools import build_meta; os.chdir('python'); build_meta.build_sdist(sys.argv[1])"
		run(t, python, "-c", script, filepath.Join(dir, "sdist"))
		again := wheel(only(t, filepath.Join(dir, "sdist"), "*.tar.gz"), filepath.Join(dir, "again"))
		assert.Equal(t, filepath.Base(built), filepath.Base(again))
		run(t, python, "-m", "pip", "--python", inside, "install", "--no-index", "--no-deps", "--force-reinstall", again)
		checkWheel(t, python, inside, packages)
	})
	t.Run("version", func(t *testing.T) { run(t, python, "python/tests/check_setup.py") })
}

// checkWheel: what was installed has the library, types and licences, and one version.
func checkWheel(t *testing.T, python, inside, packages string) {
	t.Helper()
	for _, name := range []string{"epsball/libepsball.so", "epsball/py.typed", "epsball-*.dist-info/licenses/LICENSE", "epsball-*.dist-info/licenses/NOTICE"} {
		only(t, packages, name)
	}
	metadata := read(t, only(t, packages, "epsball-*.dist-info/METADATA"))
	library := strings.TrimSpace(run(t, inside, "-c", "import epsball; print(epsball.version())"))
	assert.Contains(t, metadata, "\nVersion: "+run(t, inside, "-c", "import epsball; print(epsball.__version__)"))
	script := "import runpy, sys; print(runpy.run_path('python/setup.py', run_name='setup')['python_version'](sys.argv[1]))"
	assert.Contains(t, metadata, "\nVersion: "+run(t, python, "-c", script, library))
}

// readmeLines runs the lines of Python in the two READMEs.
func readmeLines(t *testing.T, python, data string) {
	t.Helper()
	for _, name := range []string{"README.md", "python/README.md"} {
		blocks := matches("(?s)```python\n(.*?)```", read(t, name))
		require.NotEmpty(t, blocks, name)
		for _, block := range blocks {
			script := "import numpy\nimages = numpy.fromfile('images.f32', numpy.float32).reshape(-1, 1, 28, 28)[:4]\n" +
				"labels = numpy.fromfile('labels.i32', numpy.int32)[:4]\nimport epsball\n" + block
			c := exec.Command(python, "-c", script)
			c.Dir = data
			out, err := c.CombinedOutput()
			require.NoError(t, err, "%s\n%s", script, out)
		}
	}
}

// TestPythonLicences: a wheel is built from the folder alone, which has copies.
func TestPythonLicences(t *testing.T) {
	for _, name := range []string{"LICENSE", "NOTICE"} {
		require.Equal(t, read(t, "../"+name), read(t, "python/"+name))
	}
}

// only returns the one file that matches.
func only(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	require.Len(t, names, 1, pattern)
	return names[0]
}

// keepClean removes what a build leaves, unless it was there before.
func keepClean(t *testing.T, names ...string) {
	for _, name := range names {
		if _, err := os.Stat(name); os.IsNotExist(err) {
			t.Cleanup(func() { assert.NoError(t, os.RemoveAll(name)) })
		}
	}
}
