package bench

import (
	"cmp"
	"slices"
	"strings"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Subject is a network to time.
type Subject struct {
	Name  string // in the names of rows, where blanks become underlines
	Path  string // file that the processes of Options.Edge load; "": one is made
	Model *model.Model
}

// callOverhead is a network of two multiply-adds: what it costs to call each
// runtime at all.
const callOverhead = "call-overhead"

// subjects are the networks to time, each compiled once for a kernel set.
type subjects struct {
	list     []Subject
	compiled map[subjectKey]*net.Network
}

type subjectKey struct {
	subject int
	isa     *kernels.ISA
	variant string
}

// newSubjects checks the networks, or takes the presets and, for a comparison of
// runtimes, the overhead of a call.
func newSubjects(list []Subject, overhead bool) (*subjects, error) {
	s := &subjects{compiled: map[subjectKey]*net.Network{}}
	if len(list) == 0 {
		return s, s.addPresets(overhead)
	}
	for _, one := range list {
		one.Name = strings.Join(strings.Fields(one.Name), "_")
		if slices.ContainsFunc(s.list, func(o Subject) bool { return o.Name == one.Name }) {
			return nil, optionError("model", "two models are called %s", one.Name)
		}
		if n := one.Model.Arch.Classes(); n < 2 {
			return nil, optionError("model", "%s has %d output, want at least 2 classes", cmp.Or(one.Path, one.Name), n)
		}
		s.list = append(s.list, one)
	}
	return s, nil
}

func (s *subjects) addPresets(overhead bool) error {
	for _, name := range model.Presets() {
		arch, err := model.Preset(name)
		if err != nil {
			return err
		}
		if err := s.addRandom(name, arch); err != nil {
			return err
		}
	}
	if !overhead {
		return nil
	}
	return s.addRandom(callOverhead, &model.Architecture{
		Name: callOverhead, Input: model.Shape{C: 1, H: 1, W: 1}, Layers: []model.Layer{{Kind: model.FC, Out: 2}},
	})
}

func (s *subjects) addRandom(name string, arch *model.Architecture) error {
	m, err := model.Random(arch, 1)
	if err == nil {
		s.list = append(s.list, Subject{Name: name, Model: m})
	}
	return err
}

// net compiles subject i, once for a kernel set and variant.
func (s *subjects) net(i int, isa *kernels.ISA, variant string) (*net.Network, error) {
	key := subjectKey{i, isa, variant}
	if n, ok := s.compiled[key]; ok {
		return n, nil
	}
	o := net.Options{ISA: isa.Name(), Backward: true, Winograd: variant == winograd}
	if variant == singles {
		o = net.Options{ISA: isa.Name(), Batches: net.SmallBatches}
	}
	n, err := net.Compile(s.list[i].Model, o)
	if err == nil {
		s.compiled[key] = n
	}
	return n, err
}
