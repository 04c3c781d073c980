package dataset

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// piece is what readers hold of a file at a time, in bytes; a multiple of the
// size of any element.
const piece = 1 << 15

// gunzip returns the unpacked contents of r, whether r is gzip or plain. It goes
// by the first two bytes, not by the name: 1f 8b starts neither a valid IDX file
// nor a valid CIFAR-10 batch (31 is no label).
func gunzip(file string, r io.Reader) (io.Reader, error) {
	br := bufio.NewReader(r)
	if head, _ := br.Peek(2); len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return br, nil
	}
	z, err := gzip.NewReader(br)
	if err != nil {
		return nil, &Error{File: file, Field: "gzip header", Want: "a whole gzip header", Got: err.Error(), Err: err}
	}
	return z, nil
}

// readHead fills b from r.
func readHead(file, field string, r io.Reader, b []byte) error {
	n, err := io.ReadFull(r, b)
	if err == nil {
		return nil
	}
	return short(file, field, int64(len(b)), int64(n), err)
}

// skip passes over n bytes.
func skip(file, field string, r io.Reader, n int64) error {
	if got, err := io.CopyN(io.Discard, r, n); err != nil {
		return short(file, field, n, got, err)
	}
	return nil
}

// readPieces reads exactly n bytes in pieces of whole elements.
func readPieces(file, field string, r io.Reader, n int64, use func([]byte) error) error {
	var buf [piece]byte
	for got := int64(0); got < n; {
		b := buf[:min(piece, n-got)]
		k, err := io.ReadFull(r, b)
		if err != nil {
			return short(file, field, n, got+int64(k), err)
		}
		if err := use(b); err != nil {
			return err
		}
		got += int64(k)
	}
	return nil
}

// readEnd makes sure that r ends after n bytes, which also makes gzip and zip
// compare their checksums.
func readEnd(file, field string, r io.Reader, n int64) error {
	var b [1]byte
	switch k, err := io.ReadFull(r, b[:]); {
	case k > 0:
		return &Error{File: file, Field: field, Want: fmt.Sprintf("%d bytes and then the end", n), Got: "trailing bytes"}
	case !errors.Is(err, io.EOF):
		return short(file, field, n, n, err)
	}
	return nil
}

// room returns v with room for n elements more, of want in all. Room for all of
// them is made only once there are megabytes of them, so that a false claim costs
// little, and is then made at once, so that a true one costs no second copy.
func room[T any](v []T, n, want int) []T {
	const believed = 1 << 21 // elements
	need := len(v) + n
	if need <= cap(v) {
		return v
	}
	c := max(need, piece, 8*cap(v))
	if c > believed {
		c = max(need, want)
	}
	return append(make([]T, 0, min(c, max(need, want))), v...)
}

// short reports that only got of want bytes could be read before err.
func short(file, field string, want, got int64, err error) error {
	e := &Error{File: file, Field: field, Want: fmt.Sprintf("%d bytes", want), Got: fmt.Sprintf("%d bytes", got), Err: err}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		e.Got += ", then " + err.Error()
	}
	return e
}
