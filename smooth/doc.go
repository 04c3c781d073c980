// Package smooth certifies classifiers by randomised smoothing (Cohen, Rosenfeld, Kolter,
// "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019). The smoothed
// classifier says of an image which class a base classifier names most often when normal
// noise is added to the image.
//
// What it finds is a Result: an L2 radius that holds but for an error of probability α over
// the noise drawn. It is no proof, and no type of this package converts to one of package
// verify, whose proofs hold without exception.
//
// The claim. Images are of 8 bits: pixels k/255. The base classifier is a function F from
// points with pixels j/255, j any integer, to classes: the network as executed in float32
// on float32(j)/255, the same bits in any batch and on every machine. Points y of real
// numbers get the class F(q(y)), where q rounds 255·y to whole numbers. That is one
// measurable function on all of space, so the theorem of Cohen et al. holds for it in exact
// arithmetic: if P(F(q(x+σG)) = c) ≥ p > 1/2, G standard normal, then c is also the most
// probable class at every x′ with ‖x′ − x‖₂ < σ·Φ⁻¹(p).
//
// Sampling. For an 8-bit image x, 255·q(x+σG) is 255·x + N, where N rounds 255σG to whole
// numbers: x is on the grid that q rounds to. So N has one law for all images, whole numbers
// with the probabilities Φ((j+½)/s) − Φ((j−½)/s), s = 255σ, and no floating-point sum of an
// image and noise is ever made, which is where standard sampling loses its proof: float32
// sums betray the image, and an adversary can certify radii with adversarial examples inside
// (Voráček, Hein, "Sound Randomized Smoothing in Floating-Point Arithmetic", ICLR 2023). N is
// drawn by comparing 64 random bits with thresholds (noise.go). The thresholds are within
// 2⁻⁶⁴ of the exact ones, so that the law drawn differs from N's by at most Noise.Distance
// of an image; that is subtracted from every probability before a radius is taken of it.
//
// Statistics. Limits of probabilities are Clopper and Pearson's, computed so that the tail
// they stand for is proved to be at most α (binomial.go). A radius asked for is decided by a
// sequential test that may stop at any time (sequence.go). Radii are rounded down
// (normal.go). All of it is done in integers and in floating point of package math/big with
// known errors, and has the same bits on every machine.
//
// What is assumed is that the bits of Philox4x32-10 are as good as independent fair ones,
// and that images do not depend on the seed.
package smooth
