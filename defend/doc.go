// Package defend puts preprocessing in front of a network: steps that change the image
// before the network sees it, and that were proposed as defences against attacks. Such a
// network is an attack.Target like any other. An attack that does not account for the
// preprocessing finds little, and the network looks robust; Gradient and attack.Config.EOT
// account for it.
//
// What a defended network says of an image is the same bits whatever the batch, the
// threads or the kernel set. There are no proofs for defended networks: package verify
// knows the network alone.
package defend
