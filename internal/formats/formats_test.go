package formats

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestIsONNX(t *testing.T) {
	for path, want := range map[string]bool{"a.onnx": true, "d/a.Onnx.gz": true, "a.gz": false, "a.onnx.safetensors": false, "onnx": false} {
		require.Equal(t, want, IsONNX(path), path)
	}
}

// TestNoReader: nothing here imports package onnx.
func TestNoReader(t *testing.T) {
	_, err := Load("net.onnx")
	require.ErrorContains(t, err, `net.onnx: this program reads no ONNX networks: import _ "github.com/epsball/epsball/onnx"`)
	_, err = LoadFS(fstest.MapFS{}, "net.onnx.gz")
	require.ErrorContains(t, err, "net.onnx.gz")
	_, err = LoadFS(fstest.MapFS{}, "net.safetensors")
	require.ErrorContains(t, err, "not exist")
}
