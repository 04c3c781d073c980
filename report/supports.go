package report

import (
	"fmt"
	"strings"
)

// Supports is the result of supports: what queries and networks verify takes, in the words
// of the standard VNN-LIB 2.0.
type Supports struct {
	Envelope
	Capabilities []Capability `json:"capabilities"` // the one asked for, or all
}

// Capability is one of the standard's.
type Capability struct {
	Name   string   `json:"name"` // such as onnx-operators
	Values []string `json:"values"`
}

func (*Supports) kind() Kind { return KindSupports }

// Text has a line for each value, as the standard wants it of one capability; of several,
// each has a heading.
func (r *Supports) Text() string {
	var b strings.Builder
	for i, c := range r.Capabilities {
		if len(r.Capabilities) > 1 {
			if i > 0 {
				fmt.Fprintln(&b)
			}
			fmt.Fprintf(&b, "%s:\n", c.Name)
		}
		for _, v := range c.Values {
			fmt.Fprintln(&b, v)
		}
	}
	return b.String()
}
