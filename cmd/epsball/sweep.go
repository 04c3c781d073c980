package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/net"
)

// radiiFlag is --eps of a command that takes one radius or several.
func radiiFlag(text string) *value[[]net.Epsilon] {
	return newValue("eps", text, func(s string) ([]net.Epsilon, error) {
		one := epsilonFlag("")
		if before, after, ok := strings.Cut(s, ","); ok && before == "0" && !strings.ContainsAny(after, ",./eE") {
			return nil, one.Set(s) // more likely a decimal comma than the radii 0 and 1
		}
		var radii []net.Epsilon
		for part := range strings.SplitSeq(s, ",") {
			if err := one.Set(part); err != nil {
				return nil, err
			}
			for _, r := range radii {
				if r.Cmp(one.v) == 0 {
					return nil, fmt.Errorf("want each radius once, and %s is %s", one.v, r)
				}
			}
			radii = append(radii, one.v)
		}
		return radii, nil
	})
}

// checkRadii is checkBall for each radius of --eps.
func checkRadii(norm net.Norm, radii []net.Epsilon) error {
	for _, r := range radii {
		if err := checkBall("eps", r.String(), net.Ball{Norm: norm, Eps: r}); err != nil {
			return err
		}
	}
	return nil
}

// needsCurve refuses a plot of a single radius.
func needsCurve(plot *outfile.Output, radii []net.Epsilon) error {
	if plot.Path != "" && len(radii) < 2 {
		return errors.New("--plot: has no meaning with one radius, want several such as --eps 0,0.02,0.05,0.1")
	}
	return nil
}
