package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Sub-streams of the random generator: what a stream is drawn for.
const (
	streamOrder      uint32 = iota // of the images in an epoch; stream number: the epoch
	streamStart                    // of an attack; stream number: the image's place in training
	streamSplit                    // of what validation holds back
	streamAugment                  // of an image; stream number: its place in training
	streamProbe                    // of an attack that looks for overfitting; stream number: the image's place among those
	streamValidation               // of the noise on images held back
)

// Trainer trains one model. It must be used by one goroutine at a time.
type Trainer struct {
	c        Config
	model    *model.Model // its Params change in place
	data     *dataset.Set
	training []int32 // what is trained on, indices into the data
	held     []int32 // what validation holds back
	step     int     // done
	perEpoch int
	history  []Epoch
	sum      sums // of the epoch under way
	s        *stepper
	order    []int32
	pass     int        // through the data, that order is of; −1: none yet
	average  *average   // nil without
	check    *validator // nil without
	best     []model.Param
	bestOf   int    // the epoch that best is of; 0: none yet
	dataHash string // empty until a checkpoint needs it
	kept     []byte // a checkpoint to go back to, without one of its own; nil: none
	alarm    *Alarm // nil: training goes on as it was meant to
	saved    int    // epochs in the last checkpoint, -1 if there is none
}

// sums are totals over the images of the epoch under way.
type sums struct {
	Loss    float64 `json:"loss"`
	Clean   int     `json:"clean"`
	Robust  int     `json:"robust"`
	Seconds float64 `json:"seconds"`

	// With replays, how many of the batch were right when it was new: Clean counts them
	// again at each. Never reset.
	BatchClean int `json:"batchClean,omitempty"`

	Abnormal int `json:"abnormal,omitempty"` // see Overfitting
}

// New returns a trainer that starts from a copy of m's weights. The data, which
// is not copied, must have the shape of the model's input and a known label for
// every image. An error about arguments is an *Error, or the model's or the
// set's own.
func New(m *model.Model, d *dataset.Set, c Config) (*Trainer, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fieldErr("model", "none", "a model")
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if err := checkModel(m, &c); err != nil {
		return nil, err
	}
	if err := checkData(m, d, &c); err != nil {
		return nil, err
	}
	rows, err := m.Store(func(int) model.Storage { return model.Storage{} }) // what an update can change
	if err != nil {
		return nil, err
	}
	c.Milestones = slices.Clone(c.Milestones)
	t := &Trainer{c: c, model: rows, data: d, saved: -1}
	return t, t.compile()
}

func (t *Trainer) compile() error {
	n, err := net.Compile(t.model, net.Options{ISA: t.c.ISA, Backward: true, Batches: net.LargeBatches, Winograd: t.c.Winograd})
	if err != nil {
		return err
	}
	t.training, t.held = t.c.split(t.data.Len())
	t.perEpoch = len(t.training) / t.c.BatchSize
	t.order, t.pass = make([]int32, len(t.training)), -1
	t.s = newStepper(&t.c, n, &data{t.data.X, t.data.Y}, kernels.NewPool(t.c.Threads))
	t.check = newValidator(&t.c, t.data, t.held, t.s.pool)
	t.average = newAverage(&t.c, t.model.Params, t.perEpoch)
	return nil
}

// Model returns the weights being trained, of which the model that Run returns may be a
// mean or an earlier state. It belongs to the trainer: copy it to keep it while training
// goes on.
func (t *Trainer) Model() *model.Model { return t.model }

// History returns the epochs completed so far.
func (t *Trainer) History() []Epoch { return slices.Clone(t.history) }

// Observe replaces Config.Progress and Config.EpochDone. It must not be called during Run.
func (t *Trainer) Observe(step func(Progress), epoch func(Epoch)) {
	t.c.Progress, t.c.EpochDone = step, epoch
}

// Kept returns the epoch after which the model was as Run returns it.
func (t *Trainer) Kept() int {
	if t.bestOf > 0 {
		return t.bestOf
	}
	return len(t.history)
}

// Run trains to the end, or until ctx is done, training diverges, or patience is at an
// end. It returns the model and the epochs completed so far (those before a Resume
// included) whatever the error.
//
// The model has the weights of the best epoch if Config.Keep says so, means of weights
// with Config.Average, and the last weights otherwise.
//
// With Config.Checkpoint set, the checkpoint is written after each epoch and when
// ctx ends, which Run notices after the step under way; the error is then the
// context's. When training diverges the last checkpoint stays; the error wraps
// ErrDiverged and names it. A second Run goes on where the first one stopped.
func (t *Trainer) Run(ctx context.Context) (*model.Model, []Epoch, error) {
	err := t.run(ctx)
	if errors.Is(err, ErrDiverged) {
		err = fmt.Errorf("%w; %s", err, t.lastGood())
	}
	m := t.current()
	if t.bestOf > 0 {
		m.Params = t.best
	}
	return m.Clone(), slices.Clone(t.history), err
}

