package jobs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strconv"

	"github.com/epsball/epsball/internal/journal"
)

const (
	shardFormat  = "epsball-shard"
	shardVersion = 1

	results = "results"

	maxHeader = 1 << 13 // bytes of a header
)

// header is the first line of a shard's result. The records of its images follow, in the
// order of the images.
type header struct {
	Format  string  `json:"format"`
	Version int     `json:"version"`
	Job     string  `json:"job"` // sum of the manifest
	Program string  `json:"program"`
	Shard   int     `json:"shard"`
	First   int     `json:"first"`
	N       int     `json:"n"`
	Bytes   int64   `json:"bytes"`   // of the records
	Records string  `json:"records"` // their SHA-256
	Seconds float64 `json:"seconds"` // that they took the process that published them
}

// resultName is the name of a shard's result.
func resultName(i int) string { return fmt.Sprintf("%s/%07d.jsonl", results, i) }

var resultText = regexp.MustCompile(`^` + results + `/([0-9]{7})\.jsonl$`)

// shardOf returns the shard whose result has a name; −1: it is no result of the job.
func (m *Manifest) shardOf(name string) int {
	t := resultText.FindStringSubmatch(name)
	if t == nil {
		return -1
	}
	i, err := strconv.Atoi(t[1])
	if err != nil || i >= m.Shards() {
		return -1
	}
	return i
}

// check compares the header of a result with the job.
func (h *header) check(m *Manifest, i int) error {
	r := m.Range(i)
	switch {
	case h.Format != shardFormat || h.Version != shardVersion:
		return fmt.Errorf("format: got %.40q %d, want %q %d", h.Format, h.Version, shardFormat, shardVersion)
	case h.Program != m.Program:
		return fmt.Errorf("program: got %.80q, but the job was planned with %q: a job wants one version throughout", h.Program, m.Program)
	case h.Job != m.Sum:
		return fmt.Errorf("job: got %.12q…, but the manifest is %.12q…: the result is of another job", h.Job, m.Sum)
	case h.Shard != i || h.First != r.First || h.N != r.N:
		return fmt.Errorf("shard: got %d, images %d … %d, want %d, images %d … %d", h.Shard, h.First, h.First+h.N-1, i, r.First, r.First+r.N-1)
	case h.Bytes < 0:
		return fmt.Errorf("bytes: got %d, want at least 0", h.Bytes)
	}
	return nil
}

// result is a shard's result that is being read.
type result struct {
	header
	name string
	r    *bufio.Reader
	c    io.Closer
}

// open opens the result of shard i and checks its header. There being none is an error that
// wraps fs.ErrNotExist.
func (m *Manifest) open(ctx context.Context, s Store, i int) (*result, error) {
	name := resultName(i)
	f, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	res := &result{name: s.String() + "/" + name, r: bufio.NewReaderSize(f, maxHeader), c: f}
	line, err := res.r.ReadSlice('\n')
	if err == nil {
		err = journal.Unseal(line[:len(line)-1], &res.header)
	} else if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
		err = errors.New("header: want a line of JSON at the beginning")
	}
	if err == nil {
		err = res.check(m, i)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", res.name, err), f.Close())
	}
	return res, nil
}

// records returns a reader of the records, which fails at the end if they are not those that
// were written.
func (res *result) records() io.Reader {
	return &sealed{r: res.r, left: res.Bytes, want: res.Records, sum: sha256.New()}
}

// sealed reads so many bytes and compares their SHA-256.
type sealed struct {
	r    io.Reader
	left int64
	want string
	sum  hash.Hash
}

func (s *sealed) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if s.left == 0 {
		if n, err := s.r.Read(b[:1]); n > 0 || !errors.Is(err, io.EOF) {
			return 0, errors.New("bytes: there are more than the header says")
		}
		if got := hex.EncodeToString(s.sum.Sum(nil)); got != s.want {
			return 0, errors.New("records: they are not what was written: their SHA-256 is another")
		}
		return 0, io.EOF
	}
	n, err := s.r.Read(b[:min(int64(len(b)), s.left)])
	_, _ = s.sum.Write(b[:n]) // a hash takes everything
	s.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && s.left > 0:
		return n, fmt.Errorf("bytes: %d are missing", s.left)
	case errors.Is(err, io.EOF):
		return n, nil
	}
	return n, err
}
