package input

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/epsball/epsball/model"
)

func TestLabelling(t *testing.T) {
	assert.Contains(t, labelling("a.npz#train"), "array y")
	assert.Contains(t, labelling("A.NPY"), "labels.npy")
	assert.Contains(t, labelling("folder"), "labels.csv")
}

func TestRefit(t *testing.T) {
	want := model.Shape{C: 3, H: 32, W: 32}
	for text, got := range map[string]model.Shape{
		"convert them to RGB":      {C: 1, H: 32, W: 32},
		"store the channels first": {C: 32, H: 32, W: 3},
		"resize them to 32×32":     {C: 3, H: 28, W: 28},
	} {
		assert.Contains(t, refit(got, want), text)
	}
}

func TestName(t *testing.T) {
	for spec, want := range map[string]string{
		"builtin:mnist": "mnist", "a/b.safetensors": "b", "c.onnx": "c", "c.onnx.gz": "c", "plain": "plain",
	} {
		assert.Equal(t, want, Name(spec), spec)
	}
}

// The model whose input has the shape of images is asked what they look like.
func TestWidest(t *testing.T) {
	of := func(c, h, w int) *model.Model {
		return &model.Model{Arch: model.Architecture{Input: model.Shape{C: c, H: h, W: w}}}
	}
	assert.Equal(t, 1, Widest([]*model.Model{of(784, 1, 1), of(1, 28, 28)}))
	assert.Equal(t, 0, Widest([]*model.Model{of(784, 1, 1), of(1, 1, 784)}))
}
