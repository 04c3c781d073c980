package verify

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Multipliers returns those of the leaf's Splits, in their order.
func (l *Leaf) Multipliers() []float32 {
	out := make([]float32, len(l.Splits))
	for k := range out {
		out[k] = l.multiplier(k)
	}
	return out
}

// Optimised identifies the slopes that the leaf has of its own, as it shares them with
// children that were not optimised; nil: it has none, and its lines are those of CROWN.
func (l *Leaf) Optimised() *[]float32 {
	if l.slopes == nil {
		return nil
	}
	return &l.slopes[0]
}

// Slopes returns the neurons of a ReLU or LeakyReLU whose lower lines were free in the frame,
// elements channels first in increasing order, and their slopes as certificates state them, in
// [0, 1], 0 beyond what the target depends on; nil if the leaf has no slopes of its own there.
// Those of a LeakyReLU whose lines are not optimised are 0 or 1. It allocates its results.
func (l *Leaf) Slopes(node int) (neurons []int, slopes []float32) {
	p := &l.Frame.net.Nodes()[node]
	if l.slopes == nil || SplitsOf(p) != SignSplits {
		return nil, nil
	}
	var open []int32
	var row []float32
	if open, row = l.open[node], l.slopes[node]; row == nil {
		if open, row = l.adaptive(p); open == nil {
			return nil, nil
		}
	}
	leaky := leakOf(p)
	m := p.Shape
	next := make([]int, m.C+1) // of each channel: where its neurons go, which memory has interleaved
	for _, k := range open {
		next[int(k)%m.C+1]++
	}
	for c := range m.C {
		next[c+1] += next[c]
	}
	neurons, slopes = make([]int, len(open)), make([]float32, len(open))
	for n, k := range open {
		at := &next[int(k)%m.C]
		neurons[*at], slopes[*at] = channelFirst(int(k), extent{m.H, m.W, m.C}), stated(leaky, int(k), row[n])
		*at++
	}
	return neurons, slopes
}

// leakOf returns a LeakyReLU, or nil of another node.
func leakOf(p *net.Node) *relaxElementwise {
	if e, ok := p.Op.(*net.Elementwise); ok && e.Kind == model.LeakyReLU {
		return newRelaxElementwise(e, p)
	}
	return nil
}

// stated is the slope that certificates state for one of a LeakyReLU's element k; of others it
// is the slope itself.
func stated(leaky *relaxElementwise, k int, slope float32) float32 {
	if leaky == nil {
		return slope
	}
	f := float64(leaky.slope(k))
	if f == 1 {
		return 0
	}
	return float32(max(0, min(1, (float64(slope)-f)/(1-f))))
}

// adaptive returns the open neurons, and the slopes of their free lines, of a LeakyReLU whose
// lines are not optimised.
func (l *Leaf) adaptive(p *net.Node) (open []int32, slopes []float32) {
	leaky := leakOf(p)
	if leaky == nil || leaky.kernel || l.Frame.net.Nodes()[p.In[0]-1].ReLU {
		return nil, nil
	}
	n := &l.Frame.nodes[p.In[0]-1]
	for k, lo := range n.lo {
		if lo < 0 && n.hi[k] > 0 {
			open, slopes = append(open, int32(k)), append(slopes, adaptive(leaky.slope(k), lo, n.hi[k]))
		}
	}
	return open, slopes
}

// Bytes estimates the memory that the leaf holds beside its frame. Slopes that it shares with
// the leaf it is a child of are counted in both.
func (l *Leaf) Bytes() int {
	n := int(unsafe.Sizeof(*l)) + cap(l.Splits)*int(unsafe.Sizeof(Split{})) + cap(l.Choice)*int(unsafe.Sizeof(Candidate{}))
	n += (cap(l.Point) + cap(l.Spread) + cap(l.beta) + cap(l.planes)) * int(unsafe.Sizeof(float32(0)))
	for _, row := range l.slopes {
		n += int(unsafe.Sizeof(row)) + cap(row)*int(unsafe.Sizeof(float32(0)))
	}
	return n
}

// AgainOptions say how leaves are bounded again.
type AgainOptions struct {
	Bytes  bool // slopes are rounded to multiples of 1/255, and y of planes like them
	Planes bool // with planes of 9g, as a checker finds them: from y alone
}

// Again returns leaves like the given ones without their bounds, to be bounded with the
// slopes and multipliers that they have. Leaves that share slopes share them again.
func (v *Verifier) Again(leaves []*Leaf, o AgainOptions) []*Leaf {
	type like struct {
		slopes [][]float32
		planes []float32
	}
	done := map[*[]float32]like{}
	out := make([]*Leaf, len(leaves))
	for i, l := range leaves {
		c := &Leaf{
			Frame: l.Frame, Target: l.Target, Splits: l.Splits, Low: float32(math.Inf(-1)),
			beta: l.beta, slopes: l.slopes, open: l.open, again: true,
		}
		if at := l.Optimised(); at != nil {
			to, ok := done[at]
			if !ok {
				to.slopes = l.slopes
				if o.Planes {
					to.planes = v.pointOf(l)
				}
				if o.Bytes {
					to.slopes = l.roundSlopes()
					for k, y := range to.planes {
						to.planes[k] = fromByte(yByte(y))
					}
				}
				done[at] = to
			}
			c.slopes, c.planes = to.slopes, to.planes
		}
		out[i] = c
	}
	return out
}

