package train

import (
	"errors"
	"fmt"
)

// Error says what is wrong with a configuration, with data, or with a
// checkpoint: bad input, not a bug.
type Error struct {
	File  string // the checkpoint; empty for other errors
	Field string // such as "epochs", "data" or "header.step"
	Got   string
	Want  string
	Err   error // the cause underneath, if any
}

// Error returns "train: FILE: FIELD: got …, want …", less the parts that are
// empty.
func (e *Error) Error() string {
	s := "train: "
	if e.File != "" {
		s += e.File + ": "
	}
	s += e.Field + ": got " + e.Got
	if e.Want != "" {
		s += ", want " + e.Want
	}
	return s
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

func fieldErr(field string, got any, want string, args ...any) error {
	return &Error{Field: field, Got: fmt.Sprint(got), Want: fmt.Sprintf(want, args...)}
}

// inFile returns err with the checkpoint's name filled in.
func inFile(err error, file string) error {
	var te *Error
	if !errors.As(err, &te) {
		return err
	}
	c := *te
	c.File = file
	return &c
}

// ErrDiverged is the cause of the error that Run returns when a loss or a
// weight is no longer finite.
var ErrDiverged = errors.New("training diverged: try a lower learning rate")
