package vnnlib

import (
	"bufio"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Write writes q in the version of the language that it names. Read returns an equal query
// again. VNN-LIB 1 has no names, shapes or types: only sizes are written then. Numbers are
// decimals without an exponent; one that has no end, such as a bound of 1/3, is written
// times a number of which it has. The error is of the writer, or says what in q is not
// valid.
func Write(w io.Writer, q *Query) error {
	if err := q.Validate(); err != nil {
		return err
	}
	out := writer{bufio.NewWriter(w), q}
	out.declare()
	out.box()
	out.formula()
	if err := out.w.Flush(); err != nil {
		return fmt.Errorf("vnnlib: %w", err)
	}
	return nil
}

// Validate returns an error that names the first part of q that is not as its type
// describes.
func (q *Query) Validate() error {
	bad := func(field, format string, args ...any) error {
		return fmt.Errorf("vnnlib: %s: %s", field, fmt.Sprintf(format, args...))
	}
	if !slices.Contains(versions, q.Version) {
		return bad("version", "got %v, expected one of %v", q.Version, versions)
	}
	if q.Version.Major > 1 {
		// The reader knows what declarations have to be.
		p := &parser{lexer: lexer{file: "declarations of the query", text: declaration(q), line: 1}}
		err := p.try(func() { p.next(); p.network(p.open("a declaration")) })
		if err != nil {
			return err
		}
		if p.q.Network != q.Network || !p.q.Input.equal(q.Input) || !p.q.Output.equal(q.Output) || p.tok.kind != endFile {
			return bad("declarations", "got names or types of more than one word, expected names of letters, digits and _")
		}
	}
	in, out := q.Input.Size(), q.Output.Size()
	if in < 1 || in > maxVariables || out < 1 || out > maxVariables {
		return bad("tensors", "got %d inputs and %d outputs, expected 1 to %d", in, out, maxVariables)
	}
	boxes := map[string]bool{}
	for i, c := range q.Cases {
		at := fmt.Sprintf("cases[%d]", i)
		if len(c.Box) != in {
			return bad(at+".box", "got %d intervals, expected %d", len(c.Box), in)
		}
		key := []byte(nil)
		for k, iv := range c.Box {
			if iv.Lo == nil || iv.Hi == nil || iv.empty() {
				return bad(fmt.Sprintf("%s.box[%d]", at, k), "got an empty interval or one without an end, expected lo ≤ hi")
			}
			if len(q.Cases) > 1 {
				key = append(key, iv.key()...)
			}
		}
		if boxes[string(key)] {
			return bad(at+".box", "got a box of an earlier case, expected its disjuncts there")
		}
		boxes[string(key)] = true
		if len(c.Disjuncts) == 0 {
			return bad(at+".disjuncts", "got none, expected at least one")
		}
		for j, d := range c.Disjuncts {
			for k, con := range d {
				if err := con.validate(out); err != nil {
					return bad(fmt.Sprintf("%s.disjuncts[%d][%d]", at, j, k), "%v", err)
				}
			}
		}
	}
	return nil
}

func (t Tensor) equal(o Tensor) bool {
	return t.Name == o.Name && t.Type == o.Type && slices.Equal(t.Shape, o.Shape)
}

func (c Constraint) validate(outputs int) error {
	if len(c.Terms) == 0 || c.Bound == nil {
		return fmt.Errorf("got no terms or no bound, expected them")
	}
	last := -1
	for _, t := range c.Terms {
		if t.Output <= last || t.Output >= outputs || t.Coef == nil || t.Coef.Sign() == 0 {
			return fmt.Errorf("got a term of output %d, expected ascending outputs below %d with coefficients that are not 0", t.Output, outputs)
		}
		last = t.Output
	}
	return nil
}

type writer struct {
	w *bufio.Writer
	q *Query
}

func (w writer) print(parts ...string) {
	for _, s := range parts {
		_, _ = w.w.WriteString(s) // Flush returns its error
	}
}

// declaration is how VNN-LIB 2 declares the network of q.
func declaration(q *Query) string {
	s := "(declare-network " + q.Network
	for i, t := range []Tensor{q.Input, q.Output} {
		s += "\n\t(" + []string{"declare-input", "declare-output"}[i] + " " + t.Name + " " + t.Type + " ["
		for k, d := range t.Shape {
			if k > 0 {
				s += ","
			}
			s += strconv.Itoa(d)
		}
		s += "])"
	}
	return s + "\n)\n"
}

func (w writer) declare() {
	q := w.q
	if q.Version.Major > 1 {
		w.print("(vnnlib-version <", q.Version.String(), ">)\n\n", declaration(q), "\n")
		return
	}
	for side, n := range []int{q.Input.Size(), q.Output.Size()} {
		for i := range n {
			w.print("(declare-const ", "XY"[side:side+1], "_", strconv.Itoa(i), " Real)\n")
		}
		w.print("\n")
	}
}

// box asserts the bounds that all cases have, and contradictory ones if there is no case.
func (w writer) box() {
	never := Interval{Lo: big.NewRat(1, 1), Hi: new(big.Rat)}
	for i := range w.q.Input.Size() {
		iv, lo, hi := never, true, true
		if len(w.q.Cases) > 0 {
			iv = w.q.Cases[0].Box[i]
			lo, hi = w.common(i)
		}
		if lo {
			w.print("(assert ", w.lower(i, iv), ")\n")
		}
		if hi {
			w.print("(assert ", w.upper(i, iv), ")\n")
		}
	}
}

// common reports whether all cases have the same lower and upper bound of input i.
func (w writer) common(i int) (lo, hi bool) {
	lo, hi = true, true
	first := w.q.Cases[0].Box[i]
	for _, c := range w.q.Cases[1:] {
		iv := c.Box[i]
		lo = lo && iv.LoOpen == first.LoOpen && iv.Lo.Cmp(first.Lo) == 0
		hi = hi && iv.HiOpen == first.HiOpen && iv.Hi.Cmp(first.Hi) == 0
	}
	return lo, hi
}

func (w writer) lower(i int, iv Interval) string { return w.bound(">=", i, iv.Lo, iv.LoOpen) }
func (w writer) upper(i int, iv Interval) string { return w.bound("<=", i, iv.Hi, iv.HiOpen) }

func (w writer) bound(op string, i int, end *big.Rat, open bool) string {
	if open {
		op = op[:1]
	}
	x := w.q.name(variable(i))
	if d := undecimal(end); !d.IsInt64() || d.Int64() != 1 {
		times := new(big.Rat).SetInt(d)
		x = "(* " + decimal(times) + " " + x + ")"
		end = times.Mul(times, end)
	}
	return "(" + op + " " + x + " " + decimal(end) + ")"
}

// formula asserts the rest: a conjunction line by line, otherwise one disjunction of
// conjunctions, which simple readers understand.
func (w writer) formula() {
	q := w.q
	if len(q.Cases) == 0 {
		return
	}
	w.print("\n")
	if len(q.Cases) == 1 {
		d := q.Cases[0].simple()
		if len(d) == 1 {
			for _, c := range d[0] {
				w.print("(assert ", w.constraint(c), ")\n")
			}
			return
		}
	}
	var own [][2]bool // which bounds the cases have for themselves
	for i := range q.Input.Size() {
		lo, hi := w.common(i)
		own = append(own, [2]bool{!lo, !hi})
	}
	w.print("(assert (or\n")
	for _, c := range q.Cases {
		var bounds []string
		for i, iv := range c.Box {
			if own[i][0] {
				bounds = append(bounds, w.lower(i, iv))
			}
			if own[i][1] {
				bounds = append(bounds, w.upper(i, iv))
			}
		}
		for _, d := range c.simple() {
			parts := slices.Clone(bounds)
			for _, con := range d {
				parts = append(parts, w.constraint(con))
			}
			w.print("\t(and ", strings.Join(parts, " "), ")\n")
		}
	}
	w.print("))\n")
}

// simple returns the disjuncts of c, or the one that holds everywhere.
func (c Case) simple() []Conjunction {
	for _, d := range c.Disjuncts {
		if len(d) == 0 {
			return []Conjunction{nil}
		}
	}
	return c.Disjuncts
}

func (w writer) constraint(c Constraint) string {
	c = c.decimals()
	op, flipped := "(<= ", "(>= "
	if c.Strict {
		op, flipped = "(< ", "(> "
	}
	y := func(i int) string { return w.q.name(output(c.Terms[i].Output)) }
	switch c.shape() {
	case "at most":
		return op + y(0) + " " + decimal(c.Bound) + ")"
	case "at least":
		return flipped + y(0) + " " + decimal(new(big.Rat).Neg(c.Bound)) + ")"
	case "compare":
		if c.Terms[0].Coef.Sign() > 0 {
			return op + y(0) + " " + y(1) + ")"
		}
		return op + y(1) + " " + y(0) + ")"
	}
	var terms []string
	for i, t := range c.Terms {
		s := y(i)
		if t.Coef.Cmp(one) != 0 {
			s = "(* " + decimal(t.Coef) + " " + s + ")"
		}
		terms = append(terms, s)
	}
	sum := terms[0]
	if len(terms) > 1 {
		sum = "(+ " + strings.Join(terms, " ") + ")"
	}
	return op + sum + " " + decimal(c.Bound) + ")"
}

// decimal is r, which must be one, with a point as VNN-LIB 2 wants it for floats.
func decimal(r *big.Rat) string {
	places, _ := r.FloatPrec()
	return r.FloatString(max(places, 1))
}
