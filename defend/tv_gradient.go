package defend

import "github.com/epsball/epsball/kernels"

// undo is what tv needs to go back through its steps.
type undo struct {
	past   [][2][]float32 // p before each step, and after the last
	gp     [2][]float64   // gradient at p
	gs     [2][]float64   // at ∇v
	gv, gx []float64
}

func (f *tv) newUndo() *undo {
	n := f.in.H * f.in.W
	u := &undo{gv: make([]float64, n), gx: make([]float64, n)}
	for k := range 2 {
		u.gp[k], u.gs[k] = make([]float64, n), make([]float64, n)
	}
	for range f.steps + 1 {
		u.past = append(u.past, [2][]float32{make([]float32, n), make([]float32, n)})
	}
	return u
}

func (f *tv) Backward(gx, gy, x []float32, _ *kernels.Stream) {
	if f.undo == nil {
		f.undo = f.newUndo()
	}
	hw := f.in.H * f.in.W
	for c := range f.in.C {
		f.back(gx[c*hw:(c+1)*hw], gy[c*hw:(c+1)*hw], x[c*hw:(c+1)*hw])
	}
}

// back is Backward for one channel. It goes forward once more, keeping each p.
func (f *tv) back(gx, gy, x []float32) {
	u, p := f.undo, f.p
	defer func() { f.p = p }()
	f.p = u.past[0]
	clear(f.p[0])
	clear(f.p[1])
	for k := range f.steps {
		copy(u.past[k+1][0], f.p[0])
		copy(u.past[k+1][1], f.p[1])
		f.p = u.past[k+1]
		f.step(x)
	}
	// y = x − weight·div p
	for k, g := range gy {
		u.gx[k], u.gv[k] = float64(g), -float64(f.weight)*float64(g)
	}
	clear(u.gp[0])
	clear(u.gp[1])
	f.addDivergence()
	for k := f.steps - 1; k >= 0; k-- {
		f.undoStep(x, u.past[k], u.past[k+1])
	}
	for k, g := range u.gx {
		gx[k] = float32(g)
	}
}

// addDivergence adds to gp what gv, the gradient at a divergence of p, says.
func (f *tv) addDivergence() {
	u, h, w := f.undo, f.in.H, f.in.W
	for i := range h {
		for j := range w {
			k := i*w + j
			if i < h-1 {
				u.gp[0][k] += u.gv[k] - u.gv[k+w]
			}
			if j < w-1 {
				u.gp[1][k] += u.gv[k] - u.gv[k+1]
			}
		}
	}
}

// undoStep turns the gradient at after, what one step makes of before, into that at
// before and at x.
func (f *tv) undoStep(x []float32, before, after [2][]float32) {
	u, h, w := f.undo, f.in.H, f.in.W
	f.p = before
	f.point(x)
	for i := range h {
		for j := range w {
			k := i*w + j
			down, right, length := f.slope(i, j)
			n := 1 + float64(length)/4
			// after = q/n with q = before + ∇v/4
			q0, q1 := u.gp[0][k]/n, u.gp[1][k]/n
			u.gp[0][k], u.gp[1][k] = q0, q1
			u.gs[0][k], u.gs[1][k] = q0/4, q1/4
			if length > 0 {
				gn := -(float64(q0*float64(after[0][k])) + float64(q1*float64(after[1][k]))) / 4 / float64(length)
				u.gs[0][k] += float64(gn * float64(down))
				u.gs[1][k] += float64(gn * float64(right))
			}
		}
	}
	// v = div before − x/weight, and ∇ is the negative adjoint of div.
	clear(u.gv)
	for i := range h {
		for j := range w {
			k := i*w + j
			if i < h-1 {
				u.gv[k+w] += u.gs[0][k]
				u.gv[k] -= u.gs[0][k]
			}
			if j < w-1 {
				u.gv[k+1] += u.gs[1][k]
				u.gv[k] -= u.gs[1][k]
			}
		}
	}
	for k, g := range u.gv {
		u.gx[k] -= g / float64(f.weight)
	}
	f.addDivergence()
}
