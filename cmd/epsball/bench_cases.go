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
)

// benchCase is a row before it is measured.
type benchCase struct {
	kind, name string
	group      string // its name without the threads: cases of a group take turns
	isa        *kernels.ISA
	batch      int // 0 for kernels
	threads    int
	flop       float64     // of one run
	bytes      float64     // of one run: compulsory traffic
	level      memoryLevel // kernels alone
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
	models   []*model.Model
	compiled map[subjectKey]*net.Network
}

type subjectKey struct {
	model int
	isa   *kernels.ISA
}

func (s *subjects) net(i int, isa *kernels.ISA) (*net.Network, error) {
	key := subjectKey{i, isa}
	if n, ok := s.compiled[key]; ok {
		return n, nil
	}
	n, err := net.Compile(s.models[i], net.Options{ISA: isa.Name(), Backward: true})
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
		s.names, s.models = append(s.names, name), append(s.models, m)
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
		s.names, s.models = append(s.names, name), append(s.models, m)
	}
	return s, nil
}

// cases lists the rows that the flags ask for, those of a group together.
func (b *bench) cases(re *regexp.Regexp) ([]benchCase, error) {
	passes, err := b.passCases()
	if err != nil {
		return nil, err
	}
	list := matching(re, passes)
	other := len(list) == 0 && !b.flags.layers && !b.flags.kernels // the filter may mean something else
	if b.flags.layers || other {
		c, err := b.layerCases()
		if err != nil {
			return nil, err
		}
		list = append(list, matching(re, c)...)
	}
	if b.flags.kernels || other {
		list = append(list, matching(re, b.kernelCases())...)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--filter: %q matches no row; one is called %s", b.flags.filter, passes[0].name)
	}
	return list, nil
}

func matching(re *regexp.Regexp, list []benchCase) []benchCase {
	return slices.DeleteFunc(list, func(c benchCase) bool { return !re.MatchString(c.name) })
}

// variants appends one case for each number of threads and kernel set.
func (b *bench) variants(list []benchCase, group string, make func(threads int, isa *kernels.ISA) benchCase) []benchCase {
	for _, t := range b.threads {
		for _, isa := range b.isas {
			c := make(t, isa)
			c.name, c.group, c.threads, c.isa = fmt.Sprintf("%s/t%d", group, t), group, t, isa
			list = append(list, c)
		}
	}
	return list
}

func (b *bench) passCases() ([]benchCase, error) {
	var list []benchCase
	for i, name := range b.subjects.names {
		n, err := b.subjects.net(i, b.isas[0])
		if err != nil {
			return nil, err
		}
		for p := range passes {
			for _, batch := range b.flags.batches {
				group := fmt.Sprintf("%s/%s/b%d", passes[p].name, name, batch)
				list = b.variants(list, group, func(threads int, isa *kernels.ISA) benchCase {
					return benchCase{
						kind: kindPass, batch: batch,
						flop:  passes[p].flops * float64(n.MACs()) * float64(batch),
						bytes: passes[p].traffic(n, batch),
						prepare: func(ctx context.Context) (*task, error) {
							return b.preparePass(ctx, &passes[p], i, isa, batch, threads)
						},
					}
				})
			}
		}
	}
	return list, nil
}

func (b *bench) preparePass(ctx context.Context, p *pass, model int, isa *kernels.ISA, batch, threads int) (*task, error) {
	n, err := b.subjects.net(model, isa)
	if err != nil {
		return nil, err
	}
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
