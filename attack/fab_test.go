package attack

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestPlanesGolden: projections to planes are those of pyautoattack.
func TestPlanesGolden(t *testing.T) {
	arrays, _ := readGolden(t, "fab.npz")
	for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
		name := "project." + norm.String()
		points, normals := arrays[name+".t"].([]float32), arrays[name+".w"].([]float32)
		heights, shifts := arrays[name+".c"].([]float64), arrays[name+".d"].([]float64)
		size := len(points) / len(heights)
		p, d := newPlanes(norm, size), make([]float64, size)
		for i, c := range heights {
			p.project(d, points[i*size:(i+1)*size], normals[i*size:(i+1)*size], c)
			for k, want := range shifts[i*size : (i+1)*size] {
				require.InDelta(t, want, d[k], 1e-6, "%v, point %d", norm, i)
			}
		}
	}
}

// TestPlanes: what a projection finds lies in the box and on the plane, or in the corner
// next to it, and no pixel could give way to another one at a lower cost.
func TestPlanes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	corners, reached := 0, 0
	for range 3000 {
		norm := []net.Norm{net.Linf, net.L2, net.L1}[r.IntN(3)]
		size := 1 + r.IntN(60)
		x, w, d := make([]float32, size), make([]float32, size), make([]float64, size)
		scale := math.Pow(10, float64(r.IntN(60)-30))
		room := 0.0
		for k := range x {
			x[k] = min(max(float32(r.NormFloat64()/2+0.5), 0), 1)
			w[k] = float32(math.Round(r.NormFloat64()*4) / 4 * scale) // often zero, often equal
			if w[k] > 0 {
				room += float64(w[k]) * float64(x[k])
			} else {
				room -= float64(w[k]) * (1 - float64(x[k]))
			}
		}
		c := room * r.Float64() * 1.2
		norm1 := newPlanes(norm, size).project(d, x, w, c)
		moved := 0.0
		var sum sums
		for k, v := range d {
			require.True(t, float64(x[k])+v >= -1e-12 && float64(x[k])+v <= 1+1e-12)
			moved -= float64(w[k]) * v
			require.LessOrEqual(t, float64(w[k])*v, 0.0)
			sum.add(v)
		}
		require.InDelta(t, sum.norm(norm), norm1, 1e-9)
		if require.InDelta(t, min(c, room), moved, 1e-9*room+1e-300); c > room {
			corners++
			continue
		}
		reached++
		// A pixel that has moved is worth as much as any that has room left.
		for k := range d {
			if w[k] == 0 {
				continue
			}
			left := math.Abs(float64(x[k])+d[k]-map[bool]float64{true: 0, false: 1}[w[k] > 0]) > 1e-9
			for j := range d {
				if math.Abs(d[j]) < 1e-12 || !left {
					continue
				}
				a, b := math.Abs(float64(w[k])), math.Abs(float64(w[j]))
				switch norm {
				case net.L1: // the larger weights come first
					require.LessOrEqual(t, a, b)
				case net.L2:
					require.LessOrEqual(t, math.Abs(d[j])/b, math.Abs(d[k])/a*(1+1e-9)+1e-12/b)
				case net.Linf:
					require.LessOrEqual(t, math.Abs(d[j]), math.Abs(d[k])*(1+1e-9)+1e-12)
				}
			}
		}
	}
	require.Greater(t, corners, 100)
	require.Greater(t, reached, 1000)
}

// TestPlanesOfNothing: a point stays where there is no plane to go to.
func TestPlanesOfNothing(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
		p, d := newPlanes(norm, 2), []float64{1, 1}
		for _, w := range [][]float32{{0, 0}, {inf, 1}, {nan, 1}, {1, -inf}} {
			require.Zero(t, p.project(d, []float32{0.5, 0.5}, w, 1))
			require.Equal(t, []float64{0, 0}, d)
		}
		for _, c := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
			require.Zero(t, p.project(d, []float32{0.5, 0.5}, []float32{1, 2}, c))
			require.Equal(t, []float64{0, 0}, d)
		}
	}
}

// TestFABGolden follows the runs of make_fab.py point by point.
func TestFABGolden(t *testing.T) {
	arrays, _ := readGolden(t, "fab.npz")
	runs := 0
	for name := range arrays {
		run, ok := strings.CutSuffix(name, ".path")
		if !ok {
			continue
		}
		runs++
		t.Run(run, func(t *testing.T) {
			part := strings.Split(run, ".") // method, network, norm
			g, err := golden.Load(part[1])
			require.NoError(t, err)
			norm, err := net.ParseNorm(part[2])
			require.NoError(t, err)
			x, path, best := arrays[run+".x"].([]float32), arrays[name].([]float32), arrays[run+".best"].([]float64)
			length := arrays[run+".length"].([]int32)
			y := make([]int, len(length))
			for i, v := range arrays[run+".y"].([]int32) {
				y[i] = int(v)
			}
			size := len(x) / len(y)
			var how Method = FAB{Steps: 8}
			if part[0] == "fab-t" {
				how = FABT{Steps: 8, Targets: 2}
			}
			for _, isa := range kernels.Available() {
				n, err := net.Compile(g.Model, net.Options{ISA: isa.Name(), Backward: true})
				require.NoError(t, err)
				m := &recorder{how, g.Model.Arch.Input, map[uint64][]visit{}}
				a, err := New(n, Config{Ball: norm.Largest(size), Method: m}, kernels.NewPool(1))
				require.NoError(t, err)
				var res Result
				require.NoError(t, a.Run(context.Background(), Batch{X: x, Y: y}, &res))
				for i := range y {
					seen := m.seen[uint64(i)]
					require.EqualValues(t, length[i], len(seen), "points of image %d", i)
					for k, v := range seen {
						want := path[(k*len(y)+i)*size:][:size]
						for j := range want {
							require.InDelta(t, want[j], v.x[j], 1e-5, "image %d, point %d", i, k)
						}
					}
					if res.Success[i] {
						require.InDelta(t, best[i], [][]float64{res.Linf, res.L2, res.L1}[norm][i], 1e-4*best[i]+1e-5)
					} else {
						require.Equal(t, 1e10, best[i])
					}
				}
			}
		})
	}
	require.Equal(t, 6, runs)
}

