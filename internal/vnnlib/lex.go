package vnnlib

import (
	"fmt"
	"strings"
)

// Error says what in a file is wrong or not supported, and where.
type Error struct {
	File      string // the name given to the reader
	Line, Col int    // from 1, in bytes; 0 if the whole file is meant
	Msg       string // what was got and what was expected

	// Theory is the theory of VNN-LIB 2 that would be needed, such as "H" for hidden
	// nodes, where the file may be in order and is only not supported.
	Theory string

	Err error // of the file system or gzip
}

// Error returns "vnnlib: FILE:LINE:COL: MSG".
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("vnnlib: %s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("vnnlib: %s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

type position struct{ line, col int }

// kind of a token: one of ( ) [ ] , or these.
type kind byte

const (
	atom    kind = 'a' // a name, a number or an operator
	quoted  kind = 'q'
	endFile kind = 'e'
)

type token struct {
	kind kind
	text string
	at   position
}

func (t token) String() string {
	if t.kind == endFile {
		return "the end of the file"
	}
	return quote(t.text)
}

// quote shows untrusted text in an error, shortened.
func quote(s string) string {
	const longest = 60
	if len(s) > longest {
		return fmt.Sprintf("%q… (%d bytes)", s[:longest], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// lexer cuts a text into tokens. tok is the next one.
type lexer struct {
	file, text string
	at         int // where the token behind tok begins
	line       int
	lineStart  int
	tok        token
}

// bail is how *Error leaves the parser, which recovers it at its top.
type bail struct{ err *Error }

func (l *lexer) fail(at position, format string, args ...any) {
	panic(bail{&Error{File: l.file, Line: at.line, Col: at.col, Msg: fmt.Sprintf(format, args...)}})
}

// refuse is fail for something that needs a theory that is not supported.
func (l *lexer) refuse(at position, theory, format string, args ...any) {
	msg := fmt.Sprintf(format, args...) + " is not supported (theory " + theory + ")"
	panic(bail{&Error{File: l.file, Line: at.line, Col: at.col, Msg: msg, Theory: theory}})
}

const delimiters = " \t\r\n()[],;\""

// next returns tok and moves on.
func (l *lexer) next() token {
	t := l.tok
	l.tok = l.scan()
	return t
}

func (l *lexer) scan() token {
	for l.at < len(l.text) {
		switch l.text[l.at] {
		case '\n':
			l.line++
			l.lineStart = l.at + 1
		case ' ', '\t', '\r':
		case ';':
			if n := strings.IndexByte(l.text[l.at:], '\n'); n >= 0 {
				l.at += n
			} else {
				l.at = len(l.text)
			}
			continue
		default:
			return l.cut()
		}
		l.at++
	}
	return token{kind: endFile, at: l.here()}
}

func (l *lexer) here() position { return position{l.line, l.at - l.lineStart + 1} }

func (l *lexer) cut() token {
	rest, at := l.text[l.at:], l.here()
	k, n := atom, 1
	switch c := rest[0]; c {
	case '(', ')', '[', ']', ',':
		k = kind(c)
	case '"':
		k = quoted
		for ; n < len(rest) && rest[n] != '"' && rest[n] != '\n'; n++ {
			if rest[n] == '\\' {
				n++
			}
		}
		if n >= len(rest) || rest[n] != '"' {
			l.fail(at, "got a string without an end, expected a quotation mark on its line")
		}
		n++
	default:
		if n = strings.IndexAny(rest, delimiters); n < 0 {
			n = len(rest)
		}
	}
	l.at += n
	return token{k, rest[:n], at}
}

// expect returns the next token, which must be of a kind.
func (l *lexer) expect(k kind, what string) token {
	if l.tok.kind != k {
		l.fail(l.tok.at, "got %v, expected %s", l.tok, what)
	}
	return l.next()
}

// open reads "(" and the word behind it.
func (l *lexer) open(what string) token {
	l.expect('(', what)
	return l.expect(atom, what)
}

func (l *lexer) close(of token) {
	if l.tok.kind != ')' {
		l.fail(l.tok.at, "got %v, expected the ) of %s in line %d", l.tok, quote(of.text), of.at.line)
	}
	l.next()
}
