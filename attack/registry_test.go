package attack

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/net"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Method{
		"fgsm": FGSM{},
		"fgsm:random-start,step-size=2/255,restarts=3,seed=18446744073709551615": FGSM{RandomStart: true, StepSize: 2.0 / 255, Restarts: 3, Seed: 1<<64 - 1},
		"pgd":                        PGD{},
		" pgd:steps=40, restarts=5 ": PGD{Steps: 40, Restarts: 5},
		"pgd:random-start=false,targeted,restarts=9,loss=margin": PGD{FixedStart: true, Targeted: true, Restarts: 9, Loss: net.Margin},
		"pgd:step-size=1e-3,random-start=true,targeted=false":    PGD{StepSize: 1e-3},
		"apgd:steps=100,restarts=5,rho=0.75":                     APGD{Steps: 100, Restarts: 5, Rho: 0.75},
		"apgd:loss=dlr,targeted":                                 APGD{Loss: net.DLR, Targeted: true},

		"apgd-ce:restarts=5,stages":    APGD{Restarts: 5, Stages: true},
		"apgd-dlr:targeted":            APGD{Loss: net.DLR, Targeted: true},
		"apgd-t":                       APGD{Loss: net.DLR, Targets: 9},
		"apgd-t:targets=5,steps=20":    APGD{Loss: net.DLR, Targets: 5, Steps: 20},
		"pgd:l1-share=0.05":            PGD{L1Share: 0.05},
		"rfgsm:alpha=4/255,restarts=2": RFGSM{Alpha: 4.0 / 255, Restarts: 2},
		"bim":                          BIM{},
		"bim:steps=20,step-size=0.01,loss=margin":                  BIM{Steps: 20, StepSize: 0.01, Loss: net.Margin},
		"mifgsm:steps=20,decay=0.5":                                MIFGSM{Steps: 20, Decay: 0.5},
		"nifgsm:targeted,restarts=9":                               NIFGSM{Targeted: true, Restarts: 9},
		"pifgsm:amplification=2.5":                                 PIFGSM{Amplification: 2.5},
		"noise:kind=gaussian,draws=1000,seed=2":                    Noise{Kind: "gaussian", Draws: 1000, Seed: 2},
		"square:queries=200,restarts=2,p-init=0.3,targeted,seed=4": Square{Queries: 200, Restarts: 2, PInit: 0.3, Targeted: true, Seed: 4},
		"fab:steps=50,restarts=3,stop":                             FAB{Steps: 50, Restarts: 3, Stop: true},
		"fab-t:targets=4,alpha-max=0.2,eta=1.1,beta=0.8":           FABT{Targets: 4, AlphaMax: 0.2, Eta: 1.1, Beta: 0.8},
		"bisect:first=8/255,probes=9,loss=margin,seed=1":           Bisect{First: 8.0 / 255, Probes: 9, Loss: net.Margin, Seed: 1},
		"hopskipjump:queries=5000,evals=50,max-evals=800":          HopSkipJump{Queries: 5000, Evals: 50, MaxEvals: 800},
		"boundary:steps=999,spherical-step=0.1,restarts=2":         Boundary{Steps: 999, Spherical: 0.1, Restarts: 2},
		"boundary:source-step=0.5,queries=1000":                    Boundary{Source: 0.5, Queries: 1000},

		"deepfool":                                             DeepFool{},
		"deepfool:candidates=3,overshoot=0.1":                  DeepFool{Candidates: 3, Overshoot: 0.1},
		"cw:steps=200,searches=4,rate=0.05":                    CW{Steps: 200, Searches: 4, Rate: 0.05},
		"cw:weight=0.5,abort-early=false":                      CW{Weight: 0.5, AllSteps: true},
		"ddn:gamma=0.1,init-norm=0.5,seed=3":                   DDN{Gamma: 0.1, InitNorm: 0.5, Seed: 3},
		"ddn:targeted,restarts=9":                              DDN{Targeted: true, Restarts: 9},
		"fmn:steps=30,alpha=10,gamma=0.01,seed=1":              FMN{Steps: 30, Alpha: 10, Gamma: 0.01, Seed: 1},
		"ead:beta=0.001,rate=0.02,weight=1":                    EAD{Beta: 0.001, Rate: 0.02, Weight: 1},
		"ead:elastic-net,abort-early=false":                    EAD{ElasticNet: true, AllSteps: true},
		"sparse-rs:queries=50,alpha-init=0.5,restarts=2":       SparseRS{Queries: 50, AlphaInit: 0.5, Restarts: 2},
		"spatial:rotation=15,translation=1.5,random=10,seed=3": Spatial{Rotation: 15, Translation: 1.5, Random: 10, Seed: 3},
		"universal:epochs=3,batch=8,step-size=1/255,height=2":  Universal{Epochs: 3, Batch: 8, StepSize: 1.0 / 255, Height: 2},
	} {
		m, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, m)
		again, err := Parse(m.String())
		require.NoError(t, err, m.String())
		require.Equal(t, m.String(), again.String())
	}
	for m, want := range map[Method]string{
		FGSM{}: "fgsm",
		PGD{}:  "pgd:steps=40",
		APGD{}: "apgd:steps=100",

		Square{}:                                                            "square:queries=5000",
		SparseRS{AlphaInit: 0.3, Seed: 1}:                                   "sparse-rs:queries=10000,seed=1",
		Spatial{Rotations: 31, Translations: 7}:                             "spatial:translations=7",
		Universal{Batch: 64, Loss: net.Margin}:                              "universal:loss=margin",
		Square{Queries: 9, PInit: 0.8, Restarts: 3}:                         "square:queries=9,restarts=3",
		PGD{Steps: 7, StepSize: 0.025, Restarts: 1, Loss: net.DLR, Seed: 3}: "pgd:steps=7,step-size=0.025,loss=dlr,seed=3",
		PGD{FixedStart: true, Targeted: true, Restarts: 2}:                  "pgd:steps=40,restarts=2,random-start=false,targeted",
		APGD{Rho: 0.5, Restarts: 5}:                                         "apgd:steps=100,restarts=5,rho=0.5",

		APGD{Loss: net.DLR, Targets: 9, Stages: true}:        "apgd:steps=100,targets=9,stages,loss=dlr",
		NIFGSM{Steps: 10, Decay: 0.5}:                        "nifgsm:decay=0.5",
		Noise{Kind: "uniform"}:                               "noise",
		PIFGSM{Amplification: 10, Steps: 5}:                  "pifgsm:steps=5",
		FAB{}:                                                "fab:steps=100",
		FABT{Targets: 9, Eta: 1.05}:                          "fab-t:steps=100",
		FABT{Targets: 3, Restarts: 2, Stop: true, Beta: 0.5}: "fab-t:steps=100,targets=3,restarts=2,beta=0.5,stop",
		Bisect{}:                                      "bisect:steps=40",
		HopSkipJump{Queries: 3000}:                    "hopskipjump:steps=64,queries=3000",
		Boundary{Steps: 25000, Seed: 2}:               "boundary:steps=25000,seed=2",
		APGD{Loss: net.DLR, Targets: 9, Stages: true}: "apgd:steps=100,targets=9,stages,loss=dlr",
		NIFGSM{Steps: 10, Decay: 0.5}:                 "nifgsm:decay=0.5",
		Noise{Kind: "uniform"}:                        "noise",
		PIFGSM{Amplification: 10, Steps: 5}:           "pifgsm:steps=5",

		DeepFool{}: "deepfool:steps=50",
		CW{}:       "cw:steps=10000,searches=9",
		DDN{}:      "ddn:steps=100",
		FMN{}:      "fmn:steps=100",
		EAD{}:      "ead:steps=1000,searches=9",
		EAD{Searches: 3, ElasticNet: true, AllSteps: true}: "ead:steps=1000,searches=3,elastic-net,abort-early=false",
	} {
		require.Equal(t, want, m.String())
	}
	names := Builtin().Names()
	require.Equal(t, []string{"auto", "fast", "fgsm", "rfgsm"}, names[:4])
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), len(names), "a name is there twice")
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "want a name",
		"pgd:":                   "want a name, or a name and options",
		"bin":                    `attack "bin": want one of auto, fast, fgsm, rfgsm`,
		"apgd-t:loss=ce":         "attack apgd-t: loss: unknown option, want one of steps, restarts, rho, targets, stages, seed",
		"apgd-ce:loss=dlr":       "attack apgd-ce: loss: unknown option",
		"apgd-t:targets=0":       "targets: got 0, want 1 …",
		"noise:kind=grain":       "attack noise: kind: got grain, want one of uniform, gaussian",
		"noise:steps=3":          "attack noise: steps: unknown option, want one of kind, draws, seed",
		"pifgsm:amplification=0": "amplification: got 0, want a finite number above 0",
		"mifgsm:decay=0":         "decay: got 0, want a number above 0, at most 1",
		"pgd:steps=1,steps=2":    "option steps is given twice",
		"pgd:steps=":             `option "steps="`,
		"pgd:,":                  `option ""`,
		"pgd:momentum=1":         "attack pgd: momentum: unknown option, want one of steps, step-size, restarts, random-start, targeted, l1-share, loss, seed",
		"fgsm:steps=1":           "attack fgsm: steps: unknown option",
		"pgd:steps=0":            "attack pgd: steps: got 0, want 1 … 1048576",
		"pgd:steps=2000000":      "steps: got 2000000",
		"pgd:steps=x":            "steps: got x",
		"pgd:steps":              "steps: got true",
		"pgd:step-size=0":        "step-size: got 0, want a decimal such as 0.02 or a fraction such as 2/255, above 0",
		"pgd:step-size=NaN":      "step-size: got NaN",
		"pgd:targeted=yes":       "targeted: got yes, want true or false",
		"pgd:loss=hinge":         "loss: got hinge, want one of ce, margin, dlr",
		"pgd:seed=-1":            "seed: got -1, want a whole number ≥ 0",
		"apgd:rho=0":             "rho: got 0, want a number above 0, at most 1",
		"apgd:rho=NaN":           "rho: got NaN",
		"apgd:step-size=2/255":   "attack apgd: step-size: unknown option, want one of steps, restarts, rho",
		"apgd:steps=40=restart":  "steps: got 40=restart",

		"square:p-init=1.5": "attack square: p-init: got 1.5, want a number above 0, at most 1",
		"square:steps=5":    "attack square: steps: unknown option, want one of queries, restarts, p-init, targeted, seed",

		"fab:eta=0.9":              "attack fab: eta: got 0.9, want a number from 1 to 2",
		"fab:targets=3":            "attack fab: targets: unknown option, want one of steps, restarts, alpha-max, eta, beta, stop, seed",
		"fab-t:targets=0":          "attack fab-t: targets: got 0, want 1",
		"fab-t:beta=2":             "beta: got 2, want a number above 0, at most 1",
		"bisect:first=0":           "first: got 0, want a decimal",
		"bisect:step-size=1":       "step-size: unknown option",
		"hopskipjump:evals=x":      "evals: got x",
		"boundary:source-step=NaN": "source-step: got NaN",

		"cw:rate=0":          "attack cw: rate: got 0, want a finite number above 0",
		"cw:loss=ce":         "attack cw: loss: unknown option, want one of steps, searches, rate, weight, abort-early, restarts, targeted",
		"ddn:gamma=1.5":      "attack ddn: gamma: got 1.5, want a number above 0, at most 1",
		"ddn:init-norm=+Inf": "attack ddn: init-norm: got +Inf, want a finite number above 0",
		"ead:elastic-net=1":  "attack ead: elastic-net: got 1, want true or false",
		"deepfool:targeted":  "attack deepfool: targeted: unknown option, want one of steps, candidates, overshoot",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, "text %q", text)
	}
}

