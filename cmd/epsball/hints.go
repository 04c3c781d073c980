package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
)

// hint writes advice to stderr, unless the document of --json holds it.
func (a *app) hint(hints []string) {
	if a.json {
		return
	}
	for _, h := range hints {
		a.logf("hint: %s", h)
	}
}

// refit says how images of one shape come to fit a model of another.
func refit(got, want model.Shape) string {
	switch {
	case got.H == want.H && got.W == want.W && want.C == 1:
		return "convert them to gray"
	case got.H == want.H && got.W == want.W && want.C == 3:
		return "convert them to RGB"
	case got.C == want.H && got.H == want.W && got.W == want.C:
		return "store the channels first"
	}
	return fmt.Sprintf("resize them to %d×%d, or use a model for their size", want.H, want.W)
}

// labelling says how images that lack labels get them.
func labelling(spec string) string {
	path, _, _ := strings.Cut(strings.ToLower(spec), "#")
	switch filepath.Ext(path) {
	case ".npz":
		return "give the labels as array y of the .npz"
	case ".npy":
		return "give the labels in a file labels.npy beside it, or both as x and y of an .npz"
	}
	return "give labels in a labels.csv beside the images, lines NAME,LABEL, or by folders named 0, 1, 2, …"
}

// chanceHint is for a model that is right about as often as one that guesses.
func chanceHint(clean float64, n, classes int) []string {
	chance := 1 / float64(classes)
	if n < 50 || math.Abs(clean-chance) > 2.5*math.Sqrt(chance*(1-chance)/float64(n)) {
		return nil
	}
	return []string{fmt.Sprintf("the model is right about %s of the images, as if it guessed: are labels the index of its outputs, "+
		"and does it want normalized pixels? epsball import --mean … --std … makes that a part of it", percent(clean))}
}

// weakBounds tells that bounds prove less than half of what there may be to prove.
func weakBounds(proved, possible float64) bool { return proved < possible/2 }

// tryCROWN is for networks that interval bounds prove little of; %s is the command.
const tryCROWN = "interval bounds prove little of a network that was not trained for them; try %s--method crown, which proves more and takes longer"

// certifyHints says what else to try where little is proved of n images: brackets
// are those of --radius, or nil.
func certifyHints(method verify.Method, n, classes int, clean, certified float64, brackets []report.Bracket) []string {
	hints := append([]string{}, chanceHint(clean, n, classes)...)
	proved, possible := certified, clean
	if brackets != nil {
		proved, possible = 0, 0
		for _, b := range brackets {
			if b.Certified != nil && b.Attacked != nil {
				proved, possible = proved+*b.Certified, possible+*b.Attacked
			}
		}
	}
	if method <= verify.MethodCROWNIBP && weakBounds(proved, possible) {
		hints = append(hints, fmt.Sprintf(tryCROWN, ""))
	}
	return hints
}

// evalHints is certifyHints for a model that eval has attacked, too.
func evalHints(name string, n, classes int, clean, pgd, certified float64) []string {
	hints := chanceHint(clean, n, classes)
	if weakBounds(certified, pgd) {
		hints = append(hints, fmt.Sprintf(tryCROWN, "epsball certify "))
	}
	for i := range hints {
		hints[i] = name + ": " + hints[i]
	}
	return hints
}

// warnTested warns of training on what a model is tested on.
func (a *app) warnTested(f *trainFlags) {
	from, to := f.data.offset, f.data.offset+f.data.n
	switch t := &f.test; {
	case f.data.spec == mnistTest:
		a.logf("warning: %s is the MNIST test set: accuracy on it says nothing of a model trained on it; training images are in testdata/mnist#train of a clone, or in a folder of MNIST's IDX files", mnistTest)
	case f.data.spec == t.spec && from < t.offset+t.n && t.offset < to:
		a.logf("warning: --test-data %s has images that the model is trained on: accuracy on them says nothing", t.spec)
	}
}
