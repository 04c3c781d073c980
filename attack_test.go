package epsball_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/zoo"
)

// downhill is a method of one's own: PGD that a rule of its own turns round.
type downhill struct{ attack.PGD }

func (downhill) Name() string { return "downhill" }

func (d downhill) NewRule(s *attack.Space) attack.Rule { return turned{d.PGD.NewRule(s)} }

type turned struct{ attack.Rule }

func (t turned) Judge(s *attack.Slot, z, dz []float32) attack.Verdict {
	v := t.Rule.Judge(s, z, dz)
	for i := range dz {
		dz[i] = -dz[i]
	}
	return v
}

// TestMethods: text and value name the same attack, and any attack.Method will do.
func TestMethods(t *testing.T) {
	file, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	m, err := epsball.New(file, epsball.Threads(1))
	require.NoError(t, err)
	defer m.Close()
	test, err := mnist.Test()
	require.NoError(t, err)
	const n = 8
	images := test.Slice(0, n)
	x := epsball.Batch{X: images.X, Y: images.Y}
	run := func(how epsball.Method) *attack.Result {
		r, err := m.Attack(context.Background(), x, epsball.Linf(0.1), how)
		require.NoError(t, err)
		return r
	}
	for text, how := range map[string]epsball.Method{
		"fgsm:random-start,seed=3":          epsball.FGSM{RandomStart: true, Seed: 3},
		"pgd:steps=5,restarts=2":            epsball.PGD{Steps: 5, Restarts: 2},
		"apgd:steps=6,loss=margin,rho=0.75": epsball.APGD{Steps: 6, Loss: 1},
	} {
		read, err := epsball.ParseMethod(text)
		require.NoError(t, err)
		require.Equal(t, run(how), run(read), text)
	}
	_, err = epsball.ParseMethod("pgd:step=5")
	require.ErrorContains(t, err, "step: unknown option")

	up, down := run(epsball.PGD{Steps: 10}), run(downhill{attack.PGD{Steps: 10}})
	_, _, left := up.Count()
	require.Less(t, left, n)
	_, _, left = down.Count()
	require.Equal(t, n, left)
}
