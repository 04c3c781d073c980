package runlog

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestKilledAttack: whatever a kill leaves of the file, the attack goes on to the same
// result, and the images that were there are not attacked again.
func TestKilledAttack(t *testing.T) {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{
		{Kind: model.FC, Out: 8}, {Kind: model.ReLU}, {Kind: model.FC, Out: 4},
	}}, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(2)
	defer pool.Close()
	const images = 20
	x, y := make([]float32, images*9), make([]int, images)
	s := kernels.NewStream(3, 0, 0)
	for i := range x {
		x[i] = s.Float32()
	}
	for i := range y {
		y[i] = i % 4
	}
	attacker, err := attack.New(n, attack.Config{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}, Method: attack.PGD{Steps: 5, Seed: 1}}, pool)
	require.NoError(t, err)
	var want attack.Result
	ctx := context.Background()
	require.NoError(t, attacker.Run(ctx, attack.Batch{X: x, Y: y, First: 7}, &want))

	of := Of{Model: m.Hash(), Data: "d", Run: "r", First: 7}
	path := filepath.Join(t.TempDir(), "a.journal")
	log := NewLog(path, of, x, y)
	log.Every = 0
	got, err := log.Run(ctx, attacker)
	require.NoError(t, err)
	require.Equal(t, &want, got)
	require.NoError(t, log.Keep())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, images, bytes.Count(whole, []byte("\n")))
	for cut := 0; cut <= len(whole); cut += 401 {
		for _, left := range [][]byte{whole[:cut], append(bytes.Clone(whole[:cut]), 0, 0, 0)} {
			require.NoError(t, os.WriteFile(path, left, 0o666))
			log := NewLog(path, of, x, y)
			log.Every = 0
			done, err := log.Resume()
			require.NoError(t, err, "cut at %d", cut)
			require.Equal(t, bytes.Count(left, []byte("\n")), done)
			got, err := log.Run(ctx, attacker)
			require.NoError(t, err)
			require.Equal(t, &want, got)
			require.NoError(t, log.Keep())
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Len(t, after, len(whole))
			log = NewLog(path, of, x, y)
			done, err = log.Resume()
			require.NoError(t, err)
			require.Equal(t, images, done, "each image once")
			log.Discard()
			require.NoFileExists(t, path)
		}
	}

	// What does not belong is named.
	for want, change := range map[string]func(of *Of, y []int){
		`line 1: model: got "`:       func(of *Of, _ []int) { of.Model = "x" },
		`line 1: data: got "d"`:      func(of *Of, _ []int) { of.Data = "x" },
		`line 1: run: got "r"`:       func(of *Of, _ []int) { of.Run = "x" },
		"line 1: index: got":         func(of *Of, _ []int) { of.First = 900 },
		"not the image or the label": func(_ *Of, y []int) { y[0], y[1] = y[1], y[0] },
	} {
		require.NoError(t, os.WriteFile(path, whole, 0o666))
		of, y := of, append([]int{}, y...)
		change(&of, y)
		_, err := NewLog(path, of, x, y).Resume()
		require.ErrorContains(t, err, want)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, whole, after)
	}
	flipped := bytes.Clone(whole)
	flipped[300] ^= 1
	require.NoError(t, os.WriteFile(path, flipped, 0o666))
	_, err = NewLog(path, of, x, y).Resume()
	require.ErrorContains(t, err, "line 1: sum")
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(whole), whole[:bytes.IndexByte(whole, '\n')+1]...), 0o666))
	_, err = NewLog(path, of, x, y).Resume()
	require.ErrorContains(t, err, "is there already")
}
