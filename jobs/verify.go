package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/checkpoint"
)

// KindVerify is the kind of Verify.
const KindVerify = "verify"

// Verify goes on with a decision about a property that was not finished: each shard decides a
// share of what is open in a checkpoint of verify (audit.DecideState.Divide). In a manifest,
// shares stand for images: Data.Spec is the property file, a shard has one share. The property
// holds if all shares do.
type Verify struct {
	Checkpoint string  `json:"checkpoint"`        // SHA-256 of the file, which the Store has (PutCheckpoint)
	Questions  string  `json:"questions"`         // checkpoint.Hash of what is asked
	Timeout    float64 `json:"timeout,omitempty"` // seconds of a share; 0: none
	Memory     int     `json:"memory,omitempty"`  // branch.Options.Memory
	Seed       uint64  `json:"seed"`              // of attacks
}

// Shares are what a Verify works on instead of images.
type Shares struct {
	Version   string // of checkpoints: checkpoint.Of
	Questions []audit.Question
	Level     func(*audit.Witness) bool // audit.DecideOptions.Level
	List      []*audit.DecideState      // of all shards
	N         int                       // of those from Subject.First on: what is worked on
	SaveEvery time.Duration             // how often a share under way is saved beside its journal
}

// Kind returns KindVerify.
func (v *Verify) Kind() string { return KindVerify }

// Repeatable is false: a share gone on with after a kill is divided in another way.
func (v *Verify) Repeatable() bool { return false }

// Validate checks the settings.
func (v *Verify) Validate() error {
	switch {
	case !hashText.MatchString(v.Checkpoint):
		return fmt.Errorf("checkpoint: got %.80q, want 64 hexadecimal digits", v.Checkpoint)
	case !hashText.MatchString(v.Questions):
		return fmt.Errorf("questions: got %.80q, want 64 hexadecimal digits", v.Questions)
	case !(v.Timeout >= 0 && v.Timeout <= MaxTimeout):
		return fmt.Errorf("timeout: got %v, want 0, or seconds up to %g", v.Timeout, float64(MaxTimeout))
	case v.Memory < 0:
		return fmt.Errorf("memory: got %d, want at least 0", v.Memory)
	}
	return nil
}

