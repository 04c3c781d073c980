package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// slidings cover pixels below, at and above a lane vector and four of them, tails, strides
// below and above the kernel, dilations, all paddings, a window of the whole map.
var slidings = []Sliding{
	{1, 7, 7, 2, 2, 2, 2, 0, 0, 0, 0},
	{3, 6, 5, 3, 3, 1, 1, 1, 1, 0, 0},
	{6, 10, 9, 2, 2, 2, 2, 0, 0, 1, 1},
	{5, 6, 7, 3, 2, 1, 1, 1, 1, 1, 2},
	{8, 5, 6, 3, 3, 2, 2, 1, 1, 1, 1},
	{9, 4, 4, 1, 1, 1, 1, 0, 0, 1, 1},
	{12, 7, 8, 2, 3, 3, 1, 0, 2, 1, 1}, // rows that no window reads
	{17, 9, 6, 3, 2, 1, 2, 2, 1, 2, 3},
	{31, 6, 6, 5, 5, 1, 1, 2, 2, 1, 1},
	{20, 5, 10, 3, 3, 1, 1, 1, 1, 1, 1}, // rows of eight windows
	{9, 3, 13, 2, 3, 2, 1, 0, 0, 1, 1},
	{32, 4, 4, 4, 4, 1, 1, 0, 0, 1, 1},
	{33, 8, 8, 3, 3, 2, 2, 2, 2, 2, 2},
	{37, 3, 5, 1, 1, 2, 2, 0, 0, 1, 1},
	{40, 5, 5, 2, 2, 1, 1, 1, 1, 4, 4},
	{70, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1},
}

// tapAt is where tap (ky, kx) of output (y, x) lies, and whether it is a pixel.
func (s Sliding) tapAt(y, x, ky, kx int) (iy, ix int, ok bool) {
	iy, ix = y*s.StrideH-s.PadH+ky*max(1, s.DilH), x*s.StrideW-s.PadW+kx*max(1, s.DilW)
	return iy, ix, iy >= 0 && ix >= 0 && iy < s.InH && ix < s.InW
}

// eachTap calls f for the windows of element i of a pixel, in order of (row, column), with
// the indices of centre and taps in maps of d values a pixel; real counts those seen.
func (s Sliding) eachTap(d, i int, f func(out int, in, k []int)) {
	for y := range s.OutH() {
		for x := range s.OutW() {
			var in, k []int
			for t := range s.Taps() {
				if iy, ix, ok := s.tapAt(y, x, t/s.KW, t%s.KW); ok {
					in, k = append(in, (iy*s.InW+ix)*d+i), append(k, t)
				}
			}
			f((y*s.OutW()+x)*d+i, in, k)
		}
	}
}

// eachSliding runs f on every kernel set, geometry and layout, plain and special values.
// fill returns n random values inside guard words, which are looked at when f is done.
func eachSliding(t *testing.T, f func(t *testing.T, isa *ISA, s Sliding, lanes int, fill func(n int) []float32)) {
	seen := map[*layerSet]bool{}
	for _, isa := range Available() {
		if seen[isa.layerKernels()] || testing.Short() && len(seen) > 0 {
			continue
		}
		seen[isa.layerKernels()] = true
		for i, s := range slidings {
			for _, lanes := range []int{1, Lanes} {
				for _, special := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%d/lanes=%d/special=%v", isa.Name(), i, lanes, special), func(t *testing.T) {
						r := rand.New(rand.NewPCG(uint64(i), uint64(lanes)))
						var all [][]float32
						f(t, isa, s, lanes, func(n int) []float32 {
							a, b := guarded(n)
							if special {
								fillSpecial(r, b)
							} else {
								fillRandom(r, b)
							}
							all = append(all, a)
							return b
						})
						for _, a := range all {
							requireGuards(t, a)
						}
					})
				}
			}
		}
	}
}

