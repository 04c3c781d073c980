package main

import (
	"fmt"
	"io"
	"math/big"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	certcheck "github.com/epsball/epsball/verify/check"
)

// certificates is the file of --out.
type certificates struct {
	f      *certifyFlags
	s      *subject
	p      *audit.Proving
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
	return fmt.Sprintf("%s, eps %s", how, f.eps)
}

// openOut opens the file of --out and puts what it holds already into p.
func (f *certifyFlags) openOut(s *subject, p *audit.Proving) (*certificates, error) {
	c := &certificates{f: f, s: s, p: p, common: certcheck.Certificate{
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
		if err := c.take(d, i); err != nil {
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

// take notes the certificate of image i that the file has.
func (c *certificates) take(d *certcheck.Certificate, i int) error {
	p := c.p
	if d.Input != c.hashes[i] || d.Label != c.s.y[i] {
		return fmt.Errorf("not the image or the label of data %s", c.f.data.spec)
	}
	var err error
	if p.Method[i], err = verify.ParseMethod(d.Method); err != nil {
		return err
	}
	p.Done[i], p.Proved[i] = true, d.Certified
	if !c.f.radius {
		return nil
	}
	if p.Steps[i] = -1; !d.Certified {
		return nil
	}
	eps, err := certcheck.ParseEps(d.Eps)
	if err != nil {
		return err
	}
	k := new(big.Rat).Quo(eps, p.Resolution.Rat())
	if !k.IsInt() || eps.Cmp(p.Max.Rat()) > 0 {
		return fmt.Errorf("eps: got %s, which this search does not try", d.Eps)
	}
	p.Steps[i] = int(k.Num().Int64())
	return nil
}

// write appends the lines of those images at that are done.
func (c *certificates) write(at []int) error {
	var lines []*certcheck.Certificate
	for _, i := range at {
		if !c.p.Done[i] {
			continue
		}
		l := c.common
		l.Index, l.Input, l.Label = c.f.data.offset+i, c.hashes[i], c.s.y[i]
		l.Eps = epsText(c.p.Ball(c.p.Steps[i]).Eps)
		proof := c.statement(i)
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

// statement is what a certificate says of the proof of image i.
func (c *certificates) statement(i int) cert.Proof {
	p := cert.Proof{Method: verify.MethodIBP.String(), Certified: c.p.Proved[i], Margin: c.p.Margin[i]}
	v := c.p.Proof[i]
	if v == nil {
		if !p.Certified {
			p.Method = c.f.method.v.String()
		}
		return p
	}
	p.Method, p.Margin = v.Method.String(), float64(v.Margin)
	for _, s := range v.Slopes {
		l := c.s.net.Layers()[s.Layer]
		relu := max(l.Index, l.Add) + 1
		p.Slopes = append(p.Slopes, cert.Slopes{For: certcheck.ForAll, ReLU: relu, Alpha: [][]float32{s.Alpha}})
		if s.Rows != nil {
			p.Slopes = append(p.Slopes, cert.Slopes{For: certcheck.ForRows, ReLU: relu, Alpha: s.Rows})
		}
	}
	return p
}

func epsText(e net.Epsilon) string { return cert.Eps(e.String(), e.Rat()) }

func (c *certificates) close() {
	_ = c.file.Close() // each line has been synced
	if c.stream != nil {
		_ = c.stream.Close()
	}
}
