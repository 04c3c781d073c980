package main

import "github.com/epsball/epsball/internal/input"

// hint writes advice to stderr, unless the document of --json holds it.
func (a *app) hint(hints []string) {
	if a.json {
		return
	}
	for _, h := range hints {
		a.logf("hint: %s", h)
	}
}

// warnTested warns of training on what a model is tested on.
func (a *app) warnTested(f *trainFlags) {
	from, to := f.data.Offset, f.data.Offset+f.data.N
	switch t := &f.test; {
	case f.data.Spec == input.MNISTTest:
		a.logf("warning: %s is the MNIST test set: accuracy on it says nothing of a model trained on it; training images are in testdata/mnist#train of a clone, or in a folder of MNIST's IDX files", input.MNISTTest)
	case f.data.Spec == t.Spec && from < t.Offset+t.N && t.Offset < to:
		a.logf("warning: --test-data %s has images that the model is trained on: accuracy on them says nothing", t.Spec)
	}
}
