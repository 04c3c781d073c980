package check

import (
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/model"
)

// Leaves.
//
// A leaf is what traces with given signs have in common: at chosen elements z of what a relu or
// leakyrelu reads, z ≥ 0 (active) or z ≤ 0. As each trace has one of the two at each element, what is
// proved of both parts of a split is proved of all. In such a trace, for β ≥ 0 and any â,
//
//	active:   â·max(z, 0) = â·z ≥ (â − β)·z,
//	inactive: â·max(z, 0) = 0 ≥ β·z.
//
// So in (*) of rounding.go a split element passes on the coefficient â − β or β, in place
// of its lines. It is c = fl(â − β) ≤ â, since rounding is monotone: as good as exact, with
// another β. What adding c to â_p errs by, err pays with g·|c|·M_p. Of a leakyrelu of slope s
// the inactive part is â·s·z ≥ (â·s + β)·z: c errs by two roundings, of at most 3v(|â·s| + β),
// which err pays with g·(|â·s| + β)·M_p. Other splits are in split.go.

// fix is a split above a leaf.
type fix struct {
	node, k       int // its element, channels last
	active        bool
	beta          float64
	at            float64 // of a sigmoid or tanh
	first, second int     // of a maxpool: elements, channels last, of what it reads
}

// takeFixes takes the split elements of node i, a relu or leakyrelu, to what it reads.
func (s *state) takeFixes(i int) {
	if len(s.fixes[i]) == 0 {
		return
	}
	p := s.nodes[i].in[0]
	leaky, _ := s.nodes[i].op.(*leakyReLU)
	a, in, m := s.forms[i].a, s.grow(p, s.forms[i].region), s.bounds[p].m
	for _, f := range s.fixes[i] {
		c := f.beta
		size := c
		switch {
		case f.active:
			c = a[f.k] - f.beta
			size = math.Abs(c)
		case leaky != nil:
			passed := float64(a[f.k] * leaky.of(s, i, f.k))
			size = math.Abs(passed) + f.beta
			c = passed + f.beta
		}
		a[f.k] = 0
		in[f.k] += c
		s.err += float64(s.g * float64(size*m[f.k]))
	}
}

// leaf is a leaf of a step's trees.
type leaf struct {
	tree, number int
	fixes        []fix
	slopes       int // number of a vector; 0: adaptive
}

// plant checks the shape of tree t of a step, and returns its leaves. Splits are of layers
// before node end.
func (n *network) plant(s *Step, t, end int) (leaves []leaf, err error) {
	tree := &s.Trees[t]
	var path []fix // the splits above; those that are active have their other part to come
	beta := tree.Beta
	for i, d := range tree.Nodes {
		if d.Layer >= 0 {
			f, err := n.split(d, path, end)
			if err != nil {
				return nil, fmt.Errorf("nodes[%d]: %w", i, err)
			}
			if path = append(path, f); len(path) > maxDepth {
				return nil, fmt.Errorf("nodes[%d]: got more than %d splits above each other", i, maxDepth)
			}
			continue
		}
		if d.Slopes > len(s.Slopes) {
			return nil, fmt.Errorf("nodes[%d]: got slopes %d of %d", i, d.Slopes, len(s.Slopes))
		}
		if len(beta) < len(path) {
			return nil, errors.New("beta: got too few, expected one for each split above each leaf")
		}
		l := leaf{tree: t, number: len(leaves), fixes: append([]fix{}, path...), slopes: d.Slopes}
		for k := range path {
			if !(beta[k] >= 0) {
				return nil, fmt.Errorf("beta: got %v, expected at least 0", beta[k])
			}
			l.fixes[k].beta = float64(beta[k])
		}
		leaves, beta = append(leaves, l), beta[len(path):]
		for len(path) > 0 && !path[len(path)-1].active { // both parts are there
			path = path[:len(path)-1]
		}
		if len(path) > 0 {
			path[len(path)-1].active = false
			continue
		}
		if i+1 < len(tree.Nodes) {
			return nil, fmt.Errorf("nodes[%d]: got more after the whole tree", i+1)
		}
		if len(beta) > 0 {
			return nil, errors.New("beta: got too many, expected one for each split above each leaf")
		}
		return leaves, nil
	}
	return nil, errors.New("nodes: a part of a split is missing")
}

// channelsLast is the opposite of channelsFirst.
func channelsLast(i int, s model.Shape) int { return i%(s.H*s.W)*s.C + i/(s.H*s.W) }
