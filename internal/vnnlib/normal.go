package vnnlib

import (
	"slices"
	"strconv"
)

// Limits of the normal form, which a short file can make very large.
const (
	maxDisjuncts = 1 << 17
	maxFacts     = 1 << 20 // comparisons in disjunctions
	maxWork      = 1 << 26 // facts written while it is computed
	maxCells     = 1 << 23 // intervals, in all boxes
)

// fact is a comparison in normal form: of an input with Bound, from above (upper) or below,
// or of outputs.
type fact struct {
	v     variable // an input, or any output
	upper bool
	Constraint
}

// normal is a disjunction of conjunctions of facts, which are indices into parser.facts.
// nil never holds.
type normal [][]int32

func always() normal { return normal{nil} }

func (p *parser) atom(f fact) normal {
	if len(p.facts) >= maxFacts {
		p.fail(p.tok.at, "got more than %d comparisons in disjunctions, expected at most that", maxFacts)
	}
	p.facts = append(p.facts, f)
	return normal{{int32(len(p.facts) - 1)}}
}

func (p *parser) or(a, b normal, at position) normal {
	if len(a)+len(b) > maxDisjuncts {
		p.fail(at, "got a formula of more than %d disjuncts, expected at most that", maxDisjuncts)
	}
	return append(a, b...)
}

// and may use the memory of both, as or does.
func (p *parser) and(a, b normal, at position) normal {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	if len(a) == 1 && len(a[0]) == 0 {
		return b
	}
	if len(a) > maxDisjuncts/len(b) {
		p.fail(at, "got a formula of more than %d disjuncts, expected at most that", maxDisjuncts)
	}
	size := func(n normal) (s int64) {
		for _, c := range n {
			s += int64(len(c)) + 1
		}
		return s
	}
	work := int64(len(a)) * size(b)
	if len(b) > 1 {
		work += int64(len(b)) * size(a)
	}
	if p.work += work; p.work > maxWork {
		p.fail(at, "got formulas that make more than %d comparisons in disjunctive normal form, expected at most that", maxWork)
	}
	if len(b) == 1 {
		for i := range a {
			a[i] = append(a[i], b[0]...)
		}
		return a
	}
	product := make(normal, 0, len(a)*len(b))
	for _, c := range a {
		for _, d := range b {
			product = append(product, slices.Concat(c, d))
		}
	}
	return product
}

// formula reads one.
func (p *parser) formula(depth int) normal {
	p.deeper(depth)
	op := p.open("a formula, such as (<= a b), (and …) or (or …)")
	switch op.text {
	case "<=", "<", ">=", ">", "=", "==", "!=":
		return p.comparison(op, depth+1)
	case "and", "or":
	case "not", "=>", "xor", "ite", "distinct", "let", "forall", "exists", "!":
		p.fail(op.at, "%s is not supported, expected and, or, or one of <= < >= > == !=", op.text)
	default:
		p.fail(op.at, "got %v, expected and, or, or one of <= < >= > == !=", op)
	}
	var n normal
	if op.text == "and" {
		n = always()
	}
	if p.tok.kind == ')' {
		p.fail(p.tok.at, "got the ) of %s, expected a formula", op.text)
	}
	for p.tok.kind != ')' {
		if k := p.formula(depth + 1); op.text == "and" {
			n = p.and(n, k, op.at)
		} else {
			n = p.or(n, k, op.at)
		}
	}
	p.close(op)
	return n
}

// assert reads the rest of an assertion and joins it to the others. Bounds that hold in
// all disjuncts go to the box, which most of a file is about.
func (p *parser) assert(word token) {
	before := len(p.facts)
	n := p.formula(1)
	p.close(word)
	if len(n) == 1 {
		n[0] = slices.DeleteFunc(n[0], func(i int32) bool {
			f := &p.facts[i]
			if f.v.isInput() {
				p.box[f.v].tighten(f)
			}
			return f.v.isInput()
		})
	}
	if n == nil || len(n) == 1 && len(n[0]) == 0 {
		p.facts = p.facts[:before] // none is needed any more
	}
	p.total = p.and(p.total, n, word.at)
}

// tighten makes iv end where f says, if it went on. Ends may be nil: none is known.
func (iv *Interval) tighten(f *fact) {
	end, open := &iv.Lo, &iv.LoOpen
	inner := -1
	if f.upper {
		end, open, inner = &iv.Hi, &iv.HiOpen, 1
	}
	c := 1
	if *end != nil {
		c = inner * (*end).Cmp(f.Bound)
	}
	switch {
	case c > 0:
		*end, *open = f.Bound, f.Strict
	case c == 0:
		*open = *open || f.Strict
	}
}

// empty reports whether an interval, whose ends may be nil, is.
func (iv Interval) empty() bool {
	if iv.Lo == nil || iv.Hi == nil {
		return false
	}
	c := iv.Lo.Cmp(iv.Hi)
	return c > 0 || c == 0 && (iv.LoOpen || iv.HiOpen)
}

// key is different for intervals that are.
func (iv Interval) key() string {
	s := "["
	if iv.Lo != nil {
		s += iv.Lo.RatString()
	}
	s += "," + strconv.FormatBool(iv.LoOpen) + strconv.FormatBool(iv.HiOpen)
	if iv.Hi != nil {
		s += iv.Hi.RatString()
	}
	return s
}

// key is different for constraints that are.
func (c Constraint) key() string {
	b := []byte(c.Bound.RatString())
	b = strconv.AppendBool(b, c.Strict)
	for _, t := range c.Terms {
		b = strconv.AppendInt(append(b, ' '), int64(t.Output), 10)
		b = append(append(b, '*'), t.Coef.RatString()...)
	}
	return string(b)
}
