// Package attack searches the ε-ball for a misclassification. It has FGSM, PGD and
// APGD, and takes a Method of your own; all are rules on one loop. docs/attacks.md
// describes the methods and their textual form.
//
// The loop keeps every lane of the kernels busy: an image that is fooled, or out of
// steps, leaves its lane at once, and the next image takes it. A batch of a few images
// uses no lanes: the same loop runs its images one by one. The result for an image
// depends only on the image, its index and the seed, so its bits are the same for any
// batch, number of threads and kernel set.
package attack
