package check_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// TestPythonTrees: the checker in Python judges proofs by branch and bound, and what changes
// make of them, as this one does, and proves the same margins.
func TestPythonTrees(t *testing.T) {
	python := os.Getenv("EPSBALL_PYTHON")
	if python == "" {
		t.Skip("EPSBALL_PYTHON names no Python")
	}
	r := rand.New(rand.NewPCG(31, 41))
	counts := map[string]int{}
	for _, s := range proofs(t) {
		var file bytes.Buffer
		var want []check.Verdict
		add := func(c *check.Certificate, steps [][]byte) {
			file.Write(append(line(t, c), '\n'))
			for _, b := range steps {
				file.Write(append(b, '\n'))
			}
			want = append(want, follow(t, s.k, c, s.x, check.Unknown, steps...))
		}
		add(s.claim, s.steps)
		for n := range 40 {
			steps := stepsOf(t, s.steps)
			for range 1 + r.IntN(2) {
				steps = mutateSteps(steps, r)
			}
			steps = toEnd(steps)
			c := *s.claim
			c.Offsets = []float64{c.Offsets[0] + float64(n%5)*1e-3 + float64(n)*1e-9} // another claim each time
			again := byTrees(t, &c)
			add(again, of(t, again, steps))
		}
		pythonJudges(t, python, s.m, s.x, file.Bytes(), want, counts)
	}
	t.Log(counts)
	require.Greater(t, counts["valid"], 10)
	require.Greater(t, counts["invalid"], 60)
}

// TestPythonRegions is the same for certificates of properties.
func TestPythonRegions(t *testing.T) {
	python := os.Getenv("EPSBALL_PYTHON")
	if python == "" {
		t.Skip("EPSBALL_PYTHON names no Python")
	}
	r := rand.New(rand.NewPCG(31, 42))
	counts := map[string]int{}
	for _, s := range regions(t, 3) {
		var file bytes.Buffer
		var want []check.Verdict
		add := func(c *check.Certificate, steps [][]byte) {
			file.Write(append(line(t, c), '\n'))
			for _, b := range steps {
				file.Write(append(b, '\n'))
			}
			want = append(want, follow(t, s.k, c, nil, 0, steps...))
		}
		add(s.claim, s.steps)
		for n := range 12 {
			steps := stepsOf(t, s.steps)
			for range 1 + r.IntN(2) {
				steps = mutateSteps(steps, r)
			}
			steps = toEnd(steps)
			c := *s.claim
			c.Offsets = slices.Clone(c.Offsets)
			c.Offsets[0] += float64(n%4)*1e-3 + float64(n+1)*1e-9
			again := reread(t, &c)
			add(again, of(t, again, steps))
		}
		pythonJudges(t, python, s.Model, nil, file.Bytes(), want, counts)
	}
	t.Log(counts)
	require.Greater(t, counts["valid"], 5)
	require.Greater(t, counts["invalid"], 20)
}

// toEnd returns the steps up to the end: in a file, nothing after it belongs to the certificate.
func toEnd(steps []fields) []fields {
	if end := slices.IndexFunc(steps, func(f fields) bool { return f["end"] != nil }); end >= 0 {
		return steps[:end+1]
	}
	return steps
}

// pythonJudges holds verdicts of the checker in Python on a file against this one's.
func pythonJudges(t *testing.T, python string, m *model.Model, x []float32, file []byte, want []check.Verdict, counts map[string]int) {
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	require.NoError(t, os.WriteFile(path("lines.jsonl"), file, 0o666))
	require.NoError(t, os.WriteFile(path("m.safetensors"), modelFile(m), 0o666))
	args := []string{"../../testdata/certificates/check.py", path("lines.jsonl"), "--model", path("m.safetensors")}
	if x != nil {
		require.NoError(t, os.WriteFile(path("x.npz"), imageFile(t, x, 1), 0o666))
		args = append(args, "--data", path("x.npz"))
	}
	said, _ := exec.Command(python, args...).CombinedOutput()
	lines := regexp.MustCompile(`(?m)^line \d+: (\w+) (.*)$`).FindAllSubmatch(said, -1)
	require.GreaterOrEqual(t, len(lines), len(want), "%s", said)
	n := 0
	for _, l := range lines { // steps that belong to nothing have lines of their own
		if n == len(want) || bytes.Contains(l[2], []byte("of: unknown")) || bytes.Contains(l[2], []byte("model: missing")) || bytes.Contains(l[2], []byte("of: not of a region")) {
			continue
		}
		v := want[n]
		n++
		counts[string(l[1])]++
		require.Equal(t, v.Valid, string(l[1]) == "valid", "%s: %s\n%s", m.Arch.Name, l[0], v.Reason)
		if v.Valid {
			got, err := strconv.ParseFloat(string(bytes.TrimSpace(l[2])), 64)
			require.NoError(t, err)
			require.InDelta(t, got, v.Margin, 1e-9*(1+math.Abs(got)))
			require.LessOrEqual(t, v.Margin, got+1e-15*math.Abs(got))
		}
	}
	require.Equal(t, len(want), n, "%s", said)
}
