package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainRelax is the documentation of Relax, one neuron after the other.
func plainRelax(dst, src, params, lower []float32, run RelaxRun, sums *RelaxSums) {
	var t, b, e [Lanes]float32
	in := 0 // neurons of the block
	if run.N == 0 {
		return
	}
	flush := func() {
		for l := range Lanes {
			sums.T[l] += float64(t[l])
			sums.B[l] += float64(b[l])
			sums.E[l] += float64(e[l])
		}
		t, b, e, in = [Lanes]float32{}, [Lanes]float32{}, [Lanes]float32{}, 0
	}
	rows, n := run.Rows, run.N
	if run.Stride == n { // without gaps the map is one long row
		rows, n = 1, rows*n
	}
	for y := range rows {
		if n >= RelaxBlock || in+n > RelaxBlock/n*n {
			flush()
		}
		for x := range n {
			if in == RelaxBlock {
				flush()
			}
			k := y*run.Stride + x
			p := params[k*RelaxParams:]
			for l := range Lanes {
				i := (y*n+x)*Lanes + l
				v, low := src[i], p[0]
				if lower != nil {
					low = lower[i]
				}
				var out float32
				switch {
				case v > 0: // the other part is +0
					out = FMA32(0, p[1], float32(v*low))
				case v < 0:
					out = FMA32(v, p[1], float32(0*low))
					t[l] = FMA32(v, p[2], t[l])
				default: // a zero or NaN, of which infinite parameters make NaN
					out = FMA32(v, p[1], float32(v*low))
					t[l] = FMA32(v, p[2], t[l])
				}
				if v > 0 {
					t[l] = FMA32(0, p[2], t[l])
				}
				dst[i] = out
				b[l] = FMA32(out, p[3], b[l])
				e[l] = FMA32(abs32(out), p[4], e[l])
			}
			in++
		}
	}
	flush()
}

// TestRelaxEach: each row goes as Relax takes it with the row's parameters.
func TestRelaxEach(t *testing.T) {
	const groups = 3
	for _, isa := range Available() {
		for _, special := range []bool{false, true} {
			r := rand.New(rand.NewPCG(5, 6))
			fill := fillRandom
			if special {
				fill = fillSpecial
			}
			sc := new(Scratch)
			for _, run := range []RelaxRun{{0, 3, 4}, {1, 1, 1}, {1, 3, 9}, {3, 5, 5}, {2, 7, 9}, {4, 64, 80}, {2, 300, 301}, {5, 100, 100}} {
				reach, size := max(0, (run.Rows-1)*run.Stride+run.N), run.Rows*run.N*Lanes
				all, src := guarded(groups * size)
				allP, params := guarded(reach * RelaxParams * Lanes)
				fill(r, src)
				fill(r, params)
				var want [groups][Lanes][]float32
				var wantSums [groups][Lanes]RelaxSums
				for l := range Lanes {
					own := make([]float32, reach*RelaxParams)
					for k := range own {
						own[k] = params[k*Lanes+l]
					}
					for g := range groups {
						want[g][l] = make([]float32, size)
						plainRelax(want[g][l], src[g*size:(g+1)*size], own, nil, run, &wantSums[g][l])
					}
				}
				var sums [groups]RelaxSums
				isa.RelaxEach(sc, src, src, params, run, sums[:])
				what := fmt.Sprint(isa.Name(), run)
				for g := range groups {
					for k, v := range src[g*size : (g+1)*size] {
						requireSameBits(t, want[g][k%Lanes][k:k+1], []float32{v}, what)
					}
					for l := range Lanes {
						w := &wantSums[g][l]
						for _, s := range [][2]float64{{w.T[l], sums[g].T[l]}, {w.B[l], sums[g].B[l]}, {w.E[l], sums[g].E[l]}} {
							if s[0] == s[0] || s[1] == s[1] {
								require.Equal(t, math.Float64bits(s[0]), math.Float64bits(s[1]), "%s lane %d: %v", what, l, s)
							}
						}
					}
				}
				requireGuards(t, all)
				requireGuards(t, allP)
			}
		}
	}
}

