package redteam

import (
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
)

// network is a model as a list of steps over activations, channels first: activation
// 0 is the input, i+1 the output of layer i.
type network struct {
	steps []step
	sizes []int // of each activation
	outs  []int // activations of the dense layers, with what is added to them: worth an attack
	last  int   // activation of the outputs
}

// step computes one activation. A conv or fc that an add takes as its branch is one
// step with it.
type step struct {
	kind    model.Kind // FC stands for every sum
	in, out int
	skip    int  // activation added, −1: none
	part    bool // the skip is a sum that nothing else reads: its terms are terms of this one

	// Of a sum: the terms of output o are those from start[o] to start[o+1].
	start []int
	w     []float32
	k     []int32
	bias  []float32 // by output
	alone bool      // never part of another sum

	mean, std []float32 // by element

	layer   model.Layer // of a layer that layers.go knows
	channel int         // elements of a channel
	ins     []int       // of a concat: the activations
	windows [][]int32   // of a pool, by output
	divisor []float32   // of an avgpool, by output
}

func newNetwork(m *model.Model) *network {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		panic(err)
	}
	n := &network{last: len(m.Arch.Layers)}
	for _, s := range shapes {
		n.sizes = append(n.sizes, s.Size())
	}
	branches := map[int]bool{}
	for i := range m.Arch.Layers {
		if m.Arch.Layers[i].Kind == model.Add {
			if b, _, ok := m.Arch.Residual(i); ok {
				branches[b] = true
			}
		}
	}
	for i, l := range m.Arch.Layers {
		s := step{kind: l.Kind, in: m.Arch.InputsOf(i)[0] + 1, out: i + 1, skip: -1}
		switch l.Kind {
		case model.Normalize:
			out := shapes[i+1]
			for k := range out.Size() {
				c := k / (out.H * out.W)
				s.mean, s.std = append(s.mean, l.Mean[c]), append(s.std, l.Std[c])
			}
		case model.ReLU:
		case model.LeakyReLU, model.Clip, model.Sigmoid, model.Tanh:
			s.layer, s.channel = l, shapes[i+1].H*shapes[i+1].W
		case model.MaxPool, model.AvgPool:
			s.newWindows(&l, m.Arch.InputShape(i, shapes), shapes[i+1])
		case model.Concat:
			for _, k := range m.Arch.InputsOf(i) {
				s.ins = append(s.ins, k+1)
			}
		case model.BatchNorm:
			scale, shift := m.Params[i].Affine(l.Eps)
			s.newSums(shapes[i+1].Size(), shapes[i+1].H*shapes[i+1].W, scale, shift)
			s.alone = true
		case model.Add:
			b, skip, ok := m.Arch.Residual(i)
			if !ok { // 1·x + y; y, if one is a sum, is
				if s.in, s.skip = b+1, skip+1; s.in > s.skip {
					s.in, s.skip = s.skip, s.in
				}
				s.newSums(shapes[i+1].Size(), 1, []float32{1}, []float32{0})
				break
			}
			s.sum(m, shapes, b)
			s.in, s.skip = m.Arch.InputsOf(b)[0]+1, skip+1
			n.outs = append(n.outs, i+1)
		default:
			if branches[i] {
				continue
			}
			s.sum(m, shapes, i)
			n.outs = append(n.outs, i+1)
		}
		n.steps = append(n.steps, s)
	}
	n.join()
	return n
}

// join finds sums that are parts of others.
func (n *network) join() {
	readers, by := make([]int, len(n.sizes)), make([]*step, len(n.sizes))
	for i := range n.steps {
		s := &n.steps[i]
		by[s.out] = s
		if s.ins == nil {
			readers[s.in]++
		}
		for _, k := range s.ins {
			readers[k]++
		}
		if s.skip >= 0 {
			readers[s.skip]++
		}
	}
	for i := range n.steps {
		if s := &n.steps[i]; s.skip >= 0 && readers[s.skip] == 1 && by[s.skip] != nil && by[s.skip].kind == model.FC && !by[s.skip].alone {
			s.part = true
		}
	}
}

// sum lists the terms of layer i.
func (s *step) sum(m *model.Model, shapes []model.Shape, i int) {
	s.kind = model.FC
	l, in, out := m.Arch.Layers[i], m.Arch.InputShape(i, shapes), shapes[i+1]
	p := &m.Params[i]
	for o := range out.Size() {
		s.start = append(s.start, len(s.w))
		s.bias = append(s.bias, p.B[o/(out.H*out.W)])
		plain.Each(l, in, out, o, func(w, k int) {
			s.w, s.k = append(s.w, p.W[w]), append(s.k, int32(k))
		})
	}
	s.start = append(s.start, len(s.w))
}

// wide evaluates the network in float64, for steering alone.
func (n *network) wide(x []float64) [][]float64 {
	acts := make([][]float64, len(n.sizes))
	acts[0] = x
	for i := range n.steps {
		s := &n.steps[i]
		in, z := acts[s.in], make([]float64, n.sizes[s.out])
		for o := range z {
			switch s.kind {
			case model.Normalize:
				z[o] = (in[o] - float64(s.mean[o])) / float64(s.std[o])
			case model.ReLU:
				z[o] = max(0, in[o])
			case model.FC:
				v := float64(s.bias[o])
				for t := s.start[o]; t < s.start[o+1]; t++ {
					v += float64(s.w[t]) * in[s.k[t]]
				}
				if s.skip >= 0 {
					v += acts[s.skip][o]
				}
				z[o] = v
			default:
				z[o] = n.value(s, o, acts)
			}
		}
		acts[s.out] = z
	}
	return acts
}

// gradients returns the derivatives of Σ seed·(activation from), by activation; with
// open, as if all ReLUs let them pass.
func (n *network) gradients(acts [][]float64, from int, seed map[int]float64, open bool) [][]float64 {
	g := make([][]float64, len(n.sizes))
	at := func(a int) []float64 {
		if g[a] == nil {
			g[a] = make([]float64, n.sizes[a])
		}
		return g[a]
	}
	for o, v := range seed {
		at(from)[o] = v
	}
	for i := len(n.steps) - 1; i >= 0; i-- {
		s := &n.steps[i]
		if g[s.out] == nil {
			continue
		}
		in := at(s.in)
		for o, v := range g[s.out] {
			switch {
			case v == 0:
			case s.kind == model.Normalize:
				in[o] += v / float64(s.std[o])
			case s.kind == model.ReLU:
				if open || acts[s.in][o] >= 0 {
					in[o] += v
				}
			case s.kind != model.FC:
				n.pull(s, o, v, acts, open, at)
			default:
				for t := s.start[o]; t < s.start[o+1]; t++ {
					in[s.k[t]] += v * float64(s.w[t])
				}
				if s.skip >= 0 {
					at(s.skip)[o] += v
				}
			}
		}
	}
	at(0)
	return g
}
