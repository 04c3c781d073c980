package attack

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/epsball/epsball/net"
)

// Field is a setting of a method: its name in the textual form, and where its value is
// kept.
type Field struct {
	Name  string
	About string // for people: what it is, and its default

	get   func() string // "": the default, which the textual form leaves out
	set   func(value string) error
	check func() error
	usual int // of a Count
}

// maxCount bounds numbers of steps and runs: beyond is a mistake.
const maxCount = 1 << 20

// Count is a field for a number of steps, runs or queries. *p is 0 for its default,
// usual.
func Count(name, about string, p *int, usual int) Field {
	return CountTo(name, about, p, usual, maxCount)
}

// CountTo is a field for a whole number from 1 to most. *p is 0 for its default, usual.
func CountTo(name, about string, p *int, usual, most int) Field {
	limits := fmt.Sprintf("want 1 … %d", most)
	return Field{
		Name: name, About: fmt.Sprintf("%s (default %d)", about, usual), usual: usual,
		get: func() string {
			if *p == 0 || *p == usual {
				return ""
			}
			return strconv.Itoa(*p)
		},
		set: func(v string) (err error) {
			if *p, err = strconv.Atoi(v); err != nil || *p < 1 || *p > most {
				return fmt.Errorf("got %s, %s", v, limits)
			}
			return nil
		},
		check: func() error {
			if *p < 0 || *p > most {
				return fmt.Errorf("got %d, %s, or 0 for %d", *p, limits, usual)
			}
			return nil
		},
	}
}

// Shown is the field with its default in the textual form.
func (f Field) Shown(value string) Field {
	get := f.get
	f.get = func() string {
		if v := get(); v != "" {
			return v
		}
		return value
	}
	return f
}

// Length is a field for a length in pixel units, a decimal or a fraction; *p is 0 for
// its default.
func Length(name, about string, p *float64) Field {
	return Field{
		Name: name, About: about,
		get: func() string {
			if *p == 0 {
				return ""
			}
			return strconv.FormatFloat(*p, 'g', -1, 64)
		},
		set: func(v string) error {
			e, err := net.ParseEpsilon(v)
			if err != nil || !(e.Float64() > 0) {
				return fmt.Errorf("got %s, want a decimal such as 0.02 or a fraction such as 2/255, above 0", v)
			}
			*p = e.Float64()
			return nil
		},
		check: func() error {
			if !(*p >= 0) || math.IsInf(*p, 0) {
				return fmt.Errorf("got %v, want a finite value ≥ 0", *p)
			}
			return nil
		},
	}
}

// Share is a field for a number in (0, 1]. *p is 0 for its default, usual.
func Share(name, about string, p *float64, usual float64) Field {
	return number(name, about, p, usual, "want a number above 0, at most 1", "", func(v float64) bool { return v > 0 && v <= 1 })
}

// Positive is a field for a finite number above 0. *p is 0 for its default, usual.
func Positive(name, about string, p *float64, usual float64) Field {
	return number(name, about, p, usual, "want a finite number above 0", fmt.Sprintf(", or 0 for %v", usual),
		func(v float64) bool { return v > 0 && !math.IsInf(v, 0) })
}

// number is a field for a number that ok accepts; limits says which, orZero what else the
// struct may hold. *p is 0 for its default, usual.
func number(name, about string, p *float64, usual float64, limits, orZero string, ok func(v float64) bool) Field {
	return Field{
		Name: name, About: fmt.Sprintf("%s (default %v)", about, usual),
		get: func() string {
			if *p == 0 || *p == usual {
				return ""
			}
			return strconv.FormatFloat(*p, 'g', -1, 64)
		},
		set: func(v string) (err error) {
			if *p, err = strconv.ParseFloat(v, 64); err != nil || !ok(*p) {
				return fmt.Errorf("got %s, %s", v, limits)
			}
			return nil
		},
		check: func() error {
			if *p != 0 && !ok(*p) {
				return fmt.Errorf("got %v, %s%s", *p, limits, orZero)
			}
			return nil
		},
	}
}

