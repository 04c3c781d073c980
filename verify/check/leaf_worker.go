package check

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/epsball/epsball/model"
)

// prove bounds the leaves of a step over node i and returns the lowest bound of each
// tree. seed starts what a leaf bounds; wanted completes its bound and says what it has to be at
// least.
func (p *Proof) prove(ctx context.Context, s *Step, i int, seed func(l *leaf, w *state), wanted func(l *leaf, low float64) (bound, least float64)) ([]float64, error) {
	var vectors []vector
	for n, list := range s.Slopes {
		v, err := p.readVector(list, i+1)
		if err != nil {
			return nil, fmt.Errorf("slopes[%d]%w", n, err)
		}
		vectors = append(vectors, v)
	}
	var leaves []leaf
	for t := range s.Trees {
		l, err := p.frame.plant(s, t, i+1)
		if err != nil {
			return nil, fmt.Errorf("trees[%d]: %w", t, err)
		}
		if rows := s.Trees[t].Rows; s.Clause >= 0 && len(rows) != len(l) {
			return nil, fmt.Errorf("trees[%d]: rows: got %d, expected one for each of %d leaves", t, len(rows), len(l))
		}
		leaves = append(leaves, l...)
	}
	base := p.openSlopes(i + 1)
	found, errs := make([]float64, len(leaves)), make([]error, len(leaves))
	var next, failed atomic.Int64
	failed.Store(int64(len(leaves)))
	var wg sync.WaitGroup
	for range max(1, min(p.Workers, len(leaves))) {
		wg.Go(func() {
			w := p.worker(base, vectors)
			for n := int(next.Add(1) - 1); n < len(leaves) && int64(n) < failed.Load(); n = int(next.Add(1) - 1) {
				l := &leaves[n]
				low, err := w.bound(ctx, l, i, func() { seed(l, &w.state) })
				if err == nil {
					want := 0.0
					if low, want = wanted(l, low); !(low >= want) {
						err = fmt.Errorf("its lower bound is %.9g, expected at least %.9g", low, want)
					}
				}
				if found[n] = low; err != nil {
					errs[n] = fmt.Errorf("trees[%d]: leaf %d is not proved: %w", l.tree, l.number, err)
					failed.Store(min(failed.Load(), int64(n)))
				}
			}
		})
	}
	wg.Wait()
	lows := make([]float64, len(s.Trees))
	for t := range lows {
		lows[t] = math.Inf(1)
	}
	for n := range leaves {
		if errs[n] != nil {
			return nil, errs[n]
		}
		lows[leaves[n].tree] = min(lows[leaves[n].tree], found[n])
	}
	return lows, nil
}

// worker makes what bounds leaves in the frame.
func (p *Proof) worker(base [][]float64, vectors []vector) *leafWorker {
	nodes := len(p.frame.nodes)
	w := &leafWorker{state: *p.frame, base: base, vectors: vectors, slopes: -1}
	w.alpha, w.scratch = make([][]float64, nodes), make([][]float64, nodes)
	w.forms, w.fixes, w.points = make([]form, nodes), make([][]fix, nodes), make([][]float64, nodes)
	return w
}

// vector is what a step states of slopes for leaves.
type vector []windowSlopes

type windowSlopes struct {
	node  int
	of    int   // node whose elements they are: this one, or what its planes read
	at    []int // elements, channels last: open ones, or all
	alpha *alpha
}

// openSlopes are slopes of all elements of the nodes that have stated ones: 0 where what
// the node reads is stated to be of open sign, adaptive elsewhere.
func (p *Proof) openSlopes(end int) [][]float64 {
	out := make([][]float64, len(p.frame.nodes))
	for i := range end {
		if !p.sloped(i) {
			continue
		}
		out[i] = make([]float64, p.frame.nodes[i].shape.Size())
		for k := range out[i] {
			if !p.open(i, k) {
				out[i][k] = -1
			}
		}
	}
	return out
}

func (p *Proof) sloped(i int) bool {
	k := p.frame.nodes[i].kind
	return k == model.ReLU || k == model.LeakyReLU
}