// pointOf returns a copy of the y of a leaf's planes, if it has any of its own.
func (v *Verifier) pointOf(l *Leaf) []float32 {
	if l.planes == nil {
		return nil
	}
	w := v.inputWindow(l)
	return slices.Clone(l.planes[:w.H()*w.W()*v.graph.maps[0].c])
}

// inputWindow is what the leaf's target depends on of what the first node reads.
func (v *Verifier) inputWindow(l *Leaf) kernels.Window {
	last := len(v.graph.nodes) - 1
	from, start := last, v.graph.maps[last+1].full()
	if i := l.node(); i >= 0 {
		m := v.graph.maps[i+1]
		p := atShape(l.Target.Neuron, v.net.Nodes()[i].Shape) / m.c
		from, start = i, kernels.Window{Y0: p / m.w, Y1: p/m.w + 1, X0: p % m.w, X1: p%m.w + 1}
	}
	win := make([]kernels.Window, len(v.graph.maps))
	v.graph.windows(win, from, start)
	return win[0]
}

// Point returns what certificates state of a leaf's planes: for the inputs of the first node in
// a window, channels first, where in its range each is, from 0 to 1; nil if the leaf has none of
// its own. It allocates its results.
func (v *Verifier) Point(l *Leaf) (window kernels.Window, at []float32) {
	y := v.pointOf(l)
	if y == nil || l.slopes == nil {
		return window, nil
	}
	window = v.inputWindow(l)
	at = make([]float32, len(y))
	m := extent{window.H(), window.W(), v.graph.maps[0].c}
	for k, v := range y {
		share := float32(float64(float64(v)+1) / 2)
		if b := yByte(v); v == fromByte(b) {
			share = float32(b) / 255
		}
		at[channelFirst(k, m)] = min(max(share, 0), 1)
	}
	return window, at
}

// roundSlopes rounds slopes as they are stated.
func (l *Leaf) roundSlopes() [][]float32 {
	out := make([][]float32, len(l.slopes))
	for i, row := range l.slopes {
		if row == nil {
			continue
		}
		leaky := leakOf(&l.Frame.net.Nodes()[i])
		out[i] = make([]float32, len(row))
		for n, v := range row {
			k := int(l.open[i][n])
			a := float32(math.Round(float64(stated(leaky, k, v))*255)) / 255
			if leaky != nil {
				f := leaky.slope(k)
				a = max(f, min(1, float32(float64(f)+float64(float64(a)*(1-float64(f))))))
			}
			out[i][n] = a
		}
	}
	return out
}

// Bent is a node that one reads which is not linear, as certificates speak of it.
type Bent struct {
	Node  int
	Layer int  // of the architecture, whose output the node's Interval bounds
	All   bool // better bounds of any neuron make better lines, not of those of open sign alone
	Exact bool // its intervals are as good as rows in a box, or all there is
	First bool // it reads the input: in other norms rows come with its intervals; or these are all
}

// Bent lists these nodes in order, and for each node the layer that its splits are of or −1. It
// refuses networks with slopes that leaves have but trees of certificates do not state.
func (v *Verifier) Bent() (list []Bent, layers []int, err error) {
	if err := v.packGraph(); err != nil {
		return nil, nil, err
	}
	nodes := v.net.Nodes()
	for i := range nodes {
		d, p := &v.graph.nodes[i], &nodes[i]
		layers = append(layers, -1)
		if kind := SplitsOf(p); kind == SignSplits {
			layers[i] = d.layer
		} else if kind != NoSplits {
			layers[i] = p.Index
		} else if d.sloped() && d.bent {
			return nil, nil, fmt.Errorf("layer %s: no certificates of branch and bound for its kind", p.Name)
		}
		if !d.relu && len(d.bends) == 0 {
			continue
		}
		if d.bent { // lines of what reads it may be stated for open signs
			list = append(list, Bent{Node: i, Layer: p.Index, Exact: true, First: true})
			continue
		}
		b := Bent{Node: i, Layer: p.Index, Exact: d.exact, First: d.dual()}
		if f, ok := p.Op.(*net.Affine); ok {
			b.Layer = max(f.Index, f.Add)
		}
		for _, r := range d.bends {
			e, ok := r.(*relaxElementwise)
			b.All = b.All || !ok || e.op.Kind != model.ReLU && e.op.Kind != model.LeakyReLU
		}
		list = append(list, b)
	}
	return list, layers, nil
}
