// Package runlog writes what a run has done so far, image by image, and reads it
// back for a run that goes on: certificates of the images that were proved, and
// lines of the images that were attacked.
package runlog

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/check"
)

// Attack names an attack: only lines of the same one can be gone on with.
type Attack struct {
	Model string // hash of the network
	Data  string // the data set as named
	Run   string // everything else that the outcome depends on
	First int    // index of the first image in the data set
}

const (
	attackFormat  = "epsball-attack"
	attackVersion = 1
)

// attackLine is an image whose attack is done.
type attackLine struct {
	Format  string  `json:"format"`
	Version int     `json:"version"`
	Model   string  `json:"model"`
	Data    string  `json:"data"`
	Run     string  `json:"run"`
	Index   int     `json:"index"` // in the data set
	Input   string  `json:"input"` // hash of the image, as certificates have it
	Label   int     `json:"label"`
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
	of   Attack
	x    []float32 // the images, their labels
	y    []int
	size int // of an image

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
func NewLog(path string, of Attack, x []float32, y []int) *Log {
	n := len(y)
	l := &Log{Every: 10 * time.Second, path: path, of: of, x: x, y: y, size: len(x) / max(1, n), written: time.Now(), steps: make([]int, n)}
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
	file, err := journal.Resume(l.path, head, func(line []byte) error {
		var a attackLine
		if err := journal.Unseal(line, &a); err != nil {
			return err
		}
		return l.take(&a)
	})
	if err != nil {
		return 0, err
	}
	l.file = file
	l.rest = l.rest[:0]
	for i, done := range l.res.Done {
		if !done {
			l.rest = append(l.rest, i)
		}
	}
	return len(l.y) - len(l.rest), nil
}

// take notes what a line says.
func (l *Log) take(a *attackLine) error {
	for _, f := range []struct{ name, got, want string }{
		{"format", fmt.Sprintf("%s %d", a.Format, a.Version), fmt.Sprintf("%s %d", attackFormat, attackVersion)},
		{"model", a.Model, l.of.Model},
		{"data", a.Data, l.of.Data},
		{"run", a.Run, l.of.Run},
	} {
		if f.got != f.want {
			return fmt.Errorf("%s: got %.200q, but this run has %.200q", f.name, f.got, f.want)
		}
	}
	i := a.Index - l.of.First
	if i < 0 || i >= len(l.y) { // the file goes at the end, and its line would be lost
		return fmt.Errorf("index: got %d, but this run attacks the images %d … %d", a.Index, l.of.First, l.of.First+len(l.y)-1)
	}
	x := l.image(l.x, i)
	switch {
	case l.res.Done[i]:
		return fmt.Errorf("image %d is there already", a.Index)
	case a.Input != check.InputHash(x) || a.Label != l.y[i]:
		return fmt.Errorf("image %d: not the image or the label of data %s", a.Index, l.of.Data)
	}
	margin, err := floats(a.Margin, 1)
	if err != nil {
		return fmt.Errorf("image %d: margin: %w", a.Index, err)
	}
	if a.Adv != "" {
		adv, err := floats(a.Adv, l.size)
		if err != nil {
			return fmt.Errorf("image %d: adv: %w", a.Index, err)
		}
		copy(l.image(l.res.Adv, i), adv)
	}
	r := &l.res
	r.Done[i], r.Begun[i], r.Clean[i], r.Success[i] = true, true, a.Clean, a.Success
	r.Label[i], r.Margin[i], r.Proved[i] = a.Pred, margin[0], a.Proved
	r.Measure(i, x)
	l.steps[i] = a.Steps
	r.ImageSteps += int64(a.Steps)
	return nil
}

func (l *Log) image(x []float32, i int) []float32 { return x[i*l.size : (i+1)*l.size] }

// Run attacks the images that are not done and returns what is known of all, with
// the error of the attack. The attack must be the one that the log is of.
func (l *Log) Run(ctx context.Context, a *attack.Attacker) (*attack.Result, error) {
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
		Format: attackFormat, Version: attackVersion, Model: l.of.Model, Data: l.of.Data, Run: l.of.Run,
		Index: l.of.First + i, Input: check.InputHash(x), Label: l.y[i], Clean: r.Clean[i], Proved: r.Proved[i], Success: r.Success[i],
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
