package show

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp/syntax"
	"strconv"
	"strings"
	"syscall"
)

// Error is the text of an error, in one line.
func Error(err error) string { return oneLine(plain(err)) }

// plain is the text of an error without the words that Go's library puts into
// it, such as the names of its functions.
func plain(err error) string {
	s := err.Error()
	say := func(old error, text string) { s = strings.ReplaceAll(s, old.Error(), text) }
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	var program *exec.Error
	var number *strconv.NumError
	var expression *syntax.Error
	if errors.As(err, &path) {
		text := path.Path + ": " + cause(path.Err)
		s = strings.ReplaceAll(s, path.Path+": "+path.Error(), text) // named by the caller, too
		say(path, text)
	}
	if errors.As(err, &link) {
		say(link, link.New+": "+cause(link.Err))
	}
	if errors.As(err, &call) {
		say(call, cause(call.Err))
	}
	if errors.As(err, &program) {
		say(program, program.Name+": no such program")
	}
	if errors.As(err, &number) {
		say(number, strconv.Quote(number.Num)+" is not a number that fits")
	}
	if errors.As(err, &expression) {
		say(expression, string(expression.Code)+" in "+strconv.Quote(expression.Expr))
	}
	say(context.Canceled, "interrupted")
	say(context.DeadlineExceeded, "out of time")
	if errors.Is(err, io.ErrUnexpectedEOF) {
		say(io.ErrUnexpectedEOF, "the file ends early")
	}
	return s
}

// cause says what the operating system said, in the same words on all.
func cause(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file or folder"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.Is(err, fs.ErrExist):
		return "exists already"
	case errors.Is(err, syscall.EISDIR):
		return "is a folder, want a file"
	}
	return err.Error()
}

// oneLine joins the lines of an error message.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}
