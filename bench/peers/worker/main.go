// Command worker runs one pass of epsball at a time for bench/peers/compare.py.
//
// It reads requests from standard input and answers each with one line on
// standard output, JSON both ways:
//
//	{"op":"info"}                              kernel set, its FMA peak on one core, Go's version
//	{"op":"random","preset":P,"seed":1,"model":FILE}   writes a model with random weights
//	{"op":"open","pass":P,"model":FILE,"data":FILE,"threads":2, …}   prepares a pass, runs it once
//	{"op":"run","calls":10}                    runs it again; replies with the seconds it took
//
// What open replies lets the caller check that all contestants compute the
// same: see passes. A request that fails is answered by {"error":…}; the pass
// opened before is gone if it was an open. The worker ends with its input.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

type request struct {
	Op      string  `json:"op"`
	Preset  string  `json:"preset"`
	Seed    uint64  `json:"seed"`
	Model   string  `json:"model"`   // a model file
	Data    string  `json:"data"`    // .npz with x and y: the batch
	Pass    string  `json:"pass"`    // a key of passes
	Threads int     `json:"threads"` // ≥ 1
	Eps     string  `json:"eps"`     // radius of the Linf ball
	Step    float64 `json:"step"`    // step size of the attacks
	Steps   int     `json:"steps"`   // of pgd, and of alpha-crown's slopes
	LR      float64 `json:"lr"`      // learning rate of train
	Sigma   string  `json:"sigma"`   // standard deviation of the noise of smooth
	Samples int     `json:"samples"` // of smooth
	Calls   int     `json:"calls"`   // of run

	Winograd bool `json:"winograd"` // see net.Options
}

type reply struct {
	ISA    string  `json:"isa,omitempty"`
	Peak   float64 `json:"peak_gflops,omitempty"`
	Go     string  `json:"go,omitempty"`
	Values []byte  `json:"values,omitempty"` // float32, little-endian (base64 on the line)

	Winograd bool    `json:"winograd,omitempty"` // some layer of the opened net runs so
	Seconds  float64 `json:"seconds,omitempty"`  // of all calls together
	Error    string  `json:"error,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// serve answers requests until r ends.
func serve(r io.Reader, w io.Writer) error {
	in, out := json.NewDecoder(r), json.NewEncoder(w)
	var s server
	defer s.close()
	for {
		var q request
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err // the decoder cannot find the next request
		}
		a, err := s.answer(&q)
		if err != nil {
			a = reply{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

type server struct{ open *pass }

func (s *server) close() {
	if s.open != nil {
		s.open.close()
		s.open = nil
	}
}

func (s *server) answer(q *request) (reply, error) {
	switch q.Op {
	case "info":
		return info()
	case "random":
		return reply{}, writeRandom(q)
	case "open":
		s.close()
		p, err := openPass(q)
		if err != nil {
			return reply{}, err
		}
		s.open = p
		return reply{Values: floatBytes(p.first), Winograd: p.winograd}, nil
	case "run":
		if s.open == nil {
			return reply{}, errors.New("run: no pass is open")
		}
		start := time.Now()
		for range q.Calls {
			if err := s.open.run(); err != nil {
				return reply{}, err
			}
		}
		return reply{Seconds: time.Since(start).Seconds()}, nil
	default:
		return reply{}, fmt.Errorf("op %q: want info, random, open or run", q.Op)
	}
}

func info() (reply, error) {
	isa, err := kernels.Choose("")
	if err != nil {
		return reply{}, err
	}
	return reply{ISA: isa.Name(), Peak: isa.PeakGFLOPS(100 * time.Millisecond), Go: runtime.Version()}, nil
}

func writeRandom(q *request) error {
	a, err := model.Preset(q.Preset)
	if err != nil {
		return err
	}
	m, err := model.Random(a, q.Seed)
	if err != nil {
		return err
	}
	return m.Save(q.Model)
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}
