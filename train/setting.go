package train

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Setting describes a value in Config: a number, a choice between names, or a flag.
type Setting struct {
	Field string            // its name in JSON and in errors
	Flag  string            // its name on the command line
	Usage string            // what it is, in a few words
	Group string            // of settings that belong together; empty for those of methods
	Of    func(*Config) any // where it is: an *int, *float64, *[]float64, *string or *bool

	Choices []string // of a *string; the first one is what an empty string stands for
	Quiet   bool     // command lines in model cards leave it out while it has the method's default

	min, max float64 // of numbers, and of each in a list
	above    bool    // min itself is not allowed

	// The setting of which it is a detail, and those of its choices that it goes with.
	of    *Setting
	where []string
}

// Methods lists the objectives.
func Methods() []Method {
	var list []Method
	for _, o := range objectives {
		list = append(list, o.name)
	}
	return list
}

// ParseMethod returns the objective of that name.
func ParseMethod(s string) (Method, error) {
	if m := Method(s); slices.Contains(Methods(), m) {
		return m, nil
	}
	return "", fmt.Errorf("method: got %q, want one of %v", s, Methods())
}

// About says in a few words what m minimises.
func (m Method) About() string {
	if o := objectiveOf(m); o != nil {
		return o.about
	}
	return ""
}

// Radius reports whether m trains at a radius: Config.TrainEps and its schedule.
func (m Method) Radius() bool {
	o := objectiveOf(m)
	return o != nil && o.radius()
}

// Bounds reports whether m trains on interval bounds, which Config.Winograd does
// not go with.
func (m Method) Bounds() bool {
	o := objectiveOf(m)
	return o != nil && o.needs.boxes != nil
}

// Value returns the setting's value in c: an int, float64, []float64, string or bool.
func (s *Setting) Value(c *Config) any {
	switch p := s.Of(c).(type) {
	case *int:
		return *p
	case *float64:
		return *p
	case *[]float64:
		return *p
	case *string:
		return s.choice(c)
	case *bool:
		return *p
	}
	panic("train: a setting of another type")
}

// choice returns the name chosen in c.
func (s *Setting) choice(c *Config) string {
	if p := s.Of(c).(*string); *p != "" {
		return *p
	}
	return s.Choices[0]
}

// Text returns the setting's value in c as a command line spells it.
func (s *Setting) Text(c *Config) string {
	list, ok := s.Value(c).([]float64)
	if !ok {
		return fmt.Sprint(s.Value(c))
	}
	var words []string
	for _, v := range list {
		words = append(words, fmt.Sprint(v))
	}
	return strings.Join(words, ",")
}

// Copy gives dst the setting of src.
func (s *Setting) Copy(dst, src *Config) {
	switch p := s.Of(dst).(type) {
	case *int:
		*p = *s.Of(src).(*int)
	case *float64:
		*p = *s.Of(src).(*float64)
	case *[]float64:
		*p = slices.Clone(*s.Of(src).(*[]float64))
	case *string:
		*p = *s.Of(src).(*string)
	case *bool:
		*p = *s.Of(src).(*bool)
	}
}

// check refuses a value out of range, and one that another setting makes pointless.
func (s *Setting) check(c *Config) error {
	v := s.Value(c)
	if s.of != nil && s.Text(c) != s.Text(&Config{}) && !slices.Contains(s.where, s.of.Text(c)) {
		return fieldErr(s.Field, v, "it unset: it goes with %s %s, not %s", s.of.Flag, strings.Join(s.where, " and "), s.of.Text(c))
	}
	switch v := v.(type) {
	case int:
		return s.checkNumber(float64(v))
	case float64:
		return s.checkNumber(v)
	case []float64:
		for _, v := range v {
			if err := s.checkNumber(v); err != nil {
				return err
			}
		}
	case string:
		if !slices.Contains(s.Choices, v) {
			return fieldErr(s.Field, strconv.Quote(v), "one of %s", strings.Join(s.Choices, ", "))
		}
	}
	return nil
}

func (s *Setting) checkNumber(v float64) error {
	if s.above && !(v > s.min && v <= s.max) { // NaN too
		return fieldErr(s.Field, v, "above %s, at most %s", plain(s.min), plain(s.max))
	}
	return inRange(s.Field, v, s.min, s.max)
}

func inRange(field string, v, lo, hi float64) error {
	if !(v >= lo && v <= hi) { // NaN too
		return fieldErr(field, v, "%s … %s", plain(lo), plain(hi))
	}
	return nil
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