// Flag is a field that is true or false. If it is usually true, *p holds the opposite,
// so that false is the default of both: it is inverse.
func Flag(name, about string, p *bool, inverse bool) Field {
	return Field{
		Name: name, About: about,
		get: func() string {
			if !*p {
				return ""
			}
			return strconv.FormatBool(!inverse)
		},
		set: func(v string) error {
			switch v {
			case "true":
				*p = !inverse
			case "false":
				*p = inverse
			default:
				return fmt.Errorf("got %s, want true or false", v)
			}
			return nil
		},
		check: func() error { return nil },
	}
}

// Choice is a field for one of a few words. *p is empty for the first, the default.
func Choice(name, about string, p *string, words ...string) Field {
	limits := "want one of " + strings.Join(words, ", ")
	return Field{
		Name: name, About: fmt.Sprintf("%s: %s (default %s)", about, strings.Join(words, ", "), words[0]),
		get: func() string {
			if *p == words[0] {
				return ""
			}
			return *p
		},
		set: func(v string) error {
			if !slices.Contains(words, v) {
				return fmt.Errorf("got %s, %s", v, limits)
			}
			*p = v
			return nil
		},
		check: func() error {
			if *p != "" && !slices.Contains(words, *p) {
				return fmt.Errorf("got %q, %s", *p, limits)
			}
			return nil
		},
	}
}

// Loss is a field for the loss that an attack climbs.
func Loss(p *net.Loss) Field {
	return Field{
		Name: "loss", About: "what it climbs: " + strings.Join(net.Losses(), ", ") + " (default ce)",
		get: func() string {
			if *p == net.CrossEntropy || *p < 0 || *p > net.DLR {
				return ""
			}
			return p.String()
		},
		set: func(v string) (err error) {
			if *p, err = net.ParseLoss(v); err != nil {
				return fmt.Errorf("got %s, want one of %s", v, strings.Join(net.Losses(), ", "))
			}
			return nil
		},
		check: func() error {
			if *p < net.CrossEntropy || *p > net.DLR {
				return fmt.Errorf("got %d, want one of %s", int(*p), strings.Join(net.Losses(), ", "))
			}
			return nil
		},
	}
}

// Seed is the field for what selects the random numbers.
func Seed(p *uint64) Field {
	return Field{
		Name: "seed", About: "picks the random numbers (default 0)",
		get: func() string {
			if *p == 0 {
				return ""
			}
			return strconv.FormatUint(*p, 10)
		},
		set: func(v string) (err error) {
			if *p, err = strconv.ParseUint(v, 10, 64); err != nil {
				return fmt.Errorf("got %s, want a whole number ≥ 0", v)
			}
			return nil
		},
		check: func() error { return nil },
	}
}

// Text is the textual form of a method with these fields.
func Text(name string, fields []Field) string {
	s := Spec{Name: name}
	for _, f := range fields {
		if v := f.get(); v != "" {
			s.Options = append(s.Options, Option{f.Name, v})
		}
	}
	return s.String()
}

// CheckFields returns the error of the first field whose value no method can have.
func CheckFields(fields []Field) error {
	for _, f := range fields {
		if err := f.check(); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// checkClimb is what all methods check that climb a loss by gradient, in one of norms.
func checkClimb(fields []Field, b net.Ball, classes int, p Plan, norms ...net.Norm) error {
	if err := checkNorm(b, norms...); err != nil {
		return err
	}
	if err := CheckFields(fields); err != nil {
		return err
	}
	if p.Restarts > 1 && !p.RandomStart && !p.Targeted {
		return errors.New("restarts: " + strconv.Itoa(p.Restarts) + " of an attack that always starts at the image repeat one run; want a random start")
	}
	if classes < 2 {
		return fmt.Errorf("network: %d output, want at least 2 classes", classes)
	}
	return nil
}

// NormError is the error of a method that does not have the norm of the ball.
type NormError struct {
	Norm net.Norm
	Want []net.Norm
}

func (e *NormError) Error() string { return fmt.Sprintf("norm %v: want %s", e.Norm, e.List()) }

// List names the norms that the method has.
func (e *NormError) List() string {
	var want []string
	for _, n := range e.Want {
		want = append(want, n.String())
	}
	return strings.Join(want, " or ")
}

// checkNorm returns a NormError if the norm of the ball is none of those.
func checkNorm(b net.Ball, want ...net.Norm) error {
	if slices.Contains(want, b.Norm) {
		return nil
	}
	return &NormError{b.Norm, want}
}
