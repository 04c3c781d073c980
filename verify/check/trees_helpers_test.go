package check_test

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// fields are those of a step, or of an object in one.
type fields map[string]any

// stepLine seals a step of a certificate, without a newline.
func stepLine(t testing.TB, of string, n int, f fields) []byte {
	t.Helper()
	all := fields{"format": check.Format, "version": 2, "of": of, "step": n}
	for k, v := range f {
		all[k] = v
	}
	b, err := journal.Seal(nil, all)
	require.NoError(t, err)
	return bytes.TrimSuffix(b, []byte("\n"))
}

// floatText spells numbers as steps do.
func floatText(v ...float32) string { return cert.Floats(v) }

// byTrees makes a claim one that is proved by branch and bound, as it is read back.
func byTrees(t testing.TB, c *check.Certificate) *check.Certificate {
	t.Helper()
	d := *c
	d.Method, d.Slopes, d.Margin = check.BaB, nil, 0
	return reread(t, &d)
}

// follow proves lines of steps.
func follow(t testing.TB, k *check.Checker, c *check.Certificate, x []float32, y int, steps ...[]byte) check.Verdict {
	t.Helper()
	p, err := k.Begin(c, x, y)
	if err != nil {
		return check.Verdict{Reason: err.Error(), Margin: math.Inf(-1)}
	}
	for _, line := range steps {
		s, err := check.ParseStep(line)
		if err != nil {
			p.Refuse(err)
			break
		}
		if p.Step(context.Background(), s) != nil {
			break
		}
	}
	v := p.Verdict()
	require.Equal(t, v.Valid, v.Reason == "")
	return v
}

// planter draws trees over a model.
type planter struct {
	m      *model.Model
	shapes []model.Shape
	r      *rand.Rand
	kinds  map[int]int // of splits, by the numbers they are spelled with; nil: not counted
	points int         // drawn so far
}

// relus lists the relu and leakyrelu layers before a layer.
func (g *planter) relus(layer int) (list []int) {
	for i := range min(layer+1, len(g.m.Arch.Layers)) {
		if k := g.m.Arch.Layers[i].Kind; k == model.ReLU || k == model.LeakyReLU {
			list = append(list, i)
		}
	}
	return list
}

// split draws one of a layer of a tree over another one, as it is spelled; nil: there is none.
func (g *planter) split(layer int) []any {
	at := g.r.IntN(min(layer+1, len(g.m.Arch.Layers)))
	l, out := &g.m.Arch.Layers[at], g.shapes[at+1]
	e := g.r.IntN(out.Size())
	switch l.Kind {
	case model.ReLU, model.LeakyReLU:
		return []any{at, e}
	case model.Clip, model.Sigmoid, model.Tanh:
		return []any{at, e, float64(float32(g.r.NormFloat64() * math.Ldexp(1, g.r.IntN(5)-3)))}
	case model.MaxPool:
		in := g.shapes[g.m.Arch.InputsOf(at)[0]+1]
		var window []int
		for ky := range l.Kernel[0] {
			for kx := range l.Kernel[1] {
				y, x := e%(out.H*out.W)/out.W*l.Stride[0]-l.Padding[0]+ky, e%out.W*l.Stride[1]-l.Padding[1]+kx
				if y >= 0 && y < in.H && x >= 0 && x < in.W {
					window = append(window, (e/(out.H*out.W)*in.H+y)*in.W+x)
				}
			}
		}
		if len(window) > 1 {
			p := g.r.Perm(len(window))
			return []any{at, e, window[p[0]], window[p[1]]}
		}
	}
	return nil
}

// fits reports whether a split may be below others: above has each as it is spelled, and
// whether its active part is the one.
func fits(split []any, above [][]any) bool {
	for _, a := range above {
		same, active := a[0] == split[0] && a[1] == split[1], a[len(a)-1].(bool)
		switch {
		case !same:
		case len(split) == 2:
			return false
		case len(split) == 3 && active != (split[2].(float64) > a[2].(float64)), len(split) == 3 && split[2] == a[2]:
			return false
		case len(split) == 4:
			lost := a[2]
			if active {
				lost = a[3]
			}
			if split[2] == lost || split[3] == lost {
				return false
			}
		}
	}
	return true
}

