package onnx

// forInference is how to export a network that is in training.
const forInference = "export the network for inference, after model.eval()"

// random are the operators that stand for dropout and the like in training.
var random = map[string]bool{
	"Bernoulli": true, "Multinomial": true, "RandomNormal": true, "RandomNormalLike": true,
	"RandomUniform": true, "RandomUniformLike": true,
}

// unsupported refuses an operator and says what to do about it.
func (im *importer) unsupported(n *node) error {
	hint := "docs/onnx.md lists those that are"
	if len(n.inputs) > 0 && im.constants(n) {
		hint = "it computes with constants alone, which torch.onnx.export does itself by default (dynamo=True, optimize=True)"
	}
	return n.errorf("", "this operator is not supported: %s", hint)
}

// constants reports whether a node reads nothing that depends on the network's input.
func (im *importer) constants(n *node) bool {
	for _, name := range n.inputs {
		if v, ok := im.vals[name]; ok && v.a != nil || !ok && name != "" && im.inits[name] == nil {
			return false
		}
	}
	return true
}
