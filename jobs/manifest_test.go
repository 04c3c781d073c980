package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/journal"
)

func TestManifest(t *testing.T) {
	b := newBench(t, 10)
	for _, task := range someTasks() {
		m := b.manifest(t, task, 3)
		line, err := m.Encode()
		require.NoError(t, err)
		back, err := DecodeManifest(bytes.NewReader(line))
		require.NoError(t, err)
		require.Equal(t, m, back)
		require.Equal(t, []Range{{5, 3}, {8, 3}, {11, 3}, {14, 1}}, []Range{back.Range(0), back.Range(1), back.Range(2), back.Range(3)})
		for i := range back.Shards() {
			s := b.subject(back, i)
			require.NoError(t, back.FitsData(i, s.X, s.Y))
		}
		require.ErrorContains(t, back.FitsData(0, b.x[size:4*size], b.y[1:4]), "images 5 … 7 of d.npz")
		for cut := range len(line) {
			_, err := DecodeManifest(bytes.NewReader(line[:cut]))
			require.Error(t, err)
		}
		for at := 0; at < len(line); at += 3 {
			bad := bytes.Clone(line)
			bad[at] ^= 1
			_, err := DecodeManifest(bytes.NewReader(bad))
			require.Error(t, err, "%d", at)
		}
	}
	require.False(t, (&Certify{Method: "bab", Timeout: 1}).Repeatable())
	m := b.manifest(t, someTasks()["ibp"], 3)
	require.NoError(t, m.FitsProgram(program))
	require.NoError(t, m.FitsModel("x", b.m.Hash()))
	require.ErrorContains(t, m.FitsProgram("v2"), "planned with epsball v1.2.3, but this is v2")
	require.ErrorContains(t, m.FitsModel("x", strings.Repeat("0", 64)), "model x: hash: got 000000000000…")
	s := Folder(t.TempDir())
	require.NoError(t, Plan(context.Background(), s, m))
	require.ErrorContains(t, Plan(context.Background(), s, m), "there is a job already")
	back, err := ReadManifest(context.Background(), s)
	require.NoError(t, err)
	require.Equal(t, m, back)
	_, err = ReadManifest(context.Background(), Folder(t.TempDir()))
	require.ErrorContains(t, err, "no manifest.json there")
}

