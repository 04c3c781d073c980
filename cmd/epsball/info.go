package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

type infoReport struct {
	Version    string      `json:"version"`
	Go         string      `json:"go"`
	OS         string      `json:"os"`
	Arch       string      `json:"arch"`
	CPU        string      `json:"cpu"`
	Features   []string    `json:"features"`
	Cores      int         `json:"cores"` // logical
	GOMAXPROCS int         `json:"gomaxprocs"`
	Threads    int         `json:"threads"`
	Caches     []cache     `json:"caches"`
	ISA        string      `json:"isa"`
	ISAs       []string    `json:"isas"`
	Models     []modelInfo `json:"models"`
	Presets    []modelInfo `json:"presets"`
}

type cache struct {
	Level string `json:"level"`
	Bytes int    `json:"bytes"`
}

type modelInfo struct {
	Name       string            `json:"name"`
	Input      string            `json:"input"`
	Classes    int               `json:"classes"`
	Parameters int64             `json:"parameters"`
	MACs       int64             `json:"macs"`
	Hash       string            `json:"hash,omitempty"`
	Card       map[string]string `json:"card,omitempty"`
}

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
			return a.print(r, func() string { return infoTable(r) })
		},
	}
}

func (a *app) info() (*infoReport, error) {
	r := &infoReport{
		Version: version(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: machine.CPUName(), Features: cpuid.CPU.FeatureSet(), Cores: runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0), Threads: a.threads, Caches: caches(), ISA: a.isa.Name(),
		Models: []modelInfo{}, Presets: []modelInfo{},
	}
	slices.Sort(r.Features)
	for _, i := range kernels.Available() {
		r.ISAs = append(r.ISAs, i.Name())
	}
	for _, name := range a.models.names() {
		m, err := a.loadModel(builtinPrefix + name)
		if err != nil {
			return nil, err
		}
		i := describe(name, &m.Arch)
		i.Hash, i.Card = m.Hash(), m.Card
		r.Models = append(r.Models, i)
	}
	for _, name := range model.Presets() {
		arch, err := model.Preset(name)
		if err != nil {
			return nil, err
		}
		r.Presets = append(r.Presets, describe(name, arch))
	}
	return r, nil
}

// modelReport is what info says of one model.
type modelReport struct {
	modelInfo
	Bytes   int           `json:"weight_bytes"`
	Weights []storedLayer `json:"weights"`
}

func (a *app) modelInfo(spec string) error {
	m, err := a.loadModel(spec)
	if err != nil {
		return err
	}
	r := &modelReport{modelInfo: describe(m.Arch.Name, &m.Arch), Bytes: m.Bytes()}
	r.Hash, r.Card = m.Hash(), m.Card
	if r.Weights, err = storedLayers(m); err != nil {
		return err
	}
	return a.print(r, func() string { return modelText(r) })
}

func modelText(r *modelReport) string {
	pairs := []string{
		"name", or(r.Name, "–"), "input", r.Input, "outputs", strconv.Itoa(r.Classes), "parameters", fmt.Sprint(r.Parameters),
		"multiply-adds", fmt.Sprint(r.MACs), "weights", bytesText(r.Bytes), "hash", r.Hash,
	}
	for _, k := range slices.Sorted(maps.Keys(r.Card)) {
		pairs = append(pairs, k, oneLine(r.Card[k]))
	}
	t := newTable("weight", "kind", "shape", "type", "layout", "size")
	for _, w := range r.Weights {
		t.AppendRow([]any{w.Tensor, w.Kind, dims(w.Shape), w.Type, w.Layout, bytesText(w.Bytes)})
	}
	return facts(pairs...) + "\n" + render(t)
}

func describe(name string, arch *model.Architecture) modelInfo {
	return modelInfo{
		Name: name, Input: arch.Input.String(), Classes: arch.Classes(),
		Parameters: arch.Parameters(), MACs: arch.MACs(),
	}
}

// caches lists the data caches of one core whose size is known.
func caches() []cache {
	list := []cache{}
	for _, c := range machine.Caches() {
		list = append(list, cache(c))
	}
	return list
}

// kernelFeatures are those of interest to kernels; there are a hundred others.
var kernelFeatures = []string{
	"AVX", "AVX2", "FMA3", "F16C", "AVXVNNI", "AVXVNNIINT8", "AMXTILE", "AMXINT8", "AMXBF16",
	"ASIMD", "ASIMDHP", "ASIMDDP", "FP", "SVE", "SVE2", "SME",
}

func infoTable(r *infoReport) string {
	var features, cacheSizes []string
	for _, f := range r.Features {
		if slices.Contains(kernelFeatures, f) || strings.HasPrefix(f, "AVX512") {
			features = append(features, f)
		}
	}
	for _, c := range r.Caches {
		cacheSizes = append(cacheSizes, c.Level+" "+bytesText(c.Bytes))
	}
	var sets []string
	for _, name := range r.ISAs {
		if name == r.ISA {
			name += " (chosen)"
		}
		sets = append(sets, name)
	}
	out := facts(
		"epsball", fmt.Sprintf("%s, %s, %s/%s", r.Version, r.Go, r.OS, r.Arch),
		"cpu", fmt.Sprintf("%s, %s", r.CPU, count(r.Cores, "logical core")),
		"features", or(strings.Join(features, " "), "–"),
		"caches", or(strings.Join(cacheSizes, ", "), "unknown"),
		"kernels", strings.Join(sets, ", "),
		"threads", fmt.Sprintf("%d (GOMAXPROCS %d)", r.Threads, r.GOMAXPROCS),
	)
	t := newTable("preset", "input", "classes", "parameters", "multiply-adds")
	for _, p := range r.Presets {
		t.AppendRow([]any{p.Name, p.Input, p.Classes, p.Parameters, p.MACs})
	}
	out += "\n" + render(t)
	if len(r.Models) > 0 {
		t := newTable("built-in model", "parameters", "multiply-adds", "method", "ε", "clean", "PGD", "certified")
		for _, m := range r.Models {
			row := []any{builtinPrefix + m.Name, m.Parameters, m.MACs}
			for _, key := range []string{cardMethod, cardEps, cardClean, cardPGD, cardCertified} {
				row = append(row, cardText(key, m.Card[key]))
			}
			t.AppendRow(row)
		}
		out += "\n" + render(t)
	}
	return out
}

// cardText formats an entry of a card, accuracies as percentages.
func cardText(key, v string) string {
	if f, err := strconv.ParseFloat(v, 64); err == nil && slices.Contains([]string{cardClean, cardPGD, cardCertified}, key) {
		return percent(f)
	}
	return or(v, "–")
}

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func bytesText(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.4g KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
