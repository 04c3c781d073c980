package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
)

// converse sends the requests to a worker and returns its replies.
func converse(t *testing.T, requests ...map[string]any) []reply {
	t.Helper()
	var in, out bytes.Buffer
	for _, q := range requests {
		require.NoError(t, json.NewEncoder(&in).Encode(q))
	}
	require.NoError(t, serve(&in, &out))
	var replies []reply
	for line := range strings.Lines(out.String()) {
		var a reply
		require.NoError(t, json.Unmarshal([]byte(line), &a), line)
		replies = append(replies, a)
	}
	require.Len(t, replies, len(requests))
	return replies
}

// files writes a small net and a batch of 3 images for it.
func files(t *testing.T) (model, data string) {
	t.Helper()
	dir := t.TempDir()
	model, data = filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "d.npz")
	a := converse(t, map[string]any{"op": "random", "preset": "mnist-small", "seed": 1, "model": model})
	require.Empty(t, a[0].Error)
	x := make([]float32, 3*28*28)
	for i := range x {
		x[i] = float32(i%7*36) / 255 // of 8 bits
	}
	f, err := os.Create(data)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, dataset.WriteNPZ(f, []dataset.NamedArray{
		{Name: "x", Shape: []int{3, 1, 28, 28}, Data: x},
		{Name: "y", Shape: []int{3}, Data: []int32{3, 1, 4}},
	}))
	return model, data
}

func TestPasses(t *testing.T) {
	model, data := files(t)
	for name, values := range map[string]int{
		"forward": 3 * 10, "pgd-step": 3 * 28 * 28, "pgd": 3, "ibp": 3, "train": 2, "smooth": 10,
	} {
		t.Run(name, func(t *testing.T) {
			open := map[string]any{
				"op": "open", "pass": name, "model": model, "data": data,
				"eps": "0.1", "step": 0.025, "steps": 2, "lr": 1e-3, "sigma": "0.25", "samples": 100,
			}
			run := map[string]any{"op": "run", "calls": 2}
			var first []byte
			for threads := 1; threads <= 2; threads++ {
				open["threads"] = threads
				a := converse(t, open, run)
				require.Empty(t, a[0].Error)
				require.Len(t, a[0].Values, 4*values)
				require.Empty(t, a[1].Error)
				require.Positive(t, a[1].Seconds)
				if threads == 1 {
					first = a[0].Values
				}
				require.Equal(t, first, a[0].Values)
			}
			if name == "train" { // the update has gone downhill
				var losses [2]float32
				require.NoError(t, binary.Read(bytes.NewReader(first), binary.LittleEndian, &losses))
				require.Less(t, losses[1], losses[0])
			}
		})
	}
}

func TestInfo(t *testing.T) {
	a := converse(t, map[string]any{"op": "info"})
	require.NotEmpty(t, a[0].ISA)
	require.NotEmpty(t, a[0].Go)
	require.Positive(t, a[0].Peak)
}

// TestWinograd: the option reaches the net, and the logits hardly change.
func TestWinograd(t *testing.T) {
	_, data := files(t)
	model := filepath.Join(t.TempDir(), "m.safetensors")
	open := map[string]any{"op": "open", "pass": "forward", "model": model, "data": data, "threads": 1}
	replies := converse(t,
		map[string]any{"op": "random", "preset": "mnist-medium", "seed": 1, "model": model}, open)
	open["winograd"] = true
	a, b := replies[1], converse(t, open)[0]
	require.False(t, a.Winograd)
	require.True(t, b.Winograd)
	var za, zb [30]float32
	for _, z := range []struct {
		to   *[30]float32
		from []byte
	}{{&za, a.Values}, {&zb, b.Values}} {
		require.NoError(t, binary.Read(bytes.NewReader(z.from), binary.LittleEndian, z.to))
	}
	for i := range za {
		require.InDelta(t, za[i], zb[i], 1e-3)
	}
}

// TestErrors: a bad request is answered, and the next one is served.
func TestErrors(t *testing.T) {
	model, data := files(t)
	open := func(change map[string]any) map[string]any {
		q := map[string]any{"op": "open", "pass": "forward", "model": model, "data": data, "threads": 1}
		for k, v := range change {
			q[k] = v
		}
		return q
	}
	for want, q := range map[string]map[string]any{
		"want info, random":        {"op": "sing"},
		"no pass is open":          {"op": "run", "calls": 1},
		`pass "fly": unknown`:      open(map[string]any{"pass": "fly"}),
		"threads: 0":               open(map[string]any{"threads": 0}),
		"no such":                  open(map[string]any{"model": filepath.Join(t.TempDir(), "no such")}),
		"not so":                   open(map[string]any{"data": filepath.Join(t.TempDir(), "not so")}),
		"epsilon":                  open(map[string]any{"eps": "one"}),
		"expected one of":          {"op": "random", "preset": "resnet", "model": model},
		"epsilon 2: want":          open(map[string]any{"pass": "ibp", "eps": "2"}),
		"lr: got 0, want above 0,": open(map[string]any{"pass": "train"}),
	} {
		a := converse(t, q, map[string]any{"op": "run", "calls": 1}, open(nil))
		require.Contains(t, a[0].Error, want)
		require.Contains(t, a[1].Error, "no pass is open")
		require.Empty(t, a[2].Error)
	}
	require.Error(t, serve(strings.NewReader("{"), &bytes.Buffer{}))
}