func TestRelax(t *testing.T) {
	runs := []RelaxRun{{1, 1, 1}, {3, 5, 5}, {2, 7, 9}, {4, 64, 80}, {2, 300, 301}, {1, 128, 128}, {3, 50, 60}, {5, 100, 100}, {1, 129, 200}}
	for n := range 41 {
		runs = append(runs, RelaxRun{1, n, n}, RelaxRun{2, n, n + 3})
	}
	for _, isa := range Available() {
		for _, special := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/special=%v", isa.Name(), special), func(t *testing.T) {
				r := rand.New(rand.NewPCG(3, 4))
				fill := fillRandom
				if special {
					fill = fillSpecial
				}
				sc := new(Scratch)
				for i, run := range runs {
					reach := max(0, (run.Rows-1)*run.Stride+run.N)
					all, src := guarded(run.Rows * run.N * Lanes)
					allP, params := guarded(reach * RelaxParams)
					allL, lower := guarded(run.Rows * run.N * Lanes)
					fill(r, src)
					fill(r, params)
					fill(r, lower)
					if i%2 == 0 {
						lower = nil
					}
					want := make([]float32, len(src))
					var wantSums, sums RelaxSums
					plainRelax(want, src, params, lower, run, &wantSums)
					isa.Relax(sc, src, src, params, lower, run, &sums)
					requireSameBits(t, want, src, fmt.Sprint(run))
					for l := range Lanes {
						for _, s := range [][2]float64{{wantSums.T[l], sums.T[l]}, {wantSums.B[l], sums.B[l]}, {wantSums.E[l], sums.E[l]}} {
							if s[0] == s[0] || s[1] == s[1] {
								require.Equal(t, math.Float64bits(s[0]), math.Float64bits(s[1]), "%v lane %d: %v", run, l, s)
							}
						}
					}
					for _, a := range [][]float32{all, allP, allL} {
						requireGuards(t, a)
					}
				}
			})
		}
	}
}

// TestWindowed: the adjoint on windows is the whole adjoint of a source that is
// zero elsewhere, bit for bit, and nothing outside the window in is touched by it.
func TestWindowed(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const groups = 2
	for _, isa := range testSets() {
		for _, s := range shapes {
			w := make([]float32, s.Weights())
			fillRandom(r, w)
			full := NewAdjoint(isa, s)
			full.Pack(w, false)
			span := func(n int) (int, int) { a, b := r.IntN(n), r.IntN(n); return min(a, b), max(a, b) + 1 }
			plans := map[[6]int]*Linear{}
			for range 12 {
				var out Window
				out.Y0, out.Y1 = span(s.OutH())
				out.X0, out.X1 = span(s.OutW())
				in := s.Reads(out)
				if in.H() == 0 || in.W() == 0 {
					continue
				}
				src := make([]float32, groups*s.OutC*out.H()*out.W()*Lanes)
				fillRandom(r, src)
				whole := make([]float32, groups*s.Out()*Lanes)
				rowOut, rowIn := out.W()*s.OutC*Lanes, in.W()*s.InC*Lanes
				for g := range groups {
					for y := range out.H() {
						at := ((g*s.OutH()+out.Y0+y)*s.OutW() + out.X0) * s.OutC * Lanes
						copy(whole[at:at+rowOut], src[(g*out.H()+y)*rowOut:])
					}
				}
				want, have := make([]float32, groups*s.In()*Lanes), make([]float32, groups*in.H()*rowIn)
				full.Apply(new(Scratch), want, whole, groups, None, nil)
				key := s.Same(out, in)
				if plans[key] == nil {
					plans[key] = full.Windowed(out, in)
				}
				plans[key].Apply(new(Scratch), have, src, groups, None, nil)
				for g := range groups {
					for y := range s.InH {
						row := want[(g*s.InH+y)*s.InW*s.InC*Lanes:][:s.InW*s.InC*Lanes]
						if y >= in.Y0 && y < in.Y1 {
							at := in.X0 * s.InC * Lanes
							requireBits(t, row[at:at+rowIn], have[(g*in.H()+y-in.Y0)*rowIn:][:rowIn])
							clear(row[at : at+rowIn])
						}
						for _, v := range row {
							require.Zero(t, v, "outside the window: %+v %v %v", s, out, in)
						}
					}
				}
			}
		}
	}
	require.Panics(t, func() { NewAdjoint(generic, FC(2, 2)).Windowed(Window{0, 0, 0, 1}, Window{0, 1, 0, 1}) })
}

