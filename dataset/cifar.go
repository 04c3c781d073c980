package dataset

import (
	"errors"
	"fmt"
	"io"
)

const (
	cifarClasses = 10
	cifarPixels  = 3 * 32 * 32
	cifarRecord  = 1 + cifarPixels // label, then the red, green and blue planes

	// maxCIFARRecords bounds one batch. The format has no header to hold a file
	// against its own claim, so this is what stops a gzip bomb; it is 13 times
	// the size of the official batches.
	maxCIFARRecords = 1 << 17
)

// ReadCIFAR10 reads one CIFAR-10 binary batch, plain or gzip: records of one
// label byte in 0…9 and 3×32×32 pixel bytes, giving an unnamed set with C = 3
// and Classes = 10. Errors are *Error under the name file; a part of a record
// at the end is one, as are no record at all and more than 131,072.
func ReadCIFAR10(file string, r io.Reader) (*Set, error) {
	s := newCIFAR()
	if err := appendCIFAR(s, file, r, maxCIFARRecords); err != nil {
		return nil, err
	}
	return s, nil
}

func newCIFAR() *Set { return &Set{C: 3, H: 32, W: 32, Classes: cifarClasses} }

// appendCIFAR adds the records of one batch to s, but no more than most.
func appendCIFAR(s *Set, file string, r io.Reader, most int) error {
	r, err := gunzip(file, r)
	if err != nil {
		return err
	}
	var rec [cifarRecord]byte
	for i := 0; ; i++ {
		n, err := io.ReadFull(r, rec[:])
		switch {
		case errors.Is(err, io.EOF) && i > 0:
			return nil
		case err != nil:
			return short(file, fmt.Sprintf("record %d", i), cifarRecord, int64(n), err)
		case i == most || len(s.X)+cifarPixels > int(maxPixels):
			return &Error{
				File: file, Field: "number of records", Got: "more",
				Want: fmt.Sprintf("at most %d in a file and %d in all", most, maxPixels/cifarPixels),
			}
		case rec[0] >= cifarClasses:
			return badLabel(file, i, int64(rec[0]), cifarClasses)
		}
		s.Y = append(s.Y, int(rec[0]))
		s.X = appendScaled(s.X, rec[1:])
	}
}
