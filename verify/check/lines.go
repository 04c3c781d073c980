package check

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Lines reads a file of certificates line by line, in bounded memory.
type Lines struct {
	r *bufio.Reader

	Number int   // of the line last read, from 1
	Offset int64 // after that line, in bytes
}

// Errors of Next about one line; the next call goes on after it.
var (
	ErrTorn = errors.New("the line has no end: its writer was killed, or is not done")
	ErrLong = fmt.Errorf("the line has more than %d bytes", MaxLine)
)

// NewLines returns a reader of r's lines.
func NewLines(r io.Reader) *Lines {
	size := 1 << 16
	if b, ok := r.(interface{ Len() int }); ok { // in memory, and maybe short
		size = min(size, b.Len())
	}
	return &Lines{r: bufio.NewReaderSize(r, size)}
}

// Next returns the next line without its newline. It returns io.EOF after the
// last, ErrTorn and what there is for a last line without newline, ErrLong for a
// line too long to be read, or the error of the file.
func (l *Lines) Next() ([]byte, error) {
	var line []byte
	size := int64(0)
	for {
		part, err := l.r.ReadSlice('\n')
		size += int64(len(part))
		if size <= MaxLine+1 {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && size == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		}
		l.Number++
		l.Offset += size
		switch {
		case err != nil:
			return line, ErrTorn
		case size > MaxLine+1:
			return nil, ErrLong
		}
		return line[:len(line)-1], nil
	}
}

// Begins reports whether a line, or what there is of it, starts like one of a writer
// of certificates. One that does not may still be valid.
func Begins(line []byte) bool {
	const head = `{"format":"` + Format + `"`
	return bytes.HasPrefix(line, []byte(head))
}
