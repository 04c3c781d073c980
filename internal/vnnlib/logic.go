package vnnlib

import "strings"

// Support lists, for each set of theories of VNN-LIB 2 (chapter "Theories and Logics"),
// those whose queries this package reads completely. More of LIN is read: linear
// constraints on outputs, and those on inputs that bound one of them. So are files of
// version 2.1, but for its new word.
type Support struct {
	First, Last                                                   Version
	HiddenNodes, InputsOutputs, Networks, Comparisons, Arithmetic []string
	Types                                                         []string
}

// Supported returns what is read, the least first.
func Supported() Support {
	return Support{
		First:         Version{1, 0},
		Last:          Version{2, 0},
		HiddenNodes:   []string{"NH"},
		InputsOutputs: []string{"SIO"},
		Networks:      []string{"SNET"},
		Comparisons:   []string{"SNC"},
		Arithmetic:    []string{"BND", "OUTC"},
		Types:         append([]string(nil), types...),
	}
}

// Logic returns what q needs in the same terms, as "NH-SNET-SIO-SNC-OUTC-FLOAT32". Its
// arithmetic is that of the normal form: BND compares an output with a number, OUTC also
// two outputs, and LIN is any other sum.
func (q *Query) Logic() string {
	arithmetic := "BND"
	for _, c := range q.Cases {
		for _, d := range c.Disjuncts {
			for _, k := range d {
				switch k.shape() {
				case "":
					arithmetic = "LIN"
				case "compare":
					if arithmetic == "BND" {
						arithmetic = "OUTC"
					}
				}
			}
		}
	}
	logic := "NH-SNET-SIO-SNC-" + arithmetic + "-" + strings.ToUpper(q.Input.Type)
	if q.Output.Type != q.Input.Type {
		logic += "-" + strings.ToUpper(q.Output.Type)
	}
	return logic
}

// Compares reports whether c says which of two outputs is larger, and no more.
func (c Constraint) Compares() bool { return c.shape() == "compare" }

// shape is "at most" and "at least" for an output and a number, "compare" for y[i] ≤ y[j]
// and "" for others.
func (c Constraint) shape() string {
	unit := func(i, sign int) bool {
		k := c.Terms[i].Coef
		return k.IsInt() && k.Num().IsInt64() && k.Num().Int64() == int64(sign)
	}
	switch {
	case len(c.Terms) == 1 && unit(0, 1):
		return "at most"
	case len(c.Terms) == 1 && unit(0, -1):
		return "at least"
	case len(c.Terms) == 2 && c.Bound.Sign() == 0 && (unit(0, 1) && unit(1, -1) || unit(0, -1) && unit(1, 1)):
		return "compare"
	}
	return ""
}
