package verify

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/net"
)

// CertifyRung is Certify by the method m alone, at most that of the Config: for
// callers that climb the ladder themselves. Margins are those of m.
func (v *CROWN) CertifyRung(ctx context.Context, m Method, ball net.Ball, b Batch, res *Result) error {
	if m < MethodIBP || m > v.cfg.Method {
		return fmt.Errorf("method %d: want one of %s, up to that of the verifier, %v", int(m), strings.Join(Methods(), ", "), v.cfg.Method)
	}
	if m == MethodIBP && v.ibp != nil {
		return v.ibp.Certify(ctx, ball, b, res)
	}
	if err := ball.Validate(); err != nil {
		return err
	}
	if err := v.check(b); err != nil {
		return err
	}
	n := len(b.X) / v.g.net.Input().Size()
	res.resize(n)
	v.all(n)
	v.ball, v.box, v.res, v.rung = ball, ball.Box(), res, m
	err := v.run(ctx, b, v.only)
	v.res = nil
	return err
}

// certifyRung is certify by one rung.
func (v *CROWN) certifyRung(w *climber, i int) {
	m := v.attempt(w, v.rung, i, v.ball, v.box)
	if !w.gaveUp {
		v.res.Margin[i], v.res.Certified[i], v.res.Method[i], v.res.Done[i] = m, m > 0, v.rung, true
	}
}

func (v *CROWN) certify(w *climber, i int) {
	res := v.res
	if m, method, ok := v.climb(w, i, v.ball, v.box, res.Margin[i]); ok {
		res.Margin[i], res.Certified[i], res.Method[i], res.Done[i] = m, m > 0, method, true
	}
}

// first is the rung that climb begins with; that of intervals, if there is one, has
// been tried.
func (v *CROWN) first() Method {
	switch {
	case !v.cfg.Ladder:
		return v.cfg.Method
	case v.cfg.Spec != nil:
		return MethodIBP
	}
	return min(v.cfg.Method, MethodCROWNIBP)
}

// climb proves what it can of an image and returns the margin and the rung; ibp is a
// margin that is known. ok is false where the context ended before the last rung did.
func (v *CROWN) climb(w *climber, i int, ball net.Ball, box net.Box, ibp float32) (margin float32, rung Method, ok bool) {
	margin = ibp
	for rung = v.first(); ; rung++ {
		margin = max(margin, v.attempt(w, rung, i, ball, box))
		switch {
		case w.gaveUp:
			return margin, rung, false
		case margin > 0 || rung == v.cfg.Method:
			return margin, rung, true
		case v.ctx.Err() != nil:
			return margin, rung, false
		}
	}
}

// attempt is one rung of climb; if the context ends within, it proves nothing.
func (v *CROWN) attempt(w *climber, rung Method, i int, ball net.Ball, box net.Box) float32 {
	w.load(v.image(i), ball, box)
	w.attempt(rung, v.statement(i), w.low, v.cfg.Iterations)
	return worst(w.low)
}

// attempt bounds the rows of s for the loaded image; −Inf if it is stopped.
func (w *relaxer) attempt(m Method, s statement, low []float32, iterations int) {
	if m < MethodAlphaCROWN {
		iterations = 0
	} else if w.ascent == nil {
		w.ascent = newAscent(w.rows)
	}
	w.bounds(m >= MethodCROWN, iterations)
	if !w.stopped() {
		w.prove(s, low, m == MethodIBP, iterations)
	}
	if w.gaveUp {
		for i := range low {
			low[i] = float32(math.Inf(-1))
		}
	}
}
