package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

// epochLog writes a line of JSON an epoch. It is nil without a file.
type epochLog struct {
	file *os.File
	err  error // of the first line that was not written
}

// openLog starts the file with the epochs done so far. A run that goes on so drops what
// an earlier one wrote after its last checkpoint.
func openLog(o *outfile.Output, done []train.Epoch) (*epochLog, error) {
	if !o.IsFile() {
		return nil, nil
	}
	var lines []byte
	for _, e := range report.Epochs(done) {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		lines = append(append(lines, line...), '\n')
	}
	if err := atomicfile.WriteBytes(o.File, lines); err != nil {
		return nil, fmt.Errorf("--log: %w", err)
	}
	f, err := os.OpenFile(o.File, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("--log: %w", err)
	}
	return &epochLog{file: f}, nil
}

func (l *epochLog) add(e train.Epoch) {
	if l == nil || l.err != nil {
		return
	}
	line, err := json.Marshal(report.Epochs([]train.Epoch{e})[0])
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	l.err = err
}

// close returns the error of writing, if any.
func (l *epochLog) close() error {
	if l == nil {
		return nil
	}
	if err := errors.Join(l.err, l.file.Close()); err != nil {
		return fmt.Errorf("--log: %w", err)
	}
	return nil
}

// overfitted returns a callback that warns of catastrophic overfitting.
func (a *app) overfitted(b *show.Bar) func(train.Epoch) {
	return func(e train.Epoch) {
		b.Clear()
		o := e.Overfitting
		what := map[string]string{
			"warn":     "--overfitting stop or fallback would go back to the epoch before",
			"stop":     "training ends with the weights of the epoch before",
			"fallback": "training goes back to the epoch before and on with PGD of 7 steps",
		}[o.Action]
		a.logf("warning: epoch %d: catastrophic overfitting: of %s, one step leaves %s right, PGD-10 %s; %s of the points trained on are abnormal; %s",
			e.Epoch, count(o.Images, "image"), percent(o.OneStep), percent(o.MultiStep), percent(o.Abnormal), what)
	}
}

// trainProgress returns callbacks that show a bar, and a line an epoch.
func (a *app) trainProgress(b *show.Bar, c *train.Config) (step func(train.Progress), epoch func(train.Epoch)) {
	last := "" // figures of the epoch before, which its line has in words
	step = func(p train.Progress) {
		b.Show(fmt.Sprintf("epoch %d/%d%s", p.Now.Epoch, c.Epochs, last), p.Step, p.Steps)
	}
	epoch = func(e train.Epoch) {
		b.Clear()
		line := fmt.Sprintf("loss %.4f  clean %s", e.Loss, percent(e.CleanAccuracy))
		last = fmt.Sprintf("  %.1f", 100*e.CleanAccuracy)
		if c.Method.Radius() {
			line += fmt.Sprintf("  robust %s  ε %.4g", percent(e.RobustAccuracy), e.Eps)
			last += fmt.Sprintf("/%.1f", 100*e.RobustAccuracy)
		}
		line += fmt.Sprintf("  lr %.3g", e.LR)
		if v := e.Validation; v != nil {
			line += "  validation " + report.ValidationText(v)
			last = fmt.Sprintf("  %.1f/%.1f/%.1f", 100*v.Clean, 100*v.PGD, 100*v.Certified)
		}
		last += " %"
		a.logf("epoch %d/%d  %s  %s", e.Epoch, c.Epochs, line, seconds(e.Seconds))
	}
	return step, epoch
}
