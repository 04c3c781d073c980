package redteam

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTraps: every trap is one, by an evaluation in real numbers and an execution that are
// both explicit, and traps fool verifiers that do not care about rounding: those that an
// execution springs fool linear bounds in float64, which tell what real numbers do; hidden
// ones fool intervals that are executed in float32.
func TestTraps(t *testing.T) {
	type count struct{ traps, linear, intervals int }
	var total [2]count
	least := math.SmallestNonzeroFloat64
	for _, kind := range TrapKinds() {
		var n count
		for seed := range uint64(Size(t)) {
			c := DrawTrap(kind, seed)
			if seed == 0 {
				require.Equal(t, c.Model.Hash(), DrawTrap(kind, seed).Model.Hash())
			}
			c.check(t)
			n.traps++
			if naiveMargin(c.Case) > 0 {
				n.linear++
			}
			if naiveIntervals(c.Case, c.Order) > 0 {
				n.intervals++
			}
			// What claims too much is refuted, and nothing else.
			require.Len(t, c.Refute([]Claim{{Name: "label", Worst: &least}}).Violations, 1)
			far := -1e30
			require.Empty(t, c.Refute([]Claim{{Name: "nothing", Worst: &far}}).Violations)
			require.Equal(t, c.Hidden, len(c.Refute([]Claim{{Name: "label", Worst: &least, Real: true}}).Violations) > 0)
			c.Disarm()
			c.harmless(t)
		}
		t.Logf("%v: %d traps; linear bounds in float64 are fooled by %d, intervals in float32 by %d", kind, n.traps, n.linear, n.intervals)
		k := 0
		if kind.Hidden {
			k = 1
		}
		total[k].traps, total[k].linear, total[k].intervals = total[k].traps+n.traps, total[k].linear+n.linear, total[k].intervals+n.intervals
	}
	t.Logf("sprung by executions: %+v; hidden by executions: %+v", total[0], total[1])
	require.Greater(t, 10*total[0].linear, 8*total[0].traps)
	require.Greater(t, 10*total[1].intervals, 6*total[1].traps)
}

// evaluate returns the outputs at X, exactly and in an order.
func (t *Trap) evaluate(tb testing.TB, order Order) ([]*big.Float, []float32) {
	n := newNetwork(t.Model)
	acts, ok := n.run(t.X, order)
	require.True(tb, ok)
	return n.exact(t.point32(t.X).real)[n.last], acts[n.last]
}

// loses reports whether some other output is not below the label's.
func (t *Trap) loses(outputs int, above func(o int) bool) (any bool) {
	for o := range outputs {
		any = any || o != t.Y && !above(o)
	}
	return any
}

// check evaluates a trap anew.
func (t *Trap) check(tb testing.TB) {
	z, executed := t.evaluate(tb, t.Order)
	require.Equal(tb, t.Executed, executed)
	require.Equal(tb, t.Hidden, t.loses(len(z), func(o int) bool { return z[t.Y].Cmp(z[o]) > 0 }), "%v", t)
	require.Equal(tb, !t.Hidden, t.loses(len(z), func(o int) bool { return executed[t.Y] > executed[o] }), "%v", t)
}

// harmless requires that X has its label in all orders.
func (t *Trap) harmless(tb testing.TB) {
	for _, order := range Orders() {
		z, executed := t.evaluate(tb, order)
		require.False(tb, t.loses(len(z), func(o int) bool { return z[t.Y].Cmp(z[o]) > 0 }), "%v", t)
		require.False(tb, t.loses(len(z), func(o int) bool { return executed[t.Y] > executed[o] }), "%v", t)
	}
}
