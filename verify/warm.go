package verify

import "github.com/epsball/epsball/kernels"

const (
	// warmShare is the part of the steps that rows take from slopes that were optimised at
	// another radius already.
	warmShare = 4

	// warmBudget is the number of slopes, of a byte each, that a worker keeps.
	warmBudget = 256 << 20
)

// keeper is a warm. (As an interface, so that programs that search for no radius do not carry
// it.)
type keeper interface {
	divide(w *linearWorker, node int, list []neuron) (known, others []neuron)
	recall(w *linearWorker, of, node, groups int)
	store(w *linearWorker, of, groups int)
}

// warm keeps the slopes of one image from radius to radius of a search: those optimised at one
// are good at the next, so that fewer steps are enough. Any slope in [0, 1] is sound (9), so a
// byte holds it.
//
// Which slopes are kept does not depend on who takes which rows: room is made before rows
// are divided among workers, who write to different slots then.
type warm struct {
	nodes []warmNode // whose neurons are bounded
	run   int32      // of one image

	bytes, budget int // of slots

	known, others []neuron
}

type warmNode struct {
	slots []warmSlot // of each neuron, both sides
}

type warmSlot struct {
	alpha []uint8 // of the nodes before, in order: those of the row's windows; then y of planes
	run   int32   // that they are of
}

func newWarm(g *graph) *warm {
	w := &warm{nodes: make([]warmNode, len(g.nodes)), budget: warmBudget}
	for i := range w.nodes {
		w.nodes[i].slots = make([]warmSlot, 2*g.maps[i+1].size())
	}
	return w
}

func (n *warmNode) slot(r neuron) *warmSlot {
	k := 2 * r.index
	if r.minus {
		k++
	}
	return &n.slots[k]
}

// KeepSlopes makes Radius keep optimised slopes from one radius of an image to the next, in up to
// 256 MB a worker: MethodAlphaCROWN then takes 0.6 of the time (BenchmarkRadius). What is
// proved differs a little, for its slopes do. It must not be called during other calls. (A
// choice, so that programs for devices need not carry it.)
func (v *Verifier) KeepSlopes() { v.keeps = keepWarm }

// keepWarm returns what keeps the slopes of the next image of a worker.
func keepWarm(w *linearWorker) keeper {
	s, _ := w.keeper.(*warm)
	if s == nil {
		s = newWarm(w.g)
		w.keeper = s
	}
	s.run++
	return s
}

// divide makes room for the slopes of the rows of a list, and divides it into those whose slopes
// are known from another radius and others, in their order.
func (s *warm) divide(w *linearWorker, i int, list []neuron) (known, others []neuron) {
	s.reserve(w, i, list)
	known, others = s.known[:0], s.others[:0]
	for _, r := range list {
		if s.nodes[i].slot(r).run == s.run {
			known = append(known, r)
		} else {
			others = append(others, r)
		}
	}
	s.known, s.others = known, others
	return known, others
}

// reserve makes room for the slopes of the rows of a list.
func (s *warm) reserve(w *linearWorker, i int, list []neuron) {
	m := w.g.maps[i+1]
	last, need := -1, 0
	for _, r := range list {
		if p := int(r.index) / m.c; p != last {
			w.begin(i, kernels.Window{Y0: p / m.w, Y1: p/m.w + 1, X0: p % m.w, X1: p%m.w + 1})
			last, need = p, s.slopes(w, i)
		}
		if slot := s.nodes[i].slot(r); slot.alpha == nil && s.bytes+need <= s.budget {
			slot.alpha = make([]uint8, need)
			s.bytes += need
		}
	}
}

// slopes returns the number of slopes of a row of node i on the windows begun last, and with planes
// of inputs.
func (s *warm) slopes(w *linearWorker, i int) int {
	n := 0
	for k := range i {
		if win := w.win[k+1]; w.g.nodes[k].sloped() {
			n += win.H() * win.W() * w.g.maps[k+1].c
		}
	}
	if win := w.win[0]; planesOf(w) != nil {
		n += win.H() * win.W() * w.g.maps[0].c
	}
	return n
}

// recall sets the slopes of node k for groups of rows of the node of to those that are kept.
func (s *warm) recall(w *linearWorker, of, k, groups int) {
	if !w.g.nodes[k].sloped() {
		return
	}
	o, _ := w.g.nodes[k].op.(*relaxElementwise)
	s.eachSlot(w, of, k, groups, func(g, lane int, slot *warmSlot, kept []uint8) {
		if slot.run != s.run {
			return
		}
		alpha := w.group(w.ascent.alpha[k+1], k+1, g)
		w.each(g, k+1, func(at, k2 int) {
			if w.params[k][k2*kernels.RelaxParams+kernels.RelaxIntercept] == 0 { // stable by now
				return
			}
			v := float32(kept[at]) / 255
			if o != nil {
				v = max(v, o.slope(k2))
			}
			alpha[at*kernels.Lanes+lane] = v
		})
	})
	if p := planesOf(w); k == 0 && p != nil {
		s.eachSlot(w, of, 0, groups, func(g, lane int, slot *warmSlot, _ []uint8) {
			if slot.run == s.run {
				p.unpack(w, g, lane, slot.alpha[len(slot.alpha)-w.size(0):])
			}
		})
	}
}

// store keeps the slopes that rows have come to.
func (s *warm) store(w *linearWorker, of, groups int) {
	for k := range of {
		if !w.ascent.used[k+1] || !w.g.nodes[k].sloped() {
			continue
		}
		s.eachSlot(w, of, k, groups, func(g, lane int, slot *warmSlot, kept []uint8) {
			alpha := w.group(w.ascent.alpha[k+1], k+1, g)
			for at := range kept {
				kept[at] = uint8(float32(alpha[at*kernels.Lanes+lane]*255) + 0.5)
			}
			slot.run = s.run
		})
	}
	if p := planesOf(w); p != nil && w.ascent.used[1] {
		s.eachSlot(w, of, 0, groups, func(g, lane int, slot *warmSlot, _ []uint8) {
			p.pack(w, g, lane, slot.alpha[len(slot.alpha)-w.size(0):])
		})
	}
}

// eachSlot calls f for each row that has a slot, with its slopes of node k.
func (s *warm) eachSlot(w *linearWorker, of, k, groups int, f func(g, lane int, slot *warmSlot, kept []uint8)) {
	from := 0
	for i := range k {
		if w.g.nodes[i].sloped() {
			from += w.size(i + 1)
		}
	}
	list := w.rowsOf
	for g := range groups {
		for l, n := range list[:w.count[g]] {
			if slot := s.nodes[of].slot(n); slot.alpha != nil {
				f(g, l, slot, slot.alpha[from:][:w.size(k+1)])
			}
		}
		list = list[w.count[g]:]
	}
}
