package audit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/net"
)

// TestDiagnoseMethods: no attack there is fails a check of its work on a network that hides
// nothing.
func TestDiagnoseMethods(t *testing.T) {
	if testsize.Small() {
		t.Skip("runs all attacks")
	}
	s := newSmall(t, 10)
	for _, kind := range attack.Builtin() {
		m, err := attack.Parse(kind.Name)
		require.NoError(t, err)
		for norm, eps := range []string{"0.05", "0.2", "0.5", "2"} { // the first norm that the attack has
			c := Case{
				Target: s.net, Pool: s.pool, Batch: attack.Batch{X: s.x, Y: s.y},
				Config: attack.Config{Ball: net.Ball{Norm: net.Norm(norm), Eps: net.MustEpsilon(eps)}, Method: m},
			}
			if m.Validate(c.Config.Ball, s.net.Classes()) != nil {
				continue
			}
			c.Result = attacked(t, c)
			for _, f := range Diagnose(context.Background(), c) {
				assert.NotContains(t, []Outcome{Fail, Stopped}, f.Verdict, "%v, %v: %s: %s", m, c.Config.Ball, f.Name, f.Detail)
			}
			break
		}
	}
}
