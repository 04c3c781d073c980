package bab_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// TestResume: wherever a file is cut off, what is left when it goes on are whole
// certificates, and those that it has are named.
func TestResume(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 7))
	fc, relu := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }, model.Layer{Kind: model.ReLU}
	a := &model.Architecture{Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{fc(3), relu, fc(2)}}
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	q := ask(m, r, "0.1", net.Linf, 0.2)
	rec := &branch.Record{}
	res, err := branch.Prove(t.Context(), verifier(t, m, 1), verify.Around(q.ball, q.x), q.p, branch.Options{Record: rec})
	require.NoError(t, err)
	require.True(t, res.Proved)
	path := filepath.Join(t.TempDir(), "c.jsonl")
	f, err := cert.Create(path)
	require.NoError(t, err)
	open := *q.claim
	open.Method = check.CROWN
	for i := range 4 { // short lines, and blocks
		c := open
		if c.Index = i; i%2 == 0 {
			require.NoError(t, f.Append(&c))
			continue
		}
		lines, err := bab.Lines(t.Context(), checker(t, m), &c, q.x, rec, 1)
		require.NoError(t, err)
		require.NoError(t, f.AppendLines(lines))
	}
	require.NoError(t, f.Close())
	all, err := os.ReadFile(path)
	require.NoError(t, err)
	whole, size := []int{0}, 0 // where certificates end
	for line := range bytes.SplitAfterSeq(all, []byte("\n")) {
		size += len(line)
		if bytes.Contains(line, []byte(`"version":1`)) || bytes.Contains(line, []byte(`"end":true`)) {
			whole = append(whole, size)
		}
	}
	require.Len(t, whole, 5)
	for cut := 0; cut <= len(all); cut += 1 + r.IntN(40) {
		require.NoError(t, os.WriteFile(path, all[:cut], 0o666))
		f, done, err := cert.Resume(path, &open)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		n := 0
		for n+1 < len(whole) && whole[n+1] <= cut {
			n++
		}
		require.Equal(t, all[:whole[n]], got)
		require.Len(t, done, n)
		for i := range n {
			require.Equal(t, i%2 == 1, done[i].HasSteps())
		}
	}
	// A step less, with others after it: not what a kill leaves.
	lines := bytes.SplitAfter(all, []byte("\n"))
	require.NoError(t, os.WriteFile(path, append(append([]byte{}, lines[0]...), bytes.Join(append([][]byte{lines[1]}, lines[3:]...), nil)...), 0o666))
	_, _, err = cert.Resume(path, &open)
	require.ErrorContains(t, err, "line 3: step: got 2")
	c := open
	c.Method, c.Certified = check.BaB, true
	f, err = cert.Replace(path)
	require.NoError(t, err)
	require.ErrorContains(t, f.Append(&c), "AppendLines")
	require.NoError(t, f.Close())
}
