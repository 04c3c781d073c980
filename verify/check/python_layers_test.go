package check_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// TestPythonLayers: on random networks of all kinds of layers the checker in Python, whose
// arithmetic is exact but for curves, proves the same margins.
func TestPythonLayers(t *testing.T) {
	python := os.Getenv("EPSBALL_PYTHON")
	if python == "" {
		t.Skip("EPSBALL_PYTHON names no Python")
	}
	r := rand.New(rand.NewPCG(11, 9))
	compared := 0
	for n, a := range layered() {
		m := drawModel(t, a, uint64(n), r)
		k := newChecker(t, m)
		const images = 6
		x := make([]float32, images*a.Input.Size())
		for i := range x {
			x[i] = r.Float32()
		}
		var file bytes.Buffer
		var want []check.Verdict
		for i := range images {
			p := x[i*a.Input.Size():][:a.Input.Size()]
			c := claim(m, p, 0, []string{"linf", "l2", "l1"}[r.IntN(3)], []string{"0.01", "1/10", "0.3"}[r.IntN(3)], methods[(n+i)%4])
			c.Index, c.Level = i, []string{check.Real, check.Executed}[r.IntN(2)]
			c.Label, c.Rows, c.Offsets = -1, [][]float64{make([]float64, a.Classes())}, []float64{float64(r.IntN(2)) * 5}
			for j := range c.Rows[0] {
				c.Rows[0][j] = r.NormFloat64()
			}
			// At level real a bound may be 0 exactly, or below by rounding: only adaptive
			// slopes do not mind.
			if c.Method != check.IBP && c.Level == check.Executed {
				c.Slopes = randomSlopes(m, c.Method, 1, r.IntN(3), r)
			}
			want = append(want, verdict(t, k, c, p, check.Unknown))
			file.Write(append(line(t, c), '\n'))
		}
		folder := t.TempDir()
		path := func(name string) string { return filepath.Join(folder, name) }
		require.NoError(t, os.WriteFile(path("lines.jsonl"), file.Bytes(), 0o666))
		require.NoError(t, os.WriteFile(path("m.safetensors"), modelFile(m), 0o666))
		require.NoError(t, os.WriteFile(path("x.npz"), imageFile(t, x, images), 0o666))
		said, _ := exec.Command(python, "../../testdata/certificates/check.py", path("lines.jsonl"), "--model", path("m.safetensors"), "--data", path("x.npz")).CombinedOutput()
		lines := regexp.MustCompile(`(?m)^line \d+: (\w+) (\S*)`).FindAllSubmatch(said, -1)
		require.Len(t, lines, images, "%s", said)
		for i, v := range want {
			got, err := strconv.ParseFloat(string(lines[i][2]), 64)
			if math.IsInf(v.Margin, -1) {
				require.Error(t, err, "%s: %s\n%s", a.Name, lines[i][0], v.Reason)
				continue
			}
			require.NoError(t, err, "%s: %s", a.Name, said)
			require.Equal(t, v.Valid, string(lines[i][1]) == "valid", "%s: %s", a.Name, lines[i][0])
			slack := 1e-15 * math.Abs(got)
			if curved(m) { // whose tangent may be a little elsewhere
				slack = 1e-10 * (1 + math.Abs(got))
			}
			require.LessOrEqual(t, v.Margin, got+slack, "%s: %s", a.Name, lines[i][0])
			require.InDelta(t, got, v.Margin, 1e-7*(1+math.Abs(got)), "%s: %s\n%s", a.Name, lines[i][0], bytes.Split(file.Bytes(), []byte("\n"))[i])
			compared++
		}
	}
	t.Log(compared)
	require.Greater(t, compared, 300)
}

// modelFile is a model as docs/model-format.md describes files.
func modelFile(m *model.Model) []byte {
	var header, data []byte
	header = fmt.Appendf(nil, `{"__metadata__":{"format":"epsball","version":"4","architecture":%q}`, m.Arch.CanonicalJSON())
	for i := range m.Params {
		p := &m.Params[i]
		for k, v := range [][]float32{p.W, p.B, p.Mean, p.Var} {
			if len(v) == 0 {
				continue
			}
			begin := len(data)
			for _, w := range v {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(w))
			}
			name := []string{"weight", "bias", "running_mean", "running_var"}[k]
			header = fmt.Appendf(header, `,"layers.%d.%s":{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}`, i, name, len(v), begin, len(data))
		}
	}
	header = append(header, '}')
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), data...)
}

// imageFile is an .npz of images of label 0.
func imageFile(t *testing.T, x []float32, images int) []byte {
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	array := func(name, kind string, values any, shape string) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name})
		require.NoError(t, err)
		head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }\n", kind, shape)
		_, err = w.Write(append([]byte("\x93NUMPY\x01\x00"), byte(len(head)), byte(len(head)>>8)))
		require.NoError(t, err)
		_, err = w.Write([]byte(head))
		require.NoError(t, err)
		require.NoError(t, binary.Write(w, binary.LittleEndian, values))
	}
	array("x.npy", "<f4", x, fmt.Sprintf("%d, %d", images, len(x)/images))
	array("y.npy", "<i8", make([]int64, images), fmt.Sprintf("%d,", images))
	require.NoError(t, z.Close())
	return file.Bytes()
}
