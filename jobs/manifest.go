package jobs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/check"
)

// What a manifest says of itself, and its limits.
const (
	manifestFormat  = "epsball-shards"
	manifestVersion = 1

	// MaxShards is the largest number of shards of a job.
	MaxShards = 1_000_000

	maxManifest = 64 << 20 // bytes
	maxImages   = 1 << 30  // with those before the first
	maxText     = 4096     // bytes of a name
)

// ManifestName is the manifest's name in the Store.
const ManifestName = "manifest.json"

// Model is the network of a job.
type Model struct {
	Spec string `json:"spec"` // as it was named: builtin:NAME or a file
	Hash string `json:"hash"` // model.Model.Hash
}

// Data are the images of a job.
type Data struct {
	Spec     string `json:"spec"`     // as the data set was named
	Channels string `json:"channels"` // dataset.ChannelOrder
	Offset   int    `json:"offset"`   // index of the first image
	N        int    `json:"n"`
}

// Manifest says what a job does, and how it is divided. It is immutable.
type Manifest struct {
	Program string // version of the program that every shard must be done with
	Task    Task
	Model   Model
	Data    Data
	Size    int // images of a shard; the last has what is left

	// Pieces has, for each shard, 16 hexadecimal digits of the SHA-256 of its images and
	// labels.
	Pieces []string

	// Sum is the seal of the manifest's line, which every result names.
	Sum string
}

// manifestLine is the manifest in the order of its keys.
type manifestLine struct {
	Format      string          `json:"format"`
	Version     int             `json:"version"`
	Certificate int             `json:"certificate"` // newest version of certificates that the program knows
	Program     string          `json:"program"`
	Kind        string          `json:"kind"`
	Task        json.RawMessage `json:"task"`
	Model       Model           `json:"model"`
	Data        Data            `json:"data"`
	Size        int             `json:"size"`
	Pieces      []string        `json:"pieces"`
}

// Range is the images of a shard, by index in the data set.
type Range struct{ First, N int }

// Images returns the images from … to−1 of a job, channels first, and their labels. They are
// valid until the next call.
type Images func(from, to int) (x []float32, y []int, err error)

// NewManifest returns the manifest of a task on data.N images, size of them a shard. It looks
// at those of one shard after the other.
func NewManifest(program string, task Task, model Model, data Data, size int, images Images) (*Manifest, error) {
	m := &Manifest{Program: program, Task: task, Model: model, Data: data, Size: size}
	if data.N < 1 {
		return nil, fmt.Errorf("images: got %d, want at least one", data.N)
	}
	if size < 1 || (data.N-1)/size >= MaxShards {
		return nil, fmt.Errorf("size: got %d images a shard, want at least %d: at most %d shards", size, (data.N-1)/MaxShards+1, MaxShards)
	}
	for from := 0; from < data.N; from += size {
		to := min(data.N, from+size)
		x, y, err := images(from, to)
		if err != nil {
			return nil, err
		}
		if len(y) != to-from || len(x)%len(y) != 0 {
			return nil, fmt.Errorf("images: %d numbers and %d labels, want %d whole images", len(x), len(y), to-from)
		}
		m.Pieces = append(m.Pieces, Piece(x, y))
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	_, err := m.Encode()
	return m, err
}

// Piece is the entry of Manifest.Pieces for a shard's images, channels first, and labels.
func Piece(x []float32, y []int) string {
	h := sha256.New()
	b := make([]byte, 0, 1<<12)
	flush := func() { _, _ = h.Write(b); b = b[:0] } // a hash takes everything
	for _, v := range x {
		if b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v)); len(b)+8 > cap(b) {
			flush()
		}
	}
	for _, v := range y {
		if b = binary.LittleEndian.AppendUint64(b, uint64(v)); len(b)+8 > cap(b) {
			flush()
		}
	}
	flush()
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Encode returns the manifest's line and sets Sum.
func (m *Manifest) Encode() ([]byte, error) {
	task, err := json.Marshal(m.Task)
	if err != nil {
		return nil, err
	}
	line, err := journal.Seal(nil, manifestLine{
		Format: manifestFormat, Version: manifestVersion, Certificate: check.Trees, Program: m.Program, Kind: m.Task.Kind(), Task: task,
		Model: m.Model, Data: m.Data, Size: m.Size, Pieces: m.Pieces,
	})
	if err != nil {
		return nil, err
	}
	m.Sum = journal.Sum(line)
	return line, nil
}

