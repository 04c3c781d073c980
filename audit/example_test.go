package audit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/zoo"
)

// A device classifies one picture after the other and relies on a prediction if no
// change of all pixels at once, each by up to 0.1, could alter it.
func ExampleGuard() {
	m, err := zoo.Load("mnist-small-ibp-0.1")
	if err != nil {
		log.Fatal(err)
	}
	n, err := net.Compile(m, net.Options{Batches: net.SmallBatches})
	if err != nil {
		log.Fatal(err)
	}
	pool := kernels.NewPool(1) // no goroutine
	defer pool.Close()
	guard, err := audit.NewGuard(n, pool, audit.GuardOptions{
		Threshold: net.MustEpsilon("0.1"),
		Method:    verify.MethodCROWN, // where intervals prove nothing
		Budget:    time.Minute,        // 20 ms, say, on a device; examples must not depend on time
	})
	if err != nil {
		log.Fatal(err)
	}
	pictures, err := mnist.Test()
	if err != nil {
		log.Fatal(err)
	}
	var v audit.Verdict                    // used again: nothing is allocated
	for _, i := range []int{0, 1, 2, 18} { // the last is a 3
		if err := guard.Classify(context.Background(), pictures.Image(i), &v); err != nil {
			log.Fatal(err)
		}
		if v.Flagged {
			fmt.Printf("%d, perhaps\n", v.Label)
			continue
		}
		fmt.Printf("%d, proved at ε = %v by %v\n", v.Label, v.Radius, v.Method)
	}
	// Output:
	// 7, proved at ε = 0.1 by ibp
	// 2, proved at ε = 0.1 by ibp
	// 1, proved at ε = 0.1 by ibp
	// 5, perhaps
}