// TestFABStops: an attack that stops fools the images whose smallest distance is in the
// ball, each as soon as a run comes there, although runs come from outside.
func TestFABStops(t *testing.T) {
	const n = 45
	s := newSetup(t, tiny, 1, n, "")
	for norm, eps := range []string{"0.012", "0.06", "0.2"} {
		b := ball(net.Norm(norm), eps)
		for _, how := range [][2]Method{
			{FAB{Steps: 12}, FAB{Steps: 12, Stop: true}},
			{FABT{Steps: 12}, FABT{Steps: 12, Stop: true}},
		} {
			nearest := s.run(t, Config{Ball: b, Method: how[0]}, Batch{X: s.x, Y: s.y}, 1)
			stop := s.run(t, Config{Ball: b, Method: how[1], Recheck: true}, Batch{X: s.x, Y: s.y}, 1)
			fooled := 0
			for i := range n {
				require.Equal(t, nearest.Success[i], stop.Success[i], "%v, %v: image %d", how, b, i)
				require.LessOrEqual(t, distances(nearest, b.Norm)[i], distances(stop, b.Norm)[i]+map[bool]float64{true: 0, false: 1e9}[stop.Success[i]])
				if stop.Success[i] {
					fooled++
				}
			}
			require.Greater(t, fooled, 5)
			require.Less(t, fooled, n-5)
			require.Less(t, stop.ImageSteps, nearest.ImageSteps*3/4)
		}
	}
}

// TestFABRuns: the targets come one after the other, each for its restarts, and only the
// runs after a first one for each begin elsewhere than at the image.
func TestFABRuns(t *testing.T) {
	const n, steps = 9, 3
	s := newSetup(t, tiny, 1, n, "")
	for _, c := range []struct {
		how     Method
		targets bool
		atImage []bool // where each run begins
	}{
		{FAB{Steps: steps, Restarts: 3}, false, []bool{true, false, false}},
		{FABT{Steps: steps, Targets: 2}, false, []bool{true, true}},
		{FABT{Steps: steps, Targets: 2, Restarts: 2}, false, []bool{true, true, false, false}},
		{FABT{Steps: steps}, false, []bool{true, true, true, true}},
		{FABT{Steps: steps, Targets: 3, Restarts: 2}, true, []bool{true, false}},
	} {
		m := &firsts{c.how, map[uint64][]int{}, map[uint64][]float64{}}
		b := Batch{X: s.x, Y: s.y}
		if c.targets {
			for _, y := range s.y {
				b.Targets = append(b.Targets, (y+1)%5)
			}
		}
		s.run(t, Config{Ball: ball(net.L2, "1"), Method: m}, b, 1)
		z := s.logits(t, s.x, n)
		for i := range n {
			require.Len(t, m.distance[uint64(i)], len(c.atImage), "%v", c.how)
			for run, at := range c.atImage {
				d := m.distance[uint64(i)][run]
				require.Equal(t, at, d == 0, "%v: run %d begins at a distance of %v", c.how, run, d)
				require.LessOrEqual(t, d, 0.5+1e-6)
			}
			if _, ok := c.how.(FABT); ok && !c.targets {
				first, second := m.target[uint64(i)][0], m.target[uint64(i)][1]
				require.GreaterOrEqual(t, z[i*5+first], z[i*5+second])
				for j := range 5 {
					require.True(t, j == s.y[i] || j == first || z[i*5+j] <= z[i*5+second])
				}
			}
		}
	}
}

// firsts notes where runs begin and what their targets are, by image.
type firsts struct {
	Method
	target   map[uint64][]int
	distance map[uint64][]float64
}

func (m *firsts) NewRule(s *Space) Rule {
	r := &firstsRule{m.Method.NewRule(s), m}
	if multi, ok := r.Rule.(Multi); ok {
		return &firstsMulti{r, multi}
	}
	return r
}

type firstsRule struct {
	Rule
	m *firsts
}

type firstsMulti struct {
	*firstsRule
	multi Multi
}

func (r *firstsMulti) Next(slots []Slot, grad []float32, seed func(s *Slot, dz []float32)) bool {
	return r.multi.Next(slots, grad, seed)
}

func (r *firstsRule) Judge(s *Slot, z, dz []float32) Verdict {
	if s.Step == 0 {
		r.m.target[s.Image] = append(r.m.target[s.Image], s.Target)
		r.m.distance[s.Image] = append(r.m.distance[s.Image], s.Distance)
	}
	return r.Rule.Judge(s, z, dz)
}
