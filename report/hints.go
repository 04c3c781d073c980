package report

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/verify"
)

// ChanceHint is for a model that is right about as often as one that guesses.
func ChanceHint(clean float64, n, classes int) []string {
	chance := 1 / float64(classes)
	if n < 50 || math.Abs(clean-chance) > 2.5*math.Sqrt(chance*(1-chance)/float64(n)) {
		return nil
	}
	return []string{fmt.Sprintf("the model is right about %s of the images, as if it guessed: are labels the index of its outputs, "+
		"and does it want normalized pixels? epsball import --mean … --std … makes that a part of it", show.Percent(clean))}
}

// BoundsHint is for a network of which interval bounds prove less than half of what there
// may be to prove. The command is one with --method, "" if it is the one that gives the
// hint.
func BoundsHint(command string, proved, possible float64) []string {
	if proved >= possible/2 {
		return nil
	}
	if command != "" {
		command += " "
	}
	return []string{fmt.Sprintf("interval bounds prove little of a network that was not trained for them; try %s--method crown, "+
		"which proves more and takes longer", command)}
}

// CertifyHints says what else to try where little is proved of n images: brackets
// are those of --radius, or nil.
func CertifyHints(method verify.Method, n, classes int, clean, certified float64, brackets []Bracket) []string {
	hints := append([]string{}, ChanceHint(clean, n, classes)...)
	proved, possible := certified, clean
	if brackets != nil {
		proved, possible = 0, 0
		for _, b := range brackets {
			if b.Certified != nil && b.Attacked != nil {
				proved, possible = proved+*b.Certified, possible+*b.Attacked
			}
		}
	}
	if method <= verify.MethodCROWNIBP {
		hints = append(hints, BoundsHint("", proved, possible)...)
	}
	return hints
}

// EvalHints is CertifyHints for a model that eval has attacked, too.
func EvalHints(name string, n, classes int, clean, pgd, certified float64) []string {
	hints := append(ChanceHint(clean, n, classes), BoundsHint("epsball certify", certified, pgd)...)
	for i := range hints {
		hints[i] = name + ": " + hints[i]
	}
	return hints
}
