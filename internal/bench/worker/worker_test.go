package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// TestMain lets a test start this program as a worker.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		_ = Serve(os.Stdin, os.Stdout, "1.2")
		return
	}
	os.Exit(m.Run())
}

const classes = 10

func smallModel(t *testing.T) *model.Model {
	m, err := model.Random(&model.Architecture{Name: "small", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}, {Kind: model.ReLU}, {Kind: model.FC, Out: classes},
	}}, 1)
	require.NoError(t, err)
	return m
}

// TestServe: bad requests are answered, and a good one after them served.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	path, images := filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "images")
	require.NoError(t, smallModel(t).Save(path))
	require.NoError(t, os.WriteFile(images, AppendFloats(nil, make([]float32, 2*36)), 0o600))
	open := Request{Op: "open", Model: path, Images: images, Shape: [3]int{1, 6, 6}, Threads: 1}
	with := func(change func(*Request)) Request { q := open; change(&q); return q }
	requests := []Request{
		{Op: "run", Calls: 1},
		{Op: "sing"},
		with(func(q *Request) { q.Model = filepath.Join(dir, "none") }),
		with(func(q *Request) { q.Images = filepath.Join(dir, "nothing") }),
		with(func(q *Request) { q.Shape[0] = 5 }),
		open, open,
		{Op: "run"},
		{Op: "run", Calls: 3, Warm: 2},
	}
	var in, out bytes.Buffer
	for _, q := range requests {
		require.NoError(t, json.NewEncoder(&in).Encode(q))
	}
	require.NoError(t, Serve(&in, &out, "1.2"))
	var replies []Reply
	for line := range strings.Lines(out.String()) {
		var a Reply
		require.NoError(t, json.Unmarshal([]byte(line), &a))
		replies = append(replies, a)
	}
	require.Len(t, replies, 1+len(requests))
	for i, want := range []string{"", "open once, then run", "open once, then run", "none", "nothing", "want images of", "", "open once, then run", "open once, then run", ""} {
		if want == "" {
			assert.Empty(t, replies[i].Error)
		} else {
			assert.Contains(t, replies[i].Error, want)
		}
	}
	assert.Equal(t, "1.2", replies[0].Version)
	assert.Len(t, replies[6].Values, 4*2*classes)
	assert.Len(t, replies[9].NS, 3)
	assert.Error(t, Serve(strings.NewReader("{"), &out, "1.2"))
}

// A worker in a process of its own says hello, answers, and ends when it is told.
func TestProcess(t *testing.T) {
	p, err := Start(context.Background(), []string{os.Args[0], "serve"})
	require.NoError(t, err)
	defer p.Close()
	assert.Equal(t, "1.2", p.Hello.Version)
	assert.False(t, p.Ready.Before(p.Started))
	assert.Positive(t, p.PID())
	_, err = p.Ask(&Request{Op: "sing"})
	require.ErrorContains(t, err, "open once, then run")
	p.Close()
	_, err = p.Ask(&Request{Op: "sing"})
	require.ErrorContains(t, err, "ended")

	_, err = Start(context.Background(), []string{os.Args[0], "-test.nosuchflag"})
	require.Error(t, err)
	_, err = Start(context.Background(), []string{filepath.Join(t.TempDir(), "none")})
	require.Error(t, err)
}

func TestTail(t *testing.T) {
	var tail Tail
	assert.Empty(t, tail.LastLine())
	for range 3 {
		_, err := tail.Write([]byte(strings.Repeat("x", 3000) + "\n"))
		require.NoError(t, err)
	}
	_, err := tail.Write([]byte("the end \n\n"))
	require.NoError(t, err)
	assert.Equal(t, "the end", tail.LastLine())
	assert.LessOrEqual(t, len(tail.b), 4096)
}
