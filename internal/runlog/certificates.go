package runlog

import (
	"fmt"
	"math/big"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// Certificates writes a certificate of each image that a run proves.
type Certificates struct {
	p      *audit.Proving
	file   *cert.File
	common check.Certificate // what all lines have in common
	hashes []string          // of the images
	labels []int
}

// NewCertificates prepares the certificates of the images x with labels y, which p
// proves of network n. common has the fields that all of them share: Model, Data, Run,
// and as Method the one that images get which none could prove.
func NewCertificates(p *audit.Proving, n *net.Network, common check.Certificate, x []float32, y []int) *Certificates {
	c := &Certificates{p: p, common: common, labels: y}
	c.common.Level, c.common.Norm = check.Executed, p.Norm.String()
	size := n.Input().Size()
	for i := range y {
		c.hashes = append(c.hashes, check.InputHash(x[i*size:(i+1)*size]))
	}
	return c
}

// Start writes to a new file.
func (c *Certificates) Start(f *cert.File) { c.file = f }

// Resume goes on with the file at path: the proofs that it has are Done in the run. A
// certificate of another run, or of another image or label, is an error.
func (c *Certificates) Resume(path string) error {
	file, done, err := cert.Resume(path, &c.common)
	if err != nil {
		return err
	}
	for index, d := range done {
		i := index - c.p.First
		if i < 0 || i >= len(c.labels) {
			continue
		}
		if err := c.take(d, i); err != nil {
			_ = file.Close() // each line has been synced
			return fmt.Errorf("%s: image %d: %w", path, index, err)
		}
	}
	c.file = file
	return nil
}

// take notes the certificate of image i that the file has.
func (c *Certificates) take(d *check.Certificate, i int) error {
	p := c.p
	if d.Input != c.hashes[i] || d.Label != c.labels[i] {
		return fmt.Errorf("not the image or the label of data %s", c.common.Data)
	}
	var err error
	if p.Method[i], err = verify.ParseMethod(d.Method); err != nil {
		return err
	}
	p.Done[i], p.Proved[i] = true, d.Certified
	if !p.Radius() {
		return nil
	}
	if p.Steps[i] = -1; !d.Certified {
		return nil
	}
	eps, err := check.ParseEps(d.Eps)
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

// Save appends the certificates of those images at that are done.
func (c *Certificates) Save(at []int) error {
	var lines []*check.Certificate
	for _, i := range at {
		if !c.p.Done[i] {
			continue
		}
		l := c.common
		l.Index, l.Input, l.Label = c.p.First+i, c.hashes[i], c.labels[i]
		eps := c.p.Ball(c.p.Steps[i]).Eps
		l.Eps = cert.Eps(eps.String(), eps.Rat())
		proof := c.statement(i)
		proof.Fill(&l)
		lines = append(lines, &l)
	}
	if len(lines) == 0 {
		return nil
	}
	return c.file.Append(lines...)
}

// statement is what a certificate says of the proof of image i.
func (c *Certificates) statement(i int) cert.Proof {
	p := cert.Proof{Method: verify.MethodIBP.String(), Certified: c.p.Proved[i], Margin: c.p.Margin[i]}
	v := c.p.Proof[i]
	if v == nil {
		if !p.Certified {
			p.Method = c.common.Method
		}
		return p
	}
	p.Method, p.Margin = v.Method.String(), float64(v.Margin)
	for _, s := range v.Slopes {
		p.Slopes = append(p.Slopes, cert.Slopes{For: check.ForAll, ReLU: s.Layer, Alpha: [][]float32{s.Alpha}})
		if s.Rows != nil {
			p.Slopes = append(p.Slopes, cert.Slopes{For: check.ForRows, ReLU: s.Layer, Alpha: s.Rows})
		}
	}
	return p
}

// Close closes the file.
func (c *Certificates) Close() {
	if c.file != nil {
		_ = c.file.Close() // each line has been synced
	}
}
