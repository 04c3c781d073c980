// Package epsball attacks, bounds and certifies convolutional image
// classifiers on a CPU. Everything it does concerns one set, the ε-ball {x′
// : ‖x′ − x‖ ≤ ε}: an attack searches it for a misclassification, a
// verifier proves that there is none.
//
// This package is the small front for embedding: Load a Model, Classify,
// Attack, Certify; Diagnose says whether an attack is any good. The packages
// behind it offer more: model (networks as data), net (passes, losses, the
// ball), attack, defend, verify, audit, train, dataset, zoo.
//
// Images are float32 pixels in [0, 1], channels first. The results for an
// image are the same bits in any batch, with any number of threads, and on
// any machine.
package epsball
