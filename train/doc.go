// Package train fits the weights of a model with Adam, AdamW or SGD on the
// CPU. Its objectives are cross-entropy ("standard"), cross-entropy on
// adversarial examples ("pgd", Madry et al. 2018), interval bound propagation
// ("ibp", Gowal et al. 2018), and cross-entropy with a divergence under attack
// ("trades", Zhang et al. 2019). Each has a file objective_NAME.go.
//
// Training is deterministic: the same model, data, and configuration give the
// same weights bit for bit, whatever the threads and the kernel set, and whether
// or not a run was interrupted and resumed from its checkpoint.
//
// Batch norms are by the statistics of the batch, see batchnorm.go and docs/training.md.
//
// Nothing here is a proof: the bounds of the ibp objective are rounded to
// nearest. Package verify has the sound ones.
package train
