package main

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const maxBinary = 4_000_000 // bytes, as docs/edge.md promises for linux on amd64 and arm64

// build makes the program as docs/edge.md says.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edge.exe") // the suffix is for windows
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

var initLine = regexp.MustCompile(`(?m)^init (\S+) @.* (\d+) bytes, (\d+) allocs$`)

// TestBinary: the program as it is shipped is small and static, tells bad input by its
// exit code, and does nothing before main but make the dispatch table.
func TestBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	path := build(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	t.Logf("%d bytes", info.Size())
	if runtime.GOOS == "linux" {
		if runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" {
			require.LessOrEqual(t, info.Size(), int64(maxBinary))
		}
		f, err := elf.Open(path)
		require.NoError(t, err)
		defer f.Close()
		for _, p := range f.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "not static")
		}
	}

	cmd := exec.Command(path, "--certify", "-")
	cmd.Stdin, err = os.Open(seven)
	require.NoError(t, err)
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "class 7, margin 12.4\nproved for every picture within ε = 0.165 (linf, ibp)\n", string(out))

	out, err = exec.Command(path, "no-such-file.png").CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit))
	require.Equal(t, 2, exit.ExitCode())
	require.Contains(t, string(out), "no-such-file.png")

	cmd = exec.Command(path, "--help")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err = cmd.CombinedOutput()
	require.NoError(t, err)
	seen := false
	for _, m := range initLine.FindAllStringSubmatch(string(out), -1) {
		bytes, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		switch name := m[1]; {
		case name == "github.com/epsball/epsball/kernels":
			seen = true
			require.LessOrEqual(t, bytes, 16<<10, "%s: more than dispatch tables", name)
		case strings.HasPrefix(name, "github.com/epsball/"):
			require.Zero(t, bytes, "%s works before main", name)
		case strings.Contains(strings.SplitN(name, "/", 2)[0], "."): // other modules: x/sys/cpu asks the CPU
			require.LessOrEqual(t, bytes, 8<<10, "%s works before main", name)
		}
	}
	require.True(t, seen, "no line for kernels in:\n%s", out)
}
