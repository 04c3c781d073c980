//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/epsball/epsball/model"
)

var (
	errHandle   = errors.New("model: NULL or closed, want what epsball_load gave")
	errBroken   = errors.New("internal error: the model met one in an earlier call; close it")
	errNoFolder = errors.New("the model is in memory, without its folder: load it by its path")
	errTooLarge = errors.New("images: too many for this machine")
)

// unsupportedError is what this build or machine does not have.
type unsupportedError struct{ error }

// internalError is a panic.
type internalError struct {
	value any
	stack []byte
}

func (e *internalError) Error() string {
	return fmt.Sprintf("internal error, please report it: %v\n%s", e.value, e.stack)
}

// codeOf returns the code of an error. Those that the core does not type speak of
// arguments.
func codeOf(err error) int {
	if err == nil {
		return codeOK
	}
	var (
		format      *model.FormatError
		path        *fs.PathError
		unsupported unsupportedError
		internal    *internalError
	)
	switch {
	case errors.As(err, &internal), errors.Is(err, errBroken):
		return codeInternal
	case errors.Is(err, errHandle):
		return codeHandle
	case errors.Is(err, context.DeadlineExceeded):
		return codeTimeout
	case errors.Is(err, context.Canceled):
		return codeCancelled
	case errors.As(err, &unsupported):
		return codeUnsupported
	case errors.As(err, &format):
		return codeModel
	case errors.As(err, &path):
		return codeFile
	}
	return codeArgument
}

// put writes the message of err, or an empty one, into dst: valid UTF-8, ended by the
// one NUL.
func put(dst []byte, err error) {
	if len(dst) == 0 {
		return
	}
	n := 0
	if err != nil {
		text := strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "?"), "\x00", "?")
		n = min(len(text), len(dst)-1)
		for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		copy(dst, text[:n])
	}
	dst[n] = 0
}