func TestDepthwise(t *testing.T) {
	const blocks = 2
	eachSliding(t, func(t *testing.T, isa *ISA, s Sliding, lanes int, fill func(n int) []float32) {
		sc, d := new(Scratch), s.C*lanes
		w, b := fill(s.C*s.Taps()), fill(s.C)
		for _, abs := range []bool{false, true} {
			for _, e := range []Epilogue{None, ReLU, Gate} {
				fwd, adj := NewDepthwise(isa, s), NewDepthwiseAdjoint(isa, s)
				fwd.Pack(w, abs)
				adj.Pack(w, abs)
				fwd.SetBias(b)
				x, y, gate := fill(blocks*s.In()*lanes), fill(blocks*s.Out()*lanes), fill(blocks*s.Out()*lanes)
				dx, dy, gateX := fill(blocks*s.In()*lanes), fill(blocks*s.Out()*lanes), fill(blocks*s.In()*lanes)
				fwd.Apply(sc, y, x, blocks, lanes, e, gate)
				adj.Apply(sc, dx, dy, blocks, lanes, e, gateX)
				wantY, wantX := make([]float32, len(y)), make([]float32, len(dx))
				for bl := range blocks {
					in, out := bl*s.In()*lanes, bl*s.Out()*lanes
					for i := range d {
						s.eachTap(d, i, func(o int, taps, k []int) {
							acc, weights := b[i/lanes], w[i/lanes*s.Taps():]
							for j, at := range taps {
								wk := maskFloat32(weights[k[j]], float32Mask(abs))
								acc = FMA32(x[in+at], wk, acc)
								wantX[in+at] = FMA32(dy[out+o], wk, wantX[in+at])
							}
							wantY[out+o] = epilogue(acc, e, gate[out+o])
						})
					}
				}
				for i, v := range wantX {
					wantX[i] = epilogue(v, e, gateX[i])
				}
				requireSameBits(t, wantY, y, "forward")
				requireSameBits(t, wantX, dx, "adjoint")
			}
		}
	})
}

// TestDepthwiseIsLinear compares with Linear and Small on each channel alone.
func TestDepthwiseIsLinear(t *testing.T) {
	const groups = 2
	eachSliding(t, func(t *testing.T, isa *ISA, s Sliding, lanes int, fill func(n int) []float32) {
		if max(s.DilH, s.DilW) > 1 {
			return
		}
		one := s.dense()
		one.InC, one.OutC = 1, 1
		sc, w, b := new(Scratch), fill(s.C*s.Taps()), fill(s.C)
		x, y := fill(groups*s.In()*lanes), make([]float32, groups*s.Out()*lanes)
		dy, dx := fill(groups*s.Out()*lanes), make([]float32, groups*s.In()*lanes)
		fwd, adj := NewDepthwise(isa, s), NewDepthwiseAdjoint(isa, s)
		fwd.Pack(w, false)
		fwd.SetBias(b)
		adj.Pack(w, false)
		fwd.Apply(sc, y, x, groups, lanes, ReLU, nil)
		adj.Apply(sc, dx, dy, groups, lanes, None, nil)
		for c := range s.C {
			pick := func(v []float32) []float32 {
				p := make([]float32, len(v)/s.C)
				SelectChannels(p, v, len(p)/lanes, s.C, c, 1, lanes)
				return p
			}
			weights := w[c*s.Taps():][:s.Taps()]
			wantY, wantX := make([]float32, len(y)/s.C), make([]float32, len(dx)/s.C)
			if lanes == Lanes {
				l, a := NewForward(isa, one), NewAdjoint(isa, one)
				l.Pack(weights, false)
				l.SetBias(b[c : c+1])
				a.Pack(weights, false)
				l.Apply(sc, wantY, pick(x), groups, ReLU, nil)
				a.Apply(sc, wantX, pick(dy), groups, None, nil)
			} else {
				l, a := NewSmall(isa, one), NewSmallAdjoint(isa, one)
				l.Pack(weights, false)
				l.SetBias(b[c : c+1])
				a.Pack(weights, false)
				l.Apply(sc, wantY, pick(x), groups, ReLU, nil, 0, 1)
				a.Apply(sc, wantX, pick(dy), groups, None, nil, 0, 1)
			}
			requireSameBits(t, wantY, pick(y), "forward")
			requireSameBits(t, wantX, pick(dx), "adjoint")
		}
	})
}

