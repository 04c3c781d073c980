package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	cifarClasses = 10
	cifarPixels  = 3 * 32 * 32
	cifarRecord  = 1 + cifarPixels // label, then the red, green and blue planes

	// maxStreamed bounds what is kept of a stream that cannot be read twice. It is
	// six times the size of the official batches.
	maxStreamed = 1 << 16 * cifarRecord
)

// ReadCIFAR10 reads one CIFAR-10 binary batch, plain or gzip: records of one
// label byte in 0…9 and 3×32×32 pixel bytes, giving an unnamed set with C = 3
// and Classes = 10. Errors are *Error under the name file; a part of a record
// at the end is one, as is no record at all. The format does not say how many
// records there are, so r is read twice from where it stands if it is an
// io.Seeker; otherwise more than 65,536 records are an error.
func ReadCIFAR10(file string, r io.Reader) (*Set, error) {
	b := cifarBatch{file: file, open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
	if at, ok := r.(io.Seeker); ok {
		start, err := at.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, short(file, "record 0", cifarRecord, 0, err)
		}
		b.open = func() (io.ReadCloser, error) {
			_, err := at.Seek(start, io.SeekStart)
			return io.NopCloser(r), err
		}
	} else {
		kept, err := keep(file, r)
		if err != nil {
			return nil, err
		}
		b.open = func() (io.ReadCloser, error) { return io.NopCloser(kept()), nil }
	}
	return readCIFAR([]cifarBatch{b}, &Options{})
}

// keep reads all of r, without a larger copy on the way, and returns a function
// that reads it anew.
func keep(file string, r io.Reader) (func() io.Reader, error) {
	const part = 1 << 20
	var parts [][]byte
	for {
		b := make([]byte, part)
		n, err := io.ReadFull(r, b)
		parts = append(parts, b[:n])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return func() io.Reader {
				readers := make([]io.Reader, len(parts))
				for i, p := range parts {
					readers[i] = bytes.NewReader(p)
				}
				return io.MultiReader(readers...)
			}, nil
		case err != nil:
			return nil, short(file, "data", part, int64(n), err)
		case len(parts)*part > maxStreamed:
			return nil, &Error{File: file, Field: "size", Want: fmt.Sprintf("at most %d bytes where it can be read but once", maxStreamed), Got: "more"}
		}
	}
}

// cifarBatch is one file, which open opens from its start.
type cifarBatch struct {
	file    string
	open    func() (io.ReadCloser, error)
	records int64
}

// read calls use with the unpacked records.
func (b *cifarBatch) read(use func(io.Reader) error) error {
	f, err := b.open()
	if err != nil {
		return pathError(b.file, "a file that can be read", err)
	}
	defer f.Close()
	r, err := gunzip(b.file, f)
	if err != nil {
		return err
	}
	return use(r)
}

// count finds the number of records, up to most, by unpacking them: that of a
// plain file would follow from its size, but a pass over it is cheap.
func (b *cifarBatch) count(most int64) error {
	return b.read(func(r io.Reader) error {
		n, err := io.CopyN(io.Discard, r, most*cifarRecord)
		b.records = n / cifarRecord
		if rest := n % cifarRecord; err != nil && (!errors.Is(err, io.EOF) || rest > 0 || n == 0) {
			return short(b.file, fmt.Sprintf("record %d", b.records), cifarRecord, rest, err)
		}
		return nil
	})
}

// readCIFAR reads the records of batches, one batch after the other.
func readCIFAR(batches []cifarBatch, o *Options) (*Set, error) {
	s := &Set{C: 3, H: 32, W: 32, Classes: cifarClasses}
	most := int64(o.Offset) + int64(o.N) // records that matter
	if o.N == 0 {
		most = int64(o.Offset) + maxPixels/cifarPixels + 1 // which is refused
	}
	total := int64(0)
	for i := range batches {
		if total < most {
			if err := batches[i].count(most - total); err != nil {
				return nil, err
			}
		}
		total += batches[i].records
	}
	lo, hi, err := o.plan(batches[0].file, total, s.Shape())
	if err != nil {
		return nil, err
	}
	s.X, s.Y = make([]float32, 0, (hi-lo)*cifarPixels), make([]int, 0, hi-lo)
	for first, i := 0, 0; i < len(batches) && first < hi; i++ {
		b := &batches[i]
		n := int(b.records)
		if err := s.appendCIFAR(b, max(lo-first, 0), min(hi-first, n)); err != nil {
			return nil, err
		}
		first += n
	}
	return s, nil
}

// appendCIFAR adds records lo to hi−1 of a batch, if there are any.
func (s *Set) appendCIFAR(b *cifarBatch, lo, hi int) error {
	if lo >= hi {
		return nil
	}
	return b.read(func(r io.Reader) error {
		if err := skip(b.file, "data", r, int64(lo)*cifarRecord); err != nil {
			return err
		}
		var rec [cifarRecord]byte
		for i := lo; i < hi; i++ {
			if err := readHead(b.file, fmt.Sprintf("record %d", i), r, rec[:]); err != nil {
				return err
			}
			if rec[0] >= cifarClasses {
				return badLabel(b.file, i, float64(rec[0]), cifarClasses)
			}
			s.Y = append(s.Y, int(rec[0]))
			s.X = appendScaled(s.X, rec[1:])
		}
		return nil
	})
}
