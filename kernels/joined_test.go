package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/asm"
)

// TestConvJoined holds the kernels of two lane groups to what ConvArgs says of each output.
func TestConvJoined(t *testing.T) {
	const (
		maxIn, maxOut = 2048, 3 * 8 * Lanes // float32 of one pixel's input of a group, of its output
		maxBatches    = 3
		vec           = 2 * vecBytes
	)
	r := rand.New(rand.NewPCG(7, 7))
	var in [2][]float32
	_, joined := guarded(2 * asm.MaxPixels * maxIn)
	_, w := guarded(16 << 10)
	_, bias := guarded(3 * 8)
	_, gate := guarded(2 * maxBatches * asm.MaxPixels * maxOut)
	for _, s := range [][]float32{joined, w, bias, gate} {
		fillRandom(r, s)
	}
	for i := range in {
		in[i] = make([]float32, len(joined)/2)
		for k := range in[i] {
			in[i][k] = joined[k/Lanes*2*Lanes+i*Lanes+k%Lanes]
		}
	}
	half := maxBatches * asm.MaxPixels * maxOut
	allOut, out := guarded(2 * half)
	want, start := make([]float32, len(out)), make([]float32, len(out))
	fillRandom(r, start)
	kernels := 0
	for _, isa := range testSets() {
		if isa.joined == nil {
			continue
		}
		for px, f := range isa.joined.conv.at {
			if f == nil {
				continue
			}
			kernels++
			for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 13} {
				for trial := range 24 {
					a := &new(Scratch).conv
					pairs, segs := 1+trial%3, 1+r.IntN(3)
					skip, wSkip, wTileSkip, wTile := r.IntN(3), 4*r.IntN(5), 4*r.IntN(900), 4*r.IntN(800)
					resume := trial%2 == 1
					batches := 1 + r.IntN(maxBatches)
					table := make([]pixel, batches*px)
					for i := range table {
						table[i] = pixel{int32(r.IntN(asm.MaxPixels) * maxIn / Lanes), int32(i * maxOut / Lanes)}
					}
					copy(want, start)
					for tile := range 2 * pairs {
						at := 4*tileChannels*k*segs + segs*wSkip + wTileSkip // from pair to pair
						for g, x := range in {
							for i := range tileChannels {
								channel := tile*tileChannels + i
								for _, p := range table {
									o := g*half + int(p.out)*Lanes + channel*Lanes
									b := bias[channel]
									for l := range Lanes {
										if resume {
											b = start[o+l]
										}
										v := b
										for s := range segs {
											for n := range k {
												v = FMA32(x[int(p.in)*Lanes+(s*(k+skip)+n)*Lanes+l], w[(tile/2*at+tile%2*wTile+s*(4*tileChannels*k+wSkip))/4+n*tileChannels+i], v)
											}
										}
										want[o+l] = epilogue(v, Epilogue(trial%3), gate[o+l])
									}
								}
							}
						}
					}
					copy(out, start)
					a.Tiles, a.Segs, a.SegLen, a.SegSkip = pairs, segs, k*vec, skip*vec
					a.WSegSkip, a.WTileSkip, a.WTile = wSkip, wTileSkip, wTile
					a.W, a.Bias, a.Epilogue, a.Pair = base(w), base(bias), trial%3, 4*half
					if resume {
						a.Resume = 1
					}
					a.InStart = -r.IntN(3) * vec
					a.InBase, a.OutBase = unsafe.Add(base(joined), -a.InStart), base(out)
					a.GateOff = int(uintptr(base(gate)) - uintptr(base(out)))
					for j, p := range table[:px] {
						a.In[j], a.Out[j] = unsafe.Add(base(joined), int(p.in)*vec), unsafe.Add(base(out), int(p.out)*vecBytes)
					}
					a.Batches, a.Table, a.Next = batches, unsafe.Pointer(unsafe.SliceData(table)), px*int(unsafe.Sizeof(pixel{}))
					f(a)
					requireBits(t, want, out)
					requireGuards(t, allOut)
				}
			}
		}
		for left := 1; left < 10; left++ {
			require.NotNil(t, isa.joined.conv.at[isa.joined.conv.next(left)])
		}
	}
	t.Log(kernels, "kernels")
}

