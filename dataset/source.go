package dataset

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

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

// readRest reads exactly n bytes from r and makes sure that r then ends, which
// also makes gzip and zip compare their checksums. The buffer grows with what
// is really there, so a false n costs nothing.
func readRest(file, field string, r io.Reader, n int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, n+1))
	got := int64(len(b))
	if err == nil && got > n {
		return nil, &Error{File: file, Field: field, Want: fmt.Sprintf("%d bytes and then the end", n), Got: "trailing bytes"}
	}
	if err != nil || got < n {
		return nil, short(file, field, n, got, err)
	}
	return b, nil
}

// short reports that only got of want bytes could be read before err.
func short(file, field string, want, got int64, err error) error {
	e := &Error{File: file, Field: field, Want: fmt.Sprintf("%d bytes", want), Got: fmt.Sprintf("%d bytes", got), Err: err}
	if err == nil {
		e.Err = io.ErrUnexpectedEOF
	} else if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		e.Got += ", then " + err.Error()
	}
	return e
}
