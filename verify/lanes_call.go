package verify

import (
	"cmp"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// certifyLanes tries CROWN-IBP on the images of the list, eight at once, if that is the method
// that they begin with and saves time. What is left to be done is then on the list.
func (c *call) certifyLanes() error {
	if c.o.Method < MethodCROWNIBP || c.first() != MethodCROWNIBP || len(c.todo) == 0 {
		return nil
	}
	if err := c.v.packGraph(); err != nil || !c.v.graph.onLanes() || !c.lanesPay() {
		return err
	}
	c.v.graph.packLanes()
	if c.y != nil { // images of one class have more inactive neurons in common
		slices.SortStableFunc(c.todo, func(a, b int) int { return cmp.Compare(c.y[a], c.y[b]) })
	}
	c.eights, c.todo = append(c.eights[:0], c.todo...), c.todo[:0]
	for i := range kernels.Groups(len(c.eights)) {
		c.todo = append(c.todo, i)
	}
	err := c.run(certifyEight)
	c.todo = c.todo[:0]
	for _, i := range c.eights {
		if !c.res.Done[i] {
			c.todo = append(c.todo, i)
		}
	}
	c.tried = true
	return err
}

// lanesPay reports whether the images of the list take less time together, by the groups that
// go backward one after the other on a worker.
func (c *call) lanesPay() bool {
	n, workers := len(c.todo), c.v.pool.Workers()
	rows := goal{property: c.o.Property}.rows(c.v.outputs)
	if rows == 0 || slices.ContainsFunc(c.todo, func(i int) bool { return c.norm(i) != net.Linf }) {
		return false
	}
	ceil := func(a, b int) int { return (a + b - 1) / b }
	alone := ceil(n, workers) * kernels.Groups(rows)
	together := ceil(kernels.Groups(n), workers) * rows
	return 5*together < 4*alone
}

// certifyEight tries CROWN-IBP on the images of a block.
func certifyEight(c *call, w *linearWorker, block int) {
	list := c.eights[block*kernels.Lanes : min(len(c.eights), (block+1)*kernels.Lanes)]
	p, ok := w.lanes.(*imageLanes)
	if !ok {
		p = newImageLanes(w)
		w.lanes = p
	}
	for l := range kernels.Lanes {
		i := list[min(l, len(list)-1)] // the last fills what is left
		a := c.area(i)
		p.load(l, &a, c.goal(i))
	}
	t := newAttempt(c.ctx, &c.o, MethodCROWNIBP, c.goal(list[0]))
	if !p.bound(&t, t.goal.rows(c.v.outputs)) {
		return
	}
	for l, i := range list {
		margin := max(c.res.Margin[i], p.goals[l].margin(p.low[l]))
		if c.res.Margin[i] = margin; margin > 0 || c.o.Method == MethodCROWNIBP {
			c.res.set(i, margin, MethodCROWNIBP)
		}
	}
}
