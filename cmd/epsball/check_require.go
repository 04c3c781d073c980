package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/net"
	certcheck "github.com/epsball/epsball/verify/check"
)

// requirements are what certificates must prove at least.
type requirements struct {
	eps   *value[net.Epsilon]
	norm  *value[net.Norm]
	level *value[string]
	spec  *value[string]
	count int
}

func newRequirements() requirements {
	eps := func(s string) (net.Epsilon, error) {
		e, err := net.ParseEpsilon(s)
		if err != nil {
			err = errors.New("want a decimal such as 0.1 or a fraction such as 8/255")
		}
		return e, err
	}
	return requirements{
		eps:   newValue("eps", "", eps),
		norm:  newValue("norm", "", net.ParseNorm),
		level: choiceFlag("level", "", certcheck.Real, certcheck.Executed),
		spec:  choiceFlag("specification", "", "label", "any"),
	}
}

func (q *requirements) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.Var(q.eps, "require-eps", "refuse certificates with a smaller ε")
	f.Var(q.norm, "require-norm", "refuse certificates whose norm has a smaller ball: of linf, l2, l1 each satisfies those after it")
	f.Var(q.level, "require-level", "refuse certificates that are not at this level: executed, or real, which both satisfy")
	f.Var(q.spec, "require-spec", "label: refuse specifications by rows (default with any of these flags); any: admit them")
	f.IntVar(&q.count, "require-count", 0, "fail unless so many images have a valid certificate")
}

// any tells whether anything is required.
func (q *requirements) any() bool {
	return q.eps.set || q.norm.set || q.level.set || q.spec.set || q.count > 0
}

// unmet tells what a certificate does not prove that is required, or nothing.
func (q *requirements) unmet(c *certcheck.Certificate) string {
	strength := []string{net.L1.String(), net.L2.String(), net.Linf.String()}
	eps, err := certcheck.ParseEps(c.Eps)
	switch {
	case err != nil || q.eps.set && eps.Cmp(q.eps.v.Rat()) < 0:
		return fmt.Sprintf("eps: got %s, but --require-eps wants %s", c.Eps, q.eps)
	case q.norm.set && slices.Index(strength, c.Norm) < slices.Index(strength, q.norm.v.String()):
		return fmt.Sprintf("norm: got %s, but --require-norm wants %s", c.Norm, q.norm)
	case q.level.v == certcheck.Executed && c.Level != certcheck.Executed:
		return fmt.Sprintf("level: got %s, but --require-level wants %s", c.Level, q.level)
	case q.any() && q.spec.v != "any" && len(c.Rows) > 0:
		return "rows: got a specification by rows, but the label's is required, unless --require-spec is any"
	}
	return ""
}

// orTooWeak completes "not valid" where that may be the reason.
func (q *requirements) orTooWeak() string {
	if !q.any() {
		return ""
	}
	return ", or less than required"
}
