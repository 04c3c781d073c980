package report

import "fmt"

// Defence is what stands in front of a network that is attacked; empty: nothing.
type Defence struct {
	Defence  string `json:"defence,omitempty"`          // its textual form, which --defence takes
	Gradient string `json:"defence_gradient,omitempty"` // how the attack sees it: bpda, exact or naive
	EOT      int    `json:"eot,omitempty"`              // draws that a step averages; 0: no random numbers
}

// text says the same in a line; empty: nothing.
func (d *Defence) text() string {
	if d.Defence == "" {
		return ""
	}
	s := d.Defence + ", gradient " + d.Gradient
	if d.EOT > 0 {
		s += fmt.Sprintf(", eot %d", d.EOT)
	}
	return s
}

// line is text as a line under a table.
func (d *Defence) line() string {
	if s := d.text(); s != "" {
		return "defence: " + s + "\n"
	}
	return ""
}