// TestDepthwiseGrad compares with chains by lane, to the last bit, and, where values are
// plain, with float64.
func TestDepthwiseGrad(t *testing.T) {
	const groups = 3
	eachSliding(t, func(t *testing.T, isa *ISA, s Sliding, lanes int, fill func(n int) []float32) {
		if lanes != Lanes {
			return
		}
		sc, d := new(Scratch), s.C*Lanes
		x, dy := fill(groups*s.In()*lanes), fill(groups*s.Out()*lanes)
		dw, db := fill(s.C*s.Taps()), fill(s.C)
		g := NewDepthwiseGrad(isa, s)
		for task := g.Tasks() - 1; task >= 0; task-- { // any order
			from, to := g.Channels(task)
			g.Apply(sc, dw[from*s.Taps():to*s.Taps()], db[from:to], dy, x, groups, task)
		}
		for c := range s.C {
			sums := make([]lane, s.Taps()+1)
			for gr := range groups {
				for l := range Lanes {
					s.eachTap(d, c*Lanes+l, func(o int, taps, k []int) {
						v := dy[gr*s.Out()*Lanes+o]
						for j, at := range taps {
							sums[k[j]][l] = FMA32(x[gr*s.In()*Lanes+at], v, sums[k[j]][l])
						}
						sums[s.Taps()][l] += v
					})
				}
			}
			want := make([]float32, len(sums))
			for k := range sums {
				want[k] = laneSum(&sums[k])
			}
			requireSameBits(t, want[:s.Taps()], dw[c*s.Taps():][:s.Taps()], "weights")
			requireSameBits(t, want[s.Taps():], db[c:c+1], "bias")
		}
	})
}

func TestPooling(t *testing.T) {
	const blocks = 2
	eachSliding(t, func(t *testing.T, isa *ISA, s Sliding, lanes int, fill func(n int) []float32) {
		sc, d := new(Scratch), s.C*lanes
		for _, kind := range []string{"max", "mean", "mean of all"} {
			p, divisor := NewMaxPool(isa, s), func(n int) float32 { return float32(n) }
			switch kind {
			case "mean":
				p = NewAvgPool(isa, s, false)
			case "mean of all":
				p, divisor = NewAvgPool(isa, s, true), func(int) float32 { return float32(s.Taps()) }
			}
			x, y := fill(blocks*s.In()*lanes), fill(blocks*s.Out()*lanes)
			dx, dy := fill(blocks*s.In()*lanes), fill(blocks*s.Out()*lanes)
			for i := range x { // equal values side by side
				if i%3 == 0 {
					x[i] = float32(i % 2)
				}
			}
			p.Apply(sc, y, x, blocks, lanes)
			p.Gradient(sc, dx, dy, x, y, blocks, lanes)
			wantY, wantX := make([]float32, len(y)), make([]float32, len(dx))
			for bl := range blocks {
				in, out := bl*s.In()*lanes, bl*s.Out()*lanes
				for i := range d {
					s.eachTap(d, i, func(o int, taps, _ []int) {
						v, first := x[in+taps[0]], taps[0]
						for _, at := range taps[1:] {
							n := x[in+at]
							switch {
							case kind != "max":
								v += n
							case n > v || n != n:
								v, first = n, at
							}
						}
						g := dy[out+o]
						if kind == "max" {
							wantY[out+o] = v
							if v == v {
								wantX[in+first] += g
							}
							return
						}
						wantY[out+o] = v / divisor(len(taps))
						for _, at := range taps {
							wantX[in+at] += g / divisor(len(taps))
						}
					})
				}
			}
			requireSameBits(t, wantY, y, kind)
			requireSameBits(t, wantX, dx, kind+" gradient")
		}
	})
}

