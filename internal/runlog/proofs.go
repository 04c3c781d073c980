package runlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/check"
)

// Proofs is the journal of a run that proves images. Unlike a file of certificates it has
// all that a report says of an image; the lines of its certificate, if the run makes any,
// follow.
type Proofs struct {
	// Pred are the classes predicted for the images themselves, −1 where the logits hold NaN.
	// They must be there before images are saved; Read fills them in.
	Pred []int

	images
	p     *audit.Proving
	certs *Certificates // nil: none are made

	file *journal.File
	part *proofLine         // whose certificate is being read
	cert *check.Certificate // of part, once its line has been read
	left int                // lines of it to come
}

const (
	proofFormat  = "epsball-proof"
	proofVersion = 1
)

// proofLine is an image whose proof is done, or was tried in vain.
type proofLine struct {
	head
	Pred      int    `json:"pred"`
	Certified bool   `json:"certified"`
	Method    string `json:"method"`
	Margin    string `json:"margin"` // a decimal, or ±Inf
	Steps     int    `json:"steps"`  // of the resolution that are proved, as audit.Proving has them
	Attacked  int    `json:"attacked"`
	Fooled    bool   `json:"fooled"`
	Before    [2]int `json:"before"` // branch and bound: Steps and Attacked
	Lines     int    `json:"lines"`  // of the certificate, that follow
}

// NewProofs prepares the journal of p, which proves the images whose labels are y. certs
// are those of the same run; nil: none are made.
func NewProofs(p *audit.Proving, of Of, x []float32, y []int, certs *Certificates) *Proofs {
	return &Proofs{images: images{of, proofFormat, proofVersion, x, y}, p: p, certs: certs, Pred: make([]int, len(y))}
}

// Open opens the file at path to save proofs to. If it is there, it is gone on with: its
// images are Done and Settled in the run. Lines of another run are an error.
func (l *Proofs) Open(path string) (err error) {
	l.file, err = journal.Resume(path, []byte(`{"format":"epsball-`), l.take)
	if err == nil && l.part != nil { // its certificate was cut off with it
		l.forget()
	}
	return err
}

// Read takes the lines of journals that are complete, one after the other, for images that
// have none yet.
func (l *Proofs) Read(r io.Reader) error {
	err := journal.Read(r, l.take)
	if err != nil && l.part != nil {
		l.forget()
	}
	return err
}

// forget undoes the take of a line whose certificate is not whole.
func (l *Proofs) forget() {
	i := l.part.Index - l.of.First
	l.p.Done[i], l.p.Settled[i] = false, false
	l.part, l.cert, l.left = nil, nil, 0
}

// Save appends those images at that are done, with their certificates.
func (l *Proofs) Save(at []int) error {
	var lines []byte
	for _, i := range at {
		if !l.p.Done[i] {
			continue
		}
		var of []byte
		var err error
		if l.certs != nil {
			if of, err = l.certs.Append(nil, i); err != nil {
				return err
			}
		}
		if lines, err = journal.Seal(lines, l.line(i, bytes.Count(of, []byte("\n")))); err != nil {
			return err
		}
		lines = append(lines, of...)
	}
	if len(lines) == 0 {
		return nil
	}
	return l.file.Append(lines)
}

// Close closes the file.
func (l *Proofs) Close() error {
	if l.file == nil {
		return nil
	}
	l.file.Keep()
	return l.file.Close()
}

// line says what is known of image i, which is done, before so many lines of a certificate.
func (l *Proofs) line(i, lines int) *proofLine {
	p := l.p
	return &proofLine{
		head: l.head(i), Pred: l.Pred[i],
		Certified: p.Proved[i], Method: p.Method[i].String(), Margin: strconv.FormatFloat(p.Margin[i], 'g', -1, 64),
		Steps: p.Steps[i], Attacked: p.Attacked[i], Fooled: p.Fooled[i],
		Before: [2]int{p.Before.Steps[i], p.Before.Attacked[i]}, Lines: lines,
	}
}

