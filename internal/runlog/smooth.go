package runlog

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/smooth"
)

const (
	smoothFormat  = "epsball-smooth"
	smoothVersion = 1
)

// smoothLine is an image whose samples are drawn.
type smoothLine struct {
	head
	Class   int     `json:"class"`  // −1: abstained
	Radius  float64 `json:"radius"` // L2, in pixel units
	Lower   float64 `json:"lower,omitempty"`
	Samples int     `json:"samples"`
	Drawn   int     `json:"drawn"`
	Votes   []int   `json:"votes"`
}

// Smooth is the file of a run of package smooth: a line for each image, written in blocks of
// a second.
type Smooth struct {
	images
	classes int

	Done    []bool
	Results []smooth.Result

	file    *journal.File
	stream  io.WriteCloser // what file writes to; nil: to a file
	ordered bool
	next    int            // ordered: the first image that is not done
	held    map[int][]byte // lines of images after that
	lines   []byte         // not written yet
	written time.Time
}

// NewSmooth prepares the file of a run on images x with labels y, for so many classes.
func NewSmooth(of Of, x []float32, y []int, classes int) *Smooth {
	return &Smooth{
		images: images{of, smoothFormat, smoothVersion, x, y}, classes: classes,
		Done: make([]bool, len(y)), Results: make([]smooth.Result, len(y)), held: map[int][]byte{},
	}
}

// Open opens the file or stream of a claimed output; a file to go on with if resume is set,
// whose images are then Done. A line of another run, image or label is an error. Lines are
// written in the order of the images, so that the file does not depend on the threads; those
// of a run that goes on follow the ones that are there.
func (s *Smooth) Open(out *outfile.Output, resume bool) (err error) {
	switch {
	case resume:
		err = s.Resume(out.File)
	case !out.IsFile():
		if s.stream, err = out.Stream(); err == nil {
			s.file = journal.Stream(s.stream)
		}
	case out.Replace:
		s.file, err = journal.Replace(out.File)
	default:
		s.file, err = journal.Create(out.File)
	}
	s.ordered, s.written = true, time.Now()
	s.advance()
	return err
}

// Resume opens the journal at path, which is made if it is not there; its images are then
// Done. Lines are written as images are finished.
func (s *Smooth) Resume(path string) (err error) {
	s.file, err = journal.Resume(path, []byte(`{"format":"`+smoothFormat+`",`), s.take)
	s.written = time.Now()
	return err
}

// Read takes the lines of files that are complete, one after the other, for images that have
// none yet.
func (s *Smooth) Read(r io.Reader) error { return journal.Read(r, s.take) }

// Keep makes Close leave the file, be it empty.
func (s *Smooth) Keep() {
	if s.file != nil {
		s.file.Keep()
	}
}

// Close writes the rest and closes the file. It does nothing when called again.
func (s *Smooth) Close() error {
	if s.file == nil {
		return nil
	}
	for _, i := range slices.Sorted(maps.Keys(s.held)) { // an image before them was not finished
		s.lines = append(s.lines, s.held[i]...)
	}
	clear(s.held)
	err := errors.Join(s.flush(), s.file.Close())
	s.file = nil
	if s.stream != nil {
		err = errors.Join(err, s.stream.Close())
	}
	return err
}

// take notes what a line says.
func (s *Smooth) take(line []byte) error {
	var l smoothLine
	if err := journal.Unseal(line, &l); err != nil {
		return err
	}
	i, err := s.find(&l.head)
	if err != nil || i < 0 { // not of this run: the line stays for the one that wrote it
		return err
	}
	if err := s.fresh(&l.head, i, s.Done[i]); err != nil {
		return err
	}
	if l.Class < smooth.Abstain || l.Class >= s.classes || len(l.Votes) != s.classes || !fit(l.Votes, l.Samples) || l.Samples < 1 || l.Drawn < l.Samples || !(l.Radius >= 0) {
		return fmt.Errorf("image %d: class %d, radius %v, %d votes, %d samples of %d: want those of a run with %d classes", l.Index, l.Class, l.Radius, len(l.Votes), l.Samples, l.Drawn, s.classes)
	}
	s.Done[i] = true
	s.Results[i] = smooth.Result{Class: l.Class, Radius: l.Radius, Lower: l.Lower, Votes: l.Votes, Samples: l.Samples, Drawn: l.Drawn}
	return nil
}

// fit reports whether votes are counts of so many samples, some of which may have no class.
func fit(votes []int, samples int) bool {
	for _, v := range votes {
		if v < 0 || v > samples {
			return false
		}
		samples -= v
	}
	return true
}

// Finish notes the result of image i, and writes it if there is a file.
func (s *Smooth) Finish(i int, r *smooth.Result) error {
	s.Done[i], s.Results[i] = true, *r
	if s.file == nil {
		return nil
	}
	line, err := journal.Seal(nil, &smoothLine{
		head: s.head(i), Class: r.Class, Radius: r.Radius, Lower: r.Lower, Samples: r.Samples, Drawn: r.Drawn, Votes: r.Votes,
	})
	if err != nil {
		return err
	}
	if s.ordered {
		s.held[i] = line
		s.advance()
	} else {
		s.lines = append(s.lines, line...)
	}
	if time.Since(s.written) >= time.Second {
		err = s.flush()
	}
	return err
}

// advance moves held lines to those to be written, up to the first image that is not done.
func (s *Smooth) advance() {
	for ; s.next < len(s.Done) && s.Done[s.next]; s.next++ {
		s.lines = append(s.lines, s.held[s.next]...)
		delete(s.held, s.next)
	}
}

func (s *Smooth) flush() error {
	if len(s.lines) == 0 {
		return nil
	}
	err := s.file.Append(s.lines)
	s.lines, s.written = s.lines[:0], time.Now()
	return err
}
