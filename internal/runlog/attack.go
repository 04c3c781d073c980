// Package runlog writes what a run has done so far, image by image, and reads it
// back for a run that goes on: certificates of the images that were proved, and
// lines of the images that were attacked, or of all that is known of a proof.
package runlog

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/journal"
)

const (
	attackFormat  = "epsball-attack"
	attackVersion = 1
)

// attackLine is an image whose attack is done.
type attackLine struct {
	head
	Clean   bool    `json:"clean"`
	Proved  bool    `json:"proved,omitempty"`
	Success bool    `json:"success"`
	Pred    int     `json:"pred"` // at the worst point; −1: the logits hold NaN
	Linf    float64 `json:"linf"`
	L2      float64 `json:"l2"`
	Steps   int     `json:"steps"`         // gradient steps taken
	Margin  string  `json:"margin"`        // base64 of the float32, which may be NaN
	Adv     string  `json:"adv,omitempty"` // base64 of the float32 pixels, little-endian; empty: the image itself
}

// Log is the journal of an attack under way: the lines of a file that is written
// every Every, and when it is closed.
type Log struct {
	Every time.Duration

	path string
	images

	rest  []int // positions of the images that the file does not have
	steps []int // of each image that is done
	res   attack.Result

	mu      sync.Mutex
	file    *journal.File // nil until the first line
	pending []int
	written time.Time // when the file was last written
	err     error     // of the file: nothing more is written
}

// NewLog prepares the journal of an attack on the images x with labels y. The file
// at path is made when there is something to write; it must not exist, unless the
// next call is Resume or Replace.
func NewLog(path string, of Of, x []float32, y []int) *Log {
	n := len(y)
	l := &Log{Every: 10 * time.Second, path: path, images: images{of, attackFormat, attackVersion, x, y}, written: time.Now(), steps: make([]int, n)}
	for i := range n {
		l.rest = append(l.rest, i)
	}
	return l
}

// Replace empties the file that is there.
func (l *Log) Replace() (err error) {
	l.file, err = journal.Replace(l.path)
	return err
}

// Resume reads the file, if it is there, to go on with: it returns the number of
// images that are done. Lines of another attack, of other images or labels, are an
// error, and the file is left as it is. A run may have more images than the file.
func (l *Log) Resume() (int, error) {
	l.res = *attack.NewResult(l.x, len(l.y))
	head := []byte(`{"format":"` + attackFormat + `",`)
	file, err := journal.Resume(l.path, head, l.take)
	if err != nil {
		return 0, err
	}
	l.file = file
	return l.settle(), nil
}

// Read takes the lines of journals that are complete, one after the other, for images
// that the log has no line of yet, and returns what is known of all.
func (l *Log) Read(r io.Reader) (*attack.Result, error) {
	if l.res.Done == nil {
		l.res = *attack.NewResult(l.x, len(l.y))
	}
	return &l.res, journal.Read(r, l.take)
}

// settle notes what is left to do, and returns the number of images that are done.
func (l *Log) settle() int {
	l.rest = l.rest[:0]
	for i, done := range l.res.Done {
		if !done {
			l.rest = append(l.rest, i)
		}
	}
	return len(l.y) - len(l.rest)
}

// take notes what a line says.
func (l *Log) take(line []byte) error {
	var a attackLine
	if err := journal.Unseal(line, &a); err != nil {
		return err
	}
	i, err := l.find(&a.head)
	if err != nil {
		return err
	}
	if i < 0 { // the file goes at the end, and its line would be lost
		return fmt.Errorf("index: got %d, but this run attacks the images %d … %d", a.Index, l.of.First, l.of.First+len(l.y)-1)
	}
	if err := l.fresh(&a.head, i, l.res.Done[i]); err != nil {
		return err
	}
	margin, err := floats(a.Margin, 1)
	if err != nil {
		return fmt.Errorf("image %d: margin: %w", a.Index, err)
	}
	if a.Adv != "" {
		adv, err := floats(a.Adv, len(l.image(l.x, i)))
		if err != nil {
			return fmt.Errorf("image %d: adv: %w", a.Index, err)
		}
		copy(l.image(l.res.Adv, i), adv)
	}
	r := &l.res
	r.Done[i], r.Begun[i], r.Clean[i], r.Success[i] = true, true, a.Clean, a.Success
	r.Label[i], r.Margin[i], r.Proved[i] = a.Pred, margin[0], a.Proved
	r.Measure(i, l.image(l.x, i))
	l.steps[i] = a.Steps
	r.ImageSteps += int64(a.Steps)
	return nil
}

