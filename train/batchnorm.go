package train

import (
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// batchNorms makes a step of a network with batch norms: its traces with gradient are
// normalised by the statistics of the batch, each by its own, in segments that all parts
// go through together (net.BatchStatistics). All other passes, those of the attack first
// of all, use the running statistics, which follow those of the clean trace or, if that
// has no gradient, of the adversarial points. To interval bounds the same statistics are
// constants.
type batchNorms struct {
	traces []*net.BatchStatistics // the first one moves the running statistics
	iv     *intervals             // nil without boxes
}

// batchPart is a part's share of the traces.
type batchPart struct{ clean, points *net.BatchPart } // nil without gradient

// newBatchNorms returns nil if the network has no batch norms, or all its gradients are
// those of bounds.
func (s *stepper) newBatchNorms() *batchNorms {
	if !s.net.HasBatchNorm() || s.traced == 0 {
		return nil
	}
	b := &batchNorms{iv: s.iv}
	add := func(t trace, copies int) (stats *net.BatchStatistics) {
		if t == gradient {
			stats = s.net.NewBatchStatistics(s.c.BatchSize, copies)
			b.traces = append(b.traces, stats)
		}
		return stats
	}
	clean, points := add(s.o.needs.clean, 1), add(s.o.needs.points, s.copies)
	for i := range s.parts {
		p := &s.parts[i]
		if clean != nil {
			p.batch.clean = clean.Part(p.clean, p.from)
			p.copied = make([]float32, len(p.clean.Logits())) // of the running statistics, for the attack
		}
		if points != nil {
			p.batch.points = points.Part(p.points, p.from*s.copies)
			p.batch.points.Pixels = s.carries()
		}
	}
	s.grad.UseBatch(b.traces...)
	if s.iv != nil {
		s.iv.UseBatch(b.traces[0])
	}
	if s.linear != nil {
		s.linear.useBatch(b.traces[0])
	}
	return b
}

// forward takes the traces through the network.
func (b *batchNorms) forward() (list []phase) {
	last := b.traces[0].Segments() - 1
	for k := range last + 1 {
		list = append(list, phase{func(p *part) { p.batch.forward(p, k) }, func() {
			for _, t := range b.traces {
				t.ReduceForward(k)
			}
			if k == last && b.iv != nil {
				b.iv.ReloadBatch()
			}
		}})
	}
	return list
}

// back takes their gradients to the weights.
func (b *batchNorms) back() (list []phase) {
	for k := b.traces[0].Segments() - 1; k >= 0; k-- {
		list = append(list, phase{func(p *part) { p.batch.back(k) }, func() {
			for _, t := range b.traces {
				t.ReduceBackward(k)
			}
		}})
	}
	return list
}

func (b *batchPart) forward(p *part, segment int) {
	if b.clean != nil {
		b.clean.Forward(p.x, segment)
	}
	if b.points != nil {
		b.points.Forward(p.seen, segment)
	}
}

func (b *batchPart) back(segment int) {
	if b.clean != nil {
		b.clean.Backward(segment)
	}
	if b.points != nil {
		b.points.Backward(segment)
	}
}

// checkBatchNorms refuses batches with no variance to speak of.
func checkBatchNorms(m *model.Model, c *Config) error {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return err
	}
	for i := range m.Arch.Layers {
		if s := shapes[i+1]; m.Arch.Layers[i].Kind == model.BatchNorm && c.BatchSize*s.H*s.W < 2 {
			return fieldErr("batchSize", c.BatchSize, "at least 2: layers[%d], a batchnorm, needs the variance of more than one value a channel", i)
		}
	}
	return nil
}