// TestJoinedBands runs what Apply would not join, and with so little room that a band is
// one row, that a layer of one pixel takes its inputs in parts, and more.
func TestJoinedBands(t *testing.T) {
	defer func(n int) { l2Cache = n }(l2Cache)
	list := []Shape{
		{3, 9, 7, 17, 3, 3, 2, 2, 1, 1},
		{5, 4, 4, 8, 4, 4, 3, 3, 3, 3},
		{8, 6, 6, 9, 1, 1, 2, 2, 0, 0}, // inputs without taps
		{9, 8, 5, 24, 3, 3, 1, 1, 1, 1},
		{16, 10, 3, 8, 10, 1, 1, 1, 0, 0},
		FC(77, 24), FC(200, 8), FC(10, 9),
	}
	for _, isa := range testSets() {
		if isa.joined == nil {
			continue
		}
		for i, s := range list {
			for _, cache := range []int{64, 4 << 10, 32 << 10, 1 << 20} {
				for groups := 2; groups <= 6; groups += 2 {
					l2Cache = cache
					r := rand.New(rand.NewPCG(8, uint64(i)))
					w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
					x, dy := Alloc(groups*s.In()*Lanes), Alloc(groups*s.Out()*Lanes)
					for _, v := range [][]float32{w, b, x, dy} {
						fillRandom(r, v)
					}
					fwd, adj, sc := NewForward(isa, s), NewAdjoint(isa, s), new(Scratch)
					fwd.Pack(w, false)
					fwd.SetBias(b)
					adj.Pack(w, false)
					for _, e := range []Epilogue{None, ReLU} {
						requireJoined(t, fwd, sc, plainForward(s, x, w, b, groups), x, groups, e)
					}
					if s.InC >= 8 {
						requireJoined(t, adj, sc, plainAdjoint(s, dy, w, groups), dy, groups, None)
					}
				}
			}
		}
	}
}

// requireJoined holds what applyJoined computes, full pairs of tiles where there are taps,
// to want, and the rest to what it was.
func requireJoined(t *testing.T, l *Linear, sc *Scratch, want, x []float32, groups int, e Epilogue) {
	t.Helper()
	nan := math.Float32frombits(0x7fc0dead)
	all, out := guarded(len(want))
	mine := make([]bool, len(want))
	for _, c := range l.classes {
		for _, p := range c.pixels {
			if c.y.n == 0 || c.x.n == 0 {
				continue
			}
			for g := range groups {
				at := (g*l.out + int(p.out)) * Lanes
				for k := range l.outC / 8 * 8 * Lanes {
					mine[at+k] = true
				}
			}
		}
	}
	for i := range want {
		out[i] = nan
		if !mine[i] {
			want[i] = nan
		} else {
			want[i] = epilogue(want[i], e, 0)
		}
	}
	sc.conv.Epilogue, sc.conv.GateOff = int(e), 0
	l.applyJoined(sc, out, x, groups)
	requireBits(t, want, out)
	requireGuards(t, all)
	require.Zero(t, sc.conv.Resume)
}

// TestJoinedApply runs what Apply does join, in full: the last group alone, the last
// channels by other kernels, gates.
func TestJoinedApply(t *testing.T) {
	for _, isa := range testSets() {
		for i, s := range []Shape{{8, 6, 6, 43, 3, 3, 1, 1, 1, 1}, {43, 7, 7, 24, 3, 3, 2, 2, 0, 0}, FC(40, 45)} {
			for _, groups := range []int{2, 3, 5} {
				t.Run(fmt.Sprintf("%s/%v/g%d", isa.Name(), s, groups), func(t *testing.T) {
					r := rand.New(rand.NewPCG(9, uint64(i)))
					w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
					_, x := guarded(groups * s.In() * Lanes)
					_, dy := guarded(groups * s.Out() * Lanes)
					for _, v := range [][]float32{w, b, x, dy} {
						fillRandom(r, v)
					}
					fwd, adj, sc := NewForward(isa, s), NewAdjoint(isa, s), new(Scratch)
					fwd.Pack(w, false)
					fwd.SetBias(b)
					adj.Pack(w, false)
					if isa.joined != nil {
						require.True(t, fwd.joins(groups) || adj.joins(groups))
					}
					want := plainForward(s, x, w, b, groups)
					all, out := guarded(len(want))
					fwd.Apply(sc, out, x, groups, None, nil)
					requireBits(t, want, out)
					requireGuards(t, all)
					want = plainAdjoint(s, dy, w, groups)
					all, dx := guarded(len(want))
					adj.Apply(sc, dx, dy, groups, Gate, x)
					for i, v := range want {
						want[i] = epilogue(v, Gate, x[i])
					}
					requireBits(t, want, dx)
					requireGuards(t, all)
					require.Zero(t, testing.AllocsPerRun(5, func() { adj.Apply(sc, dx, dy, groups, Gate, x) }))
				})
			}
		}
	}
}
