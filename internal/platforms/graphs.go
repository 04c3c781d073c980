package main

import (
	"fmt"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// graph is a small network with a dozen images.
type graph struct {
	m    *model.Model
	n    *net.Network
	size int
	x    []float32
	y    []int
}

func (g *graph) image(i int) []float32 { return g.x[i*g.size : (i+1)*g.size] }

func graphLogits(p *printer, g *graph) error {
	if err := addLogits(p, g.n, g.x, 12); err != nil {
		return err
	}
	return addLogits(p, g.n, g.image(0), 1)
}

func graphAttack(p *printer, g *graph) error {
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		ball := net.Ball{Norm: norm, Eps: net.MustEpsilon("1/7")}
		if err := addAttack(p, g.n, g.x, g.y, ball, usualPGD(4)); err != nil {
			return err
		}
		if err := addAttack(p, g.n, g.x[:2*g.size], g.y[:2], ball, usualPGD(2)); err != nil {
			return err
		}
	}
	return nil
}

func graphAPGD(p *printer, g *graph) error {
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		ball := net.Ball{Norm: norm, Eps: net.MustEpsilon("1/70")}
		if err := addAttack(p, g.n, g.x, g.y, ball, attack.APGD{Steps: 9, Seed: 5, Loss: net.Margin}); err != nil {
			return err
		}
	}
	return nil
}

func graphL1(p *printer, g *graph) error {
	ball := net.Ball{Norm: net.L1, Eps: net.MustEpsilon("2/3")}
	for _, how := range []attack.Method{
		attack.FGSM{RandomStart: true, Seed: 5},
		attack.PGD{Steps: 7, Seed: 5, L1Share: 0.03},
		attack.APGD{Steps: 30, Seed: 5, Loss: net.DLR, Targets: 2},
		attack.APGD{Steps: 10, Seed: 5, Stages: true},
	} {
		if err := addAttack(p, g.n, g.x, g.y, ball, how); err != nil {
			return err
		}
	}
	return nil
}

// graphNearest runs FAB, bisected PGD and the attacks on labels alone, away from the
// classes predicted.
func graphNearest(p *printer, g *graph) error {
	const n = 4
	y, err := g.predicted(n)
	if err != nil {
		return err
	}
	all, some := []net.Norm{net.Linf, net.L2, net.L1}, []net.Norm{net.Linf, net.L2}
	for _, c := range []struct {
		norms []net.Norm
		how   attack.Method
	}{
		{all, attack.FAB{Steps: 6, Restarts: 2, Seed: 5}},
		{all, attack.FABT{Steps: 6, Targets: 2}},
		{all, attack.Bisect{Steps: 6, Probes: 5, Seed: 5}},
		{some, attack.HopSkipJump{Queries: 160, Evals: 9, Seed: 5}},
		{some[1:], attack.Boundary{Queries: 160, Seed: 5}},
	} {
		for _, norm := range c.norms {
			if err := addAttack(p, g.n, g.x[:n*g.size], y, norm.Largest(g.size), c.how); err != nil {
				return err
			}
		}
	}
	return nil
}

// predicted returns the classes that the network gives the first images.
func (g *graph) predicted(images int) ([]int, error) {
	c := g.n.Classes()
	z, y := make([]float32, images*c), make([]int, images)
	if err := g.n.NewRunner(pool).Logits(ctx, z, g.x[:images*g.size], images); err != nil {
		return nil, err
	}
	for i := range y {
		y[i] = net.Argmax(z[i*c : (i+1)*c])
	}
	return y, nil
}

// graphSmallest runs attacks that look for the smallest distance.
func graphSmallest(p *printer, g *graph) error {
	for _, c := range []struct {
		norm net.Norm
		how  attack.Method
	}{
		{net.Linf, attack.DeepFool{Steps: 4}},
		{net.L2, attack.DeepFool{Steps: 4}},
		{net.L2, attack.CW{Steps: 10, Searches: 3, Weight: 0.5, Rate: 0.05}},
		{net.L2, attack.DDN{Steps: 10, InitNorm: 0.3}},
		{net.Linf, attack.FMN{Steps: 10}},
		{net.L2, attack.FMN{Steps: 10}},
		{net.L1, attack.FMN{Steps: 10}},
		{net.L0, attack.FMN{Steps: 10}},
		{net.L1, attack.EAD{Steps: 10, Searches: 3, Weight: 0.5, Rate: 0.05}},
	} {
		if err := addAttack(p, g.n, g.x, g.y, c.norm.Largest(g.size), c.how); err != nil {
			return err
		}
	}
	return nil
}

