// Package attack searches the ε-ball for a misclassification, or for the misclassified
// point nearest to an image. Builtin lists its methods: single attacks with and without
// gradients, and cascades of them (Auto, which is AutoAttack, and Fast). It takes a Method
// of your own. Nearly all are rules on one loop; a cascade runs other methods (Whole).
// docs/attacks.md describes the methods and their textual form.
//
// What is attacked is a Target: a network, or a type that adds something before or after
// one, such as package defend. Config says in which ball, on which lattice of pictures,
// and with how many draws of a target that draws random numbers.
//
// The loop keeps every lane of the kernels busy: an image that is fooled, or out of
// steps, leaves its lane at once, and the next image takes it. A batch of a few images
// uses no lanes: the same loop runs its images one by one. The result for an image
// depends only on the image, its index and the seed, so its bits are the same for any
// batch, number of threads and kernel set.
package attack