// TestHostileManifest: one that is sealed, so that only its fields give it away.
func TestHostileManifest(t *testing.T) {
	b := newBench(t, 10)
	good := b.manifest(t, someTasks()["radius"], 3)
	attack := b.manifest(t, someTasks()["attack"], 3)
	smooth := b.manifest(t, someTasks()["decide"], 3)
	for _, c := range []struct {
		of         *Manifest
		key, value string
		want       string
	}{
		{good, "version", `2`, "version: got 2, want 1"},
		{good, "certificate", `9`, "certificate: got version 9"},
		{good, "program", `""`, "program: got"},
		{good, "program", `"` + strings.Repeat("v", 5000) + `"`, "program: got"},
		{good, "kind", `"shell"`, `kind: got "shell", want one of attack, certify, smooth`},
		{good, "task", `{"method":"ibp","command":"x"}`, `task: json: unknown field "command"`},
		{good, "task", `null`, "task: method"},
		{good, "task", `[]`, "task: "},
		{good, "task.method", `"magic"`, "task: method: got"},
		{good, "task.norm", `"l0"`, "task: norm: got"},
		{good, "task.norm", `"l1"`, "task: attack_steps: got"},
		{good, "task.iterations", `-1`, "task: iterations: got -1"},
		{good, "task.timeout", `5`, "task: timeout: got 5"},
		{good, "task.timeout", `1e999`, "task: "},
		{good, "task.attack_steps", `2000000000`, "task: attack_steps: got 2000000000"},
		{good, "task.eps", `"0.1"`, "task: eps: want that, or"},
		{good, "task.resolution", `"0"`, "task: resolution: got 0"},
		{good, "task.resolution", `"1/1000000000000"`, "task: resolution: "},
		{good, "task.resolution", `"-1"`, "task: resolution: got"},
		{good, "task.max_radius", `"NaN"`, "task: max_radius: got"},
		{good, "task.max_radius", `"2"`, "task: max_radius: got"},
		{good, "task.max_radius", `""`, "task: max_radius: want it"},
		{attack, "task.method", `"universal"`, "task: method: got universal"},
		{attack, "task.method", `"pgd:steps=-1"`, "task: method: "},
		{attack, "task.norm", `"l7"`, "task: norm: got"},
		{attack, "task.eps", `"-0.1"`, "task: eps: got"},
		{attack, "task.eps", `"1e400"`, "task: eps: got"},
		{smooth, "task.sigma", `""`, "task: sigma: got"},
		{smooth, "task.sigma", `"0"`, "task: sigma: got 0"},
		{smooth, "task.sigma", `"5"`, "task: sigma: got 5"},
		{smooth, "task.radius", `"-1"`, "task: radius: got"},
		{smooth, "task.radius", `"0"`, "task: radius: got"},
		{smooth, "task.samples", `0`, "task: samples: got 0"},
		{smooth, "task.samples", `1000000000000`, "task: samples: got 1000000000000"},
		{smooth, "task.select", `0`, "task: select: got 0"},
		{smooth, "task.select", `-1`, "task: select: got -1"},
		{smooth, "task.alpha", `0`, "task: alpha: got 0"},
		{smooth, "task.alpha", `0.6`, "task: alpha: got 0.6"},
		{smooth, "task.predict", `true`, "task: predict: want no radius"},
		{smooth, "task.defence", `"magic"`, "task: defence: got"},
		{smooth, "task.defence", `"noise"`, "task: defence: got"},
		{good, "model.hash", `"../../x"`, "model: hash: got"},
		{good, "model.spec", `"a\u0000b"`, "model: spec: got"},
		{good, "data.n", `0`, "data: n: got 0"},
		{good, "data.n", `9223372036854775807`, "data: n: got"},
		{good, "data.n", `99999999`, "pieces: got 4, want 33333333"},
		{good, "data.offset", `-1`, "data: offset: got -1"},
		{good, "data.offset", `9223372036854775807`, "data: offset: got"},
		{good, "size", `0`, "size: got 0"},
		{good, "size", `-3`, "size: got -3"},
		{good, "size", `9223372036854775807`, "pieces: got 4, want 1"},
		{good, "pieces", `["0000000000000000"]`, "pieces: got 1, want 4"},
		{good, "pieces", `["x","x","x","x"]`, "pieces: shard 0: got"},
		{good, "more", `1`, `unknown field "more"`},
	} {
		line, err := c.of.Encode()
		require.NoError(t, err)
		body, err := journal.Body(line[:len(line)-1])
		require.NoError(t, err)
		var doc, in map[string]any
		require.NoError(t, json.Unmarshal(append(bytes.Clone(body), '}'), &doc))
		in = doc
		outer, key, nested := strings.Cut(c.key, ".")
		if nested {
			in = doc[outer].(map[string]any)
		} else {
			key = outer
		}
		in[key] = json.RawMessage(c.value)
		delete(doc, "format")
		rest, err := json.Marshal(doc)
		if err != nil { // 1e999 is no JSON that Go writes
			continue
		}
		var sealed bytes.Buffer
		sealed.WriteString(`{"format":"epsball-shards",`)
		sealed.Write(rest[1:])
		line, err = journal.Seal(nil, json.RawMessage(sealed.Bytes()))
		require.NoError(t, err)
		_, err = DecodeManifest(bytes.NewReader(line))
		require.ErrorContains(t, err, c.want, "%s = %s", c.key, c.value)
	}
	_, err := NewManifest(program, someTasks()["ibp"], good.Model, good.Data, 0, b.images)
	require.ErrorContains(t, err, "size: got 0")
	none := good.Data
	none.N = 0
	_, err = NewManifest(program, someTasks()["ibp"], good.Model, none, 1, b.images)
	require.ErrorContains(t, err, "images: got 0, want at least one")
	_, err = NewManifest(program, someTasks()["ibp"], good.Model, good.Data, 2, func(int, int) ([]float32, []int, error) { return b.x, b.y[:1], nil })
	require.ErrorContains(t, err, "want 2 whole images")
	_, err = NewManifest(program, someTasks()["ibp"], good.Model, good.Data, 2, func(int, int) ([]float32, []int, error) { return nil, nil, io.ErrUnexpectedEOF })
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = DecodeManifest(strings.NewReader("#!/bin/sh\n"))
	require.ErrorContains(t, err, "format: want a line")
}