// graphKin runs the relatives of FGSM, and noise.
func graphKin(p *printer, g *graph) error {
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("1/70")}
	for _, how := range []attack.Method{
		attack.RFGSM{Seed: 5},
		attack.BIM{Steps: 5},
		attack.MIFGSM{Decay: 0.9},
		attack.NIFGSM{Steps: 6},
		attack.PIFGSM{Steps: 4},
		attack.Noise{Draws: 3, Seed: 5},
		attack.Noise{Draws: 3, Seed: 5, Kind: "gaussian"},
	} {
		if err := addAttack(p, g.n, g.x, g.y, ball, how); err != nil {
			return err
		}
	}
	l2 := net.Ball{Norm: net.L2, Eps: net.MustEpsilon("1/7")}
	return addAttack(p, g.n, g.x, g.y, l2, attack.MIFGSM{})
}

func graphBounds(p *printer, g *graph) error {
	for m := verify.MethodIBP; m <= verify.MethodAlphaCROWN; m++ {
		for norm := net.Linf; norm <= net.L1; norm++ {
			if err := addBounds(p, g.n, m, net.Ball{Norm: norm, Eps: net.MustEpsilon("0.03")}, g.image(1), g.y[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// graphRadius takes the largest certified radii of the classes predicted.
func graphRadius(p *printer, g *graph) error {
	prover, err := verify.New(g.n, pool)
	if err != nil {
		return err
	}
	y, err := g.predicted(12)
	if err != nil {
		return err
	}
	prover.KeepSlopes()
	prover.JoinBalls()
	prover.FirstPlanes()
	sum := 0
	for _, c := range []struct {
		how    verify.Options
		norm   net.Norm
		images int
	}{
		{verify.Options{Method: verify.MethodCROWN, Ladder: true}, net.Linf, len(y)},
		{verify.Options{Method: verify.MethodAlphaCROWN, Ladder: true, Iterations: 4}, net.L2, 1},
	} {
		var res verify.RadiusResult
		b := verify.Batch{X: g.x[:c.images*g.n.Input().Size()], Y: y[:c.images]}
		if err := prover.Radius(ctx, c.how, c.norm, net.MustEpsilon("1/300"), net.MustEpsilon("0.4"), b, &res); err != nil {
			return err
		}
		for _, k := range res.Steps {
			p.int(k)
			sum += k
		}
	}
	p.note = fmt.Sprintf("%d steps", sum)
	return nil
}

// graphCertificates takes the lines of certificates and what the checker says of
// them, which must accept each.
func graphCertificates(p *printer, g *graph) error {
	k, err := check.New(g.m)
	if err != nil {
		return err
	}
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.004")}
	certified := 0
	prover, err := verify.New(g.n, pool)
	if err != nil {
		return err
	}
	for m := verify.MethodIBP; m <= verify.MethodAlphaCROWN; m++ {
		how := verify.Options{Method: m, Iterations: 2, RowsOnly: true}
		for i := range 3 {
			z := make([]float32, g.n.Classes())
			if err := g.n.NewRunner(pool).Logits(ctx, z, g.image(i), 1); err != nil {
				return err
			}
			y := net.Argmax(z)
			proof, err := prover.Prove(ctx, how, verify.Around(ball, g.image(i)), y)
			if err != nil {
				return err
			}
			line, err := cert.Append(nil, certificate(g, ball, proof, i, y))
			if err != nil {
				return err
			}
			p.bytes(line)
			if !proof.Certified {
				continue
			}
			certified++
			c, err := check.Parse(line[:len(line)-1])
			if err != nil {
				return err
			}
			v, err := k.Check(ctx, c, g.image(i), y)
			if err != nil {
				return err
			}
			if !v.Valid {
				return fmt.Errorf("image %d, %v: %s", i, m, v.Reason)
			}
			p.float64(v.Margin)
		}
	}
	p.note = fmt.Sprintf("%d certified", certified)
	return nil
}

func certificate(g *graph, ball net.Ball, v *verify.Proof, i, y int) *check.Certificate {
	c := &check.Certificate{
		Model: g.m.Hash(), Level: check.Executed, Data: "random", Index: i, Input: check.InputHash(g.image(i)),
		Norm: ball.Norm.String(), Eps: ball.Eps.String(), Run: "platforms", Label: y,
	}
	proof := cert.Proof{Method: v.Method.String(), Certified: v.Certified, Margin: float64(v.Margin)}
	for _, s := range v.Slopes {
		proof.Slopes = append(proof.Slopes, cert.Slopes{For: check.ForAll, ReLU: s.Layer, Alpha: [][]float32{s.Alpha}})
		if s.Rows != nil {
			proof.Slopes = append(proof.Slopes, cert.Slopes{For: check.ForRows, ReLU: s.Layer, Alpha: s.Rows})
		}
	}
	proof.Fill(c)
	return c
}
