package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainPack is the layout of packed weights, written down once more.
func plainPack(l *Linear, w []float32, abs bool) []float32 {
	s := l.shape
	tile, run := s.InC*s.KH*s.KW, s.KH*s.KW
	if l.adjoint {
		tile, run = run, tile
	}
	var packed []float32
	for _, p := range l.phases {
		for o := 0; o < l.outC; o += tileChannels {
			for _, ky := range p.tapsY {
				for _, kx := range p.tapsX {
					for c := range l.inC {
						for i := o; i < min(o+tileChannels, l.outC); i++ {
							v := w[i*tile+c*run+ky*s.KW+kx]
							if abs {
								v = float32(math.Abs(float64(v)))
							}
							packed = append(packed, v)
						}
					}
				}
			}
		}
	}
	return packed
}

// TestPack holds every way of packing to the layout, part by part in any order.
func TestPack(t *testing.T) {
	list := append([]Shape{
		FC(40, 70), FC(35, 33), FC(16, 16), FC(5000, 21), FC(4096, 40), FC(8, 4), FC(7, 2),
		{12, 3, 3, 20, 1, 1, 1, 1, 0, 0},
		{9, 5, 5, 20, 1, 1, 2, 2, 0, 0},
		{128, 2, 2, 130, 3, 3, 1, 1, 1, 1},
	}, shapes...)
	for _, isa := range Available() {
		for _, s := range list {
			for _, abs := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%v/abs=%v", isa.Name(), s, abs), func(t *testing.T) {
					r := rand.New(rand.NewPCG(7, 8))
					_, w := guarded(s.Weights())
					fillRandom(r, w)
					for _, l := range []*Linear{NewForward(isa, s), NewAdjoint(isa, s)} {
						want := plainPack(l, w, abs)
						l.Pack(w, abs)
						requireBits(t, want, l.packed)
						clear(l.packed)
						all := make([]float32, len(want)+32) // what lies behind is not touched
						inner := all[16:][:len(want):len(want)]
						l.packed = inner
						for _, p := range r.Perm(s.PackParts()) {
							l.PackPart(w, abs, p)
						}
						requireBits(t, want, l.packed)
						requireBits(t, make([]float32, 16), all[:16])
						requireBits(t, make([]float32, 16), all[16+len(want):])
						require.Zero(t, testing.AllocsPerRun(1, func() { l.Pack(w, abs) }))
					}
				})
			}
		}
	}
}

func TestPackRows(t *testing.T) {
	for _, s := range append([]Shape{FC(32768, 512), FC(3200, 100), FC(1, 1000000)}, shapes...) {
		next := 0
		for p := range s.PackParts() {
			from, to := s.PackRows(p)
			require.Equal(t, next, from)
			require.Greater(t, to, from)
			require.Zero(t, from%tileChannels)
			next = to
		}
		require.Equal(t, s.OutC, next)
	}
}

func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, isa := range Available() {
		for rows := range 14 {
			for _, cols := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 23, 24, 31, 33, 1100} {
				n := rows * cols
				_, src := guarded(n)
				all, dst := guarded(n)
				fillSpecial(r, src)
				isa.Transpose(dst, src, rows, cols)
				for i := range rows {
					for j := range cols {
						require.Equal(t, math.Float32bits(src[i*cols+j]), math.Float32bits(dst[j*rows+i]), "%s: %d×%d", isa.Name(), rows, cols)
					}
				}
				requireGuards(t, all)
			}
		}
		require.Panics(t, func() { isa.Transpose(make([]float32, 6), make([]float32, 5), 2, 3) })
		require.Panics(t, func() { isa.Transpose(make([]float32, 5), make([]float32, 6), 2, 3) })
		b, c := make([]float32, 600), make([]float32, 600)
		require.Zero(t, testing.AllocsPerRun(5, func() { isa.Transpose(b, c, 20, 30) }))
	}
}
