package train

import (
	"fmt"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// linearMap is what a node does before its ReLU, to lane groups of rows: to their
// coefficients, from the output back, and to values, from the input on.
type linearMap interface {
	adjoint(sc *kernels.Scratch, dst, src []float32, groups int) // Wᵀ·src
	apply(sc *kernels.Scratch, dst, src []float32, groups int)   // W·src + b

	bias() []float32            // one a channel; nil: none
	weights() (weights, bs int) // numbers of gradient

	// gradient writes the gradient of Σ dy·(W·x + b) to W and b.
	gradient(sc *kernels.Scratch, dw, db, dy, x []float32, groups int)
	// tasks is the number of independent parts of addTo, which adds the gradient of the
	// channels from from on to that of the model's parameters m, and channels those of one.
	tasks() int
	channels(task int) (from, to int)
	addTo(p, m *model.Param, dw, db []float32, from int)
}

// trainable reports whether linear bounds are trained through a layer, which reads in.
func trainable(l *model.Layer, in model.Shape) bool {
	switch l.Kind {
	case model.Normalize, model.FC, model.BatchNorm, model.ReLU, model.Add, model.AvgPool:
		return true
	case model.Conv:
		return l.Groups == 0 && l.Dilation == [2]int{} || l.Groups == in.C && l.Out == in.C
	case model.LeakyReLU:
		for _, s := range l.Slope {
			if !(s >= 0 && s <= 1) {
				return false
			}
		}
		return true
	}
	return false
}

// acceptsLinear refuses the models that linear bounds are not trained through.
func acceptsLinear(m *model.Model) error {
	if err := acceptsIntervals(m); err != nil {
		return err
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return err
	}
	for i := range m.Arch.Layers {
		l := &m.Arch.Layers[i]
		if !trainable(l, m.Arch.InputShape(i, shapes)) {
			return fieldErr("model", fmt.Sprintf("layers[%d], a %s", i, l.Kind),
				"layers that linear bounds are trained through: conv (dense or depthwise), fc, batchnorm, relu, leakyrelu with slopes in [0, 1], add and avgpool; try another method")
		}
	}
	return nil
}

// newLinearMap returns nil for a node that only adds, or is a function of its own.
func newLinearMap(n *net.Network, node *net.Node) linearMap {
	switch op := node.Op.(type) {
	case *net.Affine:
		return &affineMap{op, kernels.NewWeightGrad(n.ISA(), op.Shape), op.Columns()}
	case *net.Depthwise:
		return &depthwiseMap{op: op, grad: kernels.NewDepthwiseGrad(n.ISA(), op.Sliding), layer: &n.Model().Arch.Layers[node.Index]}
	case *net.Pool:
		return meanMap{op}
	}
	return nil
}

// affineMap is that of a dense conv or fc.
type affineMap struct {
	op   *net.Affine
	grad *kernels.WeightGrad
	cols model.Shape // of a row of the model's weights
}

func (m *affineMap) adjoint(sc *kernels.Scratch, dst, src []float32, groups int) {
	m.op.Adjoint().Apply(sc, dst, src, groups, kernels.None, nil)
}

func (m *affineMap) apply(sc *kernels.Scratch, dst, src []float32, groups int) {
	m.op.Lanes().Apply(sc, dst, src, groups, kernels.None, nil)
}

func (m *affineMap) bias() []float32            { return m.op.B }
func (m *affineMap) weights() (weights, bs int) { return m.op.Shape.Weights(), m.op.Shape.OutC }

func (m *affineMap) gradient(sc *kernels.Scratch, dw, db, dy, x []float32, groups int) {
	row := m.cols.Size()
	for k := range m.grad.Tasks() {
		from, to := m.grad.Channels(k)
		m.grad.Apply(sc, dw[from*row:to*row], db[from:to], dy, x, groups, k)
	}
}

func (m *affineMap) tasks() int                       { return m.grad.Tasks() }
func (m *affineMap) channels(task int) (from, to int) { return m.grad.Channels(task) }

func (m *affineMap) addTo(p, _ *model.Param, dw, db []float32, from int) {
	row := m.cols.Size()
	for o, d := range db {
		net.AddUnmapped(p.W[(from+o)*row:][:row], dw[o*row:][:row], m.cols)
		p.B[from+o] += d
	}
}

// depthwiseMap is that of a depthwise conv or a batchnorm.
type depthwiseMap struct {
	op    *net.Depthwise
	batch *net.BatchNorm // in place of the running statistics; nil: those
	grad  *kernels.DepthwiseGrad
	layer *model.Layer
}

func (m *depthwiseMap) adjoint(sc *kernels.Scratch, dst, src []float32, groups int) {
	k := m.op.Adjoint()
	if m.batch != nil {
		k = m.batch.Adjoint()
	}
	k.Apply(sc, dst, src, groups, kernels.Lanes, kernels.None, nil)
}

func (m *depthwiseMap) apply(sc *kernels.Scratch, dst, src []float32, groups int) {
	k := m.op.Kernel()
	if m.batch != nil {
		k = m.batch.Kernel()
	}
	k.Apply(sc, dst, src, groups, kernels.Lanes, kernels.None, nil)
}

func (m *depthwiseMap) bias() []float32 {
	if m.batch != nil {
		return m.batch.Shift
	}
	return m.op.Bias()
}

func (m *depthwiseMap) weights() (weights, bs int) {
	return m.op.Sliding.C * m.op.Sliding.Taps(), m.op.Sliding.C
}

func (m *depthwiseMap) gradient(sc *kernels.Scratch, dw, db, dy, x []float32, groups int) {
	taps := m.op.Sliding.Taps()
	for k := range m.grad.Tasks() {
		from, to := m.grad.Channels(k)
		m.grad.Apply(sc, dw[from*taps:to*taps], db[from:to], dy, x, groups, k)
	}
}

func (m *depthwiseMap) tasks() int                       { return m.grad.Tasks() }
func (m *depthwiseMap) channels(task int) (from, to int) { return m.grad.Channels(task) }

func (m *depthwiseMap) addTo(p, w *model.Param, dw, db []float32, from int) {
	for c, b := range db {
		p.B[from+c] += b
	}
	for k, d := range dw {
		if m.layer.Kind == model.BatchNorm {
			d = m.batch.WeightGradient(d, db[k], w, from+k, m.layer.Eps)
		}
		p.W[from*m.op.Sliding.Taps()+k] += d
	}
}

// meanMap is that of average pooling.
type meanMap struct{ op *net.Pool }

func (m meanMap) adjoint(sc *kernels.Scratch, dst, src []float32, groups int) {
	m.op.Kernel().Gradient(sc, dst, src, nil, nil, groups, kernels.Lanes)
}

func (m meanMap) apply(sc *kernels.Scratch, dst, src []float32, groups int) {
	m.op.Kernel().Apply(sc, dst, src, groups, kernels.Lanes)
}

func (meanMap) bias() []float32                                          { return nil }
func (meanMap) weights() (weights, bs int)                               { return 0, 0 }
func (meanMap) gradient(_ *kernels.Scratch, _, _, _, _ []float32, _ int) {}
func (meanMap) tasks() int                                               { return 0 }
func (meanMap) channels(int) (from, to int)                              { return 0, 0 }
func (meanMap) addTo(_, _ *model.Param, _, _ []float32, _ int)           {}