// TestRegistryIsOpen: a method of one's own is read by the same words.
func TestRegistryIsOpen(t *testing.T) {
	r := append(Builtin(), Kind{"shrink", "for tests", func() Settings { return new(shrinkSettings) }})
	m, err := r.Parse("shrink:steps=3,seed=4")
	require.NoError(t, err)
	require.Equal(t, shrink{3, 4}, m)
	_, err = r.Parse("shrunk")
	require.ErrorContains(t, err, "want one of auto, fast, fgsm, rfgsm")
	require.ErrorContains(t, err, ", shrink")
	require.Equal(t, len(r)-1, len(Builtin()))
}

type shrinkSettings struct{ m shrink }

func (s *shrinkSettings) Fields() []Field {
	return []Field{Count("steps", "steps", &s.m.steps, 20), Seed(&s.m.seed)}
}
func (s *shrinkSettings) Method() Method { return s.m }

// FuzzParse: whatever is read is written so that it is read again as the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"fgsm:random-start", "pgd:steps=3,step-size=1/3,seed=9", "apgd:rho=1e-3,loss=dlr,targeted", "pgd:a=b=c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(m.String())
		require.NoError(t, err)
		require.Equal(t, m.String(), again.String())
		require.Equal(t, m.Plan(), again.Plan())
	})
}

// TestConfigsHaveAllMethods: the properties that tests check of configs() are checked of
// every method of the registry, but for those that have tests of their own: universal
// (one perturbation for a batch), spatial (outside the ball) and auto (a cascade, as fast
// is, of methods that have rows).
func TestConfigsHaveAllMethods(t *testing.T) {
	have := map[string]bool{"universal": true, "spatial": true, "auto": true}
	for _, c := range configs() {
		have[c.Method.Name()] = true
	}
	for _, k := range Builtin() {
		if name := k.New().Method().Name(); !have[name] {
			t.Errorf("configs() has no row for %s", name)
		}
	}
}
