// Package attack searches the ε-ball for a misclassification: FGSM, PGD, APGD, or a
// Method of your own, all rules on one loop. docs/attacks.md has the methods and
// their textual form.
//
// The loop keeps every lane of the kernels busy: an image that is fooled (or
// out of steps) leaves its lane at once and the next image takes it. A batch of
// a few images takes no lanes: the same loop runs them as single ones. What an
// image goes through depends on the image, its index and the seed alone, so
// results are the same bits for any batch, any threads and any kernel set.
package attack
