package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// Unlimited is the budget of a guard that may take as long as its proofs need.
const Unlimited = time.Duration(math.MaxInt64)

// GuardOptions say what a guard proves, and how long it may try.
type GuardOptions struct {
	Norm net.Norm

	// Threshold is the radius, in units of pixels in [0, 1], at which a prediction
	// must be proved not to be flagged.
	Threshold net.Epsilon

	// Budget is the time a call may take, the prediction itself included, which is
	// made even if it takes longer. 0 leaves none for proofs: all is flagged.
	Budget time.Duration

	// Method is the last rung of the ladder IBP, CROWN-IBP, CROWN, α-CROWN; each is
	// tried where the cheaper ones proved nothing.
	Method     verify.Method
	Iterations int // gradient steps of α-CROWN; 0 means 20

	// Resolution, if not 0, asks for the largest radius among its multiples up to
	// Max (0 means 1) that can be proved in what the threshold leaves of the budget.
	// The threshold must be one of these multiples, of which there are at most
	// MaxGuardSteps.
	Resolution, Max net.Epsilon

	// Attack, if not nil, is tried at the threshold where no proof was found, in what
	// the ladder leaves of the budget and before the search (NewGuardAttack).
	Attack *GuardAttack
}

// MaxGuardSteps is the largest number of radii that a guard chooses from.
const MaxGuardSteps = 4096

// Verdict is what a guard says of an image.
type Verdict struct {
	Label  int       // class predicted, the first of equals; −1 if a logit is NaN
	Logits []float32 // of the image as it is; memory is used again

	// Flagged says that no proof was found at the threshold: do not rely on Label.
	Flagged bool

	// Fooled says that the attack found an image at most the threshold away that is not
	// given Label: Point, in memory that is used again. It proves that the flag is right.
	Fooled bool
	Point  []float32

	// Certified says that Radius is proved: every image at most that far away, with
	// pixels in [0, 1], is given Label, as package verify states it. Without a search
	// Radius is the threshold or nothing is proved.
	Certified bool
	Radius    net.Epsilon
	Steps     int           // Radius in units of the resolution; −1 if nothing is proved, or nothing was searched
	Margin    float32       // proved lower bound of the label's lead in that ball; −Inf if none
	Method    verify.Method // rung that proved Radius or, if none did, was tried last

	// CutShort says that the budget prevented a proof, or an end of the attack, that might
	// have said more.
	CutShort bool
	Elapsed  time.Duration
}

// Guard classifies one image at a time, and within a time budget says of each
// prediction whether it is proved. It proves by intervals first, and takes costlier
// methods while the budget lasts. A method starts only if earlier calls suggest that it
// will end in time, and is given up if it does not. Whatever is not proved is flagged.
//
// With an Unlimited budget results depend only on the image. With any other budget,
// time decides how much is proved, but never whether it is true.
//
// A guard must be used by one goroutine at a time; guards may share network and pool.
// From the second call on, a call that intervals decide allocates nothing.
type Guard struct {
	net    *net.Network
	o      GuardOptions
	runner *net.Runner
	prover rungs
	grid   []net.Epsilon // radii; with no search, the threshold alone
	at     int           // index of the threshold
	search bool
	fooler fooler // nil: none

	expected [verify.MethodAlphaCROWN + 1]expectation
	now      func() time.Time
	limit    limit
	start    time.Time

	x   []float32
	y   [1]int
	z   []float32 // logits of the point that an attack found
	res verify.Result
}

// rungs proves by one method at a time: *verify.Verifier.
type rungs interface {
	CertifyRung(ctx context.Context, o verify.Options, ball net.Ball, b verify.Batch, res *verify.Result) error
}

// NewGuard packs what the proofs need. A network compiled with net.SmallBatches is
// enough, and takes the least memory. For attacks with gradients it must have backward
// passes.
func NewGuard(n *net.Network, pool *kernels.Pool, o GuardOptions) (*Guard, error) {
	how := o.rung(o.Method)
	if err := how.Validate(n.Classes()); err != nil {
		return nil, err
	}
	if o.Budget < 0 {
		return nil, fmt.Errorf("budget: %v, want 0 or more", o.Budget)
	}
	if err := (net.Ball{Norm: o.Norm, Eps: o.Threshold}).Validate(); err != nil {
		return nil, fmt.Errorf("threshold: %w", err)
	}
	g := &Guard{net: n, o: o, now: time.Now, search: !o.Resolution.IsZero()}
	if err := g.makeGrid(); err != nil {
		return nil, err
	}
	v, err := verify.New(n, pool)
	if err != nil {
		return nil, err
	}
	if err := v.Prepare(how); err != nil { // not within the time of the first call
		return nil, err
	}
	g.prover, g.runner = v, n.NewRunner(pool)
	if o.Attack != nil {
		if g.fooler, err = o.Attack.prepare(n, pool, net.Ball{Norm: o.Norm, Eps: o.Threshold}); err != nil {
			return nil, fmt.Errorf("attack: %w", err)
		}
		g.z = make([]float32, n.Classes())
	}
	return g, nil
}

// rung returns how the method m proves.
func (o *GuardOptions) rung(m verify.Method) verify.Options {
	return verify.Options{Method: m, Ladder: true, Iterations: o.Iterations}
}

