package train

import (
	"context"
	"errors"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Overfitting is what was seen of catastrophic overfitting in an epoch: a network trained
// on points of one step learns to bend its loss so that the step leads nowhere, and is
// right on nearly all of these points and on nearly none of those that several steps find
// (Wong, Rice & Kolter 2020, section 5.4).
type Overfitting struct {
	// Abnormal is the fraction of the epoch's points where the loss was less than where
	// their step started (Lin et al. 2023). It is not measured, and 0, with batch norms,
	// whose passes for the attack and for the gradient differ, and with free and trades.
	Abnormal float64 `json:"abnormal"`

	// Fractions of a few images (Images: those held back, or else some trained on) that are
	// classified right after the epoch under the attack of one step and under PGD-10.
	OneStep   float64 `json:"oneStep"`
	MultiStep float64 `json:"multiStep"`
	Images    int     `json:"images"`

	// Action is what it led to: warn, stop or fallback; empty: there is no alarm.
	Action string `json:"action,omitempty"`
}

// Alarm is a catastrophic overfitting that was acted on: the epoch (from 1) was given up,
// and the training ended with the weights before it, or went on from them with PGD.
type Alarm struct {
	Epoch int         `json:"epoch"`
	Seen  Overfitting `json:"seen"`
}

// ErrOverfitting is the cause of the error that Run returns when it is to stop at
// catastrophic overfitting and no epoch came before.
var ErrOverfitting = errors.New("catastrophic overfitting in the first epoch leaves no weights to go back to: try more noise, a shorter step or more steps of the attack")

// The alarm goes off when the gap between one step and several is above mostGap, or at half
// of that when many points are abnormal. Abnormal points alone mean little: those of a
// network that has learned nothing yet are, by chance. docs/training.md has measurements.
const (
	mostGap      = 0.3
	mostAbnormal = 0.1
)

var overfitting = Setting{
	Field: "overfitting", Flag: "overfitting", Usage: "what catastrophic overfitting to an attack of one step leads to",
	Choices: []string{"warn", "stop", "fallback", "off"}, Quiet: true,
	Of: func(c *Config) any { return &c.Overfitting },
}

// alarmed reports whether the figures are those of catastrophic overfitting.
func (o *Overfitting) alarmed() bool {
	gap := o.OneStep - o.MultiStep
	return gap > mostGap || gap > mostGap/2 && o.Abnormal > mostAbnormal
}

// inspected reports whether catastrophic overfitting is looked for: whether the attack
// takes one step, and nobody said not to.
func (s *stepper) inspected() bool {
	a := s.attack()
	return a != nil && s.instead == nil && s.o.uses(&overfitting) && overfitting.choice(s.c) != "off" &&
		(a.carried || a.count(s.c) == 1)
}

// watches reports whether abnormal points are counted.
func (s *stepper) watches() bool {
	return s.inspected() && s.attack().crossEntropy && s.attack().count(s.c) == 1 && s.batch == nil
}

// compare sees whether the point of image n of the batch is an abnormal one.
func (s *stepper) compare(e *example, n int) {
	after := net.CrossEntropy.Gradient(e.spare, e.points, e.y, net.Untargeted)
	s.abnormal[n] = s.at.eps > 0 && after < s.before[n]
}

// pgdTen is what an attack of one step is compared with, pgdSeven what takes its place.
var (
	pgdTen = inner{
		start: startUniform, noise: wholeBallNoise, ascend: ascendCrossEntropy,
		steps:  func(*Config) int { return 10 },
		length: func(_ *Config, at point) float64 { return at.eps / 4 },
	}
	pgdSeven = inner{
		start: startUniform, noise: wholeBallNoise, ascend: ascendCrossEntropy,
		steps:  func(*Config) int { return 7 },
		length: func(_ *Config, at point) float64 { return float64(0.35 * at.eps) },
	}
)

// longer returns the attack with the steps of pgdSeven, or pgdSeven for methods whose attack
// always has one step.
func (a *inner) longer() *inner {
	if a.steps != nil {
		return &pgdSeven
	}
	b := *a
	b.steps, b.length = pgdSeven.steps, pgdSeven.length
	return &b
}

// look returns what there is to see at the end of an epoch, nil if it is not to be looked
// for or the radius is still 0.
func (t *Trainer) look() *Overfitting {
	s := t.s
	s.at = t.c.at(t.step-1, t.perEpoch)
	if !s.inspected() || s.at.eps == 0 {
		return nil
	}
	images := t.inspectedImages()
	one := s.attack()
	if !one.crossEntropy || one.carried {
		one = fgsm.needs.attack
	}
	n := float64(len(images))
	return &Overfitting{
		Abnormal: float64(t.sum.Abnormal) / float64(t.perEpoch*t.c.BatchSize),
		OneStep:  float64(s.probe(images, one)) / n, MultiStep: float64(s.probe(images, &pgdTen)) / n, Images: len(images),
	}
}

// inspectedImages are those that validation holds back, or else some that are trained on,
// which overfitting of this kind does not spare. They are few, so that looking costs less
// than 2 % of an epoch of 12,800 images or more, and lie evenly.
func (t *Trainer) inspectedImages() []int32 {
	all := t.held
	if len(all) == 0 {
		all = t.training
	}
	n := min(max(len(t.training)/400, 32), 128, len(all))
	images := make([]int32, n)
	for i := range images {
		images[i] = all[i*len(all)/n]
	}
	return images
}

// probe returns how many images are right under an attack. Passes are those of the network
// in use.
func (s *stepper) probe(images []int32, attack *inner) (right int) {
	instead, watched, ctx, step := s.instead, s.watched, s.ctx, s.step
	s.instead, s.watched, s.draws, s.step = attack, false, streamProbe, 0
	s.ctx = context.Background() // it is short, and what an epoch ends with
	for len(images) > 0 {
		n := min(len(images), s.c.BatchSize)
		s.images, images = images[:n], images[n:]
		for i, k := range s.images {
			s.labels[i] = s.data.y[k]
		}
		s.pool.Run(len(s.parts), func(_, task int) { s.probePart(&s.parts[task]) })
		for _, ok := range s.robust[:n] {
			right += count(ok)
		}
	}
	s.instead, s.watched, s.draws, s.ctx, s.step = instead, watched, streamStart, ctx, step
	return right
}

func (s *stepper) probePart(p *part) {
	if p.from*kernels.Lanes >= len(s.images) {
		return
	}
	first, end := s.share(p)
	s.pack(p, first, s.images[first:end])
	s.perturb(p, first, s.labels[first:end])
	z := p.points.Forward(p.adv, p.to-p.from)
	for i, y := range s.labels[first:end] {
		net.LaneGroups.Gather(p.z, z, i)
		s.robust[first+i] = net.Argmax(p.z) == y
	}
}
