package vnnlib

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// naive is a file as nested lists, evaluated as it is written. It shares no code with the
// reader and knows no normal form.
type naive struct{ asserts []any }

var words = regexp.MustCompile(`;[^\n]*|[()]|[A-Za-z]\w*\s*\[[^\]]*\]|[^\s()]+`)

func newNaive(t *testing.T, text string) naive {
	stack := [][]any{nil}
	for _, w := range words.FindAllString(text, -1) {
		top := len(stack) - 1
		switch {
		case w[0] == ';':
		case w == "(":
			stack = append(stack, nil)
		case w == ")":
			require.Positive(t, top)
			stack[top-1] = append(stack[top-1], stack[top])
			stack = stack[:top]
		default:
			var word any = strings.ReplaceAll(w, " ", "")
			if r, ok := new(big.Rat).SetString(w); ok {
				word = r
			}
			stack[top] = append(stack[top], word)
		}
	}
	require.Len(t, stack, 1)
	var n naive
	for _, form := range stack[0] {
		if f := form.([]any); f[0] == "assert" {
			require.Len(t, f, 2)
			n.asserts = append(n.asserts, f[1])
		}
	}
	return n
}

// holds evaluates all assertions where variables have the values.
func (n naive) holds(values map[string]*big.Rat) bool {
	for _, a := range n.asserts {
		if !truth(a.([]any), values) {
			return false
		}
	}
	return true
}

func truth(f []any, values map[string]*big.Rat) bool {
	switch f[0] {
	case "and", "or":
		for _, k := range f[1:] {
			if truth(k.([]any), values) == (f[0] == "or") {
				return f[0] == "or"
			}
		}
		return f[0] == "and"
	}
	c := value(f[1], values).Cmp(value(f[2], values))
	switch f[0] {
	case "<=":
		return c <= 0
	case "<":
		return c < 0
	case ">=":
		return c >= 0
	case ">":
		return c > 0
	case "!=":
		return c != 0
	case "=", "==":
		return c == 0
	}
	panic(f[0])
}

func value(e any, values map[string]*big.Rat) *big.Rat {
	switch e := e.(type) {
	case *big.Rat:
		return e
	case string:
		return values[e]
	}
	l := e.([]any)
	r := new(big.Rat).Set(value(l[1], values))
	if len(l) == 2 && l[0] == "-" {
		return r.Neg(r)
	}
	for _, k := range l[2:] {
		v := value(k, values)
		switch l[0] {
		case "+":
			r.Add(r, v)
		case "-":
			r.Sub(r, v)
		case "*":
			r.Mul(r, v)
		case "/":
			r.Quo(r, v)
		}
	}
	return r
}

// named gives x and y the names that q's file has for them.
func named(q *Query, x, y []float64) map[string]*big.Rat {
	values := map[string]*big.Rat{}
	for i, v := range x {
		values[q.name(variable(i))] = new(big.Rat).SetFloat64(v)
	}
	for i, v := range y {
		values[q.name(output(i))] = new(big.Rat).SetFloat64(v)
	}
	return values
}

// dump shows everything that a query says.
func dump(q *Query) string {
	var b strings.Builder
	fmt.Fprintln(&b, q.Version, q.Network, q.Input, q.Output)
	for _, c := range q.Cases {
		for i, iv := range c.Box {
			fmt.Fprintln(&b, "  box", i, iv.Lo.RatString(), iv.Hi.RatString(), iv.LoOpen, iv.HiOpen)
		}
		for _, d := range c.Disjuncts {
			fmt.Fprintln(&b, "  or")
			for _, con := range d {
				fmt.Fprint(&b, "    and")
				for _, t := range con.Terms {
					fmt.Fprint(&b, " ", t.Coef.RatString(), "*", t.Output)
				}
				fmt.Fprintln(&b, " ≤", con.Bound.RatString(), con.Strict)
			}
		}
	}
	return b.String()
}

// requireRoundTrip writes q and reads it again.
func requireRoundTrip(t *testing.T, q *Query) {
	t.Helper()
	var b strings.Builder
	require.NoError(t, Write(&b, q))
	again, err := Read(strings.NewReader(b.String()), "again")
	require.NoError(t, err, b.String())
	require.Equal(t, dump(q), dump(again), b.String())
}
