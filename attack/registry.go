package attack

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/net"
)

// Kind is an entry of a Registry.
type Kind struct {
	Name  string
	About string
	New   func() Settings
}

// Settings are the settings of a method that is being read: a pointer to the method.
type Settings interface {
	Fields() []Field
	Method() Method
}

// Registry knows methods by name. Append your own methods to it.
type Registry []Kind

// Builtin returns the methods of this package.
func Builtin() Registry {
	return Registry{
		// In a ball.
		{"auto", "AutoAttack: apgd-ce, apgd-t, fab-t and square, each on what is left", func() Settings { return new(Auto) }},
		{"fast", "about as strong as auto, at a fraction of its cost", func() Settings { return new(Fast) }},
		{"fgsm", "one step along the sign of the gradient", func() Settings { return new(FGSM) }},
		{"rfgsm", "a random step, then one along the sign of the gradient", func() Settings { return new(RFGSM) }},
		{"bim", "small steps along the sign of the gradient, from the image", func() Settings { return new(BIM) }},
		{"pgd", "projected gradient steps from random starts", func() Settings { return new(PGD) }},
		{"mifgsm", "steps along gathered gradients (momentum)", func() Settings { return new(MIFGSM) }},
		{"nifgsm", "the same with Nesterov's momentum", func() Settings { return new(NIFGSM) }},
		{"pifgsm", "long steps that spread what overshoots over patches", func() Settings { return new(PIFGSM) }},
		{"apgd", "PGD with momentum that halves its steps when they stop helping", func() Settings { return new(APGD) }},
		{"fab", "steps to the nearest class boundary; smallest distance", func() Settings { return new(FAB) }},
		{"fab-t", "FAB with targets: one gradient a step; smallest distance", func() Settings { return new(FABT) }},
		{"bisect", "PGD in balls that shrink and grow; smallest distance", func() Settings { return new(Bisect) }},
		{"hopskipjump", "labels alone: gradients from samples; smallest distance", func() Settings { return new(HopSkipJump) }},
		{"boundary", "labels alone: a walk along the boundary; smallest distance", func() Settings { return new(Boundary) }},
		{"apgd-ce", "apgd on the cross-entropy", func() Settings { return &apgdOf{APGD{Loss: net.CrossEntropy}, []string{"loss"}} }},
		{"apgd-dlr", "apgd on the difference of logits ratio", func() Settings { return &apgdOf{APGD{Loss: net.DLR}, []string{"loss"}} }},
		{"apgd-t", "apgd on that ratio towards the nine most likely wrong classes", func() Settings {
			return &apgdOf{APGD{Loss: net.DLR, Targets: 9}, []string{"loss", "targeted"}}
		}},
		{"noise", "random points of the ball, without gradients", func() Settings { return new(Noise) }},
		{"square", "random search with squares, without gradients", func() Settings { return new(Square) }},
		{"sparse-rs", "random search for a few pixels, without gradients (l0)", func() Settings { return new(SparseRS) }},
		{"spatial", "rotations and translations, without gradients", func() Settings { return new(Spatial) }},
		{"universal", "one perturbation for all images", func() Settings { return new(Universal) }},

		// The smallest distance.
		{"deepfool", "smallest distance: steps across the nearest boundary of the linearised network", func() Settings { return new(DeepFool) }},
		{"cw", "smallest L2 distance: Adam on distance and loss, weighed by bisection", func() Settings { return new(CW) }},
		{"ddn", "smallest L2 distance: steps on spheres that shrink and grow", func() Settings { return new(DDN) }},
		{"fmn", "smallest distance: steps in balls that shrink and grow", func() Settings { return new(FMN) }},
		{"ead", "smallest L1 distance: the elastic net, by FISTA", func() Settings { return new(EAD) }},
	}
}

// Names lists the methods.
func (r Registry) Names() []string {
	names := make([]string, len(r))
	for i, k := range r {
		names[i] = k.Name
	}
	return names
}

