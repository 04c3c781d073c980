// Package verify proves that no image of a ball is misclassified, and other linear
// properties of outputs over regions of inputs (Verifier, Region, Property, Domain).
//
// What a certificate claims: for every image x′ in the ball and the pixel box
// the network gives label y a strictly larger logit than every other class,
//
//	(a) in exact real arithmetic over the float32 weights, and
//	(b) for every float32 image x′, as executed in float32 with
//	    round-to-nearest: any order of summation, with or without fused
//	    multiply-adds, residual adds within the sums or after them, as long as
//	    nothing overflows.
//
// rounding.go (intervals) and relaxation.go (linear bounds) hold the proofs and are the
// only places that know error bounds.
// Whatever cannot be bounded (NaN, overflow) is not certified.
package verify
