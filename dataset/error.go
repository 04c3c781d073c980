package dataset

import (
	"errors"
	"fmt"
	"io/fs"
)

// Error says what is wrong with a data file or with the name of one: bad input
// from the user, never a bug. Every error of this package that concerns what is
// read is an *Error, so errors.As tells such errors from all others.
type Error struct {
	File  string // path, or archive path and member as "a.npz(x.npy)"
	Field string // the part of the file at fault
	Want  string // what was expected there
	Got   string // what was found
	Err   error  // the cause underneath, if any (fs.ErrNotExist, gzip.ErrChecksum …)
}

// Error returns one line naming the file, the field, what was found and what
// was expected.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: got %s, want %s", e.File, e.Field, e.Got, e.Want)
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// quote shows text from a file or a user on one line and not at any length.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// pathError wraps what the operating system said about opening or listing file.
func pathError(file, want string, err error) error {
	got := err
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		got = pe.Err // without the path, which File already names
	}
	return &Error{File: file, Field: "path", Want: want, Got: got.Error(), Err: err}
}
