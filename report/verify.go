package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/epsball/epsball/internal/show"
)

// Verify is the result of verify.
type Verify struct {
	Envelope
	Property string   `json:"property"` // the file
	Verdict  string   `json:"verdict"`  // unsat, sat, unknown or timeout
	Seconds  float64  `json:"seconds"`
	By       string   `json:"by,omitempty"` // what decided
	Low      *float32 `json:"low"`          // lower bound of the property where it is open; null: none
	Parts    int      `json:"parts"`        // bounded by branch and bound
	Open     int      `json:"open"`         // of them

	// Tensors are those that the query declares, inputs first, where the command was given
	// in the form of VNN-LIB 2. Its text is then that of the standard.
	Tensors []VerifyTensor `json:"tensors,omitempty"`

	// Witness, if there is one, violates the property at the levels named.
	Witness *VerifyWitness `json:"witness"`
}

// VerifyTensor is a variable of a query.
type VerifyTensor struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

// VerifyWitness is an input and the outputs there, in the order of the property's file.
type VerifyWitness struct {
	Names    []string  `json:"names"`
	Values   []float32 `json:"values"`   // inputs, then outputs as executed
	Exact    string    `json:"exact"`    // what real numbers say of the property: violated, holds or undecided
	Executed string    `json:"executed"` // and execution in float32
	Rounded  int       `json:"rounded"`  // inputs whose range holds no float32: these are the nearest
}

func (*Verify) kind() Kind { return KindVerify }

// Text returns the verdict, and after sat the witness: as an S-expression, as VNN-COMP has
// it, or in the form of VNN-LIB 2.0.
func (r *Verify) Text() string {
	if r.Tensors != nil {
		return r.standard()
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.Verdict)
	if w := r.Witness; w != nil && r.Verdict == "sat" {
		for i, name := range w.Names {
			open, end := " ", ""
			if i == 0 {
				open = "("
			}
			if i == len(w.Names)-1 {
				end = ")"
			}
			fmt.Fprintf(&b, "%s(%s %s)%s\n", open, name, number(w.Values[i]), end)
		}
	}
	return b.String()
}

func number(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }

// standard is the text of VNN-LIB 2.0, section "Output of the verify command".
func (r *Verify) standard() string {
	if r.Verdict == "timeout" {
		return "timed-out\n"
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.Verdict)
	if r.Witness == nil || r.Verdict != "sat" {
		return b.String()
	}
	values := r.Witness.Values
	for _, t := range r.Tensors {
		size := 1
		var dims []string
		for _, d := range t.Shape {
			size *= d
			dims = append(dims, strconv.Itoa(d))
		}
		fmt.Fprintf(&b, "%s %s [%s]\n", t.Name, t.Type, strings.Join(dims, ","))
		for _, v := range values[:min(size, len(values))] {
			fmt.Fprintln(&b, number(v))
		}
		values = values[min(size, len(values)):]
	}
	return b.String()
}

// Summary says in a line how the verdict came about.
func (r *Verify) Summary() string {
	s := fmt.Sprintf("%s in %s", r.Verdict, show.Seconds(r.Seconds))
	if r.By != "" {
		s += ", by " + r.By
	}
	if r.Parts > 0 {
		s += fmt.Sprintf(", %d parts", r.Parts)
	}
	if r.Verdict != "sat" && r.Verdict != "unsat" && r.Low != nil {
		s += fmt.Sprintf(", %d open, lower bound %.4g", r.Open, *r.Low)
	}
	if w := r.Witness; w != nil {
		s += fmt.Sprintf("; witness: %s in real numbers, %s in float32", w.Exact, w.Executed)
		if w.Rounded > 0 {
			s += fmt.Sprintf(", %s rounded to float32", show.Count(w.Rounded, "input"))
		}
	}
	return s
}
