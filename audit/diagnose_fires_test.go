package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// fires lists who fools whom: the checks that must fire on a target and a method that
// fool those who look at robust accuracy alone, and what they must say. Others may fire,
// too.
type fires struct {
	target func(t *testing.T, m *model.Model, n *net.Network) attack.Target // nil: the network
	method attack.Method                                                    // nil: PGD
	eps    string                                                           // "": 0.05
	spoil  func(c *Case)                                                    // the result
	want   map[string]Outcome
}

var firing = map[string]fires{
	"saturated logits": {
		target: func(t *testing.T, m *model.Model, _ *net.Network) attack.Target { return scaled(t, m, 1e5) },
		want:   map[string]Outcome{"zero-gradients": Fail, "transfer": Fail, "black-box": Fail, "noise": Warn, "large-radius": Warn},
	},
	"quantised input": {
		target: func(_ *testing.T, _ *model.Model, n *net.Network) attack.Target { return quantised(n, false) },
		want:   map[string]Outcome{"zero-gradients": Fail, "transfer": Fail, "black-box": Fail, "noise": Warn, "radius": Fail},
	},
	"quantised input behind a stand-in gradient": {
		target: func(_ *testing.T, _ *model.Model, n *net.Network) attack.Target { return quantised(n, true) },
		want:   map[string]Outcome{"finite-differences": Warn},
	},
	"random layer": {
		target: func(_ *testing.T, _ *model.Model, n *net.Network) attack.Target { return random(n, false) },
		want:   map[string]Outcome{"random-forward": Warn, "predictions": Warn},
	},
	"random layer that does not say so": {
		target: func(_ *testing.T, _ *model.Model, n *net.Network) attack.Target { return random(n, true) },
		want:   map[string]Outcome{"random-forward": Fail, "predictions": Fail, "repeatable": Fail},
	},
	"probabilities": {
		target: func(t *testing.T, m *model.Model, _ *net.Network) attack.Target { return probable(t, m) },
		want:   map[string]Outcome{"probabilities": Warn},
	},
	"steep sigmoid": {
		target: func(t *testing.T, m *model.Model, _ *net.Network) attack.Target { return steep(t, m) },
		want:   map[string]Outcome{"finite-differences": Warn, "noise": Warn},
	},
	"shattered gradient": {
		target: func(_ *testing.T, _ *model.Model, n *net.Network) attack.Target { return rippled(n) },
		want:   map[string]Outcome{"finite-differences": Warn, "transfer": Fail},
	},
	"one step": {
		method: attack.FGSM{StepSize: 0.01},
		want:   map[string]Outcome{"one-step": Warn},
	},
	"steps too short": {
		method: attack.PGD{Steps: 10, StepSize: 0.0005},
		want:   map[string]Outcome{"rising-loss": Warn, "more-effort": Warn, "one-step": Fail},
	},
	"best point thrown away": {
		method: crooked{attack.PGD{}, forgetful},
		want:   map[string]Outcome{"silent-success": Fail, "one-step": Fail, "large-radius": Fail},
	},
	"ball left": {
		method: crooked{attack.PGD{}, unleashed},
		want:   map[string]Outcome{"inside": Fail, "identity": Fail},
	},
	"result that depends on the batch": {
		method: crooked{attack.PGD{}, sociable},
		want:   map[string]Outcome{"repeatable": Fail},
	},
	"not a number": {
		spoil: func(c *Case) { c.Result.Adv[100] = float32(0) / zero },
		want:  map[string]Outcome{"finite": Fail, "inside": Fail, "predictions": Fail},
	},
	"success that is none": {
		eps: "1e-6",
		spoil: func(c *Case) {
			for i := range c.Result.Success {
				c.Result.Success[i] = c.Result.Clean[i]
			}
		},
		want: map[string]Outcome{"predictions": Fail, "certified": Fail},
	},
	"proof that is none": {
		spoil: func(c *Case) {
			for i, fooled := range c.Result.Success {
				c.Result.Proved[i], c.Result.Success[i] = fooled, false
			}
		},
		want: map[string]Outcome{"certified": Fail},
	},
	"not on the lattice": {
		spoil: func(c *Case) { c.Config.Lattice = 8 },
		want:  map[string]Outcome{"lattice": Fail},
	},
}

var zero float32

// TestDiagnosticsFire: each check fires on something built to need it.
func TestDiagnosticsFire(t *testing.T) {
	s := newSmall(t, 96)
	fired := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(firing)) {
		f := firing[name]
		c := Case{Target: s.net, Pool: s.pool}
		if f.target != nil {
			c.Target = f.target(t, s.model, s.net)
			c.Surrogates = []Surrogate{{"the network behind it", s.net}}
		}
		eps := f.eps
		if eps == "" {
			eps = "0.05"
		}
		c.Config = attack.Config{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon(eps)}, Method: f.method}
		if f.method == nil {
			c.Config.Method = attack.PGD{}
		}
		p, err := Predict(context.Background(), c.Target, c.Pool, s.x, 96)
		require.NoError(t, err)
		c.Batch = attack.Batch{X: s.x, Y: p, First: 1000}
		c.Result = attacked(t, c)
		if f.spoil != nil {
			f.spoil(&c)
		}
		found := Diagnose(context.Background(), c)
		said := map[string]Outcome{}
		text := ""
		for _, f := range found {
			said[f.Name] = f.Verdict
			if f.Verdict != OK && f.Verdict != Skipped {
				fired[f.Name] = true
				text += fmt.Sprintf("  %s %s: %s %v\n", f.Name, f.Verdict, f.Detail, f.Images)
				assert.NotContains(t, f.Images, 0, "indices are those of the data")
			}
		}
		t.Logf("%s:\n%s", name, text)
		for check, v := range f.want {
			assert.Equal(t, v, said[check], "%s: %s", name, check)
		}
	}
	for _, d := range Diagnostics() {
		assert.True(t, fired[d.Name], "%s has never fired", d.Name)
	}
}

func attacked(t *testing.T, c Case) *attack.Result {
	a, err := attack.New(c.Target, c.Config, c.Pool)
	require.NoError(t, err)
	res := new(attack.Result)
	require.NoError(t, a.Run(context.Background(), c.Batch, res))
	return res
}
