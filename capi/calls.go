//go:build cgo

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/kernels"
	_ "github.com/epsball/epsball/onnx" // epsball_load reads both
	"github.com/epsball/epsball/verify"
)

// maxThreads bounds what a mistaken argument can start.
const maxThreads = 1024

// options is epsball_options.
type options struct {
	threads   uint32
	isa       string
	fewImages bool
	inPlace   bool
}

// load makes a handle of a model file; data is nil for one of the file system and
// otherwise belongs to the model. start is run by each thread that computes.
func load(name string, data []byte, o options, start func()) (id uintptr, err error) {
	if o.threads > maxThreads {
		return 0, fmt.Errorf("threads: %d, want 0 … %d", o.threads, maxThreads)
	}
	if _, err := kernels.Choose(o.isa); err != nil {
		return 0, unsupportedError{err}
	}
	pool := kernels.NewPoolOn(int(o.threads), start)
	defer func() {
		if id == 0 {
			pool.Close()
		}
	}()
	how := []epsball.Option{epsball.Pool(pool), epsball.ISA(o.isa)}
	if o.fewImages {
		how = append(how, epsball.FewImages())
	}
	var m *epsball.Model
	switch {
	case data == nil && o.inPlace:
		m, err = epsball.Map(name, how...)
	case data == nil:
		m, err = epsball.Load(name, how...)
	case formats.IsONNX(name):
		m, err = epsball.LoadFS(oneFile(data), name, how...)
	default:
		m, err = epsball.LoadBytes(data, name, how...)
	}
	if err != nil {
		return 0, err
	}
	return newHandle(m, pool), nil
}

// oneFile is a file system that gives its content for any name. It opens no others: an
// ONNX network whose weights are beside it needs a path.
type oneFile []byte

func (f oneFile) ReadFile(string) ([]byte, error) { return f, nil }
func (f oneFile) Open(string) (fs.File, error)    { return nil, errNoFolder }

// classify writes labels and logits, either of which may be nil.
func (h *handle) classify(images []float32, n int, labels []int32, logits []float32) error {
	p := h.scratch.Get().(*epsball.Prediction)
	defer h.scratch.Put(p)
	own := p.Logits
	if logits != nil {
		p.Logits = logits
	}
	ctx, stop := h.context(0)
	defer stop()
	if cap(p.Label) < n { // ClassifyInto would replace both
		p.Label = make([]int, n)
	}
	err := h.model.ClassifyInto(ctx, epsball.Batch{X: images}, p)
	if logits != nil {
		p.Logits = own
	}
	if err != nil {
		return err
	}
	for i := range labels {
		labels[i] = int32(p.Label[i])
	}
	return nil
}

// attackOptions is epsball_attack_options.
type attackOptions struct {
	method          string
	steps, restarts uint32
	stepSize        float64
	seed            uint64
	randomStart     bool
	lattice         uint32
	limitMS         uint32
}

// config is the method and what the fields after it say.
func (o *attackOptions) config() (epsball.Method, error) {
	text := o.method
	if text == "" {
		text = "pgd"
	}
	s, err := attack.ParseSpec(text)
	if err != nil {
		return nil, fmt.Errorf("method: %w", err)
	}
	given := s
	set := func(field, option string, there bool, value string) {
		if there && s.Has(option) {
			err = fmt.Errorf("%s: %s, want 0 with method %s", field, value, text)
		} else if there {
			given = given.With(option, value)
		}
	}
	set("steps", "steps", o.steps != 0, strconv.FormatUint(uint64(o.steps), 10))
	set("restarts", "restarts", o.restarts != 0, strconv.FormatUint(uint64(o.restarts), 10))
	set("step_size", "step-size", o.stepSize != 0, strconv.FormatFloat(o.stepSize, 'g', -1, 64))
	set("seed", "seed", o.seed != 0, strconv.FormatUint(o.seed, 10))
	if o.randomStart && s.Name == "pgd" {
		return nil, errors.New("random_start: 1, want 0 for pgd, whose starts are all random")
	}
	set("random_start", "random-start", o.randomStart, "true")
	if err != nil {
		return nil, err
	}
	m, err := attack.Builtin().Make(given)
	if err != nil {
		return nil, fmt.Errorf("method: %w", err)
	}
	return m, nil
}

// attack writes outcomes and, unless nil, adversarial images, also where it was cut
// short.
func (h *handle) attack(images []float32, labels []int32, norm, eps string, o attackOptions, adversarial []float32, outcomes []uint8) error {
	ball, err := h.attackBall(norm, eps)
	if err != nil {
		return err
	}
	how, err := o.config()
	if err != nil {
		return err
	}
	ctx, stop := h.context(o.limitMS)
	defer stop()
	r, err := h.model.Attack(ctx, epsball.Batch{X: images, Y: ints(labels)}, ball, how, epsball.Lattice(int(min(o.lattice, math.MaxInt32))))
	if r == nil || err != nil && ctx.Err() == nil {
		return err
	}
	size := len(images) / max(1, len(labels))
	for i, done := range r.Done {
		outcomes[i] = outcome(r, i)
		if at := i * size; adversarial != nil && done {
			copy(adversarial[at:at+size], r.Adv[at:])
		} else if adversarial != nil {
			copy(adversarial[at:at+size], images[at:])
		}
	}
	return err
}

// attackBall is the ball of an attack, whose eps may be "inf".
func (h *handle) attackBall(norm, eps string) (epsball.Ball, error) {
	if eps == "inf" {
		return h.model.LargestBall(norm)
	}
	return epsball.ParseBall(norm, eps)
}

func outcome(r *attack.Result, i int) uint8 {
	switch {
	case !r.Done[i]:
		return notDone
	case !r.Clean[i]:
		return wrong
	case r.Success[i]:
		return fooled
	}
	return resisted
}

// certify writes which images are proved and, unless nil, their margins.
func (h *handle) certify(images []float32, labels []int32, norm, eps, method string, limitMS uint32, robust []uint8, margins []float32) error {
	ball, err := epsball.ParseBall(norm, eps)
	if err != nil {
		return err
	}
	if method == "" {
		method = "ibp"
	}
	bound, err := verify.ParseMethod(method)
	if err != nil {
		return err
	}
	ctx, stop := h.context(limitMS)
	defer stop()
	c, err := h.model.Certify(ctx, epsball.Batch{X: images, Y: ints(labels)}, ball, epsball.Bound(bound))
	if err != nil {
		return err
	}
	for i, proved := range c.Robust {
		robust[i] = 0
		if proved {
			robust[i] = 1
		}
	}
	if margins != nil {
		copy(margins, c.Margin)
	}
	return nil
}

func ints(labels []int32) []int {
	y := make([]int, len(labels))
	for i, l := range labels {
		y[i] = int(l)
	}
	return y
}

// count checks the number of images of a call.
func (h *handle) count(n int64) (int, error) {
	if n < 0 || n > math.MaxInt32 {
		return 0, fmt.Errorf("images: n is %d, want 0 … %d", n, math.MaxInt32)
	}
	if per := int64(4 * max(h.size, h.model.Classes())); n > math.MaxInt/per {
		return 0, errTooLarge
	}
	return int(n), nil
}
