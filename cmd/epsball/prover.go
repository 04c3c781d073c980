package main

import (
	"context"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	certcheck "github.com/epsball/epsball/verify/check"
)

// prover is what certify drives: *verify.IBP or *verify.CROWN.
type prover interface {
	audit.RadiusProver
	Certify(ctx context.Context, ball net.Ball, b verify.Batch, res *verify.Result) error
}

// newProver prepares the method of the flags. Certificates can state slopes of the
// specification's rows alone.
func (f *certifyFlags) newProver(s *subject) (prover, error) {
	if f.method.v == verify.MethodIBP {
		return verify.NewIBP(s.net, s.pool)
	}
	return verify.NewCROWN(s.net, s.pool, verify.Config{Method: f.method.v, Ladder: f.ladder, Iterations: f.iterations, RowsOnly: f.out.path != ""})
}

// block is the number of images after which progress is shown and certificates
// are written.
func (f *certifyFlags) block(s *subject) int {
	switch {
	case f.method.v == verify.MethodIBP && f.attackSteps == 0:
		return 512
	case f.method.v <= verify.MethodCROWNIBP:
		return 64
	}
	return 4 * s.pool.Workers()
}

// proofs are the outcomes of either mode, one entry an image.
type proofs struct {
	done   []bool
	proved []bool          // right, at some radius
	rung   []verify.Method // that decided, without --radius
	radius []float64       // with --radius
	steps  []int           // with --radius: the same in units of the resolution, −1 where not proved
	margin []float64       // without --radius
	proof  []*verify.Proof // for --out; nil: intervals alone
	whole  int             // images from the first one on that are all done
	fooled []int           // with --radius: steps at which an attack succeeds, 0: none needed, −1: none found
}

func newProofs(n int) *proofs {
	return &proofs{
		done: make([]bool, n), proved: make([]bool, n), rung: make([]verify.Method, n), radius: make([]float64, n), steps: make([]int, n),
		margin: make([]float64, n), proof: make([]*verify.Proof, n), fooled: make([]int, n),
	}
}

// certified tells whether image i counts as certified.
func (p *proofs) certified(f *certifyFlags, i int) bool {
	return p.done[i] && p.proved[i] && (!f.radius || p.steps[i] > 0)
}

// proveBatch fills p for the images at.
func (r *certifyRun) proveBatch(ctx context.Context, b verify.Batch, at []int) error {
	f, p := r.f, r.p
	if f.radius {
		return r.bracketBatch(ctx, b, at)
	}
	ball := net.Ball{Norm: f.norm.v, Eps: f.eps.v}
	var res verify.Result
	err := r.prover.Certify(ctx, ball, b, &res)
	if err == nil {
		err = r.addProofs(ctx, b, at, func(k int) (net.Ball, bool) { return ball, res.Certified[k] })
	}
	for k, done := range res.Done {
		i := at[k]
		p.done[i], p.proved[i], p.margin[i], p.rung[i] = done && (err == nil || r.out == nil), res.Certified[k], float64(res.Margin[k]), res.Method[k]
		if v := p.proof[i]; v != nil { // found again for the certificate, perhaps by a cheaper one
			p.rung[i] = v.Method
		}
	}
	return err
}

func (r *certifyRun) bracketBatch(ctx context.Context, b verify.Batch, at []int) error {
	f, p := r.f, r.p
	var steps, fooled []int
	var done []bool
	var err error
	if r.search == nil {
		var res verify.RadiusResult
		err = r.prover.Radius(ctx, f.norm.v, f.resolution.v, f.maxRadius.v, b, &res)
		steps, done = res.Steps, res.Done
	} else {
		var res *audit.Brackets
		res, err = audit.Bracket(ctx, r.prover, r.search, b.X, b.Y, r.index(at))
		steps, fooled, done = res.Certified, res.Attacked, res.AttackDone
	}
	if err == nil {
		err = r.addProofs(ctx, b, at, func(k int) (net.Ball, bool) {
			return net.Ball{Norm: f.norm.v, Eps: f.resolution.v.Times(max(0, steps[k]))}, steps[k] >= 0
		})
	}
	for k, d := range done {
		i := at[k]
		p.done[i], p.proved[i], p.steps[i] = d && (err == nil || r.out == nil), steps[k] >= 0, steps[k]
		if steps[k] > 0 {
			p.radius[i], _ = f.resolution.v.Times(steps[k]).Bounds()
		}
		if fooled != nil {
			p.fooled[i] = fooled[k]
		}
	}
	return err
}

// index returns the indices in the data set of the images at.
func (r *certifyRun) index(at []int) []int {
	index := make([]int, len(at))
	for k, i := range at {
		index[k] = r.f.data.offset + i
	}
	return index
}

// attackResumed attacks the images whose certified radius comes from --out, which
// has no room for the other side.
func (r *certifyRun) attackResumed(ctx context.Context, at []int, bar *bar) error {
	if r.search == nil {
		return nil
	}
	for block := range slices.Chunk(at, 64) {
		bar.show("attack", block[0], len(r.s.y))
		b, index, low := r.batch(block), r.index(block), make([]int, len(block))
		for k, i := range block {
			low[k] = r.p.steps[i]
		}
		var res attack.RadiusResult
		if err := r.search.Run(ctx, attack.Batch{X: b.X, Y: b.Y, Index: index}, low, &res); err != nil {
			return err
		}
		for k, i := range block {
			fooled := res.Steps[k]
			r.p.fooled[i] = fooled
			if fooled >= 0 && low[k] >= fooled {
				return &audit.Contradiction{Image: index[k], Ball: net.Ball{Norm: r.f.norm.v, Eps: r.f.resolution.v.Times(fooled)}}
			}
		}
	}
	return nil
}

// addProofs fills p.proof for certificates that need more than intervals.
func (r *certifyRun) addProofs(ctx context.Context, b verify.Batch, at []int, ball func(k int) (net.Ball, bool)) error {
	c, ok := r.prover.(*verify.CROWN)
	if r.out == nil || !ok {
		return nil
	}
	found, err := c.ProveAll(ctx, b, ball)
	for k, proof := range found {
		if proof != nil && proof.Certified { // else intervals decided, which need none
			r.p.proof[at[k]] = proof
		}
	}
	return err
}

// statement is what a certificate says of the proof of image i.
func (r *certifyRun) statement(i int) cert.Proof {
	p := cert.Proof{Method: verify.MethodIBP.String(), Certified: r.p.proved[i], Margin: r.p.margin[i]}
	v := r.p.proof[i]
	if v == nil {
		if !p.Certified {
			p.Method = r.f.method.v.String()
		}
		return p
	}
	p.Method, p.Margin = v.Method.String(), float64(v.Margin)
	for _, s := range v.Slopes {
		p.Slopes = append(p.Slopes, cert.Slopes{For: certcheck.ForAll, ReLU: s.Layer, Alpha: [][]float32{s.Alpha}})
		if s.Rows != nil {
			p.Slopes = append(p.Slopes, cert.Slopes{For: certcheck.ForRows, ReLU: s.Layer, Alpha: s.Rows})
		}
	}
	return p
}

// newSearch prepares the attack of --radius.
func (f *certifyFlags) newSearch(s *subject) (*attack.RadiusSearch, error) {
	if !f.radius || f.attackSteps == 0 {
		return nil, nil
	}
	return attack.NewRadiusSearch(s.net, attack.Config{Ball: net.Ball{Norm: f.norm.v}, Method: attack.PGD{Steps: f.attackSteps, Seed: f.seed}}, f.resolution.v, f.maxRadius.v, s.pool)
}
