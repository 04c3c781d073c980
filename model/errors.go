package model

import (
	"errors"
	"fmt"
)

// FormatError says that an architecture, a model or a model file is not valid:
// where (File, Field) and what was got and expected (Msg). Every error of this
// package is one, except those of the file system, which are wrapped as they
// are.
type FormatError struct {
	File  string // the name given to Load or Decode; empty for a model in memory
	Field string // such as "layers[2].kernel", "layers.2.weight[17]" or "header"
	Msg   string // what was got and what was expected
}

// Error returns "model: FILE: FIELD: MSG", less the parts that are empty.
func (e *FormatError) Error() string {
	s := "model: "
	if e.File != "" {
		s += e.File + ": "
	}
	if e.Field != "" {
		s += e.Field + ": "
	}
	return s + e.Msg
}

// fieldErr is smaller to call than to inline where a file is found to be wrong.
//
//go:noinline
func fieldErr(field, format string, args ...any) error {
	return &FormatError{Field: field, Msg: fmt.Sprintf(format, args...)}
}

func layerErr(i int, field, format string, args ...any) error {
	return fieldErr(fmt.Sprintf("layers[%d].%s", i, field), format, args...)
}

// inFile returns err with the file's name filled in.
func inFile(err error, file string) error {
	var fe *FormatError
	if !errors.As(err, &fe) {
		return err
	}
	c := *fe
	c.File = file
	return &c
}

// quote shows untrusted text in an error, shortened.
func quote(s string) string {
	const longest = 80
	if len(s) > longest {
		return fmt.Sprintf("%q… (%d bytes)", s[:longest], len(s))
	}
	return fmt.Sprintf("%q", s)
}
