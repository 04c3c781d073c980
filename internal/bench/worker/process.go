package worker

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

// Patience is how long a worker may take to answer: it has hung otherwise.
const Patience = 3 * time.Minute

// Process is a worker, asked over pipes. Its methods are for one goroutine.
type Process struct {
	cmd    *exec.Cmd
	stop   context.CancelFunc
	in     io.WriteCloser
	out    *bufio.Reader
	errors Tail

	Hello   Reply     // what it said before any question
	Started time.Time // before the process was
	Ready   time.Time // when it had said hello
}

// Start starts a worker by its command line and waits for its first line. It ends
// with ctx, or by Close.
func Start(ctx context.Context, argv []string) (*Process, error) {
	ctx, stop := context.WithCancel(ctx)
	p := &Process{stop: stop}
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	// One thread for NumPy, which computes nothing, and no files beside the script.
	p.cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1")
	p.cmd.Stderr = &p.errors
	in, err := p.cmd.StdinPipe()
	if err != nil {
		stop()
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	p.in, p.out = in, bufio.NewReaderSize(out, 1<<16)
	p.Started = time.Now()
	if err := p.cmd.Start(); err != nil {
		stop()
		return nil, err
	}
	hello, err := p.read()
	if err != nil {
		p.Close()
		return nil, err
	}
	p.Hello, p.Ready = *hello, time.Now()
	return p, nil
}

// Ask sends a request and returns the answer; one that holds an error is returned
// as that error.
func (p *Process) Ask(q *Request) (*Reply, error) {
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

func (p *Process) read() (*Reply, error) {
	late := time.AfterFunc(Patience, p.stop)
	defer late.Stop()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, p.ended(err)
	}
	r := &Reply{}
	if err := json.Unmarshal(line, r); err != nil {
		return nil, fmt.Errorf("%s: answered %.60q: %w", p.cmd.Path, line, err)
	}
	return r, nil
}

// ended explains why a worker does not answer.
func (p *Process) ended(err error) error {
	p.Close()
	if last := p.errors.LastLine(); last != "" {
		return fmt.Errorf("%s: %s", p.cmd.Path, last)
	}
	return fmt.Errorf("%s: ended (%v), or gave no answer for %v: %w", p.cmd.Path, p.cmd.ProcessState, Patience, err)
}

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Close ends the worker; it may be called again.
func (p *Process) Close() {
	_ = p.in.Close() // a worker ends when its input does
	late := time.AfterFunc(time.Second, p.stop)
	_ = p.cmd.Wait()
	late.Stop()
	p.stop()
}

// Tail keeps the end of what is written to it.
type Tail struct{ b []byte }

func (t *Tail) Write(b []byte) (int, error) {
	const most = 4096
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-most):]
	return len(b), nil
}

// LastLine is the last line that is not empty.
func (t *Tail) LastLine() string {
	lines := bytes.Split(bytes.TrimSpace(t.b), []byte("\n"))
	return strings.TrimSpace(string(lines[len(lines)-1]))
}
