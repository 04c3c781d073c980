package query

import (
	"bytes"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestBall: a file that is written and read again has all of the ball, and of float32 no
// more than it has.
func TestBall(t *testing.T) {
	x := []float32{0, 1, 0.1, float32(1.0 / 255), 200.0 / 255, 1e-30, math.SmallestNonzeroFloat32, 0.5}
	m := network(t, model.Shape{C: 2, H: 2, W: 2})
	for _, text := range []string{"0", "0.1", "8/255", "1/3", "1e-12", "1/7", "1/300", "1", "0.03137254901960784313725490196078431372549"} {
		eps := net.MustEpsilon(text)
		inner, outer := [2][]float32{make([]float32, 8), make([]float32, 8)}, [2][]float32{make([]float32, 8), make([]float32, 8)}
		box := net.Ball{Norm: net.Linf, Eps: eps}.Box()
		box.Inner(inner[0], inner[1], x)
		box.Outer(outer[0], outer[1], x)
		for _, v := range []vnnlib.Version{{Major: 1}, {Major: 2}} {
			q, err := Ball(m, x, 1, eps, v)
			require.NoError(t, err)
			var b strings.Builder
			require.NoError(t, vnnlib.Write(&b, q))
			q = read(t, b.String())
			require.Len(t, q.Cases, 1)
			for k, iv := range q.Cases[0].Box {
				centre := new(big.Rat).SetFloat64(float64(x[k]))
				lo, hi := new(big.Rat).Sub(centre, eps.Rat()), new(big.Rat).Add(centre, eps.Rat())
				require.True(t, iv.Lo.Cmp(lo) <= 0 || iv.Lo.Sign() == 0, "%s %d", text, k)
				require.True(t, iv.Hi.Cmp(hi) >= 0 || iv.Hi.Cmp(big.NewRat(1, 1)) == 0, "%s %d", text, k)
				require.GreaterOrEqual(t, iv.Lo.Sign(), 0)
				require.LessOrEqual(t, iv.Hi.Cmp(big.NewRat(1, 1)), 0)
				if _, exact := eps.Rat().FloatPrec(); exact {
					require.Zero(t, iv.Lo.Cmp(maxRat(lo, new(big.Rat))), "a decimal is written in full")
				}
				l, h, ok := iv.Inward()
				require.True(t, ok)
				require.Equal(t, []float32{inner[0][k], inner[1][k]}, []float32{l, h}, "%s %d", text, k)
				l, h = iv.Outward()
				require.Equal(t, []float32{outer[0][k], outer[1][k]}, []float32{l, h}, "%s %d", text, k)
			}
			require.Equal(t, 1, len(q.Cases[0].Disjuncts))
			s, err := New(q, m)
			require.NoError(t, err)
			require.Equal(t, net.LabelProperty(2, 1).C, s.List[0].Proves.C)
		}
	}
	_, err := Ball(m, x, 2, net.MustEpsilon("0.1"), vnnlib.Version{Major: 1})
	require.ErrorContains(t, err, "label: got 2, want 0 … 1")
	_, err = Ball(m, x, 0, net.MustEpsilon("2"), vnnlib.Version{Major: 1})
	require.ErrorContains(t, err, "want at most 1")
}

func maxRat(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}

func TestNetworkName(t *testing.T) {
	for name, want := range map[string]string{
		"mnist-small": "mnist_small", "": "network", "7": "network", "ü": "network", "2b": "n_2b", "X": "n_X", "Y": "n_Y",
		strings.Repeat("a", 200): strings.Repeat("a", 100),
	} {
		require.Equal(t, want, networkName(name), name)
	}
}

// TestBallFile: what is written is the file that the reference parser has read
// (testdata/golden/make_vnnlib.py); EPSBALL_WRITE=1 writes it anew.
func TestBallFile(t *testing.T) {
	const path = "../vnnlib/testdata/ball.vnnlib"
	m, err := model.Random(&model.Architecture{
		Name: "ball", Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{{Kind: model.FC, Out: 3}},
	}, 1)
	require.NoError(t, err)
	q, err := Ball(m, []float32{0.5, 1, 0, float32(0.1)}, 1, net.MustEpsilon("8/255"), vnnlib.Version{Major: 2})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, vnnlib.Write(&b, q))
	if os.Getenv("EPSBALL_WRITE") != "" {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}
