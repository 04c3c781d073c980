package vnnlib

import (
	"maps"
	"math/big"
	"slices"
	"strings"
)

// variable is an element of the input, i, or of the output, −1 − i.
type variable int32

func output(i int) variable { return variable(-1 - i) }

func (v variable) isInput() bool { return v >= 0 }

func (v variable) index() int {
	if v < 0 {
		return int(-1 - v)
	}
	return int(v)
}

// expr is an arithmetic expression whose constants are folded: a constant val; val times a
// variable; or val times the sum of kids.
type expr struct {
	val      *big.Rat
	constant bool
	v        variable
	kids     []expr
}

// expression reads one. Depth is that of the nest around it.
func (p *parser) expression(depth int) expr {
	if p.tok.kind != '(' {
		t := p.expect(atom, "a number, a variable or (")
		if numeric(t.text) || strings.HasPrefix(t.text, "#") {
			return expr{val: p.number(t), constant: true}
		}
		return expr{val: one, v: p.variable(t)}
	}
	p.deeper(depth)
	op := p.open("one of + - * /")
	var kids []expr
	switch op.text {
	case "+", "-", "*", "/":
	case "ite", "let", "mod", "div", "abs", "to_real", "exp", "sin", "cos", "tanh":
		p.fail(op.at, "%s is not supported, expected one of + - * /", op.text)
	default:
		p.fail(op.at, "got %v, expected one of + - * /", op)
	}
	for p.tok.kind != ')' {
		kids = append(kids, p.expression(depth+1))
	}
	if len(kids) == 0 || op.text == "/" && len(kids) == 1 {
		p.fail(p.tok.at, "got the ) of %s, expected an operand", quote(op.text))
	}
	p.close(op)
	switch op.text {
	case "*", "/":
		return p.product(op, kids)
	case "-":
		if len(kids) == 1 {
			return p.scaled(kids[0], big.NewRat(-1, 1), op.at)
		}
		for i := range kids[1:] {
			kids[i+1] = p.scaled(kids[i+1], big.NewRat(-1, 1), op.at)
		}
	}
	return p.sum(op, kids)
}

func (p *parser) scaled(e expr, by *big.Rat, at position) expr {
	e.val = p.short(new(big.Rat).Mul(e.val, by), at)
	return e
}

func (p *parser) sum(op token, kids []expr) expr {
	total := new(big.Rat)
	for _, k := range kids {
		if !k.constant {
			return expr{val: one, kids: kids}
		}
		total = p.short(total.Add(total, k.val), op.at)
	}
	return expr{val: total, constant: true}
}

// product is that of * and /, which allow one factor with variables, in / the first.
func (p *parser) product(op token, kids []expr) expr {
	at := -1
	for i, k := range kids {
		switch {
		case k.constant:
		case op.text == "/" && i > 0:
			p.fail(op.at, "got a division by a variable, expected a number")
		case at >= 0:
			p.refuse(op.at, "POLY", "a product of variables")
		default:
			at = i
		}
	}
	e := expr{val: one, constant: true}
	if at >= 0 {
		e = kids[at]
	}
	for i, k := range kids {
		switch {
		case i == at:
		case op.text == "/" && i > 0:
			if k.val.Sign() == 0 {
				p.fail(op.at, "got a division by 0, expected another number")
			}
			e = p.scaled(e, new(big.Rat).Inv(k.val), op.at)
		default:
			e = p.scaled(e, k.val, op.at)
		}
	}
	return e
}

// linear is Σ terms + constant.
type linear struct {
	terms    map[variable]*big.Rat
	constant *big.Rat
}

// add adds e times a number.
func (p *parser) add(l *linear, e expr, times *big.Rat, at position) {
	scale := p.short(new(big.Rat).Mul(times, e.val), at)
	switch {
	case e.constant:
		p.short(l.constant.Add(l.constant, scale), at)
	case e.kids == nil:
		if old := l.terms[e.v]; old != nil {
			scale = p.short(scale.Add(scale, old), at)
		}
		l.terms[e.v] = scale
	default:
		for _, k := range e.kids {
			p.add(l, k, scale, at)
		}
	}
}

