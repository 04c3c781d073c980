package bench

import (
	"github.com/epsball/epsball/net"
)

// nodeTraffic returns the bytes that an operation of node i cannot but move: the weights
// once, the activations of the batch in and out.
type nodeTraffic func(n *net.Network, i, images int) float64

func forwardTraffic(n *net.Network, i, images int) float64 {
	node := &n.Nodes()[i]
	elements := node.Shape.Size()
	for _, k := range node.In {
		elements += sizeOf(n, k)
	}
	return 4 * float64(weightsOf(n, i)+images*elements)
}

// backwardTraffic adds what the gradient depends on: the activations that pass a ReLU,
// what a function has made of its input, what a maximum was taken from.
func backwardTraffic(n *net.Network, i, images int) float64 {
	node, elements := &n.Nodes()[i], 0
	for _, k := range node.In {
		if gated(n, k) {
			elements += sizeOf(n, k)
		}
	}
	switch op := node.Op.(type) {
	case *net.Elementwise:
		elements += node.Shape.Size()
	case *net.Pool:
		if !op.Mean {
			elements += sizeOf(n, node.In[0]) + node.Shape.Size()
		}
	}
	return forwardTraffic(n, i, images) + 4*float64(images*elements)
}

// intervalTraffic is that of centres and radii, with W and |W|.
func intervalTraffic(n *net.Network, i, images int) float64 { return 2 * forwardTraffic(n, i, images) }

// weightTraffic is that of a gradient of weights: none for a node without.
func weightTraffic(n *net.Network, i, images int) float64 {
	if weightsOf(n, i) == 0 {
		return 0
	}
	return forwardTraffic(n, i, images)
}

// gated reports whether the gradient at activation k passes a ReLU.
func gated(n *net.Network, k int) bool { return k > 0 && n.Nodes()[k-1].ReLU }

// sizeOf returns the elements of activation k of an image.
func sizeOf(n *net.Network, k int) int {
	if k == 0 {
		return n.Input().Size()
	}
	return n.Nodes()[k-1].Shape.Size()
}

// weightsOf returns the number of weights of node i.
func weightsOf(n *net.Network, i int) int {
	switch op := n.Nodes()[i].Op.(type) {
	case *net.Affine:
		return op.Shape.Weights()
	case *net.Depthwise:
		return op.Sliding.C * op.Sliding.Taps()
	case *net.Grouped:
		return op.Groups * op.Taps().Weights()
	}
	return 0
}

// memoryBound reports whether node i does so little with each element that memory limits
// it, and not multiply-adds.
func memoryBound(n *net.Network, i int) bool {
	switch n.Nodes()[i].Op.(type) {
	case *net.Affine, *net.Grouped:
		return false
	}
	return true
}

// traffic is that of a pass: the sum over its nodes.
func (p *pass) traffic(n *net.Network, images int) float64 {
	sum := 0.0
	for i := range n.Nodes() {
		for _, t := range p.nodes {
			sum += t(n, i, images)
		}
	}
	return sum
}
