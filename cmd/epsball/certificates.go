package main

import (
	"context"
	"fmt"
	"math/big"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	certcheck "github.com/epsball/epsball/verify/check"
)

// certificates is the file of --out.
type certificates struct {
	f      *certifyFlags
	file   *cert.File
	common certcheck.Certificate // what all lines have in common
	hashes []string              // of the images
	relus  []int                 // the model's ReLU layers
}

// run names what was asked for: only such lines can be resumed.
func (f *certifyFlags) run() string {
	if f.radius {
		return fmt.Sprintf("%s, radius, resolution %s, max-radius %s", f.method.v, f.resolution.v, f.maxRadius.v)
	}
	return fmt.Sprintf("%s, eps %s", f.method.v, f.eps.v)
}

// openOut opens the file of --out and puts what it holds already into p.
func (f *certifyFlags) openOut(s *subject, p *proofs) (*certificates, error) {
	c := &certificates{f: f, common: certcheck.Certificate{
		Model: s.model.Hash(), Level: certcheck.Executed, Data: f.data.spec, Norm: f.norm.v.String(), Run: f.run(),
	}}
	for i := range s.y {
		c.hashes = append(c.hashes, certcheck.InputHash(s.image(s.x, i)))
	}
	for i := range s.model.Arch.Layers {
		if s.model.Arch.Layers[i].Kind == model.ReLU {
			c.relus = append(c.relus, i)
		}
	}
	var err error
	if !f.resume {
		c.file, err = cert.Create(f.out)
		return c, err
	}
	file, done, err := cert.Resume(f.out, &c.common)
	if err != nil {
		return nil, fmt.Errorf("--resume: %w", err)
	}
	c.file = file
	for index, d := range done {
		i := index - f.data.offset
		if i < 0 || i >= len(s.y) {
			continue
		}
		if err := c.take(d, i, s.y[i], p); err != nil {
			c.close()
			return nil, fmt.Errorf("--resume: %s: image %d: %w", f.out, index, err)
		}
	}
	return c, nil
}

// take puts the certificate of image i, as resumed, into p.
func (c *certificates) take(d *certcheck.Certificate, i, label int, p *proofs) error {
	if d.Input != c.hashes[i] || d.Label != label {
		return fmt.Errorf("not the image or the label of data %s", c.f.data.spec)
	}
	p.done[i], p.proved[i] = true, d.Certified
	if !c.f.radius {
		return nil
	}
	if p.steps[i] = -1; !d.Certified {
		return nil
	}
	eps, err := certcheck.ParseEps(d.Eps)
	if err != nil {
		return err
	}
	k := new(big.Rat).Quo(eps, c.f.resolution.v.Rat())
	if !k.IsInt() || eps.Cmp(c.f.maxRadius.v.Rat()) > 0 {
		return fmt.Errorf("eps: got %s, which this search does not try", d.Eps)
	}
	p.steps[i] = int(k.Num().Int64())
	p.radius[i], _ = c.f.resolution.v.Times(p.steps[i]).Bounds()
	return nil
}

// write appends the lines of those images at that are done.
func (c *certificates) write(ctx context.Context, prover *verify.CROWN, s *subject, p *proofs, at []int) error {
	var lines []*certcheck.Certificate
	for _, i := range at {
		if !p.done[i] {
			continue
		}
		l := c.common
		l.Index, l.Input, l.Label = c.f.data.offset+i, c.hashes[i], s.y[i]
		ball := net.Ball{Norm: c.f.norm.v, Eps: c.f.eps.v}
		if c.f.radius {
			ball.Eps = c.f.resolution.v.Times(max(0, p.steps[i]))
		}
		l.Eps = cert.Eps(ball.Eps.String(), ball.Eps.Rat())
		proof := cert.Proof{Method: p.method[i].String(), Certified: p.proved[i], Margin: p.margin[i]}
		if p.proved[i] && c.f.method.v != verify.MethodIBP {
			found, err := prover.Prove(ctx, ball, s.image(s.x, i), s.y[i])
			if err != nil {
				return err
			}
			proof = c.proof(found)
		}
		proof.Fill(&l)
		lines = append(lines, &l)
	}
	if len(lines) == 0 {
		return nil
	}
	if err := c.file.Append(lines...); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// proof states what package verify found. Its slopes are those of each ReLU, in order.
func (c *certificates) proof(p *verify.Proof) cert.Proof {
	out := cert.Proof{Method: p.Method.String(), Certified: p.Certified, Margin: float64(p.Margin)}
	for k, s := range p.Slopes {
		out.Slopes = append(out.Slopes, cert.Slopes{For: certcheck.ForAll, ReLU: c.relus[k], Alpha: [][]float32{s.Alpha}})
		if s.Rows != nil {
			out.Slopes = append(out.Slopes, cert.Slopes{For: certcheck.ForRows, ReLU: c.relus[k], Alpha: s.Rows})
		}
	}
	return out
}

func (c *certificates) close() { _ = c.file.Close() } // each line has been synced
