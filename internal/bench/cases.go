package bench

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

const (
	direct   = "" // the variant that rows are named after
	winograd = "winograd"
	singles  = "singles" // compiled for single images alone: no variant of a row
)

// benchCase is a row before it is measured.
type benchCase struct {
	kind    report.RowKind
	name    string
	group   string // its name without threads and variant: cases of a group take turns
	variant string // suffix of the name: winograd, another runtime, or none
	isa     *kernels.ISA
	batch   int // 0 for kernels
	threads int
	flop    float64       // of one run
	bytes   float64       // of one run: compulsory traffic
	level   machine.Level // kernels alone
	subject int           // --edge alone: index of the model
	prepare func(context.Context) (*task, error)
}

// task is a case ready to run.
type task struct {
	run  func()
	pool *kernels.Pool
}

// cases lists the rows that are asked for, those of a group together.
func (b *bench) cases() ([]benchCase, error) {
	re, err := regexp.Compile(b.Filter)
	if err != nil {
		return nil, &OptionError{"filter", err}
	}
	if b.Edge {
		return b.edgeCases(re)
	}
	all, err := b.passCases(b.Winograd)
	if err != nil {
		return nil, err
	}
	name := all[0].name
	list := matching(re, all)
	other := len(list) == 0 && !b.Winograd && !b.Layers && !b.Kernels // the filter may mean something else
	if other {
		if all, err = b.passCases(true); err != nil {
			return nil, err
		}
		list = matching(re, all)
	}
	if b.Layers || other {
		if all, err = b.layerCases(); err != nil {
			return nil, err
		}
		list = append(list, matching(re, all)...)
	}
	if b.Kernels || other {
		list = append(list, matching(re, b.kernelCases())...)
	}
	if len(list) == 0 {
		return nil, b.noRow(name)
	}
	return list, nil
}

func (b *bench) noRow(name string) error {
	return optionError("filter", "%q matches no row; one is called %s", b.Filter, name)
}

func matching(re *regexp.Regexp, list []benchCase) []benchCase {
	return slices.DeleteFunc(list, func(c benchCase) bool { return !re.MatchString(c.name) })
}

// expand appends one case for each number of threads, kernel set and variant.
func (b *bench) expand(list []benchCase, group string, variants []string, newCase func(threads int, isa *kernels.ISA, variant string) benchCase) []benchCase {
	for _, t := range b.threads {
		for _, isa := range b.ISAs {
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
	for i := range b.subjects.list {
		name := b.subjects.list[i].Name
		n, err := b.subjects.net(i, b.ISAs[0], direct)
		if err != nil {
			return nil, err
		}
		for p := range passes {
			variants := []string{direct}
			if withWinograd && passes[p].winograd && usesWinograd(n) {
				variants = append(variants, winograd)
			}
			for _, batch := range b.Batches {
				group := fmt.Sprintf("%s/%s/b%d", passes[p].name, name, batch)
				list = b.expand(list, group, variants, func(threads int, isa *kernels.ISA, variant string) benchCase {
					return benchCase{
						kind: report.RowPass, batch: batch,
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

// usesWinograd reports whether net.Options.Winograd makes a difference.
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
