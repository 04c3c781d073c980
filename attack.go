package epsball

import (
	"context"
	"errors"
	"reflect"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/net"
)

// Method is an attack with its settings: FGSM, PGD, APGD, what ParseMethod reads, or
// any other attack.Method.
type Method = attack.Method

// The attacks; the zero value of each has the usual settings.
type (
	// Several attacks, each on what those before it left.
	Auto = attack.Auto // AutoAttack
	Fast = attack.Fast // about as strong, at a fraction of its cost

	// Those in a ball, with gradients.
	FGSM      = attack.FGSM      // one step of ε
	RFGSM     = attack.RFGSM     // a random step, then one of FGSM
	BIM       = attack.BIM       // steps of 1/255 from the image
	PGD       = attack.PGD       // steps of ε/4 from random starts
	MIFGSM    = attack.MIFGSM    // steps along gathered gradients
	NIFGSM    = attack.NIFGSM    // the same with Nesterov's momentum
	PIFGSM    = attack.PIFGSM    // long steps that spread over patches
	APGD      = attack.APGD      // PGD with momentum that finds its own step size
	Universal = attack.Universal // one perturbation for all images

	// Those without gradients.
	Noise    = attack.Noise    // random points
	Square   = attack.Square   // random search with squares
	SparseRS = attack.SparseRS // random search for a few pixels
	Spatial  = attack.Spatial  // rotations and translations

	// Those that look for the smallest distance.
	DeepFool    = attack.DeepFool    // steps across the nearest boundary of the linearised network
	CW          = attack.CW          // Carlini & Wagner's, for L2
	DDN         = attack.DDN         // decoupled direction and norm, for L2
	FMN         = attack.FMN         // fast minimum norm: L0, L1, L2, Linf
	EAD         = attack.EAD         // the elastic net, for L1
	FAB         = attack.FAB         // steps to the nearest class boundary
	FABT        = attack.FABT        // FAB with targets
	Bisect      = attack.Bisect      // PGD in balls that shrink and grow
	HopSkipJump = attack.HopSkipJump // from labels alone, by estimates of gradients
	Boundary    = attack.Boundary    // from labels alone, by a walk along the boundary
)

// Attacked is the outcome of Attack, one entry an image.
type Attacked = attack.Result

// ParseMethod reads an attack's textual form, such as "pgd:steps=40,restarts=5,seed=1"
// (docs/attacks.md).
func ParseMethod(text string) (Method, error) { return attack.Parse(text) }

// LargestBall returns the ball of the norm ("linf", "l2", "l1", "l0") that holds all
// images of the model's size: for attacks that look for the smallest distance, such as
// DDN and FAB.
func (m *Model) LargestBall(norm string) (Ball, error) {
	n, err := net.ParseNorm(norm)
	if err != nil {
		return Ball{}, err
	}
	return Ball{ball: n.Largest(m.net.Input().Size())}, nil
}

// AttackOption changes how an attack runs: Lattice or FirstIndex.
type AttackOption struct{ lattice, first int }

// Lattice restricts the attack to pictures whose values have that many bits (8 in PNG
// files): their pixels are multiples of 1/(2^bits − 1), so that they are still misclassified
// when they have been saved and read again. An Linf ball of whole levels, such as 8/255,
// then means levels (attack.LatticeBall).
func Lattice(bits int) AttackOption { return AttackOption{lattice: bits} }

// FirstIndex numbers the images from i on, which picks their random numbers: so a large
// set can be attacked in parts, with the result of the whole.
func FirstIndex(i int) AttackOption { return AttackOption{first: i} }

// settings puts options together; of several that say the same, the last one counts.
func settings(opts []AttackOption) (s AttackOption) {
	for _, o := range opts {
		if o.lattice != 0 {
			s.lattice = o.lattice
		}
		if o.first != 0 {
			s.first = o.first
		}
	}
	return s
}

// Attack searches the ball around each image of x for a point that the model does not
// classify as the image's label says. What it needs in addition to Classify is packed
// at the first call. When ctx ends it returns what it has found, together with the
// context's error. Diagnose looks for signs that it is weaker than it looks.
func (m *Model) Attack(ctx context.Context, x Batch, b Ball, how Method, opts ...AttackOption) (*Attacked, error) {
	r := new(Attacked)
	err := m.AttackInto(ctx, x, b, how, r, opts...)
	if err != nil && len(r.Done) == 0 {
		return nil, err
	}
	return r, err
}

// Target returns the model as attack.New takes it, for what Attack does not do: attacks
// through a defence (package defend), with settings of attack.Config, or on a target of
// one's own. It is compiled at the first call of Target or Attack.
func (m *Model) Target() (attack.Target, error) {
	n, err := m.back()
	if err != nil {
		return nil, err
	}
	return n, nil
}

// AttackInto is Attack into memory that is used again. From the second call on with the
// same ball, method and lattice, and an r for as many images, it allocates nothing; Auto,
// Fast and Universal little.
func (m *Model) AttackInto(ctx context.Context, x Batch, b Ball, how Method, r *Attacked, opts ...AttackOption) error {
	n, err := m.attackable(x, b, how)
	if err != nil {
		return err
	}
	o := settings(opts)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.attacker.is(b.ball, how, o.lattice) {
		c, err := audit.WithProofs(n, m.pool, attack.Config{Ball: attack.LatticeBall(b.ball, o.lattice), Method: how, Lattice: o.lattice})
		if err != nil {
			return err
		}
		a, err := attack.New(n, c, m.pool)
		if err != nil {
			return err
		}
		m.attacker = attacker{a, b.ball, c}
	}
	return m.attacker.run.Run(ctx, attack.Batch{X: x.X, Y: x.Y, First: o.first}, r)
}

// attackable returns the network with backward passes, if the attack makes sense.
func (m *Model) attackable(x Batch, b Ball, how Method) (*net.Network, error) {
	if err := m.check(x, b); err != nil {
		return nil, err
	}
	if how == nil {
		return nil, errors.New("attack: no method, want one such as PGD{}")
	}
	return m.back()
}

// attacker is the one used last.
type attacker struct {
	run  *attack.Attacker
	ball net.Ball // as asked for
	c    attack.Config
}

func (a *attacker) is(b net.Ball, how Method, lattice int) bool {
	return a.run != nil && a.ball.Norm == b.Norm && a.ball.Eps.String() == b.Eps.String() && a.c.Lattice == lattice &&
		reflect.TypeOf(how).Comparable() && a.c.Method == how
}
