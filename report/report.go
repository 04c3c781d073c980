// Package report holds the results of epsball's commands as values: what
// `epsball COMMAND --json` prints is one of them, and Read reads it back. Each
// result also writes itself as text, the way the command shows it on a terminal.
//
// Every result embeds an Envelope, which says which command made it, in which
// format, of which models. The other keys are the command's own. A later version
// of a format may add keys, which Read ignores; it changes Format where a key
// changes its meaning or goes.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Format is the version of the JSON documents that this package writes and reads.
const Format = 1

// Envelope is what all results have in common.
type Envelope struct {
	Epsball Header  `json:"epsball"`
	ISA     string  `json:"isa,omitempty"`     // kernel set; empty where none was used
	Threads int     `json:"threads,omitempty"` // workers
	Seed    *uint64 `json:"seed,omitempty"`    // of random numbers; nil where there are none
	Data    string  `json:"data,omitempty"`    // the data set, as named on the command line
}

// Header says what a document is.
type Header struct {
	Format  int     `json:"format"`
	Kind    Kind    `json:"kind"`
	Command string  `json:"command"` // that made it
	Version string  `json:"version"` // of epsball
	Models  []Model `json:"models,omitempty"`
}

// Model identifies a network.
type Model struct {
	Name string `json:"name"`
	Hash string `json:"hash"` // SHA-256 of the network, as model.Model.Hash
}

// Kind names a type of result.
type Kind string

// The kinds of results.
const (
	KindEval         Kind = "eval"
	KindAttack       Kind = "attack"
	KindAttackTable  Kind = "attack-table"
	KindCertify      Kind = "certify"
	KindCertifyTable Kind = "certify-table"
	KindCheck        Kind = "check"
	KindSmooth       Kind = "smooth"
	KindVerify       Kind = "verify"
	KindSupports     Kind = "supports"
	KindTrain        Kind = "train"
	KindTrainSeeds   Kind = "train-seeds"
	KindInfo         Kind = "info"
	KindModel        Kind = "model"
	KindConversion   Kind = "conversion"
	KindProperties   Kind = "properties"
	KindStorage      Kind = "storage"
	KindBench        Kind = "bench"
	KindData         Kind = "data"
	KindDataCheck    Kind = "data-check"
	KindPage         Kind = "page"
	KindShardPlan    Kind = "shard-plan"
	KindShardRun     Kind = "shard-run"
	KindShardStatus  Kind = "shard-status"
	KindShardMerge   Kind = "shard-merge"
)

// kinds makes an empty result of each kind.
var kinds = map[Kind]func() Result{
	KindEval:         func() Result { return new(Eval) },
	KindAttack:       func() Result { return new(Attack) },
	KindAttackTable:  func() Result { return new(AttackTable) },
	KindCertify:      func() Result { return new(Certify) },
	KindCertifyTable: func() Result { return new(CertifyTable) },
	KindCheck:        func() Result { return new(Check) },
	KindSmooth:       func() Result { return new(Smooth) },
	KindVerify:       func() Result { return new(Verify) },
	KindSupports:     func() Result { return new(Supports) },
	KindTrain:        func() Result { return new(Train) },
	KindTrainSeeds:   func() Result { return new(TrainSeeds) },
	KindInfo:         func() Result { return new(Info) },
	KindModel:        func() Result { return new(ModelInfo) },
	KindConversion:   func() Result { return new(Conversion) },
	KindProperties:   func() Result { return new(Properties) },
	KindStorage:      func() Result { return new(Storage) },
	KindBench:        func() Result { return new(Bench) },
	KindData:         func() Result { return new(Data) },
	KindDataCheck:    func() Result { return new(DataCheck) },
	KindPage:         func() Result { return new(Page) },
	KindShardPlan:    func() Result { return new(ShardPlan) },
	KindShardRun:     func() Result { return new(ShardRun) },
	KindShardStatus:  func() Result { return new(ShardStatus) },
	KindShardMerge:   func() Result { return new(ShardMerge) },
}

// Result is what a command found: a pointer to one of the structs of this package.
type Result interface {
	// Text returns the result as a command prints it on a terminal; empty if there
	// is nothing to say.
	Text() string

	// Common returns the result's envelope.
	Common() *Envelope

	kind() Kind
}

// Common returns the envelope.
func (e *Envelope) Common() *Envelope { return e }

// Write writes a result as one indented JSON document. It fills in the format and
// the kind.
func Write(w io.Writer, r Result) error {
	h := &r.Common().Epsball
	h.Format, h.Kind = Format, r.kind()
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Read reads a document that Write, or a command with --json, has written. It must be
// one JSON value with nothing after it. An unknown format is an error that names it.
func Read(r io.Reader) (Result, error) {
	d := json.NewDecoder(r)
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("result: more than one JSON document, want one")
	}
	var head struct {
		Epsball *Header `json:"epsball"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	h := head.Epsball
	switch {
	case h == nil:
		return nil, errors.New("result: no key epsball, want a document that an epsball command printed with --json")
	case h.Format != Format:
		return nil, fmt.Errorf("result: epsball.format: got %d, which this version does not know, want %d", h.Format, Format)
	}
	empty, known := kinds[h.Kind]
	if !known {
		return nil, fmt.Errorf("result: epsball.kind: got %q, want a kind of format %d", h.Kind, Format)
	}
	result := empty()
	if err := json.Unmarshal(raw, result); err != nil {
		return nil, fmt.Errorf("result: %s: %w", h.Kind, err)
	}
	return result, nil
}
