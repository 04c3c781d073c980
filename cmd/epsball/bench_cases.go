package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Kinds of rows.
const (
	kindPass   = "pass"   // PASS/NET/bBATCH/tTHREADS
	kindLayer  = "layer"  // layer/OPERATION/NET/LAYER/bBATCH/tTHREADS
	kindKernel = "kernel" // kernel/OPERATION/LEVEL/tTHREADS
	kindEdge   = "edge"   // edge/NET/b1/tTHREADS
)

const (
	direct   = "" // the variant that rows are named after
	winograd = "winograd"
	singles  = "singles" // compiled for single images alone: no variant of a row
)

// benchCase is a row before it is measured.
type benchCase struct {
	kind, name string
	group      string // its name without threads and variant: cases of a group take turns
	variant    string // suffix of the name: winograd, another runtime, or none
	isa        *kernels.ISA
	batch      int // 0 for kernels
	threads    int
	flop       float64     // of one run
	bytes      float64     // of one run: compulsory traffic
	level      memoryLevel // kernels alone
	subject    int         // --edge alone: index of the model
	prepare    func(context.Context) (*task, error)
}

// task is a case ready to run.
type task struct {
	run  func()
	pool *kernels.Pool
}

// subjects are the models to time, each compiled once for a kernel set.
type subjects struct {
	names    []string
	specs    []string // where they come from; "": random weights
	models   []*model.Model
	compiled map[subjectKey]*net.Network
}

type subjectKey struct {
	model   int
	isa     *kernels.ISA
	variant string
}

func (s *subjects) net(i int, isa *kernels.ISA, variant string) (*net.Network, error) {
	key := subjectKey{i, isa, variant}
	if n, ok := s.compiled[key]; ok {
		return n, nil
	}
	o := net.Options{ISA: isa.Name(), Backward: true, Winograd: variant == winograd}
	if variant == singles {
		o = net.Options{ISA: isa.Name(), Batches: net.SmallBatches}
	}
	n, err := net.Compile(s.models[i], o)
	if err == nil {
		s.compiled[key] = n
	}
	return n, err
}

// loadSubjects loads the models, by default the presets with random weights.
func (a *app) loadSubjects(specs []string) (*subjects, error) {
	s := &subjects{compiled: map[subjectKey]*net.Network{}}
	for _, spec := range specs {
		m, err := a.loadModel(spec)
		if err != nil {
			return nil, err
		}
		name := strings.Join(strings.Fields(modelName(spec)), "_") // rows are words
		if slices.Contains(s.names, name) {
			return nil, fmt.Errorf("--model: two models are called %s", name)
		}
		if n := m.Arch.Classes(); n < 2 {
			return nil, fmt.Errorf("--model: %s has %d output, want at least 2 classes", spec, n)
		}
		s.names, s.specs, s.models = append(s.names, name), append(s.specs, spec), append(s.models, m)
	}
	if len(specs) > 0 {
		return s, nil
	}
	for _, name := range model.Presets() {
		arch, err := model.Preset(name)
		if err != nil {
			return nil, err
		}
		m, err := model.Random(arch, 1)
		if err != nil {
			return nil, err
		}
		s.names, s.specs, s.models = append(s.names, name), append(s.specs, ""), append(s.models, m)
	}
	return s, nil
}

// cases lists the rows that the flags ask for, those of a group together.
func (b *bench) cases(re *regexp.Regexp) ([]benchCase, error) {
	f := b.flags
	if f.edge {
		return b.edgeCases(re)
	}
	all, err := b.passCases(f.winograd)
	if err != nil {
		return nil, err
	}
	name := all[0].name
	list := matching(re, all)
	other := len(list) == 0 && !f.winograd && !f.layers && !f.kernels // the filter may mean something else
	if other {
		if all, err = b.passCases(true); err != nil {
			return nil, err
		}
		list = matching(re, all)
	}
	if f.layers || other {
		if all, err = b.layerCases(); err != nil {
			return nil, err
		}
		list = append(list, matching(re, all)...)
	}
	if f.kernels || other {
		list = append(list, matching(re, b.kernelCases())...)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--filter: %q matches no row; one is called %s", f.filter, name)
	}
	return list, nil
}

func matching(re *regexp.Regexp, list []benchCase) []benchCase {
	return slices.DeleteFunc(list, func(c benchCase) bool { return !re.MatchString(c.name) })
}

// expand appends one case for each number of threads, kernel set and variant.
func (b *bench) expand(list []benchCase, group string, variants []string, newCase func(threads int, isa *kernels.ISA, variant string) benchCase) []benchCase {
	for _, t := range b.threads {
		for _, isa := range b.isas {
			for _, v := range variants {
				c := newCase(t, isa, v)
				c.group, c.threads, c.isa, c.variant = group, t, isa, v
				c.name = fmt.Sprintf("%s/t%d", group, t)
				if v != direct {
					c.name += "/" + v
				}
				list = append(list, c)
			}
		}
	}
	return list
}

func (b *bench) passCases(withWinograd bool) ([]benchCase, error) {
	var list []benchCase
	for i, name := range b.subjects.names {
		n, err := b.subjects.net(i, b.isas[0], direct)
		if err != nil {
			return nil, err
		}
		for p := range passes {
			variants := []string{direct}
			if withWinograd && passes[p].winograd && usesWinograd(n) {
				variants = append(variants, winograd)
			}
			for _, batch := range b.flags.batches {
				group := fmt.Sprintf("%s/%s/b%d", passes[p].name, name, batch)
				list = b.expand(list, group, variants, func(threads int, isa *kernels.ISA, variant string) benchCase {
					return benchCase{
						kind: kindPass, batch: batch,
						flop:  passes[p].flops * float64(n.MACs()) * float64(batch),
						bytes: passes[p].traffic(n, batch),
						prepare: func(ctx context.Context) (*task, error) {
							n, err := b.subjects.net(i, isa, variant)
							if err != nil {
								return nil, err
							}
							return passes[p].task(ctx, n, batch, threads)
						},
					}
				})
			}
		}
	}
	return list, nil
}

// usesWinograd tells whether net.Options.Winograd makes a difference.
func usesWinograd(n *net.Network) bool {
	return slices.ContainsFunc(n.Layers(), func(l net.Affine) bool { return l.Winograd() })
}

// task makes a batch for the pass.
func (p *pass) task(ctx context.Context, n *net.Network, batch, threads int) (*task, error) {
	w, err := newWorkload(ctx, n, batch, threads)
	if err != nil {
		return nil, err
	}
	run, err := p.prepare(w)
	if err != nil {
		w.pool.Close()
		return nil, err
	}
	return &task{run, w.pool}, nil
}
