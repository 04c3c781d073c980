package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/epsball/epsball/report"
)

// replayScript evaluates a property at a witness, with the outputs of ONNX Runtime. It has
// its own reader of property files.
//
//go:embed replay.py
var replayScript string

// What a replay says of a witness: at once the words of the script.
const (
	replayValid     = "valid"     // the property file holds of it exactly
	replayTolerance = "tolerance" // within VNN-COMP's tolerances
	replayInvalid   = "invalid"
)

// What becomes of the certificates of an unsat, where a witness is replayed.
const (
	proofValid   = "proof"
	proofMissing = "unproved"
)

// slack is what a process may take beyond its limit, to start and to end; grace is after how
// long beyond it one is killed, longer where certificates are written, which verify does not limit.
const (
	slack      = 1 // s
	grace      = 20 * time.Second
	graceProof = 10 * time.Minute
)

// ready looks for the programs before work is spent.
func (j *judge) ready(ctx context.Context) error {
	if _, err := exec.LookPath(j.epsball); err != nil {
		return fmt.Errorf("-epsball: %w; build it: go build -o epsball ./cmd/epsball", err)
	}
	if j.python == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, j.python, "-c", "import numpy, onnxruntime").CombinedOutput()
	if err != nil {
		return fmt.Errorf("-replay: %s: %w: %s; pip install onnxruntime numpy", j.python, err, lastLine(string(out)))
	}
	return nil
}

// instance returns the result of an instance, which may be one of an earlier run.
func (j *judge) instance(ctx context.Context, d *folder, in instance) (*result, error) {
	limit := in.limit
	if j.timeout > 0 {
		limit = min(limit, j.timeout)
	}
	want := result{folder: d.name, network: in.network, property: in.property, limit: limit, threads: j.threads}
	old, err := j.results.find(&want)
	if err != nil {
		return nil, err
	}
	if old != nil && !(old.replay == "" && (old.verdict == "sat" && j.python != "" || old.verdict == "unsat" && j.proofs)) {
		return old, nil
	}
	r := &want
	network, property := packed(filepath.Join(d.path, filepath.FromSlash(in.network))), packed(filepath.Join(d.path, filepath.FromSlash(in.property)))
	proof := ""
	if j.proofs {
		dir, err := os.MkdirTemp("", "vnncomp")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		proof = filepath.Join(dir, "proof.jsonl")
	}
	doc, err := j.verify(ctx, r, network, property, proof)
	if err != nil {
		return nil, err
	}
	if r.verdict == "unsat" && j.proofs {
		if r.replay, err = j.check(ctx, proof, network, property); err != nil {
			return nil, err
		}
	}
	if r.verdict == "sat" && j.python != "" {
		if r.replay, err = j.replay(ctx, doc, network, property); err != nil {
			return nil, fmt.Errorf("%s %s: %w", in.network, in.property, err)
		}
	}
	return r, j.results.add(r)
}

// verify runs epsball on an instance, and fills in what came of it. The document is what
// it has printed. proof is where certificates go; "": there are none.
func (j *judge) verify(ctx context.Context, r *result, network, property, proof string) (doc []byte, err error) {
	beyond := grace
	if proof != "" {
		beyond = graceProof
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(r.limit*float64(time.Second))+beyond)
	defer cancel()
	args := []string{"verify", "--json", "--timeout", strconv.FormatFloat(r.limit, 'f', -1, 64), "--threads", strconv.Itoa(j.threads)}
	if proof != "" {
		args = append(args, "--out", proof)
	}
	c := exec.CommandContext(limited, j.epsball, append(args, network, property)...)
	var message strings.Builder
	c.Stderr = &message
	start := time.Now()
	doc, failure := c.Output()
	r.seconds = time.Since(start).Round(time.Millisecond).Seconds() // as -out has it
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var missing *exec.Error
	if errors.As(failure, &missing) {
		return nil, failure
	}
	var v report.Verify
	switch {
	case limited.Err() != nil:
		r.verdict, r.detail = "timeout", "did not stop and was killed"
	case json.Unmarshal(doc, &v) != nil || v.Verdict == "":
		r.verdict, r.detail = "error", lastLine(message.String())
		if r.detail == "" {
			r.detail = fmt.Sprint(failure)
		}
	case decided(v.Verdict) && r.seconds > r.limit+slack:
		r.verdict, r.detail = "timeout", "too late: "+v.Summary()
	default:
		r.verdict, r.detail = v.Verdict, v.Summary()
	}
	return doc, nil
}

// check has certificates proved anew, and says what came of it.
func (j *judge) check(ctx context.Context, proof, network, property string) (string, error) {
	info, err := os.Stat(proof)
	if err != nil {
		return proofMissing + ": no certificate was written", nil
	}
	c := exec.CommandContext(ctx, j.epsball, "check", "--threads", strconv.Itoa(j.threads), proof, "--model", network, "--property", property)
	var message strings.Builder
	c.Stderr = &message
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return proofMissing + ": " + lastLine(message.String()), nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("%s: %d bytes", proofValid, info.Size()), nil
}

// replay has the witness of a document judged by the script.
func (j *judge) replay(ctx context.Context, doc []byte, network, property string) (string, error) {
	c := exec.CommandContext(ctx, j.python, "-c", replayScript, network, property)
	c.Stdin = bytes.NewReader(doc)
	c.Env = append(os.Environ(), "OMP_NUM_THREADS=1")
	var message strings.Builder
	c.Stderr = &message
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("replay: %w: %s", err, lastLine(message.String()))
	}
	var said struct{ Result, Reason string }
	if err := json.Unmarshal(out, &said); err != nil {
		return "", fmt.Errorf("replay: got %q, want a JSON document (%w)", out, err)
	}
	switch said.Result {
	case replayValid:
		return replayValid, nil
	case replayTolerance, replayInvalid:
		return said.Result + ": " + said.Reason, nil
	}
	return "", fmt.Errorf("replay: got the result %q, want valid, tolerance or invalid", said.Result)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
