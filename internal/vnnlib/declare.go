package vnnlib

import (
	"slices"
	"strconv"
	"strings"
)

// types of elements: those whose values are numbers that a network computes with.
var types = []string{"real", "float16", "bfloat16", "float32", "float64"}

// body2 reads a file of VNN-LIB 2 behind its version and the word that follows.
func (p *parser) body2(word token) {
	if word.text != "declare-network" {
		p.fail(word.at, "got %v, expected declare-network", word)
	}
	p.network(word)
	for p.tok.kind != endFile {
		switch word = p.open("(assert …)"); word.text {
		case "assert":
			p.assert(word)
		case "declare-network":
			p.refuse(word.at, "MNET", "a second network")
		default:
			p.fail(word.at, "%s is not supported, expected assert", quote(word.text))
		}
	}
}

// network reads the rest of the declaration of the network.
func (p *parser) network(word token) {
	p.q.Network = p.newName("network")
	for p.tok.kind != ')' {
		d := p.open("(declare-input …) or (declare-output …)")
		t := &p.q.Input
		switch d.text {
		case "declare-input":
			if t.Name != "" {
				p.refuse(d.at, "MIO", "a second input")
			}
			if p.q.Output.Name != "" {
				p.fail(d.at, "got declare-input, expected it before declare-output")
			}
		case "declare-output":
			if t.Name == "" {
				p.fail(d.at, "got declare-output, expected declare-input before it")
			}
			if t = &p.q.Output; t.Name != "" {
				p.refuse(d.at, "MIO", "a second output")
			}
		case "declare-hidden":
			p.refuse(d.at, "H", "declare-hidden")
		case "equal-to":
			p.refuse(d.at, "MENET", "equal-to")
		case "isomorphic-to":
			p.refuse(d.at, "MINET", "isomorphic-to")
		default:
			p.fail(d.at, "%s is not supported, expected declare-input or declare-output", quote(d.text))
		}
		p.tensor(t, d)
	}
	if p.q.Output.Name == "" {
		p.fail(p.tok.at, "got the ) of the network, expected declare-input and declare-output")
	}
	p.close(word)
	p.box = make([]Interval, p.q.Input.Size())
}

// newName reads a name that is not yet taken.
func (p *parser) newName(of string) string {
	t := p.expect(atom, "a name of the "+of)
	letter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
	for i := range len(t.text) {
		if c := t.text[i]; !letter(c) && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			p.fail(t.at, "got the name %s, expected a letter and then letters, digits and _", quote(t.text))
		}
	}
	if len(t.text) > 1000 {
		p.fail(t.at, "got a name of %d bytes, expected at most 1000", len(t.text))
	}
	if t.text == p.q.Network || t.text == p.q.Input.Name {
		p.fail(t.at, "got the name %s again, expected another one", quote(t.text))
	}
	return strings.Clone(t.text) // the file need not stay in memory
}

// tensor reads name, type and shape of a declaration, and its end.
func (p *parser) tensor(t *Tensor, d token) {
	name := p.newName("tensor")
	kind := p.expect(atom, "a type such as float32 or real")
	typ := strings.Clone(kind.text)
	if typ == "Real" { // as in the examples of the standard
		typ = "real"
	}
	if !slices.Contains(types, typ) {
		p.refuse(kind.at, strings.ToUpper(typ[:min(len(typ), 20)]), "the type %s, which is none of %s,", quote(typ), strings.Join(types, ", "))
	}
	if d.text == "declare-output" && (typ == "real") != (p.q.Input.Type == "real") {
		p.fail(kind.at, "got the type %s beside %s, expected real for both or neither", typ, p.q.Input.Type)
	}
	size := 1
	shape := []int{}
	open := p.expect('[', "a shape such as [1,10]")
	if p.tok.kind != ']' {
		shape = p.integers("a dimension", 1)
	}
	p.expect(']', "] or ,")
	for _, n := range shape {
		if n > maxVariables/size {
			p.fail(open.at, "got a tensor of more than %d elements, expected at most that", maxVariables)
		}
		size *= n
	}
	if p.tok.kind == atom {
		p.fail(p.tok.at, "%v is not supported, expected )", p.tok)
	}
	p.close(d)
	*t = Tensor{name, typ, shape}
}

// integers reads a list of numbers from least to maxVariables.
func (p *parser) integers(what string, least int) (list []int) {
	for {
		t := p.expect(atom, what)
		n, err := strconv.Atoi(t.text)
		if err != nil || n < least || n > maxVariables || t.text[0] == '+' {
			p.fail(t.at, "got %v, expected %s from %d to %d", t, what, least, maxVariables)
		}
		if list = append(list, n); len(list) > 64 {
			p.fail(t.at, "got more than 64 dimensions, expected at most that")
		}
		if p.tok.kind != ',' {
			return list
		}
		p.next()
	}
}

// element finds what an atom and the indices behind it name.
func (p *parser) element(name token) variable {
	t := &p.q.Input
	switch name.text {
	case p.q.Input.Name:
	case p.q.Output.Name:
		t = &p.q.Output
	default:
		p.fail(name.at, "got %v, expected a number, %s or %s", name, p.q.Input.Name, p.q.Output.Name)
	}
	var indices []int
	if p.tok.kind == '[' {
		p.next()
		indices = p.integers("an index", 0)
		p.expect(']', "] or ,")
	}
	if len(indices) != len(t.Shape) {
		p.fail(name.at, "got %d indices of %s, expected %d", len(indices), t.Name, len(t.Shape))
	}
	i := 0
	for k, n := range t.Shape {
		if indices[k] >= n {
			p.fail(name.at, "got the index %d of %s, expected at most %d", indices[k], t.Name, n-1)
		}
		i = i*n + indices[k]
	}
	if t == &p.q.Output {
		return output(i)
	}
	return variable(i)
}
