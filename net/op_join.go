package net

// Sum is an add of two activations that is not part of another node. Each element is
// one rounded addition.
type Sum struct{}

func (*Sum) forward(w *Workspace, n *Node, dst []float32) {
	size := w.length(n.Shape.Size())
	copy(dst[:size], w.act(n.In[0]))
	w.net.isa.Add(dst[:size], w.act(n.In[1])[:size], epilogue(n.ReLU), nil)
}

func (*Sum) backward(w *Workspace, i int, dout []float32, least int) {
	for j, k := range w.net.nodes[i].In {
		if k >= least {
			w.hand(w.net.hands[i][j], k, dout)
		}
	}
}

// Concat joins the channels of its inputs, one input after another.
type Concat struct{}

func (*Concat) forward(w *Workspace, n *Node, dst []float32) {
	out, lanes, at := n.Shape.C, int(w.layout), 0
	for _, k := range n.In {
		c := w.net.shape(k).C
		copyRuns(dst[at*lanes:], w.act(k), out*lanes, c*lanes, c*lanes, w.blocks*n.Shape.H*n.Shape.W)
		at += c
	}
}

func (*Concat) backward(w *Workspace, i int, dout []float32, least int) {
	n, lanes, at := &w.net.nodes[i], int(w.layout), 0
	for j, k := range n.In {
		c := w.net.shape(k).C
		if k >= least {
			w.handNew(w.net.hands[i][j], k, func(dst []float32) {
				copyRuns(dst, dout[at*lanes:], c*lanes, n.Shape.C*lanes, c*lanes, w.blocks*n.Shape.H*n.Shape.W)
			})
		}
		at += c
	}
}

// copyRuns copies count runs of n elements that lie to and from elements apart.
func copyRuns(dst, src []float32, to, from, n, count int) {
	for i := range count {
		copy(dst[i*to:][:n], src[i*from:])
	}
}
