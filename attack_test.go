package epsball_test

import (
	"context"
	"maps"
	"math"
	"slices"
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

// TestAttackOptions: pictures of 8 bits, and a set attacked in parts.
func TestAttackOptions(t *testing.T) {
	m, err := epsball.LoadBytes(zoo.MNISTSmallIBP(), "mnist-small-ibp-0.1", epsball.Threads(1))
	require.NoError(t, err)
	defer m.Close()
	test, err := mnist.Test()
	require.NoError(t, err)
	const n = 6
	images, ctx := test.Slice(0, n), context.Background()
	x := epsball.Batch{X: images.X, Y: images.Y}
	ball, how := epsball.Linf(0.2), epsball.PGD{Steps: 5, Seed: 3}
	float, err := m.Attack(ctx, x, ball, how)
	require.NoError(t, err)
	off := func(r *attack.Result) (k int) {
		for _, v := range r.Adv {
			if v != float32(math.Round(float64(v)*255))/255 {
				k++
			}
		}
		return k
	}
	require.Positive(t, off(float))
	lattice, err := m.Attack(ctx, x, ball, how, epsball.Lattice(8))
	require.NoError(t, err)
	require.Zero(t, off(lattice))
	_, err = m.Attack(ctx, x, ball, how, epsball.Lattice(9))
	require.ErrorContains(t, err, "lattice: 9 bits")
	_, err = m.Attack(ctx, x, ball, how, epsball.FirstIndex(-1))
	require.ErrorContains(t, err, "first index")
	for i := range n {
		one, err := m.Attack(ctx, epsball.Batch{X: images.Image(i), Y: images.Y[i : i+1]}, ball, how, epsball.FirstIndex(i))
		require.NoError(t, err)
		require.Equal(t, float.Adv[i*784:(i+1)*784], one.Adv)
	}
}

// TestDiagnose: the checks find nothing wrong with a sound attack; one that goes the wrong
// way fails, and so does a result that was changed.
func TestDiagnose(t *testing.T) {
	file, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	m, err := epsball.New(file, epsball.Threads(2))
	require.NoError(t, err)
	defer m.Close()
	test, err := mnist.Test()
	require.NoError(t, err)
	images, ctx := test.Slice(0, 20), context.Background()
	x, ball := epsball.Batch{X: images.X, Y: images.Y}, epsball.Linf(0.1)
	verdicts := func(how epsball.Method, r *attack.Result, level epsball.Checks) map[string]string {
		found, err := m.Diagnose(ctx, x, ball, how, r, level)
		require.NoError(t, err)
		v := map[string]string{}
		for _, f := range found {
			v[f.Name] = string(f.Verdict)
		}
		return v
	}
	run := func(how epsball.Method, opts ...epsball.AttackOption) *attack.Result {
		r, err := m.Attack(ctx, x, ball, how, opts...)
		require.NoError(t, err)
		return r
	}
	good := run(epsball.Fast{})
	v := verdicts(epsball.Fast{}, good, epsball.QuickChecks)
	require.NotContains(t, slices.Collect(maps.Values(v)), "fail", v)
	require.Greater(t, len(v), 15)
	bad := downhill{attack.PGD{Steps: 10}}
	require.Equal(t, "fail", verdicts(bad, run(bad), epsball.QuickChecks)["one-step"])

	good.Adv[slices.Index(good.Success, true)*784] = 0.9 // a corner of the picture
	v = verdicts(epsball.Fast{}, good, epsball.ResultChecks)
	require.Equal(t, "fail", v["inside"])
	require.Less(t, len(v), 8)

	gone, cancel := context.WithCancel(ctx)
	cancel()
	found, err := m.Diagnose(gone, x, ball, bad, run(bad), epsball.QuickChecks)
	require.ErrorIs(t, err, context.Canceled)
	require.NotEmpty(t, found)
	for want, do := range map[string]func() error{
		"attacked: nil": func() error { _, err := m.Diagnose(ctx, x, ball, bad, nil, epsball.QuickChecks); return err },
		"want the outcome of Attack on the 20 given": func() error {
			_, err := m.Diagnose(ctx, x, ball, bad, new(attack.Result), epsball.QuickChecks)
			return err
		},
		"no method": func() error { _, err := m.Diagnose(ctx, x, ball, nil, good, epsball.QuickChecks); return err },
		"checks 7":  func() error { _, err := m.Diagnose(ctx, x, ball, bad, good, 7); return err },
		"lattice":   func() error { _, err := m.Diagnose(ctx, x, ball, bad, good, 0, epsball.Lattice(-1)); return err },
	} {
		require.ErrorContains(t, do(), want)
	}
}
