package dataset

import (
	"strconv"
	"strings"
)

// npyHeader is the text header of an .npy file. Every dimension is ≥ 0.
type npyHeader struct {
	dtype   dtype
	fortran bool // the first index changes fastest, not the last
	shape   []int64
}

const wantDType = "a type of numbers, such as uint8, int64, float32 or float16"

// parseNPYHeader reads the Python dictionary that numpy writes, such as
//
//	{'descr': '<f4', 'fortran_order': False, 'shape': (3, 28, 28), }
//
// with the three keys in any order, each exactly once, and nothing after it but
// white space.
func parseNPYHeader(file, text string) (h npyHeader, err error) {
	p := npyParser{rest: text}
	bad := func(field, want string) (npyHeader, error) {
		return h, &Error{File: file, Field: field, Want: want, Got: quote(strings.TrimSpace(p.rest))}
	}
	if !p.take("{") {
		return bad("header", "a dictionary")
	}
	seen := map[string]bool{}
	for !p.take("}") {
		key, ok := p.str()
		if !ok || seen[key] || !p.take(":") {
			return bad("header", "the keys 'descr', 'fortran_order' and 'shape', each once")
		}
		seen[key] = true
		value := p // errors show the whole value, not what parsing left of it
		switch key {
		case "descr":
			descr, ok := p.str()
			if !ok {
				p = value
				return bad("dtype", wantDType)
			}
			if h.dtype = parseDType(descr); h.dtype.size == 0 {
				return h, &Error{File: file, Field: "dtype", Want: wantDType, Got: quote(descr)}
			}
		case "fortran_order":
			if h.fortran = p.take("True"); !h.fortran && !p.take("False") {
				return bad("fortran_order", "False or True")
			}
		case "shape":
			if h.shape, ok = p.tuple(); !ok {
				p = value
				return bad("shape", "a tuple of at most "+strconv.Itoa(maxRank)+" whole numbers from 0 up")
			}
		default:
			return bad("header key "+quote(key), "one of 'descr', 'fortran_order', 'shape'")
		}
		if !p.take(",") {
			if !p.take("}") {
				return bad("header", "a comma or the end of the dictionary")
			}
			break
		}
	}
	if len(seen) != 3 {
		return bad("header", "the keys 'descr', 'fortran_order' and 'shape'")
	}
	if p.space(); p.rest != "" {
		return bad("header", "nothing after the dictionary")
	}
	return h, nil
}

// npyParser consumes the few forms of Python literal that a header can hold.
type npyParser struct{ rest string }

func (p *npyParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take consumes tok, after white space, if it comes next.
func (p *npyParser) take(tok string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, tok)
	p.rest = rest
	return ok
}

// str consumes a quoted string; escapes do not occur in valid headers.
func (p *npyParser) str() (string, bool) {
	for _, q := range []string{"'", `"`} {
		if p.take(q) {
			s, rest, ok := strings.Cut(p.rest, q)
			p.rest = rest
			return s, ok && !strings.Contains(s, `\`)
		}
	}
	return "", false
}

// tuple consumes a tuple of non-negative integers.
func (p *npyParser) tuple() (v []int64, ok bool) {
	if !p.take("(") {
		return nil, false
	}
	for !p.take(")") {
		digits := 0
		for digits < len(p.rest) && '0' <= p.rest[digits] && p.rest[digits] <= '9' {
			digits++
		}
		d, err := strconv.ParseInt(p.rest[:digits], 10, 64)
		if err != nil || len(v) == maxRank {
			return nil, false
		}
		p.rest = p.rest[digits:]
		v = append(v, d)
		if !p.take(",") { // "(3)" is a number in Python, not a tuple
			return v, len(v) > 1 && p.take(")")
		}
	}
	return v, true
}
