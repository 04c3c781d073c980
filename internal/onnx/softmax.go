package onnx

// convertSoftmax drops a softmax at the end of a network: the class is that of the
// logits before it, and certificates speak of those.
func convertSoftmax(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	joined := im.opset < 13 // with the axes after it
	otherwise := int64(-1)
	if joined {
		otherwise = 1
	}
	axis, err := n.integer("axis", otherwise)
	if err != nil {
		return value{}, err
	}
	axes, err := n.axesOf([]int64{axis}, a.rank())
	if err != nil {
		return value{}, err
	}
	over := 0
	if k := axes[0] - a.rank() + len(a.dims); k >= 0 {
		if over = a.dims[k]; joined {
			over = size(a.dims[k:])
		}
	}
	if over != size(a.dims) {
		return value{}, n.errorf(`attribute "axis"`, "got %d of dimensions %s, expected all outputs of an image", axis, im.dimsText(a))
	}
	im.note("%s dropped: the outputs are the logits before it", n.label())
	im.end = n.op
	b := *a
	b.ended = n.label()
	return value{a: &b}, nil
}

// checkEnd refuses nodes after what has been dropped at the end, but those that
// compute nothing.
func (im *importer) checkEnd(n *node) error {
	switch n.op {
	case "Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze":
		return nil
	}
	for _, name := range n.inputs {
		if a := im.vals[name].a; a != nil && a.ended != "" {
			return n.errorf("", "got the output of %s, which is supported as the last node alone", a.ended)
		}
	}
	return nil
}
