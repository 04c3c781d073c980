package redteam

import (
	"math/big"

	"github.com/epsball/epsball/model"
)

// precision is enough for all bits of what families draw, but for quotients and very
// deep networks, where it rounds far below any difference that matters.
const precision = 2048

func exactly(v float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(v) }

// exact evaluates the network in real arithmetic.
func (n *network) exact(x []*big.Float) [][]*big.Float {
	acts := make([][]*big.Float, len(n.sizes))
	acts[0] = x
	product, w := exactly(0), exactly(0)
	for i := range n.steps {
		s := &n.steps[i]
		in, z := acts[s.in], make([]*big.Float, n.sizes[s.out])
		for o := range z {
			switch s.kind {
			case model.Normalize:
				v := exactly(0).Sub(in[o], exactly(float64(s.mean[o])))
				z[o] = v.Quo(v, exactly(float64(s.std[o])))
			case model.ReLU:
				if z[o] = in[o]; in[o].Sign() < 0 {
					z[o] = exactly(0)
				}
			case model.FC:
				v := exactly(float64(s.bias[o]))
				for t := s.start[o]; t < s.start[o+1]; t++ {
					if a := in[s.k[t]]; s.w[t] != 0 && a.Sign() != 0 {
						v.Add(v, product.Mul(w.SetFloat64(float64(s.w[t])), a))
					}
				}
				if s.skip >= 0 {
					v.Add(v, acts[s.skip][o])
				}
				z[o] = v
			default:
				z[o] = n.real(s, o, acts)
			}
		}
		acts[s.out] = z
	}
	return acts
}