// DecodeManifest reads a manifest that Encode has written. Everything in it is checked
// but that the model and the data are those it names. An error names the field.
func DecodeManifest(r io.Reader) (*Manifest, error) {
	line, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	switch {
	case err != nil:
		return nil, err
	case len(line) > maxManifest:
		return nil, fmt.Errorf("more than %d bytes, want a manifest that shard plan has written", maxManifest)
	case !bytes.HasPrefix(line, []byte(`{"format":"`+manifestFormat+`"`)):
		return nil, fmt.Errorf(`format: want a line that begins with {"format":"%s", as shard plan writes it`, manifestFormat)
	case bytes.IndexByte(line, '\n') != len(line)-1:
		return nil, errors.New("want one line with a newline: the file is torn, or something was added")
	}
	var version int // where Encode writes it; a whole manifest of another version need not decode
	if _, err := fmt.Sscanf(string(line[:min(len(line), 64)]), `{"format":"`+manifestFormat+`","version":%d,`, &version); err == nil && version != manifestVersion {
		return nil, fmt.Errorf("version: got %d, want %d: the manifest is of another version of epsball", version, manifestVersion)
	}
	var l manifestLine
	if err := journal.Unseal(line[:len(line)-1], &l); err != nil {
		return nil, err
	}
	if l.Version != manifestVersion {
		return nil, fmt.Errorf("version: got %d, want %d", l.Version, manifestVersion)
	}
	if l.Certificate != check.Trees {
		return nil, fmt.Errorf("certificate: got version %d, but this program writes version %d", l.Certificate, check.Trees)
	}
	task, err := decodeTask(l.Kind, l.Task)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Program: l.Program, Task: task, Model: l.Model, Data: l.Data, Size: l.Size, Pieces: l.Pieces, Sum: journal.Sum(line)}
	return m, m.check()
}

var hashText = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check looks at the fields.
func (m *Manifest) check() error {
	for _, f := range []struct{ name, text string }{{"program", m.Program}, {"model: spec", m.Model.Spec}, {"data: spec", m.Data.Spec}} {
		if f.text == "" || len(f.text) > maxText || strings.ContainsRune(f.text, 0) {
			return fmt.Errorf("%s: got %.80q, want a name", f.name, f.text)
		}
	}
	switch d := m.Data; {
	case !hashText.MatchString(m.Model.Hash):
		return fmt.Errorf("model: hash: got %.80q, want 64 hexadecimal digits", m.Model.Hash)
	case d.N < 1 || d.N > maxImages:
		return fmt.Errorf("data: n: got %d, want at least 1", d.N)
	case d.Offset < 0 || d.Offset > maxImages-d.N:
		return fmt.Errorf("data: offset: got %d, want at least 0 and less than 2³⁰", d.Offset)
	case m.Size < 1:
		return fmt.Errorf("size: got %d, want at least 1 image a shard", m.Size)
	case len(m.Pieces) > MaxShards || len(m.Pieces) != (d.N-1)/m.Size+1:
		return fmt.Errorf("pieces: got %d, want %d: one for each shard of %d of %d images, and at most %d", len(m.Pieces), (d.N-1)/m.Size+1, m.Size, d.N, MaxShards)
	}
	for i, p := range m.Pieces {
		if len(p) != 16 || strings.Trim(p, "0123456789abcdef") != "" {
			return fmt.Errorf("pieces: shard %d: got %.80q, want 16 hexadecimal digits", i, p)
		}
	}
	if err := m.Task.Validate(); err != nil {
		return fmt.Errorf("task: %w", err)
	}
	return nil
}

// Shards is the number of shards.
func (m *Manifest) Shards() int { return len(m.Pieces) }

// Range returns the images of shard i, 0 ≤ i < Shards.
func (m *Manifest) Range(i int) Range {
	from := i * m.Size
	return Range{First: m.Data.Offset + from, N: min(m.Size, m.Data.N-from)}
}

// FitsProgram checks that a program is the job's.
func (m *Manifest) FitsProgram(program string) error {
	if program != m.Program {
		return fmt.Errorf("program: the job was planned with epsball %s, but this is %s: a job wants one version throughout", m.Program, program)
	}
	return nil
}

// FitsModel checks that a model, as it is named here, is the job's, by its hash.
func (m *Manifest) FitsModel(spec, hash string) error {
	if hash != m.Model.Hash {
		return fmt.Errorf("model %s: hash: got %.12s…, but the job was planned with %s, %.12s…", spec, hash, m.Model.Spec, m.Model.Hash)
	}
	return nil
}

// FitsData checks that images, channels first, and labels are those of shard i.
func (m *Manifest) FitsData(i int, x []float32, y []int) error {
	if got := Piece(x, y); got != m.Pieces[i] {
		r := m.Range(i)
		return fmt.Errorf("data: the images %d … %d of %s, or their labels, are not those that the job was planned with: hash %s, want %s",
			r.First, r.First+r.N-1, m.Data.Spec, got, m.Pieces[i])
	}
	return nil
}
