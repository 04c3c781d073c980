package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/internal/machine"
)

// Serve answers requests until r ends. The version is this program's.
func Serve(r io.Reader, w io.Writer, version string) error {
	in, out := json.NewDecoder(r), json.NewEncoder(w)
	s := server{version: version, before: runtime.NumGoroutine()}
	defer s.close()
	first := Reply{Version: version}
	first.RSS, first.MaxRSS = machine.ResidentBytes()
	for reply := &first; ; {
		if err := out.Encode(reply); err != nil {
			return err
		}
		var q Request
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		var err error
		if reply, err = s.answer(&q); err != nil {
			reply = &Reply{Error: err.Error()}
		}
	}
}

// server holds the open model.
type server struct {
	version string
	before  int // goroutines
	model   *epsball.Model
	x       epsball.Batch // the first image
	p       epsball.Prediction
}

func (s *server) close() {
	if s.model != nil {
		s.model.Close()
	}
}

func (s *server) answer(q *Request) (*Reply, error) {
	switch {
	case q.Op == "open" && s.model == nil:
		return s.open(q)
	case q.Op == "run" && s.model != nil && q.Calls > 0:
		return s.run(q)
	}
	return nil, fmt.Errorf("worker: got op %q, want open once, then run", q.Op)
}

// open does what an embedding program does, and nothing before its first answer.
func (s *server) open(q *Request) (*Reply, error) {
	size := q.Shape[0] * q.Shape[1] * q.Shape[2]
	x, err := readFloats(q.Images)
	if err != nil {
		return nil, err
	}
	if size < 1 || len(x) == 0 || len(x)%size != 0 {
		return nil, fmt.Errorf("%s: %d pixels, want images of %v", q.Images, len(x), q.Shape)
	}
	load := epsball.Load
	if q.Map {
		load = epsball.Map
	}
	start := time.Now()
	s.model, err = load(q.Model, epsball.FewImages(), epsball.Threads(q.Threads), epsball.ISA(q.ISA))
	if err != nil {
		return nil, err
	}
	loaded := time.Now()
	s.x = epsball.Batch{X: x[:size]}
	if err := s.model.ClassifyInto(context.Background(), s.x, &s.p); err != nil {
		return nil, err
	}
	r := &Reply{Load: loaded.Sub(start).Seconds(), First: time.Since(loaded).Seconds(), WeightBytes: int64(s.model.Bytes())}
	r.RSS, r.MaxRSS = machine.ResidentBytes()
	r.Values = AppendFloats(nil, s.p.Logits)
	for i := size; i < len(x); i += size {
		if err := s.model.ClassifyInto(context.Background(), epsball.Batch{X: x[i : i+size]}, &s.p); err != nil {
			return nil, err
		}
		r.Values = AppendFloats(r.Values, s.p.Logits)
	}
	r.Version = s.version
	if path, err := os.Executable(); err == nil {
		if info, err := os.Stat(path); err == nil {
			r.LibraryBytes = info.Size()
		}
	}
	return r, nil
}

func (s *server) run(q *Request) (*Reply, error) {
	ctx, ns := context.Background(), make([]int64, q.Calls)
	for range q.Warm {
		if err := s.model.ClassifyInto(ctx, s.x, &s.p); err != nil {
			return nil, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range ns {
		start := time.Now()
		if err := s.model.ClassifyInto(ctx, s.x, &s.p); err != nil {
			return nil, err
		}
		ns[i] = time.Since(start).Nanoseconds()
	}
	runtime.ReadMemStats(&after)
	return &Reply{
		NS: ns, Mallocs: int64(after.Mallocs - before.Mallocs),
		Goroutines: runtime.NumGoroutine() - s.before,
	}, nil
}

// readFloats reads a file of little-endian float32.
func readFloats(path string) ([]float32, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Floats(b), nil
}
