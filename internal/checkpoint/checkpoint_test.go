package checkpoint

import (
	"math"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// TestRoundTrip: all of a state comes back.
func TestRoundTrip(t *testing.T) {
	inf := float32(math.Inf(1))
	of := Of{"v1", "00", "11"}
	path := filepath.Join(t.TempDir(), "c")
	for _, st := range []*audit.DecideState{
		{Stage: 2, Open: []int{1, 4}, Low: inf, Search: map[int]*branch.State{}},
		{Stage: 4, Open: []int{7, 8}, Low: 0.25, Witness: []float32{1, 0}, Question: 3, Search: map[int]*branch.State{7: {
			Options: "steps=1", Low: -inf, Parts: 12, Depth: 3, Budget: 64, Node: 5, Better: true, Cells: []byte{4, 5},
			Bounds:  []verify.Interval{{Lower: []float32{-inf, -1}, Upper: []float32{inf, math.SmallestNonzeroFloat32}}},
			Trees:   []branch.SavedTree{{Targets: []verify.Target{{Row: 1}, {Row: 2}}, Left: 9, Parts: []byte{1, 2, 3}}},
			Neurons: []branch.SavedTree{{Targets: []verify.Target{{Row: -1, Node: 5, Neuron: 6, Minus: true}}, Left: 1, Parts: []byte{255}}},
		}, 8: {Options: "steps=2", Low: inf, Share: true}}},
		{Stage: 4, Open: []int{2}, Low: 1, Record: true, Search: map[int]*branch.State{2: {
			Low: -1, Budget: 16, Record: []byte{0, 0}, Trees: []branch.SavedTree{{Targets: []verify.Target{{Row: 1}}, Parts: []byte{1}, Closed: []byte{9}}},
		}}, Proofs: map[int]*branch.Record{1: {Cuts: []branch.Cut{{Input: 3, At: 0.5}, {Input: -1}, {Input: -1}}}}},
	} {
		require.NoError(t, Write(path, of, st))
		got, err := Read(path, of)
		require.NoError(t, err)
		require.Equal(t, st, got)
	}
}

// TestCut: of a file that is cut short anywhere, or has more, nothing is read.
func TestCut(t *testing.T) {
	of := Of{"v1", "00", "11"}
	path := filepath.Join(t.TempDir(), "c")
	require.NoError(t, Write(path, of, &audit.DecideState{Open: []int{0}}))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := range data {
		_, err := Decode(data[:n], of)
		require.Error(t, err, n)
	}
	for _, more := range []string{"\n", " ", "x", "{}\n", "\x00"} {
		_, err := Decode(append(data[:len(data):len(data)], more...), of)
		require.Error(t, err, more)
	}
	_, err = Decode(data, of)
	require.NoError(t, err)
}

// TestHash: whatever a question asks is in its hash.
func TestHash(t *testing.T) {
	question := func() []audit.Question {
		return []audit.Question{{
			Box:    audit.ExactBox{Lo: []*big.Rat{big.NewRat(1, 3), big.NewRat(0, 1)}, Hi: []*big.Rat{big.NewRat(1, 2), big.NewRat(1, 1)}},
			Proves: &net.Property{C: []float32{1, -1}, D: []float32{0.5}}, Refutes: &net.Property{C: []float32{1, -1}, D: []float32{0.5}},
		}}
	}
	seen := map[string]int{Hash(question()): -1}
	for i, change := range []func(q *audit.Question){
		func(q *audit.Question) { q.Box.Lo[0] = big.NewRat(1, 4) },
		func(q *audit.Question) { q.Box.Hi[1] = big.NewRat(2, 1) },
		func(q *audit.Question) { q.Proves.C[1] = -2 },
		func(q *audit.Question) { q.Proves.D[0] = 0.25 },
		func(q *audit.Question) { q.Proves.D = nil },
		func(q *audit.Question) { q.Proves.Clauses = []int{1} },
		func(q *audit.Question) { q.Refutes.C[0] = 3 },
		func(q *audit.Question) { q.Refutes.Clauses = []int{1} },
	} {
		q := question()
		change(&q[0])
		h := Hash(q)
		require.NotContains(t, seen, h, i)
		seen[h] = i
	}
	require.NotContains(t, seen, Hash(append(question(), question()...)))
	require.Equal(t, Hash(question()), Hash(question()))
}
