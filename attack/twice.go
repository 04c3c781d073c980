package attack

import (
	"fmt"
	"slices"
	"strconv"
)

// Twice returns m with twice its steps, queries or draws, and random numbers of another seed, so
// that its runs are new ones. It is an error if m has none of these, or r does not know it.
func (r Registry) Twice(m Method) (Method, error) {
	s, err := ParseSpec(m.String())
	if err != nil {
		return nil, err
	}
	at := slices.Index(r.Names(), s.Name)
	if at < 0 {
		return nil, fmt.Errorf("the registry has no %s", s.Name)
	}
	more := false
	for _, f := range r[at].New().Fields() {
		n := uint64(f.usual)
		k := slices.IndexFunc(s.Options, func(o Option) bool { return o.Name == f.Name })
		if k >= 0 {
			if n, err = strconv.ParseUint(s.Options[k].Value, 10, 64); err != nil {
				continue // no number
			}
		}
		switch f.Name {
		case "steps", "queries", "draws":
			if n == 0 { // a default that depends on the ball
				continue
			}
			n, more = min(2*n, maxCount), true
		case "seed":
			n, more = n+1, more || m.Plan().RandomStart
		default:
			continue
		}
		if k >= 0 {
			s.Options = slices.Delete(s.Options, k, k+1)
		}
		s = s.With(f.Name, strconv.FormatUint(n, 10))
	}
	if !more {
		return nil, fmt.Errorf("%v has neither steps nor random starts", m)
	}
	return r.Make(s)
}
