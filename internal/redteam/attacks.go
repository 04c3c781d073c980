package redteam

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// lengths are step sizes and the like: tiny, usual and huge.
var lengths = []string{"1e-45", "1e-9", "0.01", "0.1", "3", "1e30"}

// values are what Attack draws an option from, by its name in the textual form. They are
// small where they are numbers of steps, so that a run is quick.
var values = map[string][]string{
	"steps": {"1", "2", "5", "9"}, "restarts": {"1", "2", "3"}, "step-size": lengths,
	"random-start": {"true", "false"}, "targeted": {"true", "false"}, "targets": {"1", "2", "5"},
	"loss": {"ce", "margin", "dlr"}, "seed": {"1", "2", "3", "18446744073709551615"},
	"alpha": lengths, "decay": {"0.1", "0.9", "1"}, "amplification": {"1e-300", "1", "3", "1e300"},
	"l1-share": {"1e-9", "0.05", "0.5", "1"}, "rho": {"0.01", "0.5", "1"}, "stages": {"true", "false"},
	"alpha-max": {"0.01", "0.2", "1"}, "eta": {"1", "1.05", "2"}, "beta": {"0.01", "0.7", "1"}, "stop": {"true", "false"},
	"probes": {"1", "2", "5"}, "first": lengths,
	"evals": {"1", "4", "9"}, "max-evals": {"9", "20"}, "queries": {"1", "20", "60"},
	"spherical-step": {"0.01", "0.5", "1"}, "source-step": {"0.01", "0.5", "1"},
	"kind": {"uniform", "gaussian"}, "draws": {"1", "4"}, "p-init": {"0.05", "0.5", "1"}, "alpha-init": {"0.05", "0.5", "1"},
	"rotation": {"1e-9", "30", "180"}, "translation": {"1e-9", "1", "50"}, "rotations": {"1", "3"}, "translations": {"1", "2"}, "random": {"1", "8"},
	"epochs": {"1", "3"}, "batch": {"1", "7", "30"}, "height": {"1e-9", "1", "1e30"},
	"candidates": {"1", "3"}, "overshoot": {"1e-9", "0.02", "1e30"},
	"searches": {"1", "3", "12"}, "rate": {"1e-9", "0.01", "1", "1e30"}, "weight": {"1e-9", "0.1", "1e30"}, "abort-early": {"true", "false"},
	"gamma": {"0.01", "0.5", "1"}, "init-norm": {"1e-9", "0.3", "1e30"}, "elastic-net": {"true", "false"},
	"proofs":  {"true", "false"},
	"version": {"standard"}, // the other is for targets that draw
}

// needed are options whose default takes long.
var needed = []string{"steps", "queries", "searches", "epochs", "draws", "rotations", "translations", "random", "evals", "max-evals", "targets"}

// Attack draws the textual form of an attack with these options. Some combinations are
// not valid. It panics if it has no values for an option: give it some.
func Attack(name string, options []string, r *rand.Rand) string {
	var set []string
	for _, o := range options {
		v, ok := values[o]
		if !ok {
			panic("redteam: no values for option " + o + " of attack " + name)
		}
		if slices.Contains(needed, o) || r.IntN(2) == 0 {
			set = append(set, o+"="+v[r.IntN(len(v))])
		}
	}
	if len(set) == 0 {
		return name
	}
	return name + ":" + strings.Join(set, ",")
}
