package dataset

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	labelsCSV = "labels.csv"
	maxCSV    = 8 << 20 // bytes; a reader of CSV may hold all of it as one field
)

// readLabelsFile is readLabelsCSV of a file.
func readLabelsFile(file, want string, n int, find func(string) (int, bool)) ([]int, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, pathError(file, "a file that can be read", err)
	}
	defer f.Close()
	return readLabelsCSV(file, f, want, n, find)
}

// readLabelsCSV reads the labels of n images from name,label lines. find returns
// the index of an image, −1 for one that does not matter, or false for a name that
// is not what is wanted.
func readLabelsCSV(file string, r io.Reader, want string, n int, find func(string) (int, bool)) ([]int, error) {
	const absent = Unknown - 1
	labels := make([]int, n)
	for i := range labels {
		labels[i] = absent
	}
	limited := &io.LimitedReader{R: r, N: maxCSV + 1}
	in := bufio.NewReader(limited)
	if head, _ := in.Peek(3); string(head) == "\ufeff" { // spreadsheets start with it
		_, _ = in.Discard(3)
	}
	c := csv.NewReader(in)
	c.FieldsPerRecord = 2
	c.TrimLeadingSpace = true
	c.ReuseRecord = true
	for first := true; ; first = false {
		rec, err := c.Read()
		if limited.N == 0 { // before what a cut line may be taken for
			return nil, &Error{File: file, Field: "size", Want: fmt.Sprintf("at most %d bytes", maxCSV), Got: "more"}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, &Error{File: file, Field: "text", Want: "lines of name,label", Got: err.Error(), Err: err}
		}
		name, text := filepath.ToSlash(rec[0]), strings.TrimSpace(rec[1])
		if first && (name == "name" || name == "index") && text == "label" {
			continue
		}
		line, _ := c.FieldPos(0)
		field := fmt.Sprintf("line %d", line)
		i, ok := find(name)
		if !ok {
			return nil, &Error{File: file, Field: field, Want: want, Got: quote(name)}
		}
		y := Unknown
		if text != "" {
			if y, err = strconv.Atoi(text); err != nil || y < Unknown || y >= MaxClasses {
				return nil, &Error{File: file, Field: field, Want: fmt.Sprintf("a label, -1 to %d", MaxClasses-1), Got: quote(text)}
			}
		}
		if i < 0 {
			continue
		}
		if labels[i] != absent {
			return nil, &Error{File: file, Field: field, Want: "each name once", Got: quote(name) + " again"}
		}
		labels[i] = y
	}
	for i, y := range labels {
		if y == absent {
			labels[i] = Unknown
		}
	}
	return labels, nil
}
