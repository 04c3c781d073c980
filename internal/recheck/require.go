package recheck

import (
	"fmt"
	"slices"

	"github.com/epsball/epsball/net"
	certcheck "github.com/epsball/epsball/verify/check"
)

// Requirements are what certificates must prove at least; nil and "" ask for
// nothing.
type Requirements struct {
	Eps   *net.Epsilon
	Norm  *net.Norm
	Level string // certcheck.Real or Executed
	Spec  string // label, or any: rows as well
	Count int    // images with a valid certificate
}

// Any reports whether anything is required.
func (q *Requirements) Any() bool {
	return q.Eps != nil || q.Norm != nil || q.Level != "" || q.Spec != "" || q.Count > 0
}

// unmet says what a certificate does not prove that is required, or nothing.
func (q *Requirements) unmet(c *certcheck.Certificate) string {
	strength := []string{net.L1.String(), net.L2.String(), net.Linf.String()}
	eps, err := certcheck.ParseEps(c.Eps)
	switch {
	case err != nil || q.Eps != nil && eps.Cmp(q.Eps.Rat()) < 0:
		return fmt.Sprintf("eps: got %s, but --require-eps wants %s", c.Eps, q.Eps)
	case q.Norm != nil && slices.Index(strength, c.Norm) < slices.Index(strength, q.Norm.String()):
		return fmt.Sprintf("norm: got %s, but --require-norm wants %s", c.Norm, q.Norm)
	case q.Level == certcheck.Executed && c.Level != certcheck.Executed:
		return fmt.Sprintf("level: got %s, but --require-level wants %s", c.Level, q.Level)
	case q.Any() && q.Spec != "any" && len(c.Rows) > 0:
		return "rows: got a specification by rows, but the label's is required, unless --require-spec is any"
	}
	return ""
}