// makeGrid lists the radii a call may prove.
func (g *Guard) makeGrid() error {
	o := &g.o
	if !g.search {
		g.grid = []net.Epsilon{o.Threshold}
		return nil
	}
	if o.Max.IsZero() {
		o.Max = net.MustEpsilon("1")
	}
	if err := (net.Ball{Norm: o.Norm, Eps: o.Max}).Validate(); err != nil {
		return fmt.Errorf("max: %w", err)
	}
	steps, err := net.RadiusSteps(o.Resolution, o.Max)
	if err != nil {
		return err
	}
	if steps > MaxGuardSteps {
		return fmt.Errorf("resolution: %s divides the largest radius %s into %d steps, want at most %d", o.Resolution, o.Max, steps, MaxGuardSteps)
	}
	at, whole := o.Threshold.Steps(o.Resolution, steps+1)
	if !whole {
		return fmt.Errorf("threshold: %s, want a multiple of the resolution %s", o.Threshold, o.Resolution)
	}
	if o.Threshold.Cmp(o.Max) > 0 {
		return fmt.Errorf("threshold: %s, want at most the largest radius %s", o.Threshold, o.Max)
	}
	g.at = at
	for k := range steps + 1 {
		g.grid = append(g.grid, o.Resolution.Times(k))
	}
	return nil
}

// Classify predicts the class of x, one image, channels first, pixels in [0, 1]. It
// fills v, reusing its memory. A bad image and the end of ctx are errors, and the
// verdict is then flagged.
func (g *Guard) Classify(ctx context.Context, x []float32, v *Verdict) error {
	g.start = g.now()
	if c := g.net.Classes(); len(v.Logits) != c {
		v.Logits = make([]float32, c)
	}
	v.reset(-1)
	clear(v.Logits)
	if err := g.runner.Logits(ctx, v.Logits, x, 1); err != nil {
		return err
	}
	if v.Label = net.Argmax(v.Logits); v.Label >= 0 {
		g.limit.begin(ctx, g.now, g.start, g.o.Budget)
		g.x, g.y[0] = x, v.Label
		err := g.prove(v)
		g.x, g.limit.Context = nil, nil
		if err != nil {
			v.reset(v.Label)
			return err
		}
	}
	v.Elapsed = g.now().Sub(g.start)
	return nil
}

// reset says nothing but the label.
func (v *Verdict) reset(label int) {
	*v = Verdict{Label: label, Logits: v.Logits, Flagged: true, Point: v.Point[:0], Steps: -1, Margin: float32(math.Inf(-1))}
}

// errCut is that of a proof that the budget has no room for.
var errCut = errors.New("cut short")

// prove climbs the ladder at the threshold, attacks where that is in vain, then searches.
func (g *Guard) prove(v *Verdict) error {
	proved, failed := -1, len(g.grid)
	first, err := g.climb(v)
	if err := cut(v, err); err != nil {
		return err
	}
	if v.Flagged && g.fooler != nil {
		if err := cut(v, g.attack(v)); err != nil {
			return err
		}
	}
	if !g.search || err != nil {
		return nil
	}
	if v.Flagged {
		failed = g.at
	} else {
		proved = g.at
	}
	for m := first; m <= g.o.Method; m++ {
		s := verify.NewSearch(proved, failed, m > verify.MethodIBP)
		for k, open := s.Next(); open; k, open = s.Next() {
			ok, err := g.attempt(m, k, v)
			if err != nil {
				return cut(v, err)
			}
			if ball := (net.Ball{Norm: g.o.Norm, Eps: g.grid[k]}); ok && v.Fooled && ball.Contains(g.x, v.Point) {
				return &Contradiction{Ball: ball}
			}
			s.Tell(ok)
		}
		proved = s.Proved()
	}
	return nil
}

// climb tries to prove the threshold, and returns the first rung that a search may start
// with.
func (g *Guard) climb(v *Verdict) (verify.Method, error) {
	for m := verify.MethodIBP; m <= g.o.Method; m++ {
		ok, err := g.attempt(m, g.at, v)
		if err != nil {
			return m, err
		}
		if ok {
			v.Flagged = false
			return m, nil // cheaper rungs cannot go beyond
		}
	}
	return verify.MethodIBP, nil
}

// cut ends a proof with what it has proved so far, if the budget is why.
func cut(v *Verdict, err error) error {
	if errors.Is(err, errCut) {
		v.CutShort = true
		return nil
	}
	return err
}

// attempt tries to prove radius k of the grid by m. The error is errCut if the budget
// has no room for it, or that of the caller's context.
func (g *Guard) attempt(m verify.Method, k int, v *Verdict) (proved bool, err error) {
	begin := g.now()
	e := &g.expected[m]
	if g.o.Budget != Unlimited {
		left := g.o.Budget - begin.Sub(g.start)
		if left <= 0 {
			return false, errCut
		}
		if e.time > left {
			e.skipped()
			return false, errCut
		}
	}
	ball := net.Ball{Norm: g.o.Norm, Eps: g.grid[k]}
	err = g.prover.CertifyRung(&g.limit, g.o.rung(m), ball, verify.Batch{X: g.x, Y: g.y[:]}, &g.res)
	took := g.now().Sub(begin)
	if ended := g.limit.Context.Err(); ended != nil {
		return false, ended
	}
	if len(g.res.Done) != 1 || !g.res.Done[0] {
		if !errors.Is(err, context.DeadlineExceeded) {
			return false, fmt.Errorf("%v: no result: %w", m, err)
		}
		e.cut(took)
		return false, errCut
	}
	e.took(took) // even if it ended late: what is done is a proof
	if !v.Certified {
		v.Method = m
	}
	if margin := g.res.Margin[0]; g.res.Certified[0] && margin > 0 {
		v.Certified, v.Radius, v.Margin, v.Method = true, g.grid[k], margin, m
		if g.search {
			v.Steps = k
		}
		return true, nil
	}
	return false, nil
}
