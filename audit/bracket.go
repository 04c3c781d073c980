package audit

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// RadiusProver finds certified radii: *verify.Verifier for one.
type RadiusProver interface {
	Radius(ctx context.Context, how verify.Options, norm net.Norm, resolution, max net.Epsilon, b verify.Batch, res *verify.RadiusResult) error
}

// Brackets holds one entry an image: its robust radius lies between the two, in
// units of the resolution.
type Brackets struct {
	Certified []int // largest radius proved; −1: none, not even 0
	Attacked  []int // smallest radius that fools; 0: misclassified as it is; −1: none found
	// ProofDone and AttackDone mark what is complete if the context ended early.
	ProofDone, AttackDone []bool
}

// Bracket closes in on the robust radius of each image from both sides: proof, as how
// says, first, then the attack above what is proved. index, one entry an image, picks the
// attack's random numbers and names the image in errors. If a radius is both proved and attacked
// the error is a *Contradiction. When ctx ends it returns the context's error and
// what is done.
func Bracket(ctx context.Context, p RadiusProver, how verify.Options, s *attack.RadiusSearch, x []float32, y, index []int) (*Brackets, error) {
	norm := s.Attack.Ball.Norm
	var proved verify.RadiusResult
	b := &Brackets{}
	err := p.Radius(ctx, how, norm, s.Resolution, s.Max, verify.Batch{X: x, Y: y}, &proved)
	b.Certified, b.ProofDone = proved.Steps, proved.Done
	b.Attacked, b.AttackDone = make([]int, len(b.Certified)), make([]bool, len(b.Certified))
	if err != nil {
		return b, err
	}
	if len(index) != len(y) {
		return b, fmt.Errorf("indices: %d, want one for each of %d images", len(index), len(y))
	}
	var fooled attack.RadiusResult
	err = s.Run(ctx, attack.Batch{X: x, Y: y, Index: index}, b.Certified, &fooled)
	if fooled.Steps != nil {
		b.Attacked, b.AttackDone = fooled.Steps, fooled.Done
	}
	for i, k := range b.Attacked {
		if b.AttackDone[i] && k >= 0 && b.Certified[i] >= k {
			return b, &Contradiction{index[i], net.Ball{Norm: norm, Eps: s.Resolution.Times(k)}}
		}
	}
	return b, err
}
