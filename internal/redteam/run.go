package redteam

import (
	"os"
	"strconv"
	"testing"

	"github.com/epsball/epsball/internal/testsize"
)

// Size is EPSBALL_REDTEAM, the multiple of what fits into a run of all tests; else 1.
func Size(t testing.TB) int {
	s := os.Getenv("EPSBALL_REDTEAM")
	if s == "" {
		return 1
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("EPSBALL_REDTEAM: got %q, want a whole number above 0", s)
	}
	return n
}

// effort is the number of targets that a case is judged by.
const effort = 6

// Run judges claims on cases of every family, seeds times Size, and, if Size says so, of
// the large ones.
func Run(t *testing.T, seeds int, claims func(t *testing.T, c *Case) []Claim) {
	RunOn(t, families, seeds, claims)
}

// RunOn is Run on some families.
func RunOn(t *testing.T, families []Family, seeds int, claims func(t *testing.T, c *Case) []Claim) {
	size := Size(t)
	var total Report
	for _, f := range families {
		n := seeds * size
		if f.Large {
			n = size / 10
		}
		if n == 0 {
			continue
		}
		if testsize.Small() {
			n = (n + 3) / 4
		}
		var sum Report
		t.Run(f.Name, func(t *testing.T) {
			for seed := range n {
				c := f.Draw(uint64(seed))
				sum.Add(c.Judge(claims(t, c), effort))
			}
			for _, v := range sum.Violations {
				t.Error(v)
			}
			t.Log(sum)
		})
		total.Add(sum)
	}
	t.Log(total)
	if total.Comparisons == 0 {
		t.Error("nothing was compared")
	}
}

// RunTraps holds claims of traps against what refutes them, each·Size of every kind.
func RunTraps(t *testing.T, each int, claims func(t *testing.T, c *Trap) []Claim) {
	var total Report
	for _, kind := range TrapKinds() {
		for seed := range each * Size(t) {
			c := DrawTrap(kind, uint64(seed))
			total.Add(c.Refute(claims(t, c)))
		}
	}
	for _, v := range total.Violations {
		t.Error(v)
	}
	t.Log(total)
	if total.Comparisons == 0 {
		t.Error("nothing was compared")
	}
}

// Find draws cases until one breaks a claim, and returns how.
func Find(t *testing.T, seeds int, claims func(t *testing.T, c *Case) []Claim) (Violation, bool) {
	return FindIn(t, families, seeds, claims)
}

// FindIn is Find in some families.
func FindIn(t *testing.T, families []Family, seeds int, claims func(t *testing.T, c *Case) []Claim) (Violation, bool) {
	for seed := range seeds {
		for i := len(families) - 1; i >= 0; i-- {
			f := families[i]
			if f.Large {
				continue
			}
			c := f.Draw(uint64(seed))
			if v := c.Judge(claims(t, c), effort).Violations; v != nil {
				return v[0], true
			}
		}
	}
	return Violation{}, false
}
