package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadme runs the commands of README.md as they stand there, each block in a folder
// of its own, but that Go builds at the root of the repository. Git ignores what they
// write.
func TestReadme(t *testing.T) {
	compiler(t)
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	blocks := matches("(?s)```sh\n(.*?)```", read(t, "README.md"))
	require.Len(t, blocks, 4) // shared, static, C++, Python
	build := regexp.MustCompile(`^go build (.*) -o (libepsball\.\w+) \./capi$`)
	for i, block := range blocks {
		t.Run([]string{"shared", "static", "c++", "python"}[i], func(t *testing.T) {
			for _, c := range []struct{ word, program string }{{"c++", "c++"}, {"python3", "python3"}, {"cc", "cc"}} {
				if strings.Contains(block, "\n"+c.word+" ") && lacks(c.program) {
					t.Skip("no " + c.program)
				}
			}
			dir := t.TempDir()
			for _, name := range []string{"capi", "examples"} {
				require.NoError(t, os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)))
			}
			script := "set -e\n"
			for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
				m := build.FindStringSubmatch(line)
				if m == nil {
					script += line + "\n"
					continue
				}
				c := exec.Command("go", append(append([]string{"build"}, strings.Fields(m[1])...), "-o", filepath.Join(dir, m[2]), "./capi")...)
				c.Dir = root
				out, err := c.CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			c := exec.Command("sh", "-c", script)
			c.Dir, c.Env = dir, append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
			out, err := c.CombinedOutput()
			require.NoError(t, err, "%s\n%s", script, out)
			require.Contains(t, read(t, "README.md"), "`"+strings.TrimSpace(string(out))+"`")
			ignored(t, root, dir)
		})
	}
}

// ignored: files of dir would be ignored at the root of the repository.
func ignored(t *testing.T, root, dir string) {
	t.Helper()
	if exec.Command("git", "-C", root, "rev-parse").Run() != nil {
		return // a copy without Git's folder, or no Git
	}
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range list {
		if !f.Type().IsRegular() {
			continue
		}
		require.NoError(t, exec.Command("git", "-C", root, "check-ignore", "-q", "--no-index", f.Name()).Run(), "git does not ignore %s", f.Name())
	}
}
