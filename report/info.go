package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/epsball/epsball/internal/show"
)

// Info is the result of info: the machine, the program and what is built in.
type Info struct {
	Envelope
	Version    string    `json:"version"`
	Go         string    `json:"go"`
	OS         string    `json:"os"`
	Arch       string    `json:"arch"`
	CPU        string    `json:"cpu"`
	Features   []string  `json:"features"`
	Cores      int       `json:"cores"` // logical
	GOMAXPROCS int       `json:"gomaxprocs"`
	Caches     []Cache   `json:"caches"`
	ISAs       []string  `json:"isas"` // kernel sets of this machine
	Models     []Network `json:"models"`
	Presets    []Network `json:"presets"`
}

// Cache is a data cache of one core.
type Cache struct {
	Level string `json:"level"`
	Bytes int    `json:"bytes"`
}

// Keys of the card of a trained model.
const (
	CardCommand     = "command"
	CardMethod      = "method"
	CardEps         = "eps"
	CardNorm        = "norm" // of the balls; linf if there is none
	CardSeed        = "seed"
	CardEpochs      = "epochs"
	CardInit        = "init" // hash of the model that training started from, if not random
	CardTestData    = "test_data"
	CardTestN       = "test_n"
	CardClean       = "clean"
	CardPGD         = "pgd"
	CardCertified   = "certified"
	CardHistory     = "history"     // a History
	CardOverfitting = "overfitting" // what was seen of catastrophic overfitting; empty: nothing
)

func (*Info) kind() Kind { return KindInfo }

// kernelFeatures are those of interest to kernels; there are a hundred others.
var kernelFeatures = []string{
	"AVX", "AVX2", "FMA3", "F16C", "AVXVNNI", "AVXVNNIINT8", "AMXTILE", "AMXINT8", "AMXBF16",
	"ASIMD", "ASIMDHP", "ASIMDDP", "FP", "SVE", "SVE2", "SME",
}

// Text returns the machine, the architectures and the models with their cards.
func (r *Info) Text() string {
	var features, cacheSizes, sets []string
	for _, f := range r.Features {
		if slices.Contains(kernelFeatures, f) || strings.HasPrefix(f, "AVX512") {
			features = append(features, f)
		}
	}
	for _, c := range r.Caches {
		cacheSizes = append(cacheSizes, c.Level+" "+show.Bytes(c.Bytes))
	}
	for _, name := range r.ISAs {
		if name == r.ISA {
			name += " (chosen)"
		}
		sets = append(sets, name)
	}
	sizes := strings.Join(cacheSizes, ", ")
	if sizes == "" {
		sizes = "unknown"
	}
	out := show.Facts(
		"epsball", fmt.Sprintf("%s, %s, %s/%s", r.Version, r.Go, r.OS, r.Arch),
		"cpu", fmt.Sprintf("%s, %s", r.CPU, show.Count(r.Cores, "logical core")),
		"features", show.Or(strings.Join(features, " ")),
		"caches", sizes,
		"kernels", strings.Join(sets, ", "),
		"threads", fmt.Sprintf("%d (GOMAXPROCS %d)", r.Threads, r.GOMAXPROCS),
	)
	t := show.Table("preset", "input", "classes", "parameters", "multiply-adds")
	for _, p := range r.Presets {
		t.AppendRow([]any{p.Name, p.Input, p.Classes, p.Parameters, p.MACs})
	}
	out += "\n" + show.Render(t)
	if len(r.Models) > 0 {
		t := show.Table("built-in model", "parameters", "multiply-adds", "method", "ε", "clean", "PGD", "certified")
		for _, m := range r.Models {
			row := []any{"builtin:" + m.Name, m.Parameters, m.MACs}
			for _, key := range []string{CardMethod, CardEps, CardClean, CardPGD, CardCertified} {
				row = append(row, cardText(key, m.Card[key]))
			}
			t.AppendRow(row)
		}
		out += "\n" + show.Render(t)
	}
	return out
}

// cardText formats an entry of a card, accuracies as percentages.
func cardText(key, v string) string {
	if f, err := strconv.ParseFloat(v, 64); err == nil && slices.Contains([]string{CardClean, CardPGD, CardCertified}, key) {
		return show.Percent(f)
	}
	return show.Or(v)
}