// comparison reads the rest of one, and returns what it says in normal form.
func (p *parser) comparison(op token, depth int) normal {
	left, right := p.expression(depth), p.expression(depth)
	p.close(op)
	if left.constant && right.constant {
		p.fail(op.at, "got a comparison of two numbers, expected a variable in it")
	}
	less, more := p.sides(left, right, op.at)
	switch op.text {
	case "<=":
		return less(false)
	case "<":
		return less(true)
	case ">=":
		return more(false)
	case ">":
		return more(true)
	case "!=":
		return p.or(less(true), more(true), op.at)
	}
	return p.and(more(false), less(false), op.at) // = and ==
}

// sides returns the normal forms of left ≤ right and left ≥ right, or strictly so.
func (p *parser) sides(left, right expr, at position) (less, more func(strict bool) normal) {
	// Most of a file compares an input with a number, which needs no arithmetic.
	simple := func(x, end expr) bool {
		return !x.constant && x.kids == nil && x.v.isInput() && x.val == one && end.constant
	}
	bound := func(v variable, end *big.Rat, upper bool) func(bool) normal {
		return func(strict bool) normal {
			return p.atom(fact{v, upper, Constraint{Bound: end, Strict: strict}})
		}
	}
	switch {
	case simple(left, right):
		return bound(left.v, right.val, true), bound(left.v, right.val, false)
	case simple(right, left):
		return bound(right.v, left.val, false), bound(right.v, left.val, true)
	}
	diff := linear{map[variable]*big.Rat{}, new(big.Rat)}
	p.add(&diff, left, one, at)
	p.add(&diff, right, big.NewRat(-1, 1), at)
	maps.DeleteFunc(diff.terms, func(_ variable, c *big.Rat) bool { return c.Sign() == 0 })
	return func(strict bool) normal { return p.atMost0(diff, strict, at) },
		func(strict bool) normal { return p.atMost0(diff.negative(), strict, at) }
}

func (l linear) negative() linear {
	n := linear{make(map[variable]*big.Rat, len(l.terms)), new(big.Rat).Neg(l.constant)}
	for v, c := range l.terms {
		n.terms[v] = new(big.Rat).Neg(c)
	}
	return n
}

// atMost0 is the normal form of l ≤ 0 or l < 0.
func (p *parser) atMost0(l linear, strict bool, at position) normal {
	vars := slices.Sorted(maps.Keys(l.terms))
	if len(vars) == 0 {
		if s := l.constant.Sign(); s < 0 || s == 0 && !strict {
			return always()
		}
		return nil
	}
	first, last := vars[0], vars[len(vars)-1]
	switch {
	case first.isInput() && len(vars) > 1:
		p.refuse(at, "LIN", "a constraint on several inputs (%s and %s)", p.q.name(first), p.q.name(last))
	case first.isInput() != last.isInput():
		p.refuse(at, "MNC", "a constraint on inputs and outputs at once (%s and %s)", p.q.name(last), p.q.name(first))
	case first.isInput():
		c := l.terms[first]
		end := new(big.Rat).Quo(l.constant, c)
		return p.atom(fact{
			v: first, upper: c.Sign() > 0,
			Constraint: Constraint{Bound: p.short(end.Neg(end), at), Strict: strict},
		})
	}
	c := Constraint{Bound: new(big.Rat).Neg(l.constant), Strict: strict}
	for _, v := range slices.Backward(vars) {
		c.Terms = append(c.Terms, Term{v.index(), l.terms[v]})
	}
	c = c.decimals()
	p.short(c.Bound, at)
	for _, t := range c.Terms {
		p.short(t.Coef, at)
	}
	return p.atom(fact{v: first, Constraint: c})
}
