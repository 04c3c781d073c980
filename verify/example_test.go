package verify_test

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// A property over a box, proved by dividing it at the signs of neurons.
func ExampleVerifier_BoundDomains() {
	fc := func(n int) model.Layer { return model.Layer{Kind: model.FC, Out: n} }
	m := &model.Model{
		Arch: model.Architecture{
			Name: "split", Input: model.Shape{C: 2, H: 1, W: 1},
			Layers: []model.Layer{fc(2), {Kind: model.ReLU}, fc(1)},
		},
		Params: []model.Param{{W: []float32{1, 1, 1, 0}, B: []float32{0, 1}}, {}, {W: []float32{-1, 0.9}, B: []float32{0}}},
	} // 0.9·max(x + 1, 0) − max(x + y, 0)
	n, err := net.Compile(m, net.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := verify.New(n, kernels.NewPool(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, o := context.Background(), verify.Options{Method: verify.MethodCROWN}
	root, err := v.Root(verify.BoxOf([]float32{-1, -1}, []float32{1, 1}), &verify.Property{C: []float32{1}, D: []float32{0.5}})
	if err == nil {
		err = v.BoundDomains(ctx, o, 0, root)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("whole: %.2f\n", root.Margin())
	for _, p := range []verify.Phase{verify.Active, verify.Inactive} {
		d := root.Clone()
		from, err := d.Fix(0, 0, p)
		if err == nil {
			err = v.BoundDomains(ctx, o, from, d)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("half: %.2f\n", d.Margin())
	}
	// Output:
	// whole: -0.50
	// half: 0.30
	// half: 0.50
}