// open reports whether element k of what node i reads is stated to be of open sign.
func (p *Proof) open(i, k int) bool {
	s := p.stated[p.frame.nodes[i].in[0]]
	return s != nil && s.set[k] && s.lo[k] < 0 && s.hi[k] > 0
}

// planar returns the node that a conv or fc before node i, a relu, reads; −1: there is no such
// layer, and i has no planes.
func (p *Proof) planar(i int) int {
	n := p.frame.nodes
	before := n[i].in[0]
	if _, ok := n[before].op.(*conv); !ok || n[i].kind != model.ReLU {
		return -1
	}
	return n[before].in[0]
}

// readVector reads slopes for leaves over node end.
func (p *Proof) readVector(list []WindowSlopes, end int) (vector, error) {
	var out vector
	for i, w := range list {
		one := windowSlopes{node: w.ReLU + 1, of: w.ReLU + 1}
		if one.node >= end || !p.sloped(one.node) {
			return nil, fmt.Errorf("[%d]: relu: got layer %d, expected a relu or leakyrelu before what is bounded", i, w.ReLU)
		}
		if w.Point != "" {
			if one.of = p.planar(one.node); one.of < 0 {
				return nil, fmt.Errorf("[%d]: relu: got a point of layer %d, expected one of a relu behind a conv or fc", i, w.ReLU)
			}
		}
		for _, o := range out {
			if o.node == one.node && o.of == one.of {
				return nil, fmt.Errorf("[%d]: relu: got layer %d twice", i, w.ReLU)
			}
		}
		shape, r := p.frame.nodes[one.of].shape, w.Window
		if r[0] >= r[1] || r[1] > shape.H || r[2] >= r[3] || r[3] > shape.W {
			return nil, fmt.Errorf("[%d]: window: got %v, expected one that is not empty within %d rows and %d columns", i, r, shape.H, shape.W)
		}
		for c := range shape.C {
			for y := r[0]; y < r[1]; y++ {
				for x := r[2]; x < r[3]; x++ {
					if k := (y*shape.W+x)*shape.C + c; one.of != one.node || p.open(one.node, k) {
						one.at = append(one.at, k)
					}
				}
			}
		}
		var err error
		if one.alpha, err = readAlpha(w.Alpha+w.Point, len(one.at), 1); err != nil { // one of the two is empty
			if w.Point != "" {
				err = fmt.Errorf("point, spelled like %w", err)
			}
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// leafWorker bounds leaves, one after the other.
type leafWorker struct {
	state
	base    [][]float64
	vectors []vector
	slopes  int // that are set; −1: none
}

// use sets the slopes of a vector.
func (w *leafWorker) use(slopes int) {
	if slopes == w.slopes {
		return
	}
	w.slopes = slopes
	clear(w.alpha)
	clear(w.points)
	if slopes == 0 {
		return
	}
	for i, base := range w.base {
		if base == nil {
			continue
		}
		if w.scratch[i] == nil {
			w.scratch[i] = make([]float64, len(base))
		}
		copy(w.scratch[i], base)
		w.alpha[i] = w.scratch[i]
	}
	for _, s := range w.vectors[slopes-1] {
		to := w.alpha[s.node]
		if s.of != s.node {
			to = w.point(s.node, s.of)
		}
		for n, k := range s.at {
			to[k] = s.alpha.at(0, n)
		}
	}
}

// point makes room for where elements of node of are, which planes of node i read: in the middle.
func (w *leafWorker) point(i, of int) []float64 {
	v := make([]float64, w.nodes[of].shape.Size())
	for k := range v {
		v[k] = 0.5
	}
	w.points[i] = v
	return v
}

// bound returns a lower bound, over a leaf, of what seed starts at node i.
func (w *leafWorker) bound(ctx context.Context, l *leaf, i int, seed func()) (float64, error) {
	w.use(l.slopes)
	for n := range w.fixes {
		w.fixes[n] = w.fixes[n][:0]
	}
	for _, f := range l.fixes {
		w.fixes[f.node] = append(w.fixes[f.node], f)
		c, width := w.nodes[f.node].shape.C, w.nodes[f.node].shape.W
		y, x := f.k/c/width, f.k/c%width
		w.grow(f.node, region{y, y + 1, x, x + 1})
	}
	seed()
	return w.lower(ctx, i, through)
}