// NewVerifyManifest returns the manifest of a task that has a shard for each of the shares.
func NewVerifyManifest(program string, task *Verify, model Model, data Data, shares []*audit.DecideState) (*Manifest, error) {
	data.N = len(shares)
	m := &Manifest{Program: program, Task: task, Model: model, Data: data, Size: 1}
	for _, s := range shares {
		m.Pieces = append(m.Pieces, SharePiece(s))
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	_, err := m.Encode()
	return m, err
}

// SharePiece is the entry of Manifest.Pieces for a share: 16 hexadecimal digits of the SHA-256
// of what is open in it.
func SharePiece(st *audit.DecideState) string {
	h := sha256.New()
	fmt.Fprintln(h, st.Stage, st.Open)
	for _, q := range st.Open {
		s := st.Search[q]
		if s == nil {
			fmt.Fprintln(h, q, "whole")
			continue
		}
		fmt.Fprintln(h, q, s.Options, s.Share, len(s.Trees), len(s.Cells))
		for _, t := range s.Trees {
			fmt.Fprintln(h, t.Targets, len(t.Parts))
			_, _ = h.Write(t.Parts) // a hash takes everything
		}
		_, _ = h.Write(s.Cells)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// FitsShares checks that shares are those of the job: all of them, as they were dealt out.
func (m *Manifest) FitsShares(list []*audit.DecideState) error {
	if len(list) != m.Shards() {
		return fmt.Errorf("shares: got %d, but the job was planned with %d", len(list), m.Shards())
	}
	for i, st := range list {
		if got := SharePiece(st); got != m.Pieces[i] {
			return fmt.Errorf("share %d: got %s, but the job was planned with %s", i, got, m.Pieces[i])
		}
	}
	return nil
}

// checkpointName is the name of the file in a Store.
func (v *Verify) checkpointName() string { return fmt.Sprintf("open-%.16s.json", v.Checkpoint) }

// PutCheckpoint stores the file of a checkpoint, before the manifest that names it. One that is
// there already is left.
func (v *Verify) PutCheckpoint(ctx context.Context, s Store, file []byte) error {
	sum := sha256.Sum256(file)
	v.Checkpoint = hex.EncodeToString(sum[:])
	err := s.Put(ctx, v.checkpointName(), int64(len(file)), bytes.NewReader(file))
	if errors.Is(err, fs.ErrExist) {
		_, err = v.GetCheckpoint(ctx, s)
	}
	return err
}

// GetCheckpoint returns the file, which must be the one that was planned with.
func (v *Verify) GetCheckpoint(ctx context.Context, s Store) ([]byte, error) {
	r, err := s.Get(ctx, v.checkpointName())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	file, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != v.Checkpoint {
		return nil, fmt.Errorf("%s/%s: its SHA-256 is %x, want %s: it is not what the job was planned with", s, v.checkpointName(), sum, v.Checkpoint)
	}
	return file, nil
}

// runText is what records depend on besides model and property. Times and memory may change
// between runs, but the manifest has them.
func (v *Verify) runText() string {
	return fmt.Sprintf("verify, open %s, questions %s, seed %d", v.Checkpoint, v.Questions, v.Seed)
}

// Work prepares the decisions.
func (v *Verify) Work(s *Subject) (Work, error) { return v.NewWork(s) }

// NewWork is Work.
func (v *Verify) NewWork(s *Subject) (*VerifyWork, error) {
	switch n := s.Shares; {
	case n == nil || s.First < 0 || n.N < 1 || s.First+n.N > len(n.List):
		return nil, errors.New("shares: got none, want those that the job was planned with")
	case checkpoint.Hash(n.Questions) != v.Questions:
		return nil, fmt.Errorf("property %s: it asks something else than the property that the job was planned with", s.Data)
	}
	return &VerifyWork{Results: make([]*ShareResult, s.Shares.N), task: v, s: s}, nil
}

// decided sums up what a decision about a share has come to, left being its state if it is open.
// Where nothing was saved, all of the share is left.
func decided(d *audit.Decision, start, left *audit.DecideState) *ShareResult {
	r := &ShareResult{Answer: d.Answer, Question: d.Question, Parts: d.Bounded}
	switch {
	case d.Answer == audit.Violated:
		r.Witness = d.Witness.X
	case d.Answer == audit.Undecided && left == nil:
		r.Left = start
	case d.Answer == audit.Undecided:
		r.Left = left
	}
	return r
}

// Verdict is what all shares come to.
type Verdict struct {
	Answer   audit.Answer
	Witness  *audit.Witness // of Violated, judged here
	Question int            // that it is of
	Parts    int            // bounded by all shards
	Held     int            // shares that hold

	// Left is what is open, of an answer that is Undecided: what verify goes on from, or another
	// job.
	Left *audit.DecideState
}

// Witnessed reports whether a share has found a witness.
func (w *VerifyWork) Witnessed() bool {
	return slices.ContainsFunc(w.Results, func(r *ShareResult) bool { return r != nil && r.Answer == audit.Violated })
}

// Verdict judges the results of all shares, or of some that have a witness, of the state that they were dealt out from. A witness
// is judged anew: if it does not violate what it is said to, that is an error.
func (w *VerifyWork) Verdict(ctx context.Context, whole *audit.DecideState) (*Verdict, error) {
	v := &Verdict{Answer: audit.Holds}
	var left []*audit.DecideState
	missing := -1
	for i, r := range w.Results {
		if r == nil {
			missing = i
			continue
		}
		v.Parts += r.Parts
		switch r.Answer {
		case audit.Holds:
			v.Held++
		case audit.Undecided:
			left = append(left, r.Left)
		case audit.Violated:
			if v.Witness != nil {
				continue
			}
			q := &w.s.Shares.Questions[r.Question]
			found, err := audit.CheckWitness(ctx, w.s.Net, &q.Box, q.Refutes, r.Witness, w.s.Pool)
			if err != nil {
				return nil, fmt.Errorf("share %d: witness: %w", w.s.First+i, err)
			}
			if !w.s.Shares.Level(found) {
				return nil, fmt.Errorf("share %d: %w", w.s.First+i, ErrWitness)
			}
			v.Witness, v.Question = found, r.Question
		}
	}
	switch {
	case v.Witness != nil:
		v.Answer = audit.Violated
	case missing >= 0:
		return nil, fmt.Errorf("share %d is missing", w.s.First+missing)
	case len(left) > 0:
		v.Answer = audit.Undecided
		var err error
		if v.Left, err = whole.Join(left); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// ErrWitness is the error of a witness that does not violate the property here: the machine that
// found it is not to be trusted.
var ErrWitness = errors.New("its witness does not violate the property")
