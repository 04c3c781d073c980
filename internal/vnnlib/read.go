package vnnlib

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Limits of a file. Networks on ImageNet have 150,528 inputs, and files of 13 MB.
const (
	maxSize      = 64 << 20 // bytes, unpacked
	maxVariables = 1 << 19  // of the input, and of the output
	maxDepth     = 200      // of the nest of parentheses
)

// Load reads a file, packed by gzip or not. The error is Read's, or wraps the file
// system's.
func Load(path string) (*Query, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("vnnlib: %w", err)
	}
	defer f.Close()
	return Read(f, path)
}

// Read reads a property file, packed by gzip or not; errors call it name. All errors are
// of type *Error. Nobody needs to trust the file: reading takes a limited time and at most
// a few hundred megabytes.
func Read(r io.Reader, name string) (*Query, error) {
	text, err := unpack(r)
	if err != nil {
		return nil, &Error{File: name, Msg: err.Error(), Err: err}
	}
	return parse(text, name)
}

func unpack(r io.Reader) (string, error) {
	packed := bufio.NewReader(r)
	r = packed
	what := "file"
	if head, _ := packed.Peek(2); string(head) == "\x1f\x8b" { // no text starts with this
		what = "compressed file"
		z, err := gzip.NewReader(packed)
		if err != nil {
			return "", fmt.Errorf("got a damaged gzip header, expected a whole one (%w)", err)
		}
		r = z
	}
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(r, maxSize+1))
	var pe *fs.PathError
	switch {
	case errors.As(err, &pe):
		return "", err
	case err != nil:
		return "", fmt.Errorf("got %d bytes and then an error, expected a complete %s (%w)", n, what, err)
	case n > maxSize:
		return "", fmt.Errorf("got more than %d bytes, expected at most that", maxSize)
	}
	return b.String(), nil
}

type parser struct {
	lexer
	q     Query
	box   []Interval // bounds in all disjuncts; an end is nil until it is known
	facts []fact
	total normal
	work  int64 // see maxWork
	cost  int64 // see maxCost

	declared [2][]bool // inputs and outputs, in VNN-LIB 1
}

func parse(text, name string) (*Query, error) {
	p := &parser{lexer: lexer{file: name, text: text, line: 1}, total: always()}
	if err := p.try(p.query); err != nil {
		return nil, err
	}
	return &p.q, nil
}

// try runs f and returns what it failed with.
func (p *parser) try(f func()) (err error) {
	defer func() {
		switch b := recover().(type) {
		case nil:
		case bail:
			err = b.err
		default:
			panic(b)
		}
	}()
	f()
	return nil
}

func (p *parser) query() {
	p.next()
	if p.tok.kind == endFile {
		p.fail(p.tok.at, "got an empty file, expected declarations and assertions")
	}
	word := p.open("a declaration")
	p.q.Version = Version{1, 0}
	if word.text == "vnnlib-version" {
		p.version()
		p.close(word)
		word = p.open("a declaration")
	}
	if p.q.Version.Major == 1 {
		p.body1(word)
	} else {
		p.body2(word)
	}
	p.q.Cases = p.cases()
}

// versions that are read.
var versions = []Version{{1, 0}, {2, 0}, {2, 1}}

func (p *parser) version() {
	const want = "a version such as <2.0>"
	t := p.expect(atom, want)
	for _, v := range versions {
		if t.text == "<"+v.String()+">" {
			p.q.Version = v
			return
		}
	}
	p.fail(t.at, "got the version %s, expected <1.0>, <2.0> or <2.1>", quote(t.text))
}

// deeper checks a nest of the depth, that of the next token.
func (p *parser) deeper(depth int) {
	if depth > maxDepth {
		p.fail(p.tok.at, "got a nest of more than %d parentheses, expected at most that", maxDepth)
	}
}

// body1 reads a file of VNN-LIB 1 behind its first word.
func (p *parser) body1(word token) {
	for {
		switch word.text {
		case "declare-const":
			p.declare1()
			p.close(word)
		case "assert":
			p.assert(word)
		case "declare-network":
			p.fail(word.at, "got declare-network, expected (vnnlib-version <2.0>) before it")
		default:
			p.fail(word.at, "%s is not supported, expected declare-const or assert", quote(word.text))
		}
		if p.tok.kind == endFile {
			break
		}
		word = p.open("(declare-const …) or (assert …)")
	}
	for side, t := range []*Tensor{&p.q.Input, &p.q.Output} {
		names, declared := "XY"[side:side+1], p.declared[side]
		if len(declared) == 0 {
			p.fail(p.tok.at, "got no %s_0, expected it to be declared", names)
		}
		for i, ok := range declared {
			if !ok {
				p.fail(p.tok.at, "got no %s_%d, expected all up to %s_%d to be declared", names, i, names, len(declared)-1)
			}
		}
		*t = Tensor{names, "real", []int{len(declared)}}
	}
}

func (p *parser) declare1() {
	t := p.expect(atom, "a variable, X_i or Y_i")
	side, i := p.split(t)
	if p.has(side, i) {
		p.fail(t.at, "got a second %s, expected one declaration of it", t.text)
	}
	if s := p.expect(atom, "Real"); s.text != "Real" {
		p.fail(s.at, "got the type %s, expected Real", quote(s.text))
	}
	d := p.declared[side]
	for len(d) <= i {
		d = append(d, false)
	}
	d[i] = true
	p.declared[side] = d
	for side == 0 && len(p.box) <= i {
		p.box = append(p.box, Interval{})
	}
}

func (p *parser) has(side, i int) bool { return i < len(p.declared[side]) && p.declared[side][i] }

// split reads X_12 or Y_12: side is 0 or 1.
func (p *parser) split(t token) (side, i int) {
	name, number, _ := strings.Cut(t.text, "_")
	i, err := strconv.Atoi(number)
	if name != "X" && name != "Y" || err != nil || strconv.Itoa(i) != number || i < 0 {
		p.fail(t.at, "got the name %s, expected a variable X_i or Y_i", quote(t.text))
	}
	if i >= maxVariables {
		p.fail(t.at, "got the variable %s, expected at most %d inputs and as many outputs", t.text, maxVariables)
	}
	return int(name[0] - 'X'), i
}

// variable finds what an atom in an expression names.
func (p *parser) variable(t token) variable {
	if p.q.Version.Major > 1 {
		return p.element(t)
	}
	side, i := p.split(t)
	switch {
	case !p.has(side, i):
		p.fail(t.at, "got %s, expected (declare-const %s Real) before it", t.text, t.text)
	case side == 1:
		return output(i)
	}
	return variable(i)
}

// name is how a file calls v.
func (q *Query) name(v variable) string {
	t := &q.Input
	if !v.isInput() {
		t = &q.Output
	}
	if q.Version.Major == 1 {
		side := "Y_"
		if v.isInput() {
			side = "X_"
		}
		return side + strconv.Itoa(v.index())
	}
	return t.element(v.index())
}

// element is how VNN-LIB 2 calls element i.
func (t Tensor) element(i int) string {
	if len(t.Shape) == 0 {
		return t.Name
	}
	at := make([]string, len(t.Shape))
	for k := len(at) - 1; k >= 0; k-- {
		at[k] = strconv.Itoa(i % t.Shape[k])
		i /= t.Shape[k]
	}
	return t.Name + "[" + strings.Join(at, ",") + "]"
}
