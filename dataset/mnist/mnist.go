// Package mnist embeds the MNIST test set, 10,000 handwritten digits of 28×28
// pixels. Importing it makes "builtin:mnist" known to dataset.Load.
//
// The data is by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, under
// CC BY-SA 3.0; see NOTICE.
package mnist

import (
	"bytes"
	_ "embed"
	"sync"

	"github.com/epsball/epsball/dataset"
)

var (
	//go:embed t10k-images-idx3-ubyte.gz
	images []byte
	//go:embed t10k-labels-idx1-ubyte.gz
	labels []byte
)

// Only registered here: a program that never asks for the set never decodes it.
func init() { dataset.Register("mnist", Test) }

var decode = sync.OnceValues(func() (*dataset.Set, error) {
	s, err := dataset.ReadIDX(
		"builtin:mnist images", bytes.NewReader(images),
		"builtin:mnist labels", bytes.NewReader(labels))
	if err != nil {
		return nil, err
	}
	s.Name = "mnist"
	return s, nil
})

// Test returns the test set: N = 10,000, C = 1, H = W = 28, 10 classes, pixels
// in [0,1], in the original order. It is decoded on the first call; all calls
// share X and Y (31 MB), which must not be written to. Safe for concurrent use.
func Test() (*dataset.Set, error) {
	s, err := decode()
	if err != nil {
		return nil, err
	}
	return s.Slice(0, s.Len()), nil // the caller's own header over the shared data
}