// TestSlidingWindows compares maps of windows with those of all pixels.
func TestSlidingWindows(t *testing.T) {
	sc, r := new(Scratch), rand.New(rand.NewPCG(3, 4))
	crop := func(v []float32, w, d int, win Window) (out []float32) {
		for y := win.Y0; y < win.Y1; y++ {
			out = append(out, v[(y*w+win.X0)*d:(y*w+win.X1)*d]...)
		}
		return out
	}
	isa := Available()[0]
	for i, s := range slidings {
		d := s.C * Lanes
		w := make([]float32, s.C*s.Taps())
		fillRandom(r, w)
		fwd, adj := NewDepthwise(isa, s), NewDepthwiseAdjoint(isa, s)
		fwd.Pack(w, false)
		adj.Pack(w, false)
		mean := NewAvgPool(isa, s, false)
		for range 10 {
			var out Window
			out.Y0, out.X0 = r.IntN(s.OutH()), r.IntN(s.OutW())
			out.Y1, out.X1 = out.Y0+1+r.IntN(s.OutH()-out.Y0), out.X0+1+r.IntN(s.OutW()-out.X0)
			in := s.Reads(out)
			in.Y0, in.X0 = r.IntN(in.Y0+1), r.IntN(in.X0+1)
			in.Y1, in.X1 = max(in.Y1+r.IntN(s.InH-in.Y1+1), in.Y0+1), max(in.X1+r.IntN(s.InW-in.X1+1), in.X0+1)
			msg := fmt.Sprintf("geometry %d, outputs %v, inputs %v", i, out, in)

			x, y := make([]float32, s.In()*Lanes), make([]float32, s.Out()*Lanes)
			fillRandom(r, x)
			part := make([]float32, d*out.H()*out.W())
			fwd.Apply(sc, y, x, 1, Lanes, None, nil)
			on := NewDepthwise(isa, s).Windowed(out, in).With(fwd)
			on.Apply(sc, part, crop(x, s.InW, d, in), 1, Lanes, None, nil)
			requireSameBits(t, crop(y, s.OutW(), d, out), part, msg)
			require.Equal(t, len(part), on.Out()*Lanes)
			mean.Apply(sc, y, x, 1, Lanes)
			mean.Windowed(out, in).Apply(sc, part, crop(x, s.InW, d, in), 1, Lanes)
			requireSameBits(t, crop(y, s.OutW(), d, out), part, msg+", mean")

			// Outputs that are zero outside of their window, inputs of any window.
			clear(y)
			for py := out.Y0; py < out.Y1; py++ {
				fillRandom(r, y[(py*s.OutW()+out.X0)*d:(py*s.OutW()+out.X1)*d])
			}
			in.Y0, in.X0 = r.IntN(s.InH), r.IntN(s.InW)
			in.Y1, in.X1 = in.Y0+1+r.IntN(s.InH-in.Y0), in.X0+1+r.IntN(s.InW-in.X0)
			part = make([]float32, d*in.H()*in.W())
			adj.Apply(sc, x, y, 1, Lanes, None, nil)
			adj.Windowed(out, in).Apply(sc, part, crop(y, s.OutW(), d, out), 1, Lanes, None, nil)
			requireEqualValues(t, crop(x, s.InW, d, in), part, msg+", adjoint")
			mean.Gradient(sc, x, y, nil, nil, 1, Lanes)
			mean.Windowed(out, in).Gradient(sc, part, crop(y, s.OutW(), d, out), nil, nil, 1, Lanes)
			requireEqualValues(t, crop(x, s.InW, d, in), part, msg+", gradient of mean")
		}
		require.Panics(t, func() { fwd.Windowed(Window{Y1: 1, X1: 1}, Window{Y0: s.InH, Y1: s.InH, X1: 1}) })
	}
}

// requireEqualValues takes −0 for +0: a sum that lacks terms of zero may differ so.
func requireEqualValues(t *testing.T, want, have []float32, msg string) {
	t.Helper()
	require.Len(t, have, len(want), msg)
	for i := range want {
		if want[i] != have[i] {
			require.Failf(t, "values differ", "%s at %d: want %v, have %v", msg, i, want[i], have[i])
		}
	}
}

