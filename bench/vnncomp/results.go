package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
)

// result is what became of an instance.
type result struct {
	folder, network, property string
	limit                     float64 // seconds
	threads                   int
	verdict                   string  // unsat, sat, unknown, timeout or error
	seconds                   float64 // from start to end of the process
	replay                    string  // of a witness: valid, "tolerance: …" or "invalid: …"; of unsat: "proof: …" or "unproved: …"; "": not replayed
	detail                    string
}

var resultHead = []string{"folder", "onnx", "vnnlib", "limit_s", "threads", "verdict", "seconds", "replay", "detail"}

func (r *result) row() []string {
	return []string{
		r.folder, r.network, r.property, strconv.FormatFloat(r.limit, 'g', -1, 64), strconv.Itoa(r.threads),
		r.verdict, strconv.FormatFloat(r.seconds, 'f', 3, 64), r.replay, r.detail,
	}
}

func (r *result) parse(row []string) (err error) {
	var errs [3]error
	r.folder, r.network, r.property, r.verdict, r.replay, r.detail = row[0], row[1], row[2], row[5], row[7], row[8]
	r.limit, errs[0] = strconv.ParseFloat(row[3], 64)
	r.threads, errs[1] = strconv.Atoi(row[4])
	r.seconds, errs[2] = strconv.ParseFloat(row[6], 64)
	return errors.Join(errs[:]...)
}

// results is the file of -out: every line is written and synced as its instance is done, so
// that a killed run can go on.
type results struct {
	file *os.File // nil: none is kept
	old  []*result
}

// openResults opens the file of -out; with resume it may be there.
func openResults(path string, resume bool) (*results, error) {
	s := &results{}
	if path == "" {
		return s, nil
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("-out: %w", err)
	case !resume:
		return nil, fmt.Errorf("-out: %s exists; go on with it by -resume, or name another file", path)
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1] // what a kill cut short is done again
	if err := s.read(whole); err != nil {
		return nil, fmt.Errorf("-out: %s: %w", path, err)
	}
	if s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, fmt.Errorf("-out: %w", err)
	}
	if err = s.file.Truncate(int64(len(whole))); err == nil {
		_, err = s.file.Seek(0, io.SeekEnd)
	}
	if err == nil && len(whole) == 0 {
		err = s.write(resultHead)
	}
	return s, err
}

func (s *results) read(data []byte) error {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = len(resultHead)
	rows, err := r.ReadAll()
	if err != nil {
		return err
	}
	for i, row := range rows {
		if i == 0 {
			if !slices.Equal(row, resultHead) {
				return fmt.Errorf("got columns %v, want %v", row, resultHead)
			}
			continue
		}
		one := &result{}
		if err := one.parse(row); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		s.old = append(s.old, one)
	}
	return nil
}

// find returns the last result of an instance that is there, or nil. One with other limits
// or threads is an error: the two do not belong in one table.
func (s *results) find(want *result) (*result, error) {
	for _, r := range slices.Backward(s.old) {
		if r.folder != want.folder || r.network != want.network || r.property != want.property {
			continue
		}
		if r.limit != want.limit || r.threads != want.threads {
			return nil, fmt.Errorf("-resume: %s was run for %v s on %d threads, want the same, not %v s on %d", r.property, r.limit, r.threads, want.limit, want.threads)
		}
		return r, nil
	}
	return nil, nil
}

func (s *results) add(r *result) error {
	if s.file == nil {
		return nil
	}
	return s.write(r.row())
}

func (s *results) write(row []string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(row); err != nil {
		return err
	}
	w.Flush()
	if _, err := s.file.Write(b.Bytes()); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	return s.file.Sync()
}

func (s *results) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
