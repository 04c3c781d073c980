package runlog

import (
	"io"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/model"
)

// The values of the array state that WriteAttack writes.
const (
	NotBegun int64 = iota
	Resisting
	Done
)

// WriteAttack writes what an attack found of images of shape in, with labels y and
// indices from first on, as an .npz that can be attacked again: x, y, pred, success,
// index and state, the same bytes for the same result. One perturbation for all images is
// in universal.
func WriteAttack(w io.Writer, in model.Shape, y []int, first int, res *attack.Result) error {
	n := len(res.Done)
	labels, pred, index, state := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i := range n {
		labels[i], pred[i], index[i] = int64(y[i]), int64(res.Label[i]), int64(first+i)
		switch {
		case res.Done[i]:
			state[i] = Done
		case res.Begun[i]:
			state[i] = Resisting
		}
	}
	arrays := []dataset.NamedArray{
		{Name: "x", Shape: []int{n, in.C, in.H, in.W}, Data: res.Adv},
		{Name: "y", Shape: []int{n}, Data: labels},
		{Name: "pred", Shape: []int{n}, Data: pred},
		{Name: "success", Shape: []int{n}, Data: res.Success},
		{Name: "index", Shape: []int{n}, Data: index},
		{Name: "state", Shape: []int{n}, Data: state},
	}
	if len(res.Universal) > 0 {
		arrays = append(arrays, dataset.NamedArray{Name: "universal", Shape: []int{in.C, in.H, in.W}, Data: res.Universal})
	}
	return dataset.WriteNPZ(w, arrays)
}