// Run attacks the images that are not done and returns what is known of all, with
// the error of the attack. The attack must be the one that the log is of.
func (l *Log) Run(ctx context.Context, a *attack.Attacker) (*attack.Result, error) {
	if l.res.Done != nil { // by Resume or Read
		l.settle()
	}
	switch len(l.rest) {
	case 0:
		return &l.res, ctx.Err()
	case len(l.y):
		b := attack.Batch{X: l.x, Y: l.y, First: l.of.First, Finished: func(i, steps int) { l.finish(i, steps, func() {}) }}
		err := a.Run(ctx, b, &l.res)
		return &l.res, err
	}
	var b attack.Batch
	for _, i := range l.rest {
		b.X, b.Y, b.Index = append(b.X, l.image(l.x, i)...), append(b.Y, l.y[i]), append(b.Index, l.of.First+i)
	}
	var part attack.Result
	b.Finished = func(k, steps int) { l.finish(l.rest[k], steps, func() { l.move(&part, k, l.rest[k]) }) }
	err := a.Run(ctx, b, &part)
	for k, begun := range part.Begun {
		if begun && !part.Done[k] {
			l.move(&part, k, l.rest[k])
		}
	}
	l.res.ImageSteps += part.ImageSteps
	l.res.Stages = part.Stages
	return &l.res, err
}

// finish notes that image i is done, once move has put it into the result.
func (l *Log) finish(i, steps int, move func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	move()
	l.steps[i] = steps
	l.pending = append(l.pending, i)
	if time.Since(l.written) >= l.Every {
		l.write()
	}
}

// move copies what is known of image k of a part to image i of the whole.
func (l *Log) move(part *attack.Result, k, i int) {
	r := &l.res
	copy(l.image(r.Adv, i), l.image(part.Adv, k))
	r.Label[i], r.Margin[i], r.Clean[i], r.Success[i] = part.Label[k], part.Margin[k], part.Clean[k], part.Success[k]
	r.Proved[i], r.Done[i], r.Begun[i] = part.Proved[k], part.Done[k], part.Begun[k]
	r.Measure(i, l.image(l.x, i))
}

// write appends the pending images.
func (l *Log) write() {
	if l.err != nil {
		return
	}
	if l.file == nil {
		if l.file, l.err = journal.Create(l.path); l.err != nil {
			return
		}
	}
	var lines []byte
	for _, i := range l.pending {
		if lines, l.err = journal.Seal(lines, l.line(i)); l.err != nil {
			return
		}
	}
	if len(lines) > 0 {
		l.err = l.file.Append(lines)
	}
	l.pending, l.written = l.pending[:0], time.Now()
}

// line says what is known of image i, which is done.
func (l *Log) line(i int) *attackLine {
	r, x, adv := &l.res, l.image(l.x, i), l.image(l.res.Adv, i)
	a := &attackLine{
		head: l.head(i), Clean: r.Clean[i], Proved: r.Proved[i], Success: r.Success[i],
		Pred: r.Label[i], Linf: r.Linf[i], L2: r.L2[i], Steps: l.steps[i], Margin: encode(r.Margin[i : i+1]),
	}
	if plain, moved := encode(x), encode(adv); moved != plain {
		a.Adv = moved
	}
	return a
}

// Keep writes what is pending and closes the file for a run to go on with. A file
// that has no line yet is there all the same.
func (l *Log) Keep() error {
	l.write()
	if l.file != nil {
		l.file.Keep()
		l.err = errors.Join(l.err, l.file.Close())
		l.file = nil
	}
	if l.err != nil {
		return fmt.Errorf("%s: %w", l.path, l.err)
	}
	return nil
}

// Discard closes and deletes the file, if there is one.
func (l *Log) Discard() {
	if l.file != nil {
		l.file.Remove()
		l.file = nil
	}
}

func encode(v []float32) string {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, v) // a buffer takes everything
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// floats decodes n float32.
func floats(s string, n int) ([]float32, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 4*n {
		return nil, fmt.Errorf("expected the base64 of %d float32", n)
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v, nil
}