func TestGatherLanes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, isa := range Available() {
		sc := new(Scratch)
		for n := range 28 {
			for _, rows := range []int{1, 3, 8, 33} {
				all, dst := guarded(n * Lanes)
				from := r.IntN(4)
				cols := from + n + r.IntN(3)
				matrix := make([]float32, rows*cols)
				fillSpecial(r, matrix)
				var list [Lanes]Row
				for l := range list {
					list[l] = Row{r.IntN(rows), r.IntN(2) == 0}
				}
				isa.GatherLanes(sc, dst, matrix, cols, from, n, &list)
				for i, v := range dst {
					row := list[i%Lanes]
					want := math.Float32bits(matrix[row.Index*cols+from+i/Lanes])
					if row.Minus {
						want ^= 1 << 31
					}
					require.Equal(t, want, math.Float32bits(v))
				}
				requireGuards(t, all)
			}
		}
		for _, bad := range [][3]int{{3, 0, 1}, {0, 1, 1}, {0, -1, 1}, {-1, 0, 1}} {
			require.Panics(t, func() {
				isa.GatherLanes(sc, make([]float32, 16), make([]float32, 3), 1, bad[1], bad[2], &[Lanes]Row{{Index: bad[0]}})
			})
		}
	}
}

// TestWindowedForward: outputs of a window from a window of inputs.
func TestWindowedForward(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, isa := range testSets() {
		for _, s := range shapes {
			w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
			fillRandom(r, w)
			fillRandom(r, b)
			full := NewForward(isa, s)
			full.Pack(w, false)
			full.SetBias(b)
			src, want := make([]float32, s.In()*Lanes), make([]float32, s.Out()*Lanes)
			fillRandom(r, src)
			full.Apply(new(Scratch), want, src, 1, None, nil)
			for range 6 {
				y, x := r.IntN(s.OutH()), r.IntN(s.OutW())
				out := Window{y, y + 1 + r.IntN(s.OutH()-y), x, x + 1 + r.IntN(s.OutW()-x)}
				in := s.Reads(out)
				in.Y0, in.X1 = r.IntN(in.Y0+1), in.X1+r.IntN(s.InW-in.X1+1)
				part := make([]float32, 0, len(src))
				for y := in.Y0; y < in.Y1; y++ {
					part = append(part, src[(y*s.InW+in.X0)*s.InC*Lanes:(y*s.InW+in.X1)*s.InC*Lanes]...)
				}
				have := make([]float32, out.H()*out.W()*s.OutC*Lanes)
				full.Windowed(out, in).Apply(new(Scratch), have, part, 1, None, nil)
				for y := range out.H() {
					n := out.W() * s.OutC * Lanes
					requireBits(t, want[((out.Y0+y)*s.OutW()+out.X0)*s.OutC*Lanes:][:n], have[y*n:][:n])
				}
			}
		}
	}
	s := Shape{1, 5, 5, 1, 3, 3, 1, 1, 0, 0}
	require.Panics(t, func() { NewForward(generic, s).Windowed(Window{0, 1, 0, 1}, Window{0, 2, 0, 3}) })
}

// TestSparse: the adjoint of what is chosen is the whole adjoint of a source that is
// zero elsewhere, bit for bit.
func TestSparse(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	for _, isa := range testSets() {
		tried := 0
		for _, s := range append([]Shape{{8, 9, 8, 12, 3, 3, 2, 2, 1, 1}, {16, 7, 7, 8, 4, 4, 1, 1, 0, 0}, {4, 6, 6, 5, 2, 2, 3, 3, 0, 0}}, shapes...) {
			w := make([]float32, s.Weights())
			fillRandom(r, w)
			full := NewAdjoint(isa, s)
			full.Pack(w, false)
			sparse := full.NewSparse()
			require.Equal(t, s.InC%tileChannels == 0, sparse != nil)
			if sparse == nil {
				continue
			}
			tried++
			for groups := 1; groups <= 7; groups++ {
				src := make([]float32, groups*s.Out()*Lanes)
				fillRandom(r, src)
				use := make([]bool, s.Out())
				share := []int{0, 1, 3, 10}[groups%4]
				for k := range use {
					use[k] = r.IntN(10) < share
					for g := range groups {
						if !use[k] {
							clear(src[(g*s.Out()+k)*Lanes:][:Lanes])
						}
					}
				}
				want := make([]float32, groups*s.In()*Lanes)
				all, have := guarded(len(want))
				full.Apply(new(Scratch), want, src, groups, None, nil)
				sparse.Choose(use)
				sparse.Apply(new(Scratch), have, src, groups)
				requireBits(t, want, have)
				requireGuards(t, all)
			}
		}
		require.Greater(t, tried, 2)
	}
	require.Nil(t, NewForward(generic, FC(4, 4)).NewSparse())
}
