package epsball

import "github.com/epsball/epsball/audit"

// Guard returns a guard on the model's workers. It classifies one image at a time and
// proves what it can about the prediction within a time budget. It packs weights of its
// own for the proofs, and must be used by one goroutine at a time.
func (m *Model) Guard(o audit.GuardOptions) (*audit.Guard, error) {
	return audit.NewGuard(m.net, m.pool, o)
}
