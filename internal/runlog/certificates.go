package runlog

import (
	"context"
	"fmt"
	"io"
	"math/big"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// Certificates writes a certificate of each image that a run proves.
type Certificates struct {
	p      *audit.Proving
	file   *cert.File
	common check.Certificate // what all lines have in common
	hashes []string          // of the images
	labels []int

	network *net.Network
	x       []float32
	workers int
	checker *check.Checker // nil: not needed so far
	trees   map[int][]byte // lines of proofs by branch and bound
}

// NewCertificates prepares the certificates of the images x with labels y, which p
// proves of network n. common has the fields that all of them share: Model, Data, Run,
// and as Method the one that images get which none could prove. Proofs by branch and bound are
// checked as they are written, by so many workers.
func NewCertificates(p *audit.Proving, n *net.Network, common check.Certificate, x []float32, y []int, workers int) *Certificates {
	c := &Certificates{p: p, common: common, labels: y, network: n, x: x, workers: max(1, workers), trees: map[int][]byte{}}
	if p.Complete != nil {
		p.State = c.state
	}
	c.common.Level, c.common.Norm = check.Executed, p.Norm.String()
	size := n.Input().Size()
	for i := range y {
		c.hashes = append(c.hashes, check.InputHash(x[i*size:(i+1)*size]))
	}
	return c
}

// Open opens the file or stream of a claimed output to save certificates to, a file to
// go on with if resume is set: the proofs that it has are Done in the run. A certificate
// of another run, or of another image or label, is an error.
func (c *Certificates) Open(out *outfile.Output, resume bool) (closeAll func(), err error) {
	var stream io.WriteCloser
	switch {
	case resume:
		err = c.resume(out.File)
	case !out.IsFile():
		if stream, err = out.Stream(); err == nil {
			c.file = cert.Stream(stream)
		}
	case out.Replace:
		c.file, err = cert.Replace(out.File)
	default:
		c.file, err = cert.Create(out.File)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		_ = c.file.Close() // each line has been synced
		if stream != nil {
			_ = stream.Close()
		}
	}, nil
}

// resume goes on with the file at path.
func (c *Certificates) resume(path string) error {
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
	if p.Method[i], err = audit.ParseProofMethod(d.Method); err != nil {
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
func (c *Certificates) Save(at []int) (err error) {
	var lines []byte
	for _, i := range at {
		if !c.p.Done[i] {
			continue
		}
		if lines, err = c.Append(lines, i); err != nil {
			return err
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return c.file.AppendLines(lines)
}

// Append appends the lines of the certificate of image i, which is done, to dst.
func (c *Certificates) Append(dst []byte, i int) ([]byte, error) {
	if tree := c.trees[i]; tree != nil {
		delete(c.trees, i)
		return append(dst, tree...), nil
	}
	l := c.claim(i, c.p.Steps[i])
	proof := c.statement(i)
	proof.Fill(l)
	return cert.Append(dst, l)
}

// claim is what is said of image i, in the ball of so many steps.
func (c *Certificates) claim(i, steps int) *check.Certificate {
	l := c.common
	l.Index, l.Input, l.Label = c.p.First+i, c.hashes[i], c.labels[i]
	eps := c.p.Ball(steps).Eps
	l.Eps = cert.Eps(eps.String(), eps.Rat())
	return &l
}

// state keeps the lines of a proof by branch and bound in the place of another of the image.
func (c *Certificates) state(ctx context.Context, i, steps int, r *branch.Record) (err error) {
	if c.checker == nil {
		if c.checker, err = check.New(c.network.Model()); err != nil {
			return err
		}
	}
	size := c.network.Input().Size()
	lines, err := bab.Lines(ctx, c.checker, c.claim(i, steps), c.x[i*size:(i+1)*size], r, c.workers)
	if err == nil {
		c.trees[i] = lines
	}
	return err
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
