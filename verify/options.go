package verify

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/net"
)

// Method is a way to bound a network, the cheaper and looser first.
type Method int

const (
	MethodIBP        Method = iota // intervals alone (Gowal et al. 2018)
	MethodCROWNIBP                 // intervals, and linear bounds of the property (Zhang et al. 2020)
	MethodCROWN                    // linear bounds of every unstable neuron (Zhang et al. 2018; DeepPoly, Singh et al. 2019)
	MethodAlphaCROWN               // the same with optimised slopes (Xu et al. 2021)

	// MethodBaB is branch and bound, which package branch does. A Verifier refuses it.
	MethodBaB
)

// Methods lists the names ParseMethod knows.
func Methods() []string { return []string{"ibp", "crown-ibp", "crown", "alpha-crown"} }

func (m Method) String() string {
	if m == MethodBaB {
		return "bab"
	}
	return Methods()[m]
}

// ParseMethod returns the method of the given name.
func ParseMethod(name string) (Method, error) {
	for i, s := range Methods() {
		if s == name {
			return Method(i), nil
		}
	}
	return 0, fmt.Errorf("method %q: want one of %s", name, strings.Join(Methods(), ", "))
}

// Options say how one call verifies, and what.
type Options struct {
	Method Method

	// Ladder tries the cheaper methods first and takes the next one only for what is
	// not certified yet. Slopes are optimised only until that is proved.
	Ladder bool

	// Iterations is the number of gradient steps of MethodAlphaCROWN; 0 means 20.
	Iterations int

	// RowsOnly makes MethodAlphaCROWN optimise the slopes for the rows of the property
	// alone, intermediate bounds being those of MethodCROWN. It is faster, less tight,
	// and what a certificate can state.
	RowsOnly bool

	// Property is what to prove of the outputs; nil: that the label's logit is larger
	// than every other. Labels are not used with it.
	Property *Property
}

// Validate names the first field that makes no sense for a network with that number
// of outputs.
func (o *Options) Validate(outputs int) error {
	if o.Method < MethodIBP || o.Method > MethodAlphaCROWN {
		return fmt.Errorf("method %d: want one of %s", int(o.Method), strings.Join(Methods(), ", "))
	}
	if o.Iterations < 0 || o.Iterations > 1e6 {
		return fmt.Errorf("iterations: got %d, want 0 … 1000000", o.Iterations)
	}
	if o.Property != nil {
		return o.Property.Validate(outputs)
	}
	if outputs < 2 {
		return fmt.Errorf("network: %d outputs, want at least 2 classes or a property", outputs)
	}
	return nil
}

// steps returns the number of gradient steps that the method m takes.
func (o *Options) steps(m Method) int {
	switch {
	case m < MethodAlphaCROWN:
		return 0
	case o.Iterations == 0:
		return 20
	}
	return o.Iterations
}

// checkBall refuses balls that bounds do not know.
func checkBall(b net.Ball) error {
	if b.Norm == net.L0 {
		return fmt.Errorf("norm %v: has no bounds, want linf, l2 or l1", b.Norm)
	}
	return b.Validate()
}