// TestSlidingStaysInside ends each map of single images where memory ends.
func TestSlidingStaysInside(t *testing.T) {
	for _, s := range slidings {
		sc, isa := new(Scratch), Available()[0]
		x, y, dx, dy := pageEnd(t, s.In()), pageEnd(t, s.Out()), pageEnd(t, s.In()), pageEnd(t, s.Out())
		most, mean := NewMaxPool(isa, s), NewAvgPool(isa, s, true)
		most.Apply(sc, y, x, 1, 1)
		most.Gradient(sc, dx, dy, x, y, 1, 1)
		mean.Apply(sc, y, x, 1, 1)
		mean.Gradient(sc, dx, dy, nil, nil, 1, 1)
		NewDepthwise(isa, s).Apply(sc, y, x, 1, 1, Gate, dy)
		NewDepthwiseAdjoint(isa, s).Apply(sc, dx, dy, 1, 1, Gate, x)
	}
}

func TestSlidingSame(t *testing.T) {
	s := Sliding{C: 2, InH: 12, InW: 12, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilH: 2, DilW: 2}
	a, b := Window{Y0: 3, Y1: 5, X0: 4, X1: 6}, Window{Y0: 4, Y1: 6, X0: 3, X1: 5}
	require.Equal(t, s.Same(a, s.Reads(a)), s.Same(b, s.Reads(b)))
	require.Equal(t, Window{Y0: 2, Y1: 8, X0: 3, X1: 9}, s.Reads(a))
	require.NotEqual(t, s.Same(a, s.Reads(a)), s.Same(Window{Y1: 2, X1: 2}, s.Reads(Window{Y1: 2, X1: 2})))
	require.EqualValues(t, 2*(8*3+2*2)*(8*3+2*2), Sliding{C: 2, InH: 10, InW: 10, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1}.MACs())
}

func TestChannels(t *testing.T) {
	src, part := make([]float32, 3*5*Lanes), make([]float32, 3*2*Lanes)
	for i := range src {
		src[i] = float32(i)
	}
	SelectChannels(part, src, 3, 5, 1, 2, Lanes)
	require.EqualValues(t, 2*5*Lanes+1*Lanes, part[2*2*Lanes])
	back := make([]float32, len(src))
	PlaceChannels(back, part, 3, 5, 1, 2, Lanes)
	for i, v := range back {
		if c := i / Lanes % 5; c == 1 || c == 2 {
			require.Equal(t, src[i], v)
		} else {
			require.Zero(t, v)
		}
	}
}

func TestSlidingDoesNotAllocate(t *testing.T) {
	s := Sliding{C: 12, InH: 6, InW: 6, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1}
	for _, isa := range Available() {
		for _, lanes := range []int{1, Lanes} {
			sc := new(Scratch)
			x, y, dw, db := make([]float32, s.In()*Lanes), make([]float32, s.Out()*Lanes), make([]float32, s.C*9), make([]float32, s.C)
			d, m, g := NewDepthwise(isa, s), NewMaxPool(isa, s), NewDepthwiseGrad(isa, s)
			require.Zero(t, testing.AllocsPerRun(10, func() {
				d.Apply(sc, y, x, 1, lanes, Gate, y[:len(y):len(y)])
				m.Apply(sc, y, x, 1, lanes)
				m.Gradient(sc, x, y, x, y, 1, lanes)
				g.Apply(sc, dw, db, y, x, 1, 0)
			}), isa.Name())
		}
	}
	beyond := Sliding{C: 1, InH: 3, InW: 3, KH: 2, KW: 1, StrideH: 1, StrideW: 1, PadH: 3, DilH: 5}
	require.Panics(t, func() { NewMaxPool(generic, beyond) }, "windows of nothing but padding")
	require.Panics(t, func() { NewDepthwise(generic, s).Apply(new(Scratch), nil, nil, 1, 2, None, nil) })
	require.Panics(t, func() { NewDepthwise(generic, Sliding{C: 1, InH: 1, InW: 1, KH: 2, KW: 1, StrideH: 1, StrideW: 1}) })
}
