// Package worker is a process that classifies single images for package bench, as
// an embedding program would, and the pipe to it. Process starts one and asks;
// Serve is its main loop. The processes of other runtimes (bench/peers/edge) read
// and write the same lines of JSON.
package worker

import (
	"encoding/binary"
	"math"
)

// Request is a line to a worker.
type Request struct {
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

// Reply is a line from a worker. The first line, before any request, has the
// memory of the process by then.
type Reply struct {
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

// Floats reads little-endian float32.
func Floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// AppendFloats appends v as little-endian float32.
func AppendFloats(b []byte, v []float32) []byte {
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}
