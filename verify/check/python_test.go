package check_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// TestPython: the checker in Python judges the test vectors as stated, and lines made
// from them by random changes, sealed anew, as this one does.
func TestPython(t *testing.T) {
	python := os.Getenv("EPSBALL_PYTHON")
	if python == "" {
		t.Skip("EPSBALL_PYTHON names no Python")
	}
	const folder = "../../testdata/certificates/"
	said, err := exec.Command(python, folder+"check.py", folder).CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), " 0 judged otherwise")

	m, err := model.Load(folder + "residual.safetensors")
	require.NoError(t, err)
	set, err := dataset.Load(folder + "residual.npz")
	require.NoError(t, err)
	k := newChecker(t, m)
	var seeds [][]byte
	for _, name := range []string{"valid.jsonl", "invalid.jsonl"} {
		text, err := os.ReadFile(folder + name)
		require.NoError(t, err)
		for l := range bytes.Lines(text) {
			if at := bytes.LastIndex(l, []byte(`,"sum":"`)); at > 0 && len(l) < 4000 {
				seeds = append(seeds, l[:at])
			}
		}
	}
	var file bytes.Buffer
	var want []string
	r := rand.New(rand.NewPCG(6, 28))
	for range 3000 {
		body := mutated(seeds[r.IntN(len(seeds))], r)
		if bytes.ContainsAny(body, "\n") {
			continue
		}
		line := append(append(body, `,"sum":"`...), check.Seal(body)+`"}`...)
		file.Write(append(line, '\n'))
		c, err := check.Parse(line)
		switch {
		case err != nil || c.Certified && c.Index >= set.Len():
			want = append(want, "invalid")
		case !c.Certified:
			want = append(want, "nothing")
		case verdict(t, k, c, set.Image(c.Index), set.Y[c.Index]).Valid:
			want = append(want, "valid")
		default:
			want = append(want, "invalid")
		}
	}
	path := filepath.Join(t.TempDir(), "mutated.jsonl")
	require.NoError(t, os.WriteFile(path, file.Bytes(), 0o666))
	said, _ = exec.Command(python, folder+"check.py", path, "--model", folder+"residual.safetensors", "--data", folder+"residual.npz").CombinedOutput()
	verdicts := regexp.MustCompile(`(?m)^line \d+: (\w+)(.*)$`).FindAllSubmatch(said, -1)
	require.Len(t, verdicts, len(want), "%s", said)
	counts, lines := map[string]int{}, bytes.Split(file.Bytes(), []byte("\n"))
	for i, v := range verdicts {
		got := string(v[1])
		if bytes.Contains(v[2], []byte("says the same")) { // which is not of the line
			got = "valid"
		}
		counts[got]++
		require.Equal(t, want[i], got, "%s\n%.2000s", v[0], lines[i])
	}
	t.Log(counts)
	require.Greater(t, counts["valid"], 200)
	require.Greater(t, counts["invalid"], 200)
}

// mutated changes a few bytes, or a value, of a line without its seal.
func mutated(body []byte, r *rand.Rand) []byte {
	values := strings.Fields(`0 1 -0 1.0 1e0 2 3 -1 0.5 1e999 1e-999 4294967296 null true false "" "0" "l1" "l2" "linf" "real" "executed" ` +
		`"ibp" "crown" "crown-ibp" "alpha-crown" "0.02" "1/50" "adaptive" "bits:AA==" "bits:AQ==" [] {} [[1,0,0]] [0] "rows" "all"`)
	out := append([]byte{}, body...)
	for range 1 + r.IntN(2) {
		at := r.IntN(len(out))
		if from := bytes.Index(out, []byte(`"input"`)) + 75; r.IntN(4) > 0 && from < len(out) { // behind the hashes
			at = from + r.IntN(len(out)-from)
		}
		switch r.IntN(7) {
		case 0:
			out[at] ^= 1 << r.IntN(8)
		case 1:
			out = append(out[:at:at], out[at+1:]...)
		case 2:
			out[at] = `0123456789eE.-+/:,"{}[]\`[r.IntN(23)]
		case 3, 4: // another digit or letter
			if c := out[at]; c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' {
				out[at] = c - c%8 + byte(r.IntN(8))
			}
		default: // one of the values behind a key
			spans := regexp.MustCompile(`":("[^"]*"|[^,\[{]+)`).FindAllSubmatchIndex(out, -1)
			if len(spans) == 0 {
				continue
			}
			s := spans[r.IntN(len(spans))]
			out = append(append(out[:s[2]:s[2]], values[r.IntN(len(values))]...), out[s[3]:]...)
		}
	}
	return out
}
