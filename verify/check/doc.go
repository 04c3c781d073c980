// Package check re-verifies certificates (docs/certificate.md) from nothing but
// the model, the image and the certificate's line. It shares no code with the
// prover: scalar float64 with outward rounding, meant to be read in one sitting.
//
//	certificate.go  reads a line, strictly
//	slopes.go       the slopes a line states
//	network.go      the model as a list of nodes, each with its op
//	op.go           what an op does; lines of ops that are not linear
//	op_*.go         the ops: forward an interval, backward a form; proofs of lines
//	window.go       where kernels lie
//	rounding.go     the proof, and every constant
//	interval.go     intervals, forward
//	backward.go     linear bounds, backward
//	check.go        the verdict
//	step.go         reads a step of a proof by branch and bound, strictly
//	proof.go        what steps state, and whether it is proved
//	leaf.go         trees and their leaves; the proof of splits
//	leaf_worker.go  bounds leaves
//	region.go       certificates of properties: a box of inputs instead of a ball
//	part.go         parts of a region, by cuts at inputs
//
// A verdict is valid only if this package itself proves the claim; what a line
// says beyond the claim (slopes, margin) can make it fail, not pass.
package check