// take notes what a line says.
func (l *Proofs) take(line []byte) error {
	if l.left > 0 {
		return l.takeCertificate(line)
	}
	var a proofLine
	if err := journal.Unseal(line, &a); err != nil {
		return err
	}
	i, err := l.find(&a.head)
	if err != nil {
		return err
	}
	if i < 0 {
		return fmt.Errorf("index: got %d, but this run proves the images %d … %d", a.Index, l.of.First, l.of.First+len(l.y)-1)
	}
	p := l.p
	if err := l.fresh(&a.head, i, p.Done[i]); err != nil {
		return err
	}
	if (a.Lines > 0) != (l.certs != nil) || a.Lines < 0 {
		return fmt.Errorf("image %d: lines: got %d of a certificate, which this run has not asked for, or wants", a.Index, a.Lines)
	}
	method, err := audit.ParseProofMethod(a.Method)
	if err != nil {
		return fmt.Errorf("image %d: %w", a.Index, err)
	}
	margin, err := strconv.ParseFloat(a.Margin, 64)
	if err != nil {
		return fmt.Errorf("image %d: margin: got %.40q, expected a number", a.Index, a.Margin)
	}
	if err := l.possible(&a); err != nil {
		return fmt.Errorf("image %d: %w", a.Index, err)
	}
	p.Done[i], p.Settled[i], p.Proved[i], p.Fooled[i] = true, true, a.Certified, a.Fooled
	p.Method[i], p.Margin[i], p.Steps[i], p.Attacked[i] = method, margin, a.Steps, a.Attacked
	p.Before.Steps[i], p.Before.Attacked[i] = a.Before[0], a.Before[1]
	l.Pred[i] = a.Pred
	if l.left = a.Lines; l.left > 0 {
		l.part = &a
		return journal.ErrUnfinished
	}
	return nil
}

// possible refuses numbers that no run of this kind gives, among them an image that is both
// proved and misclassified.
func (l *Proofs) possible(a *proofLine) error {
	most := 0
	if p := l.p; p.Radius() {
		for _, v := range []int{a.Steps, a.Before[0]} {
			if v < -1 || v > 0 && p.Resolution.Times(v).Cmp(p.Max) > 0 {
				return fmt.Errorf("steps: got %d, which this search does not try", v)
			}
		}
		most = a.Steps
	}
	switch {
	case a.Certified && (a.Fooled || a.Pred != a.Label):
		return errors.New("certified: got true, but the image is misclassified")
	case a.Certified && l.p.Radius() && a.Attacked >= 0 && a.Attacked <= most:
		return fmt.Errorf("attacked: got %d, but %d is proved", a.Attacked, a.Steps)
	}
	return nil
}

// takeCertificate looks at a line of the certificate of the image before it.
func (l *Proofs) takeCertificate(line []byte) error {
	a := l.part
	if l.cert == nil {
		c, err := check.Parse(line)
		if err != nil {
			return journal.Damaged(err)
		}
		if want := l.certs.claim(a.Index-l.of.First, a.Steps); c.Index != a.Index || c.Input != a.Input || c.Label != a.Label ||
			c.Certified != a.Certified || c.Model != want.Model || c.Norm != want.Norm || c.Eps != want.Eps || c.Level != want.Level || c.Run != want.Run {
			return fmt.Errorf("image %d: the certificate after its line is of something else", a.Index)
		}
		l.cert = c
	} else if s, err := check.ParseStep(line); err != nil {
		return journal.Damaged(err)
	} else if s.Of != l.cert.Sum || s.End != (l.left == 1) {
		return fmt.Errorf("image %d: a step of another certificate, or not the last where the last was expected", a.Index)
	}
	if l.left--; l.left > 0 {
		return journal.ErrUnfinished
	}
	l.part, l.cert = nil, nil
	return nil
}
