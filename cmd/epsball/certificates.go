package main

import (
	"fmt"
	"io"
	"math/big"

	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	certcheck "github.com/epsball/epsball/verify/check"
)

// certificates is the file of --out.
type certificates struct {
	f      *certifyFlags
	file   *cert.File
	stream io.WriteCloser        // that file writes to; nil: a regular file
	common certcheck.Certificate // what all lines have in common
	hashes []string              // of the images
}

// run names what was asked for: only such lines can be resumed.
func (f *certifyFlags) run() string {
	how := f.method.v.String()
	if f.ladder {
		how += ", ladder"
	}
	if f.iterations != 0 {
		how += fmt.Sprintf(", iterations %d", f.iterations)
	}
	if f.radius {
		return fmt.Sprintf("%s, radius, resolution %s, max-radius %s", how, f.resolution.v, f.maxRadius.v)
	}
	return fmt.Sprintf("%s, eps %s", how, f.eps.v)
}

// openOut opens the file of --out and puts what it holds already into p.
func (f *certifyFlags) openOut(s *subject, p *proofs) (*certificates, error) {
	c := &certificates{f: f, common: certcheck.Certificate{
		Model: s.model.Hash(), Level: certcheck.Executed, Data: f.data.spec, Norm: f.norm.v.String(), Run: f.run(),
	}}
	for i := range s.y {
		c.hashes = append(c.hashes, certcheck.InputHash(s.image(s.x, i)))
	}
	if !f.resume {
		err := c.create()
		if err != nil {
			return nil, fmt.Errorf("--out: %w", err)
		}
		return c, nil
	}
	file, done, err := cert.Resume(f.out.file, &c.common)
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
			return nil, fmt.Errorf("--resume: %s: image %d: %w", f.out.path, index, err)
		}
	}
	return c, nil
}

// create starts the file.
func (c *certificates) create() (err error) {
	switch out := &c.f.out; {
	case !out.isFile():
		if c.stream, err = out.stream(); err == nil {
			c.file = cert.Stream(c.stream)
		}
	case out.replace:
		c.file, err = cert.Replace(out.file)
	default:
		c.file, err = cert.Create(out.file)
	}
	return err
}

// take puts the certificate of image i, as resumed, into p.
func (c *certificates) take(d *certcheck.Certificate, i, label int, p *proofs) error {
	if d.Input != c.hashes[i] || d.Label != label {
		return fmt.Errorf("not the image or the label of data %s", c.f.data.spec)
	}
	var err error
	if p.rung[i], err = verify.ParseMethod(d.Method); err != nil {
		return err
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
func (c *certificates) write(r *certifyRun, at []int) error {
	s, p := r.s, r.p
	var lines []*certcheck.Certificate
	for _, i := range at {
		if !p.done[i] {
			continue
		}
		l := c.common
		l.Index, l.Input, l.Label = c.f.data.offset+i, c.hashes[i], s.y[i]
		proof := r.statement(i)
		eps := c.f.eps.v
		if c.f.radius {
			eps = c.f.resolution.v.Times(max(0, p.steps[i]))
		}
		l.Eps = epsText(eps)
		proof.Fill(&l)
		lines = append(lines, &l)
	}
	if len(lines) == 0 {
		return nil
	}
	if err := c.file.Append(lines...); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	c.f.out.written = true
	return nil
}

func epsText(e net.Epsilon) string { return cert.Eps(e.String(), e.Rat()) }

func (c *certificates) close() {
	_ = c.file.Close() // each line has been synced
	if c.stream != nil {
		_ = c.stream.Close()
	}
}
