package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/checkpoint"
	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/check"
)

const (
	shareFormat  = "epsball-share"
	shareVersion = 1
)

// shareLine is a share that was searched.
type shareLine struct {
	Format   string          `json:"format"`
	Version  int             `json:"version"`
	Model    string          `json:"model"`
	Data     string          `json:"data"`
	Run      string          `json:"run"`
	Index    int             `json:"index"`
	Piece    string          `json:"piece"` // SharePiece
	Answer   string          `json:"answer"`
	Parts    int             `json:"parts"`
	Question int             `json:"question"`          // of the witness
	Witness  []float32       `json:"witness,omitempty"` // numbers in JSON are exact
	Left     json.RawMessage `json:"left,omitempty"`    // as checkpoint.Encode has it, without its newline
}

// ShareResult is what a shard has found out about its share.
type ShareResult struct {
	Answer   audit.Answer
	Parts    int                // bounded
	Question int                // of Witness
	Witness  []float32          // of Violated
	Left     *audit.DecideState // of Undecided: without bounds of neurons of what is divided
}

// VerifyWork decides shares.
type VerifyWork struct {
	Results []*ShareResult // of the subject's shares; nil: not there

	task *Verify
	s    *Subject
	file *journal.File
}

// of is what the checkpoint of share i is of. It is of no other share, nor of all of the property:
// it says that bounds are proved.
func (w *VerifyWork) of(i int) checkpoint.Of {
	return checkpoint.Of{Version: w.s.Shares.Version, Model: w.s.Model, Questions: fmt.Sprintf("%s, share %d of %s", w.task.Questions, i, w.task.Checkpoint)}
}

// Run decides the shares that the journal at path does not have. The one under way is saved
// beside it, now and then and when ctx ends.
func (w *VerifyWork) Run(ctx context.Context, path string) error {
	var err error
	if w.file, err = journal.Resume(path, []byte(`{"format":"`+shareFormat+`",`), w.take); err != nil {
		return err
	}
	w.file.Keep()
	for k, r := range w.Results {
		if r != nil {
			continue
		}
		if err = w.search(ctx, path, k); err != nil {
			break
		}
	}
	return errors.Join(err, w.file.Close())
}

