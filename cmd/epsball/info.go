package main

import (
	"runtime"
	"slices"

	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info [MODEL]",
		Short: "Show the CPU, the kernel sets and the built-in models, or what a model holds",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneArg("MODEL")(c, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.modelInfo(args[0])
			}
			r, err := a.info()
			if err != nil {
				return err
			}
			return a.report(r)
		},
	}
}

func (a *app) info() (*report.Info, error) {
	r := &report.Info{
		Envelope: a.envelope("info"),
		Version:  version(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: machine.CPUName(), Features: cpuid.CPU.FeatureSet(), Cores: runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0), Caches: caches(),
		Models: []report.Network{}, Presets: []report.Network{},
	}
	r.ISA, r.Threads = a.isa.Name(), a.threads
	slices.Sort(r.Features)
	for _, i := range kernels.Available() {
		r.ISAs = append(r.ISAs, i.Name())
	}
	for _, name := range a.models.names() {
		m, err := a.loadModel(builtinPrefix + name)
		if err != nil {
			return nil, err
		}
		i := report.Describe(name, &m.Arch)
		i.Hash, i.Card = m.Hash(), m.Card
		r.Models = append(r.Models, i)
	}
	for _, name := range model.Presets() {
		arch, err := model.Preset(name)
		if err != nil {
			return nil, err
		}
		r.Presets = append(r.Presets, report.Describe(name, arch))
	}
	return r, nil
}

func (a *app) modelInfo(spec string) error {
	m, err := a.loadModel(spec)
	if err != nil {
		return err
	}
	r := &report.ModelInfo{Envelope: a.envelope("info"), Network: report.Describe(m.Arch.Name, &m.Arch), Bytes: m.Bytes()}
	r.Hash, r.Card = m.Hash(), m.Card
	r.Epsball.Models = []report.Model{{Name: modelName(spec), Hash: r.Hash}}
	if r.Weights, err = report.StoredLayers(m); err != nil {
		return err
	}
	return a.report(r)
}

// caches lists the data caches of one core whose size is known.
func caches() []report.Cache {
	list := []report.Cache{}
	for _, c := range machine.Caches() {
		list = append(list, report.Cache(c))
	}
	return list
}
