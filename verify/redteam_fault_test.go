package verify

import (
	"testing"

	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/kernels"
)

// TestRedTeamFindsFaults: without any one of the proofs' error terms some network's
// bounds are broken.
func TestRedTeamFindsFaults(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	defer func() { removed = noTerm }()
	for term := noTerm + 1; term < errorTerms; term++ {
		t.Run(errorTermNames[term], func(t *testing.T) {
			removed = term
			found := false
			for seed := range uint64(4) {
				for _, f := range redteam.Families() {
					c := f.Draw(seed)
					for _, v := range c.Judge(claimsOf(t, c, pool), 6).Violations {
						if !found || testing.Verbose() {
							t.Log(v)
						}
						found = true
						break
					}
				}
			}
			if !found {
				t.Error("not found")
			}
		})
	}
}