// Parse reads the textual form of a method, such as "fgsm", "pgd:steps=40,restarts=5"
// or "apgd:loss=dlr,targeted". Method.String writes it.
func Parse(text string) (Method, error) { return Builtin().Parse(text) }

// Parse is the same for the methods of r.
func (r Registry) Parse(text string) (Method, error) {
	s, err := ParseSpec(text)
	if err != nil {
		return nil, err
	}
	return r.Make(s)
}

// Make returns the method that s describes. The error of an option wraps an *OptionError.
func (r Registry) Make(s Spec) (Method, error) {
	at := slices.Index(r.Names(), s.Name)
	if at < 0 {
		return nil, fmt.Errorf("attack %q: want one of %s", s.Name, strings.Join(r.Names(), ", "))
	}
	m := r[at].New()
	if err := s.Set(m.Fields()); err != nil {
		return nil, fmt.Errorf("attack %w", err)
	}
	return m.Method(), nil
}

// Set gives fields the values of the options of s. Its error is an *OptionError.
func (s Spec) Set(fields []Field) error {
	for _, o := range s.Options {
		f := slices.IndexFunc(fields, func(f Field) bool { return f.Name == o.Name })
		if f < 0 {
			var known []string
			for _, f := range fields {
				known = append(known, f.Name)
			}
			return &OptionError{s.Name, o, known, fmt.Errorf("%w, want one of %s", ErrUnknownOption, strings.Join(known, ", "))}
		}
		if err := fields[f].set(o.Value); err != nil {
			return &OptionError{s.Name, o, nil, err}
		}
	}
	return nil
}

// OptionError is the error of an option that a method does not have, or of a value that
// the option cannot have.
type OptionError struct {
	Method string
	Option Option
	Known  []string // those that the method has, if it has not this one
	Err    error
}

// ErrUnknownOption is the cause of the OptionError of an option that the method does
// not have.
var ErrUnknownOption = errors.New("unknown option")

func (e *OptionError) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.Method, e.Option.Name, e.Err)
}

func (e *OptionError) Unwrap() error { return e.Err }

// Spec is the textual form of a method, split into its parts:
//
//	name[:option[=value][,option[=value]]…]
//
// An option without value is true.
type Spec struct {
	Name    string
	Options []Option
}

// Option is one setting in a Spec.
type Option struct{ Name, Value string }

// ParseSpec splits a textual form into its parts, whether or not such a method exists.
func ParseSpec(text string) (Spec, error) {
	s, err := SplitSpec(text, "pgd", "steps=40", "restarts=5")
	if err != nil {
		err = fmt.Errorf("attack %w", err)
	}
	return s, err
}

// SplitSpec is ParseSpec for what has the same textual form and is no attack. Its errors
// show a name and options as an example.
func SplitSpec(text, like string, options ...string) (Spec, error) {
	name, rest, more := strings.Cut(strings.TrimSpace(text), ":")
	s := Spec{Name: name}
	if name == "" || more && rest == "" {
		return s, fmt.Errorf("%q: want a name, or a name and options such as %s:%s", text, like, strings.Join(options, ","))
	}
	if !more {
		return s, nil
	}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, given := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case key == "" || given && value == "":
			return s, fmt.Errorf("%q: option %q, want one such as %s", text, part, options[0])
		case s.Has(key):
			return s, fmt.Errorf("%q: option %s is given twice", text, key)
		case !given:
			value = "true"
		}
		s.Options = append(s.Options, Option{key, value})
	}
	return s, nil
}

// Has reports whether the form names the option.
func (s Spec) Has(option string) bool {
	return slices.ContainsFunc(s.Options, func(o Option) bool { return o.Name == option })
}

// With returns s with one more option.
func (s Spec) With(option, value string) Spec {
	s.Options = append(slices.Clip(s.Options), Option{option, value})
	return s
}

// String returns the textual form.
func (s Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	for i, o := range s.Options {
		b.WriteByte(":,"[min(i, 1)])
		b.WriteString(o.Name)
		if o.Value != "true" {
			b.WriteString("=" + o.Value)
		}
	}
	return b.String()
}
