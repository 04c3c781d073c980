package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// edgePatience is how long a worker may take to answer: it has hung otherwise.
const edgePatience = 3 * time.Minute

// edgeProcess is a contestant in a process of its own, asked over pipes.
type edgeProcess struct {
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	in      io.WriteCloser
	out     *bufio.Reader
	errors  tail
	started time.Time
	hello   edgeReply // what it said before any question
	ready   time.Time // when it said so
}

// startEdge starts a worker and waits for its first line.
func startEdge(ctx context.Context, argv []string) (*edgeProcess, error) {
	p := &edgeProcess{}
	ctx, p.cancel = context.WithCancel(ctx)
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	// One thread for NumPy, which computes nothing, and no files beside the script.
	p.cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1")
	p.cmd.Stderr = &p.errors
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReaderSize(out, 1<<16)
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		p.cancel()
		return nil, err
	}
	hello, err := p.read()
	if err != nil {
		p.close()
		return nil, err
	}
	p.hello, p.ready = *hello, time.Now()
	return p, nil
}

// ask sends a request and returns the answer, which is no error.
func (p *edgeProcess) ask(q *edgeRequest) (*edgeReply, error) {
	line, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return nil, p.ended(err)
	}
	r, err := p.read()
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	return r, err
}

func (p *edgeProcess) read() (*edgeReply, error) {
	late := time.AfterFunc(edgePatience, p.cancel)
	defer late.Stop()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, p.ended(err)
	}
	r := &edgeReply{}
	if err := json.Unmarshal(line, r); err != nil {
		return nil, fmt.Errorf("%s: answered %.60q: %w", p.cmd.Path, line, err)
	}
	return r, nil
}

// ended explains why a worker does not answer.
func (p *edgeProcess) ended(err error) error {
	p.close()
	if last := p.errors.lastLine(); last != "" {
		return fmt.Errorf("%s: %s", p.cmd.Path, last)
	}
	return fmt.Errorf("%s: ended (%v), or gave no answer for %v: %w", p.cmd.Path, p.cmd.ProcessState, edgePatience, err)
}

// close ends the worker; it may be called again.
func (p *edgeProcess) close() {
	_ = p.in.Close() // a worker ends when its input does
	late := time.AfterFunc(time.Second, p.cancel)
	_ = p.cmd.Wait()
	late.Stop()
	p.cancel()
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	const most = 4096
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-most):]
	return len(b), nil
}

func (t *tail) lastLine() string {
	lines := bytes.Split(bytes.TrimSpace(t.b), []byte("\n"))
	return strings.TrimSpace(string(lines[len(lines)-1]))
}
