package runlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/check"
)

// Record is where a journal says what it does of an image: a line with the keys index and
// lines, and as many lines as that says.
type Record struct {
	Index int   // of the image in the data set
	From  int64 // first byte
	Head  int64 // length of the line, with its newline
	To    int64 // after the last byte
}

// Records lists the records of a journal that is complete, in the order of the file. Each
// line must be sealed; what it says is not looked at.
func Records(r io.Reader) ([]Record, error) {
	var list []Record
	lines, left := check.NewLines(r), 0
	for {
		from := lines.Offset
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF) && left > 0:
			return nil, fmt.Errorf("line %d: %w", lines.Number, io.ErrUnexpectedEOF)
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", lines.Number, err)
		}
		if _, err := journal.Body(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.Number, err)
		}
		if left > 0 {
			left--
			list[len(list)-1].To = lines.Offset
			continue
		}
		var head struct {
			Index *int `json:"index"`
			Lines int  `json:"lines"`
		}
		if err := json.Unmarshal(line, &head); err != nil || head.Index == nil || head.Lines < 0 {
			return nil, fmt.Errorf("line %d: expected a line with the index of an image", lines.Number)
		}
		left = head.Lines
		list = append(list, Record{Index: *head.Index, From: from, Head: lines.Offset - from, To: lines.Offset})
	}
}
