package model

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON text by hand: encoding/json would bring reflection and a third of a megabyte
// into every program that embeds a model. It stays the yardstick of the tests.

// maxNesting is encoding/json's limit.
const maxNesting = 10000

// scanJSON returns nil if data is one JSON value (RFC 8259), or what is wrong.
func scanJSON(data []byte) error {
	s := &jsonScanner{data: data}
	s.space()
	if !s.value(0) || !s.end() {
		if s.at >= len(data) {
			return fmt.Errorf("unexpected end after %d bytes", len(data))
		}
		return fmt.Errorf("unexpected %q at byte %d", data[s.at], s.at)
	}
	return nil
}

// jsonScanner stops at the first byte that does not fit.
type jsonScanner struct {
	data []byte
	at   int
}

// peek returns the next byte, 0 at the end: no JSON text has one outside of strings,
// and in strings it is as wrong as the end.
func (s *jsonScanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

// take skips the next byte if it is c.
func (s *jsonScanner) take(c byte) bool {
	if s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *jsonScanner) space() {
	for s.take(' ') || s.take('\t') || s.take('\n') || s.take('\r') {
		continue
	}
}

func (s *jsonScanner) end() bool {
	s.space()
	return s.at == len(s.data)
}

func (s *jsonScanner) value(depth int) bool {
	switch c := s.peek(); c {
	case '{', '[':
		return depth < maxNesting && s.items(c+2, depth+1) // in ASCII the closing one is the next but one
	case '"':
		return s.text()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// items scans an object or an array up to its closing bracket.
func (s *jsonScanner) items(closing byte, depth int) bool {
	s.at++
	if s.space(); s.take(closing) {
		return true
	}
	for {
		if closing == '}' {
			if !s.text() {
				return false
			}
			if s.space(); !s.take(':') {
				return false
			}
			s.space()
		}
		if !s.value(depth) {
			return false
		}
		s.space()
		switch {
		case s.take(closing):
			return true
		case !s.take(','):
			return false
		}
		s.space()
	}
}

func (s *jsonScanner) word(w string) bool {
	for i := range len(w) {
		if !s.take(w[i]) {
			return false
		}
	}
	return true
}

func (s *jsonScanner) digits() bool {
	from := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > from
}

func (s *jsonScanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

func (s *jsonScanner) text() bool {
	if !s.take('"') {
		return false
	}
	for {
		switch c := s.peek(); {
		case c < ' ':
			return false
		case c == '"':
			s.at++
			return true
		case c == '\\':
			s.at++
			if !s.escape() {
				return false
			}
		default:
			s.at++
		}
	}
}

func (s *jsonScanner) escape() bool {
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return true
	case 'u':
		s.at++
		for range 4 {
			if !hexDigit(s.peek()) {
				return false
			}
			s.at++
		}
		return true
	}
	return false
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// unquote returns the text of a JSON string that scanJSON has passed. Like
// encoding/json it takes half of a surrogate pair for U+FFFD.
func unquote(val []byte) string {
	val = val[1 : len(val)-1]
	out := make([]byte, 0, len(val))
	for len(val) > 0 {
		if val[0] != '\\' {
			out, val = append(out, val[0]), val[1:]
			continue
		}
		c := val[1]
		val = val[2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hexRune(val)
			val = val[4:]
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(val) >= 6 && val[0] == '\\' && val[1] == 'u' {
					pair = utf16.DecodeRune(r, hexRune(val[2:]))
				}
				if r = pair; r != utf8.RuneError {
					val = val[6:]
				}
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

// hexRune reads the four digits after \u.
func hexRune(b []byte) rune {
	r, _ := strconv.ParseUint(string(b[:4]), 16, 32) // scanJSON has looked
	return rune(r)
}

// appendString appends s as a JSON string, in encoding/json's spelling without the
// escapes for HTML: hashes depend on it.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		switch r {
		case '"', '\\':
			b = append(b, '\\', byte(r))
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			invalid := r == utf8.RuneError && n == 1
			if r < ' ' || r == '\u2028' || r == '\u2029' || invalid {
				b = fmt.Appendf(b, `\u%04x`, r)
			} else {
				b = utf8.AppendRune(b, r)
			}
		}
	}
	return append(b, '"')
}