// tree draws the nodes and multipliers of a tree over a layer, with so many vectors of
// slopes at hand.
func (g *planter) tree(layer, vectors int) fields {
	var nodes []any
	var beta []float32
	var grow func(above [][]any)
	grow = func(above [][]any) {
		var split []any
		for range 2 {
			if split = g.split(layer); split != nil && fits(split, above) {
				break
			}
			split = nil
		}
		if split == nil || len(above) >= 4 || g.r.IntN(5) < 2 {
			nodes = append(nodes, g.r.IntN(vectors+1))
			for range above {
				b := float32(0)
				if g.r.IntN(2) == 0 {
					b = float32(math.Abs(g.r.NormFloat64()) * math.Ldexp(1, g.r.IntN(8)-4))
				}
				beta = append(beta, b)
			}
			return
		}
		nodes = append(nodes, split)
		if g.kinds != nil {
			g.kinds[len(split)]++
		}
		for _, active := range []bool{true, false} {
			grow(append(above[:len(above):len(above)], append(split[:len(split):len(split)], active)))
		}
	}
	grow(nil)
	return fields{"nodes": nodes, "beta": floatText(beta...)}
}

// slopes draws vectors of slopes for leaves over a layer.
func (g *planter) slopes(p *check.Proof, layer int) (all [][]fields) {
	all = [][]fields{}
	for range g.r.IntN(3) {
		vector := []fields{}
		for _, relu := range g.relus(layer) {
			s, in := g.shapes[relu+1], g.m.Arch.InputsOf(relu)[0]
			w := [4]int{g.r.IntN(s.H), s.H, g.r.IntN(s.W), s.W}
			n := 0
			if in >= 0 {
				n = len(open(p, in, s, w))
			}
			if g.r.IntN(4) > 0 {
				vector = append(vector, fields{"relu": relu, "window": w, "alpha": cert.Alpha(g.shares(n))})
			}
			if read := g.planar(relu); read >= -1 && g.r.IntN(3) > 0 {
				s := g.shapes[read+1]
				w := [4]int{g.r.IntN(s.H), s.H, g.r.IntN(s.W), s.W}
				vector = append(vector, fields{"relu": relu, "window": w, "point": cert.Alpha(g.shares(s.C * (w[1] - w[0]) * (w[3] - w[2])))})
				g.points++
			}
		}
		all = append(all, vector)
	}
	return all
}

// shares draws numbers from 0 to 1.
func (g *planter) shares(n int) []float32 {
	v := make([]float32, n)
	for k := range v {
		v[k] = []float32{0, 1, g.r.Float32(), float32(g.r.IntN(256)) / 255}[g.r.IntN(4)]
	}
	return v
}

// planar returns what the conv or fc before a relu reads; −2: the relu has no planes.
func (g *planter) planar(relu int) int {
	before := g.m.Arch.InputsOf(relu)[0]
	if before < 0 || g.m.Arch.Layers[relu].Kind != model.ReLU {
		return -2
	}
	switch g.m.Arch.Layers[before].Kind {
	case model.Conv, model.FC:
		return g.m.Arch.InputsOf(before)[0]
	}
	return -2
}

// open lists the elements of a layer in a window that are stated to be of open sign.
func open(p *check.Proof, layer int, s model.Shape, w [4]int) (list []int) {
	for c := range s.C {
		for y := w[0]; y < w[1]; y++ {
			for x := w[2]; x < w[3]; x++ {
				if k := (c*s.H+y)*s.W + x; p.Open(layer, k) {
					list = append(list, k)
				}
			}
		}
	}
	return list
}

// reads lists the layers that others read which are not linear.
func reads(m *model.Model) (list []int) {
	seen := map[int]bool{}
	for i := range m.Arch.Layers {
		switch m.Arch.Layers[i].Kind {
		case model.ReLU, model.LeakyReLU, model.Clip, model.Sigmoid, model.Tanh, model.MaxPool:
			if k := m.Arch.InputsOf(i)[0]; k >= 0 && !seen[k] {
				seen[k] = true
				list = append(list, k)
			}
		}
	}
	return list
}
