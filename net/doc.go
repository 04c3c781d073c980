// Package net runs networks: it compiles a model into packed weights for a
// kernel set and gives the forward pass, the backward passes to the input and
// to the weights, the losses, and Ball, the one definition of the threat model.
//
// A Network is immutable and safe for concurrent use. A Workspace owns every
// buffer of a pass and belongs to one goroutine at a time. Passes allocate
// nothing. The result for an image is the same bits whatever the batch, its
// composition, the threads or the kernel set; in training, BatchStatistics makes it
// depend on its batch.
package net
