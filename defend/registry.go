package defend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/attack"
)

// Kind is an entry of a Registry.
type Kind struct {
	Name  string
	About string
	New   func() Settings
}

// Settings are the settings of a defence that is being read: a pointer to the defence.
type Settings interface {
	Fields() []attack.Field
	Defence() Defence
}

// Registry knows defences by name. Append your own defences to it.
type Registry []Kind

// Builtin returns the defences of this package.
func Builtin() Registry {
	return Registry{
		{"bits", "rounds pixels to fewer bits", func() Settings { return new(Bits) }},
		{"median", "the median of the pixels around", func() Settings { return new(Median) }},
		{"gaussian", "a mean of the pixels around, by a Gaussian", func() Settings { return new(Gaussian) }},
		{"jpeg", "compresses and decompresses the image", func() Settings { return new(JPEG) }},
		{"tv", "the image of little total variation that is near", func() Settings { return new(TV) }},
		{"resize-pad", "shrinks the image to a random size, and puts it at a random place", func() Settings { return new(ResizePad) }},
		{"noise", "adds Gaussian noise", func() Settings { return new(Noise) }},
	}
}

// Names lists the defences.
func (r Registry) Names() []string {
	names := make([]string, len(r))
	for i, k := range r {
		names[i] = k.Name
	}
	return names
}

// Parse reads the textual form of a chain of defences, such as "jpeg:quality=75" or
// "median:size=3+bits:depth=4". Chain.String writes it.
func Parse(text string) (Chain, error) { return Builtin().Parse(text) }

// Parse is the same for the defences of r.
func (r Registry) Parse(text string) (Chain, error) {
	var c Chain
	for part := range strings.SplitSeq(text, "+") {
		d, err := r.parse(part)
		if err != nil {
			return nil, fmt.Errorf("defence %w", err)
		}
		c = append(c, d)
	}
	return c, nil
}

func (r Registry) parse(text string) (Defence, error) {
	s, err := attack.SplitSpec(text, "jpeg", "quality=75")
	if err != nil {
		return nil, err
	}
	at := slices.Index(r.Names(), s.Name)
	if at < 0 {
		return nil, fmt.Errorf("%q: want one of %s", s.Name, strings.Join(r.Names(), ", "))
	}
	d := r[at].New()
	if err := s.Set(d.Fields()); err != nil {
		return nil, err
	}
	return d.Defence(), nil
}