func (t *Trainer) lastGood() string {
	if t.saved < 0 {
		return "there is no checkpoint from before"
	}
	return fmt.Sprintf("%s is the checkpoint of epoch %d, before that; to resume it would lead here again", t.c.Checkpoint, t.saved)
}

// current returns the model with the weights, or their mean, so far. It shares them with t.
func (t *Trainer) current() *model.Model {
	m := *t.model
	if t.average != nil && t.average.mean != nil {
		m.Params = t.average.mean
	}
	return &m
}

func (t *Trainer) run(ctx context.Context) error {
	if err := t.keepFirst(); err != nil {
		return err
	}
	for !t.done() {
		before := len(t.history)
		if err := t.epoch(ctx); err != nil {
			return err
		}
		if err := t.save(); err != nil {
			return err
		}
		if t.c.EpochDone != nil && len(t.history) > before { // it went back else
			t.c.EpochDone(t.history[len(t.history)-1])
		}
	}
	return nil
}

func (t *Trainer) done() bool {
	return len(t.history) == t.c.Epochs || t.c.stopped(t.history) || t.halted()
}

// epoch does what is left of the epoch under way, looks at the model, and adds the epoch
// to the history.
func (t *Trainer) epoch(ctx context.Context) error {
	n := len(t.history)
	last := time.Now()
	for k := t.step - n*t.perEpoch; k < t.perEpoch; k++ {
		at := t.c.at(t.step, t.perEpoch)
		if err := t.s.losses(ctx, t.step, at, t.batch(t.step)); err != nil {
			return t.stop(err)
		}
		sum := t.sum
		for i, l := range t.s.loss {
			sum.Loss += float64(l)
			sum.Clean += count(t.s.clean[i])
			sum.Robust += count(t.s.robust[i])
			sum.Abnormal += count(t.s.abnormal[i])
		}
		t.replayed(&sum)
		if math.IsNaN(sum.Loss) || math.IsInf(sum.Loss, 0) {
			return fmt.Errorf("train: epoch %d, step %d: the loss is not finite: %w", n+1, t.step+1, ErrDiverged)
		}
		if err := t.s.update(ctx); err != nil {
			return t.stop(err)
		}
		now := time.Now()
		sum.Seconds += now.Sub(last).Seconds()
		last = now
		t.sum = sum
		t.step++
		t.average.step(t.step)
		if t.c.Progress != nil {
			t.c.Progress(Progress{t.step, t.c.Epochs * t.perEpoch, t.summary(n, k+1, at)})
		}
	}
	if err := t.model.Validate(); err != nil {
		return fmt.Errorf("train: epoch %d, step %d: %w (%w)", n+1, t.step, ErrDiverged, err)
	}
	e := t.summary(n, t.perEpoch, t.c.at(t.step-1, t.perEpoch))
	if t.check != nil {
		var err error
		if e.Validation, err = t.check.run(ctx, t.current()); err != nil {
			return t.stop(err)
		}
	}
	e.Overfitting = t.look()
	t.history = append(t.history, e)
	t.sum = sums{BatchClean: t.sum.BatchClean}
	if keep.choice(&t.c) == "best" && t.c.lead(t.history, 0) == n+1 {
		t.best, t.bestOf = cloneParams(t.current().Params), n+1
	}
	return t.act()
}

// stop saves what is done and returns err, with the error of saving if any.
func (t *Trainer) stop(err error) error {
	if serr := t.save(); serr != nil {
		return errors.Join(err, serr)
	}
	return err
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// summary is the mean over the first steps of epoch n (from 0).
func (t *Trainer) summary(n, steps int, at point) Epoch {
	images := float64(steps * t.c.BatchSize)
	return Epoch{
		Epoch: n + 1, Loss: t.sum.Loss / images,
		CleanAccuracy: float64(t.sum.Clean) / images, RobustAccuracy: float64(t.sum.Robust) / images,
		Eps: at.eps, Kappa: at.kappa, LR: at.lr, Seconds: t.sum.Seconds,
	}
}

// shuffle draws the order of the images in pass n through them.
func (t *Trainer) shuffle(n int) {
	copy(t.order, t.training)
	shuffle(t.order, kernels.NewStream(t.c.Seed, uint64(n), streamOrder))
}

// shuffle is Fisher and Yates's.
func shuffle(order []int32, s kernels.Stream) {
	for i := len(order) - 1; i > 0; i-- {
		j := s.Intn(i + 1)
		order[i], order[j] = order[j], order[i]
	}
}
