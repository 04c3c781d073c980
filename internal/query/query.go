// Package query makes of a property file the questions that package audit answers.
package query

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Questions are those of a file about a network: its property holds if those of all of them do.
type Questions struct {
	List          []audit.Question
	order         []int // of the file's inputs: where each is in the network; nil: the same
	input, output string
	end           string // of the network's file: what import dropped; "": nothing
}

// New fits a query to a network.
func New(q *vnnlib.Query, m *model.Model) (*Questions, error) {
	in, out := m.Arch.Input, m.Arch.Classes()
	if n := q.Input.Size(); n != in.Size() {
		return nil, fmt.Errorf("input %s: %d elements, but the network has %d (%s)", q.Input.Name, n, in.Size(), in)
	}
	if n := q.Output.Size(); n != out {
		return nil, fmt.Errorf("output %s: %d elements, but the network has %d", q.Output.Name, n, out)
	}
	if err := fits(q, m.Card); err != nil {
		return nil, err
	}
	s := &Questions{input: q.Input.Name, output: q.Output.Name, end: m.Card[onnx.CardEnd]}
	if m.Card[onnx.CardOrder] == onnx.ChannelsLast {
		for k := range in.Size() {
			s.order = append(s.order, k%in.C*in.H*in.W+k/in.C)
		}
	}
	for i, c := range q.Cases {
		a, err := s.question(&c, out)
		if err != nil {
			return nil, fmt.Errorf("case %d: %w", i+1, err)
		}
		s.List = append(s.List, *a)
	}
	return s, nil
}

// Types are the element types whose queries are answered: networks are bounded in real
// numbers and as executed in float32.
func Types() []string { return []string{"float32", "real"} }

// fits refuses a query about what the file of the network computes and the model does not.
func fits(q *vnnlib.Query, card map[string]string) error {
	for _, t := range []vnnlib.Tensor{q.Input, q.Output} {
		if !slices.Contains(Types(), t.Type) {
			return fmt.Errorf("%s: got elements of type %s, want %s", t.Name, t.Type, strings.Join(Types(), " or "))
		}
	}
	if file := card[onnx.CardType]; file != "" && q.Input.Type != "real" {
		return fmt.Errorf("%s: got elements of type %s, but the network's file has %s: want real", q.Input.Name, q.Input.Type, file)
	}
	end := card[onnx.CardEnd]
	if end == "" {
		return nil
	}
	// Logits, which the model has, are in the order of what a softmax makes of them, but
	// rounded those may be equal.
	if q.Input.Type != "real" {
		return fmt.Errorf("%s: the network ends in a %s, of whose outputs real numbers alone are known: want type real", q.Output.Name, end)
	}
	for _, c := range q.Cases {
		for _, d := range c.Disjuncts {
			for _, k := range d {
				if !k.Compares() {
					return fmt.Errorf("%s: the network ends in a %s: want comparisons of two outputs alone", q.Output.Name, end)
				}
			}
		}
	}
	return nil
}

// at is where input k of the file is in the network.
func (s *Questions) at(k int) int {
	if s.order == nil {
		return k
	}
	return s.order[k]
}

func (s *Questions) question(c *vnnlib.Case, out int) (*audit.Question, error) {
	q := &audit.Question{Proves: &net.Property{}, Refutes: &net.Property{}}
	q.Box.Lo, q.Box.Hi = make([]*big.Rat, len(c.Box)), make([]*big.Rat, len(c.Box))
	for k, iv := range c.Box {
		q.Box.Lo[s.at(k)], q.Box.Hi[s.at(k)] = iv.Lo, iv.Hi
	}
	for _, d := range c.Disjuncts {
		if len(d) == 0 { // 0 > 0 does not hold
			q.Proves.C, q.Proves.D = append(q.Proves.C, make([]float32, out)...), append(q.Proves.D, 0)
			q.Refutes.C, q.Refutes.D = append(q.Refutes.C, make([]float32, out)...), append(q.Refutes.D, 0)
		}
		for _, t := range d {
			row := make([]float32, out)
			for _, term := range t.Terms {
				f, exact := term.Coef.Float32()
				if !exact {
					return nil, fmt.Errorf("coefficient %s of output %d is no float32", term.Coef.RatString(), term.Output)
				}
				row[term.Output] = f
			}
			bound := new(big.Rat).Neg(t.Bound)
			down, up := round.Down(bound), round.Up(bound)
			if t.Strict { // < bound where ≤ 0 with the next larger constant
				up = math.Nextafter32(up, float32(math.Inf(1)))
			}
			if down-down != 0 || up-up != 0 {
				return nil, fmt.Errorf("constant %s is beyond float32", t.Bound.FloatString(6))
			}
			q.Proves.C, q.Proves.D = append(q.Proves.C, row...), append(q.Proves.D, down)
			q.Refutes.C, q.Refutes.D = append(q.Refutes.C, row...), append(q.Refutes.D, up)
		}
		n := max(1, len(d))
		q.Proves.Clauses, q.Refutes.Clauses = append(q.Proves.Clauses, n), append(q.Refutes.Clauses, n)
	}
	return q, nil
}

// Level says which witness answers the query: one that violates the property as its type has
// it, in real numbers or as executed.
func Level(q *vnnlib.Query) func(*audit.Witness) bool {
	if q.Input.Type == "real" {
		return func(w *audit.Witness) bool { return w.Exact == audit.Violated }
	}
	return func(w *audit.Witness) bool { return w.Executed == audit.Violated }
}

// Values names the inputs of a witness and its executed outputs, as the file numbers them.
func (s *Questions) Values(w *audit.Witness) (names []string, values []float32) {
	for k := range w.X {
		names, values = append(names, fmt.Sprintf("%s_%d", s.input, k)), append(values, w.X[s.at(k)])
	}
	for k, z := range s.outputs(w.Z) {
		names, values = append(names, fmt.Sprintf("%s_%d", s.output, k)), append(values, z)
	}
	return names, values
}

// outputs are what the file of the network makes of the model's, to show them: nothing is
// decided by a softmax.
func (s *Questions) outputs(z []float32) []float32 {
	if s.end == "" {
		return z
	}
	largest, sum := slices.Max(z), 0.0
	for _, v := range z {
		sum += math.Exp(float64(v) - float64(largest))
	}
	out := make([]float32, len(z))
	for k, v := range z {
		log := float64(v) - float64(largest) - math.Log(sum)
		if out[k] = float32(log); s.end == "Softmax" {
			out[k] = float32(math.Exp(log))
		}
	}
	return out
}
