package mutate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// treeSeed is a certificate by branch and bound, the first one of the test vectors.
func treeSeed(t *testing.T) seed {
	folder := filepath.Join("..", "..", "testdata", "certificates")
	m, err := model.Load(filepath.Join(folder, "residual.safetensors"))
	require.NoError(t, err)
	set, err := dataset.Load(filepath.Join(folder, "residual.npz"))
	require.NoError(t, err)
	checker, err := check.New(m)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(folder, "trees.jsonl"))
	require.NoError(t, err)
	lines := bytes.SplitAfter(text, []byte("\n"))
	n := 1
	for check.IsStep(lines[n]) {
		n++
	}
	require.Greater(t, n, 4)
	return seed{
		"certificate-trees", 8, "c.jsonl",
		map[string][]byte{"c.jsonl": bytes.Join(lines[:n], nil)},
		[]mender{stepInside, stepInside},
		func(dir string) (int64, error) {
			return 0, followTrees(filepath.Join(dir, "c.jsonl"), checker, set.Image(0))
		},
		func(err error, _ string) bool { return err.Error() != "" }, // the command adds the file and the line
	}
}

// stepInside damages a line behind the first one, and sums it anew.
func stepInside(r *rand.Rand, b []byte) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	at := 1 + r.IntN(max(1, len(lines)-1))
	if at >= len(lines) {
		return nil
	}
	if lines[at] = certificateInside(r, lines[at]); lines[at] == nil {
		return nil
	}
	return bytes.Join(lines, nil)
}

// followTrees reads a file as the command does, up to what is wrong with it.
func followTrees(path string, checker *check.Checker, x []float32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := check.NewLines(f)
	line, err := lines.Next()
	if err != nil {
		return err
	}
	c, err := check.Parse(line)
	if err != nil {
		return err
	}
	p, err := checker.Begin(c, x, check.Unknown)
	if err != nil {
		return err
	}
	for !p.Ended() {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		s, err := check.ParseStep(line)
		if err != nil {
			return err
		}
		if err := p.Step(context.Background(), s); err != nil {
			return err
		}
	}
	if v := p.Verdict(); !v.Valid {
		return errors.New(v.Reason)
	}
	return nil
}
