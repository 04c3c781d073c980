package query

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// Ball returns the query whose witnesses are the images in [0, 1] within eps of x in the
// L∞ norm for which an output is at least that of the label: those that certify proves not
// to exist. Elements are in the order of m's input, channels first, as onnx.Encode writes
// it. VNN-LIB 1 has the type real, later versions float32.
//
// Ends of the box are exact where they are finite decimals, as for eps = 0.1. Others, as for
// 8/255, are rounded outward to so many places that the box and the ball have the same
// float32 inside and the same smallest box of float32 around them: what is proved of the
// query is proved of the ball, and a witness in float32 lies in the ball.
func Ball(m *model.Model, x []float32, label int, eps net.Epsilon, v vnnlib.Version) (*vnnlib.Query, error) {
	in, outputs := m.Arch.Input, m.Arch.Classes()
	if label < 0 || label >= outputs {
		return nil, fmt.Errorf("label: got %d, want 0 … %d", label, outputs-1)
	}
	box, err := audit.BoxOfRegion(verify.Region{Centre: x, Ball: net.Ball{Norm: net.Linf, Eps: eps}})
	if err != nil {
		return nil, err
	}
	q := &vnnlib.Query{Version: v, Cases: []vnnlib.Case{{Box: make([]vnnlib.Interval, len(box.Lo))}}}
	q.Input = vnnlib.Tensor{Name: "X", Type: "real", Shape: []int{in.Size()}}
	q.Output = vnnlib.Tensor{Name: "Y", Type: "real", Shape: []int{outputs}}
	if v.Major > 1 {
		q.Network = networkName(m.Arch.Name)
		q.Input.Type, q.Input.Shape = "float32", []int{1, in.C, in.H, in.W}
		q.Output.Type, q.Output.Shape = "float32", []int{1, outputs}
	}
	c := &q.Cases[0]
	for k := range box.Lo {
		c.Box[k] = vnnlib.Interval{Lo: outward(box.Lo[k], false), Hi: outward(box.Hi[k], true)}
	}
	for j := range outputs {
		other, own := vnnlib.Term{Output: j, Coef: big.NewRat(-1, 1)}, vnnlib.Term{Output: label, Coef: big.NewRat(1, 1)}
		terms := []vnnlib.Term{other, own}
		switch {
		case j == label:
			continue
		case j > label:
			terms = []vnnlib.Term{own, other}
		}
		c.Disjuncts = append(c.Disjuncts, vnnlib.Conjunction{{Terms: terms, Bound: new(big.Rat)}})
	}
	return q, nil
}

// outward returns r, or, if that is no finite decimal, the next one beyond it with enough
// places that there is no float32 between the two.
func outward(r *big.Rat, up bool) *big.Rat {
	if _, exact := r.FloatPrec(); exact {
		return r
	}
	for places := int64(20); ; places += 10 {
		step := new(big.Int).Exp(big.NewInt(10), big.NewInt(places), nil)
		n := new(big.Int).Mul(r.Num(), step)
		n.Div(n, r.Denom()) // towards −∞: denominators are positive
		if up {
			n.Add(n, big.NewInt(1))
		}
		d := new(big.Rat).SetFrac(n, step)
		if round.Down(d) == round.Down(r) && round.Up(d) == round.Up(r) {
			return d
		}
	}
}

// networkName makes a name of VNN-LIB 2 of a model's.
func networkName(name string) string {
	keep := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}
	const longest = 100
	name = strings.Map(keep, name)
	if name = name[:min(len(name), longest)]; strings.Trim(name, "_0123456789") == "" {
		return "network"
	}
	if name[0] == '_' || name[0] <= '9' || name == "X" || name == "Y" {
		name = "n_" + name
	}
	return name
}
