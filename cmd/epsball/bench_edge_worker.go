package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball"
)

// edgeWorker is the hidden command that bench --edge runs in fresh processes.
const edgeWorker = "edge-worker"

// edgeRequest is a line to a worker; those of other runtimes (bench/peers/edge)
// read the same.
type edgeRequest struct {
	Op string `json:"op"` // open, then run

	// open loads a model and answers all images, the first one first.
	Model   string `json:"model,omitempty"`
	Images  string `json:"images,omitempty"` // file of little-endian float32, channels first
	Shape   [3]int `json:"shape"`
	Threads int    `json:"threads,omitempty"`
	ISA     string `json:"isa,omitempty"`
	Map     bool   `json:"map,omitempty"` // ours alone: weights stay in the file

	// run answers the first image, Warm times and then Calls times timed.
	Warm  int `json:"warm"`
	Calls int `json:"calls,omitempty"`
}

// edgeReply is a line from a worker. The first line, before any request, has
// the memory of the process by then.
type edgeReply struct {
	RSS    int64 `json:"rss"`     // resident bytes after the first answer; 0: unknown
	MaxRSS int64 `json:"max_rss"` // the most until then

	Values       []byte  `json:"values,omitempty"`   // little-endian float32 logits of all images
	Import       float64 `json:"import_s,omitempty"` // seconds that loading the runtime took
	Load         float64 `json:"load_s,omitempty"`   // seconds that loading the model took
	First        float64 `json:"first_s,omitempty"`  // seconds to the first answer from then
	Version      string  `json:"version,omitempty"`
	LibraryBytes int64   `json:"library_bytes,omitempty"` // of the runtime on disk
	WeightBytes  int64   `json:"weight_bytes,omitempty"`

	NS         []int64 `json:"ns,omitempty"` // nanoseconds of each call
	Mallocs    int64   `json:"mallocs"`      // during these calls, by the whole process
	Goroutines int     `json:"goroutines"`   // more than before the model was loaded

	Absent string `json:"absent,omitempty"` // why the runtime cannot be had
	Error  string `json:"error,omitempty"`
}

func (a *app) edgeWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: edgeWorker, Hidden: true, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serveEdge(c.InOrStdin(), a.stdout) },
	}
}

// serveEdge answers requests until r ends.
func serveEdge(r io.Reader, w io.Writer) error {
	in, out := json.NewDecoder(r), json.NewEncoder(w)
	s := edgeServer{before: runtime.NumGoroutine()}
	defer s.close()
	first := edgeReply{Version: version()}
	first.RSS, first.MaxRSS = residentBytes()
	for reply := &first; ; {
		if err := out.Encode(reply); err != nil {
			return err
		}
		var q edgeRequest
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", edgeWorker, err)
		}
		var err error
		if reply, err = s.answer(&q); err != nil {
			reply = &edgeReply{Error: err.Error()}
		}
	}
}

// edgeServer holds the open model.
type edgeServer struct {
	before int // goroutines
	model  *epsball.Model
	x      epsball.Batch // the first image
	p      epsball.Prediction
}

func (s *edgeServer) close() {
	if s.model != nil {
		s.model.Close()
	}
}

func (s *edgeServer) answer(q *edgeRequest) (*edgeReply, error) {
	switch {
	case q.Op == "open" && s.model == nil:
		return s.open(q)
	case q.Op == "run" && s.model != nil && q.Calls > 0:
		return s.run(q)
	}
	return nil, fmt.Errorf("%s: got op %q, want open once, then run", edgeWorker, q.Op)
}

// open does what an embedding program does, and nothing before its first answer.
func (s *edgeServer) open(q *edgeRequest) (*edgeReply, error) {
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
	r := &edgeReply{Load: loaded.Sub(start).Seconds(), First: time.Since(loaded).Seconds(), WeightBytes: int64(s.model.Bytes())}
	r.RSS, r.MaxRSS = residentBytes()
	r.Values = appendFloats(nil, s.p.Logits)
	for i := size; i < len(x); i += size {
		if err := s.model.ClassifyInto(context.Background(), epsball.Batch{X: x[i : i+size]}, &s.p); err != nil {
			return nil, err
		}
		r.Values = appendFloats(r.Values, s.p.Logits)
	}
	r.Version = version()
	if path, err := os.Executable(); err == nil {
		if info, err := os.Stat(path); err == nil {
			r.LibraryBytes = info.Size()
		}
	}
	return r, nil
}

func (s *edgeServer) run(q *edgeRequest) (*edgeReply, error) {
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
	return &edgeReply{
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
	return floatsOf(b), nil
}

func floatsOf(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func appendFloats(b []byte, v []float32) []byte {
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}
