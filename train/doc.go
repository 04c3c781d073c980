// Package train fits the weights of a model on the CPU, with Adam, AdamW or SGD. What it
// minimises is one of these objectives, each in a file objective_NAME.go:
//
//   - standard: cross-entropy; gaussian (Cohen et al. 2019): of images with normal noise;
//     smoothadv (Salman et al. 2019): of images under attack and with noise;
//   - fgsm (Wong, Rice & Kolter 2020), n-fgsm (de Jorge et al. 2022) and free (Shafahi et al.
//     2019): cross-entropy on adversarial points of one step;
//   - pgd (Madry et al. 2018), trades (Zhang et al. 2019), mart (Wang et al. 2020) and
//     logit-pairing (Kannan, Kurakin & Goodfellow 2018): losses on points of several steps;
//   - input-gradient (Ross & Doshi-Velez 2018) and jacobian (Hoffman, Roberts & Yaida 2019):
//     cross-entropy and how fast outputs change with the pixels;
//   - ibp (Gowal et al. 2018), crown-ibp (Zhang et al. 2020), sabr (Müller et al. 2023) and
//     mtl-ibp (De Palma et al. 2024): losses on interval and linear bounds.
//
// Training is deterministic: the same model, data, and configuration give the
// same weights bit for bit, whatever the threads and the kernel set, and whether
// or not a run was interrupted and resumed from its checkpoint.
//
// Batch norms are by the statistics of the batch, see batchnorm.go and docs/training.md.
//
// Nothing here is a proof: bounds that are trained on are rounded to nearest. Package verify
// has the sound ones.
package train
