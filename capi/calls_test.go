//go:build cgo

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/zoo"
)

func loadZoo(t *testing.T, threads uint32) uintptr {
	t.Helper()
	m, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	data, err := m.Encode()
	require.NoError(t, err)
	id, err := load("memory", data, options{threads: threads}, defaultMode)
	require.NoError(t, err)
	return id
}

// TestPanicsStayInside: a panic is a code and a message, and the model, which may be in
// any state, does no more.
func TestPanicsStayInside(t *testing.T) {
	const id = 1 << 30
	h := &handle{} // everything in it is nil
	h.refs.Store(1)
	handles.models[id] = h
	defer delete(handles.models, id)
	require.EqualValues(t, codeInternal, epsball_go_classify(id, nil, 1, nil, nil, nil, 0))
	require.True(t, h.broken.Load())
	_, err := acquire(id)
	require.ErrorIs(t, err, errBroken)
	require.EqualValues(t, codeInternal, epsball_go_info(id, nil, nil, 0))
	require.EqualValues(t, 1, h.refs.Load(), "calls let go of the model")
}

// TestClassifyAllocatesNothing, neither the calls from C nor what they call.
func TestClassifyAllocatesNothing(t *testing.T) {
	const id = 1<<30 + 1
	own := loadZoo(t, 2)
	h := handles.models[own]
	handles.models[id] = h
	defer func() {
		delete(handles.models, id)
		require.NoError(t, closeHandle(own))
	}()
	for _, n := range []int{1, 40} {
		x, y, z := make([]float32, n*h.size), make([]int32, n), make([]float32, n*10)
		f := func() { err := h.classify(x, n, y, z); require.NoError(t, err) }
		f()
		require.Zero(t, testing.AllocsPerRun(20, f), n)
	}
	require.Zero(t, testing.AllocsPerRun(20, func() { epsball_go_classify(id, nil, 0, nil, nil, nil, 0) }))
}

func TestHandlesLeaveNothing(t *testing.T) {
	before := len(handles.models)
	id := loadZoo(t, 2)
	h, err := acquire(id)
	require.NoError(t, err)
	require.NoError(t, closeHandle(id))
	require.ErrorIs(t, closeHandle(id), errHandle)
	require.Len(t, handles.models, before)
	ctx, stop := h.context(0)
	defer stop()
	require.NoError(t, ctx.Err(), "closed under a call")
	h.release()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

// TestExternalData: weights beside an ONNX file are read by its path; from memory the
// error says what to do.
func TestExternalData(t *testing.T) {
	path := filepath.Join("..", "testdata", "golden", "onnx", "torch_dynamo_mlp.onnx")
	id, err := load(path, nil, options{threads: 1, inPlace: true}, defaultMode)
	require.NoError(t, err)
	require.NoError(t, closeHandle(id))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = load("m.onnx", data, options{threads: 1}, defaultMode)
	require.ErrorContains(t, err, `m.onnx: tensor "1.weight": external data "torch_dynamo_mlp.onnx.data"`)
	require.ErrorContains(t, err, "load it by its path")
	require.ErrorContains(t, err, "external_data=False")
	require.Equal(t, codeModel, codeOf(err))
}

func TestCodes(t *testing.T) {
	_, missing := os.Open(filepath.Join(t.TempDir(), "none"))
	for want, err := range map[int]error{
		codeOK:          nil,
		codeArgument:    errors.New("images: wrong"),
		codeHandle:      errHandle,
		codeFile:        missing,
		codeModel:       errors.Join(&model.FormatError{Field: "header"}),
		codeUnsupported: unsupportedError{errors.New("isa")},
		codeCancelled:   context.Canceled,
		codeTimeout:     context.DeadlineExceeded,
		codeInternal:    &internalError{value: &kernels.TaskPanic{Value: errHandle}},
	} {
		require.Equal(t, want, codeOf(err), "%v", err)
	}
}

// TestPut: whole characters, ended by the one NUL.
func TestPut(t *testing.T) {
	for text, clean := range map[string]string{"": "", "ä€𝔸x": "ä€𝔸x", "a\x00b": "a?b", "\xff\xfe": "?"} {
		for size := range 14 {
			dst := []byte(strings.Repeat("#", size))
			put(dst, errors.New(text))
			if size == 0 {
				continue
			}
			got, rest, ended := strings.Cut(string(dst), "\x00")
			require.True(t, ended)
			require.True(t, strings.HasPrefix(clean, got) && utf8.ValidString(got), "%q of %q", got, clean)
			require.Equal(t, strings.Repeat("#", len(rest)), rest)
			if size > len(clean) {
				require.Equal(t, clean, got)
			}
		}
	}
}