func (w *VerifyWork) search(ctx context.Context, path string, k int) error {
	i := w.s.First + k
	saved := fmt.Sprintf("%s.%d.state", path, i)
	start, before := w.s.Shares.List[i], 0
	switch st, err := checkpoint.Read(saved, w.of(i)); {
	case err == nil:
		before = bounded(st) - bounded(start)
		start = st
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	o := w.options()
	o.Resume, o.Branch.SaveEvery = start, w.s.Shares.SaveEvery
	var left *audit.DecideState
	o.Save = func(st *audit.DecideState) error {
		left = st
		return checkpoint.Write(saved, w.of(i), st)
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	if w.task.Timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, time.Duration(w.task.Timeout*float64(time.Second)))
	}
	defer cancel()
	d, err := audit.Decide(limited, w.s.Net, w.s.Shares.Questions, o, w.s.Pool)
	if err != nil {
		return err
	}
	if d.Answer == audit.Undecided && ctx.Err() != nil {
		return ctx.Err()
	}
	r := decided(d, start, left)
	r.Parts += max(0, before)
	line, err := w.line(i, r)
	if err == nil {
		err = w.file.Append(line)
	}
	if err != nil {
		return err
	}
	w.Results[k] = r
	if err := os.Remove(saved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// options are those of all decisions.
func (w *VerifyWork) options() audit.DecideOptions {
	o := audit.DecideOptions{Level: w.s.Shares.Level}
	o.Search.Seed, o.Branch.Memory, o.Branch.Progress = w.task.Seed, w.task.Memory, w.s.Search
	return o
}

// bounded counts the parts of the searches of a state.
func bounded(st *audit.DecideState) (n int) {
	for _, s := range st.Search {
		n += s.Parts
	}
	return n
}

// Again decides a share once more, from where it was dealt out, without a time limit.
func (w *VerifyWork) Again(ctx context.Context, i int) (audit.Answer, error) {
	o := w.options()
	o.Resume = w.s.Shares.List[i]
	d, err := audit.Decide(ctx, w.s.Net, w.s.Shares.Questions, o, w.s.Pool)
	if err != nil {
		return audit.Undecided, err
	}
	return d.Answer, ctx.Err()
}

// line is the record of share i.
func (w *VerifyWork) line(i int, r *ShareResult) ([]byte, error) {
	l := &shareLine{
		Format: shareFormat, Version: shareVersion, Model: w.s.Model, Data: w.s.Data, Run: w.task.runText(),
		Index: i, Piece: SharePiece(w.s.Shares.List[i]), Answer: r.Answer.String(), Parts: r.Parts, Question: r.Question, Witness: r.Witness,
	}
	if r.Left != nil {
		left := *r.Left
		left.Search = maps.Clone(left.Search)
		for q, s := range left.Search {
			if s.Share { // the whole state has bounds of the root
				c := *s
				c.Bounds = nil
				left.Search[q] = &c
			}
		}
		line, err := checkpoint.Encode(w.of(i), &left)
		if err != nil {
			return nil, err
		}
		l.Left = line[:len(line)-1]
	}
	line, err := journal.Seal(nil, l)
	if err == nil && len(line) > check.MaxLine {
		err = fmt.Errorf("share %d: what is left takes %d bytes, but a record may have %d: plan more shards, or a shorter --timeout", i, len(line), check.MaxLine)
	}
	return line, err
}

// Read takes the results of shares that another run has written down.
func (w *VerifyWork) Read(r io.Reader) error { return journal.Read(r, w.take) }

// take notes what a line says.
func (w *VerifyWork) take(line []byte) error {
	var l shareLine
	if err := journal.Unseal(line, &l); err != nil {
		return err
	}
	for _, f := range []struct{ name, got, want string }{
		{"format", fmt.Sprintf("%s %d", l.Format, l.Version), fmt.Sprintf("%s %d", shareFormat, shareVersion)},
		{"model", l.Model, w.s.Model},
		{"data", l.Data, w.s.Data},
		{"run", l.Run, w.task.runText()},
	} {
		if f.got != f.want {
			return fmt.Errorf("%s: got %.200q, but this run has %.200q", f.name, f.got, f.want)
		}
	}
	k := l.Index - w.s.First
	if k < 0 || k >= len(w.Results) {
		return fmt.Errorf("index: got share %d, want %d … %d", l.Index, w.s.First, w.s.First+len(w.Results)-1)
	}
	start := w.s.Shares.List[l.Index]
	r := &ShareResult{Parts: l.Parts, Question: l.Question, Witness: l.Witness}
	switch {
	case w.Results[k] != nil:
		return fmt.Errorf("share %d is there already", l.Index)
	case l.Piece != SharePiece(start):
		return fmt.Errorf("share %d: piece: got %.40q, want %q: it is another share", l.Index, l.Piece, SharePiece(start))
	case l.Parts < 0 || l.Question < 0 || l.Question >= len(w.s.Shares.Questions):
		return fmt.Errorf("share %d: got %d parts, question %d of %d", l.Index, l.Parts, l.Question, len(w.s.Shares.Questions))
	}
	for r.Answer = audit.Undecided; r.Answer.String() != l.Answer; r.Answer++ {
		if r.Answer == audit.Violated {
			return fmt.Errorf("share %d: answer: got %.40q, want undecided, holds or violated", l.Index, l.Answer)
		}
	}
	if (r.Answer == audit.Undecided) != (l.Left != nil) || (r.Answer == audit.Violated) != (l.Witness != nil) {
		return fmt.Errorf("share %d: got the answer %v, %d numbers of a witness, and %d bytes of what is left, want a witness of violated alone, and something left of undecided alone",
			l.Index, r.Answer, len(l.Witness), len(l.Left))
	}
	if l.Left != nil {
		var err error
		if r.Left, err = checkpoint.Decode(append(l.Left[:len(l.Left):len(l.Left)], '\n'), w.of(l.Index)); err != nil {
			return fmt.Errorf("share %d: left: %w", l.Index, err)
		}
	}
	w.Results[k] = r
	return nil
}
