package dataset_test

import (
	"fmt"

	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist"
)

func ExampleLoad() {
	s, err := dataset.Load("builtin:mnist")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Len(), s.C, s.H, s.W, s.Classes, s.Slice(0, 5).Y)
	// Output: 10000 1 28 28 10 [7 2 1 0 4]
}

func ExampleLoad_unknown() {
	_, err := dataset.Load("builtin:minst")
	fmt.Println(err)
	// Output: builtin:minst: name: got "minst", want one of builtin:mnist
}
