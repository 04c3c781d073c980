package epsball

import (
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
)

// Guard returns a guard on the model's workers. It classifies one image at a time and
// proves what it can about the prediction within a time budget. It packs weights of its
// own for the proofs, and must be used by one goroutine at a time. With
// GuardOptions.Attack (see GuardAttack) it has what Attack needs packed too.
func (m *Model) Guard(o audit.GuardOptions) (*audit.Guard, error) {
	n := m.net
	if o.Attack != nil {
		var err error
		if n, err = m.back(); err != nil {
			return nil, err
		}
	}
	return audit.NewGuard(n, m.pool, o)
}

// GuardAttack returns the attack for GuardOptions.Attack: the guard tries it where it finds
// no proof.
func GuardAttack(how attack.Method) *audit.GuardAttack { return audit.NewGuardAttack(how) }
