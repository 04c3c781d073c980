package query

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
)

func read(t *testing.T, text string) *vnnlib.Query {
	t.Helper()
	q, err := vnnlib.Read(strings.NewReader(text), "p.vnnlib")
	require.NoError(t, err)
	return q
}

func network(t *testing.T, in model.Shape) *model.Model {
	t.Helper()
	m, err := model.Random(&model.Architecture{Input: in, Layers: []model.Layer{{Kind: model.FC, Out: 2}}}, 1)
	require.NoError(t, err)
	return m
}

const declared = `(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (>= X_0 0))(assert (<= X_0 0.1))(assert (>= X_1 0.25))(assert (<= X_1 0.25))`

// TestRows: constants that are no float32 are rounded so that a proof shows more, and a
// witness violates more, than the file asks for.
func TestRows(t *testing.T) {
	q := read(t, declared+"(assert (or (and (<= Y_0 0.1) (>= Y_1 Y_0)) (and (<= Y_1 -3))))")
	s, err := New(q, network(t, model.Shape{C: 1, H: 1, W: 2}))
	require.NoError(t, err)
	require.Len(t, s.List, 1)
	p, w := s.List[0].Proves, s.List[0].Refutes
	require.Equal(t, []int{2, 1}, p.Clauses)
	require.Equal(t, []float32{1, 0, 1, -1, 0, 1}, p.C)
	require.Equal(t, p.C, w.C)
	require.Less(t, float64(p.D[0]), -0.1)
	require.Greater(t, float64(w.D[0]), -0.1)
	require.Equal(t, []float32{0, 3}, []float32{p.D[1], p.D[2]})
	require.Equal(t, []float32{0, 3}, []float32{w.D[1], w.D[2]})
	require.Equal(t, "1/10", s.List[0].Box.Hi[0].RatString())
}

// TestStrict: what must be below a bound is not witnessed by what equals it.
func TestStrict(t *testing.T) {
	q := read(t, `(vnnlib-version <2.0>)(declare-network f (declare-input X float32 [2])(declare-output Y float32 [2]))
(assert (and (>= X[0] 0) (<= X[0] 1) (>= X[1] 0) (<= X[1] 1)))(assert (< Y[0] 2))`)
	s, err := New(q, network(t, model.Shape{C: 1, H: 1, W: 2}))
	require.NoError(t, err)
	require.Equal(t, float32(-2), s.List[0].Proves.D[0])
	require.Greater(t, s.List[0].Refutes.D[0], float32(-2))
}

// TestChannelsLast: the elements of such a file's input are where the network has them.
func TestChannelsLast(t *testing.T) {
	text := ""
	for _, k := range []string{"0", "1", "2", "3"} {
		text += "(declare-const X_" + k + " Real)(assert (>= X_" + k + " " + k + "))(assert (<= X_" + k + " " + k + "))"
	}
	text += "(declare-const Y_0 Real)(declare-const Y_1 Real)(assert (<= Y_0 Y_1))"
	m := network(t, model.Shape{C: 2, H: 1, W: 2})
	for _, last := range []bool{false, true} {
		want := []string{"0", "1", "2", "3"}
		if last {
			m.Card = map[string]string{onnx.CardOrder: onnx.ChannelsLast}
			want = []string{"0", "2", "1", "3"} // [pixel][channel] is what the file has
		}
		s, err := New(read(t, text), m)
		require.NoError(t, err)
		for k, v := range want {
			require.Equal(t, v, s.List[0].Box.Lo[k].RatString())
		}
	}
}

func TestRefuses(t *testing.T) {
	m := network(t, model.Shape{C: 1, H: 1, W: 2})
	_, err := New(read(t, declared+"(declare-const X_2 Real)(assert (<= X_2 0))(assert (>= X_2 0))(assert (<= Y_0 0))"), m)
	require.ErrorContains(t, err, "input X: 3 elements, but the network has 2")
	_, err = New(read(t, declared+"(declare-const Y_2 Real)(assert (<= Y_2 0))"), m)
	require.ErrorContains(t, err, "output Y: 3 elements, but the network has 2")
	_, err = New(read(t, declared+"(assert (<= (* 0.1 Y_0) Y_1))"), m)
	require.ErrorContains(t, err, "coefficient 1/10 of output 0 is no float32")
}

// TestFileOfNetwork: a query about what the model leaves out of the file is refused, or
// answered where the model knows the answer.
func TestFileOfNetwork(t *testing.T) {
	m := network(t, model.Shape{C: 1, H: 1, W: 2})
	typed := func(typ string) *vnnlib.Query {
		return read(t, `(vnnlib-version <2.0>)(declare-network f (declare-input X `+typ+` [2])(declare-output Y `+typ+` [2]))
(assert (and (>= X[0] 0.0) (<= X[0] 1.0) (>= X[1] 0.0) (<= X[1] 1.0)))(assert (<= Y[0] Y[1]))`)
	}
	for _, typ := range Types() {
		_, err := New(typed(typ), m)
		require.NoError(t, err)
	}
	for _, typ := range []string{"float16", "bfloat16", "float64"} {
		_, err := New(typed(typ), m)
		require.ErrorContains(t, err, "X: got elements of type "+typ+", want float32 or real")
	}
	m.Card = map[string]string{onnx.CardType: "DOUBLE"}
	_, err := New(typed("float32"), m)
	require.ErrorContains(t, err, "the network's file has DOUBLE: want real")
	_, err = New(typed("real"), m)
	require.NoError(t, err)

	m.Card = map[string]string{onnx.CardEnd: "Softmax"}
	_, err = New(typed("float32"), m)
	require.ErrorContains(t, err, "ends in a Softmax")
	_, err = New(typed("real"), m)
	require.NoError(t, err)
	_, err = New(read(t, declared+"(assert (<= Y_0 0.5))"), m)
	require.ErrorContains(t, err, "want comparisons of two outputs alone")
	_, err = New(read(t, declared+"(assert (<= Y_0 (+ Y_1 0.5)))"), m)
	require.ErrorContains(t, err, "want comparisons of two outputs alone")

	// What is shown of a witness are outputs of the file.
	for end, want := range map[string][]float32{"Softmax": {0.25, 0.75}, "LogSoftmax": {-1.3862944, -0.2876821}} {
		m.Card[onnx.CardEnd] = end
		q, err := New(typed("real"), m)
		require.NoError(t, err)
		names, values := q.Values(&audit.Witness{X: []float32{0.5, 1}, Z: []float32{100, 101.09861}})
		require.Equal(t, []string{"X_0", "X_1", "Y_0", "Y_1"}, names)
		require.Equal(t, []float32{0.5, 1}, values[:2])
		require.InDeltaSlice(t, want, values[2:], 1e-5)
	}
}
