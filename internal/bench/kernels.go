package bench

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// elementOp is an element-wise kernel on arrays of n elements.
type elementOp struct {
	name    string
	arrays  int     // operands
	touched int     // operands read and operands written: bytes an element are 4 times as many
	flop    float64 // an element: each +, −, ×, min and max of the definition
	apply   func(isa *kernels.ISA, sc *kernels.Scratch, a [][]float32)
}

// constants are of the size that package verify uses.
var constants = kernels.IntervalConstants{Rel: 1e-7, Abs: 1e-38, MulR: 1 + 1e-5, MulC: 1e-5, Add: 1e-30, ReLU: true}

var everyOther = [kernels.Lanes]bool{0: true, 2: true, 4: true, 6: true}

var elementOps = []elementOp{
	{"pgd-update", 4, 5, 3, func(isa *kernels.ISA, _ *kernels.Scratch, a [][]float32) {
		isa.PGDStep(a[0], a[1], a[2], a[3], 0.01)
	}},
	{"interval-affine", 2, 4, 19, func(isa *kernels.ISA, sc *kernels.Scratch, a [][]float32) {
		isa.IntervalAffine(sc, a[0], a[1], constants)
	}},
	{"interval-box", 2, 4, 9, func(isa *kernels.ISA, sc *kernels.Scratch, a [][]float32) {
		isa.IntervalBox(sc, a[0], a[1], constants)
	}},
	{"interval-add", 4, 6, 6, func(isa *kernels.ISA, sc *kernels.Scratch, a [][]float32) {
		isa.IntervalAdd(sc, a[0], a[1], a[2], a[3], constants)
	}},
	{"add-relu", 2, 3, 2, func(isa *kernels.ISA, _ *kernels.Scratch, a [][]float32) {
		isa.Add(a[0], a[1], kernels.ReLU, nil)
	}},
	{"add-gate", 3, 4, 1, func(isa *kernels.ISA, _ *kernels.Scratch, a [][]float32) {
		isa.Add(a[0], a[1], kernels.Gate, a[2])
	}},
	{"select-lanes", 2, 3, 0, func(isa *kernels.ISA, sc *kernels.Scratch, a [][]float32) {
		isa.SelectLanes(sc, a[0], a[1], &everyOther)
	}},
	{"pack-lanes", 2, 2, 0, func(_ *kernels.ISA, _ *kernels.Scratch, a [][]float32) {
		net.PackLanes(a[0], a[1], model.Shape{C: len(a[0]) / kernels.Lanes, H: 1, W: 1}, kernels.Lanes)
	}},
}

func (b *bench) kernelCases() []benchCase {
	var list []benchCase
	for _, op := range elementOps {
		for i, l := range machine.Levels(1) {
			group := fmt.Sprintf("kernel/%s/%s", op.name, l.Name)
			list = b.expand(list, group, []string{direct}, func(threads int, isa *kernels.ISA, _ string) benchCase {
				l := machine.Levels(threads)[i]
				n := max(1, l.Bytes/(4*op.arrays*kernels.Lanes)) * kernels.Lanes
				// One run covers some megabytes, so that its fork-join is no matter.
				calls := threads * max(1, (4<<20)/(4*op.touched*n))
				elements := float64(calls) * float64(n)
				return benchCase{
					kind: report.RowKernel, level: l, flop: op.flop * elements, bytes: 4 * float64(op.touched) * elements,
					prepare: func(ctx context.Context) (*task, error) { return op.prepare(ctx, isa, n, calls, threads), nil },
				}
			})
		}
	}
	return list
}

// prepare makes a task of so many calls on n elements each.
func (op *elementOp) prepare(ctx context.Context, isa *kernels.ISA, n, calls, threads int) *task {
	arrays := make([][][]float32, threads)
	random := kernels.NewStream(1, 0, 0)
	for t := range arrays {
		for range op.arrays {
			a := kernels.Alloc(n)
			for i := range a {
				a[i] = random.Float32()
			}
			arrays[t] = append(arrays[t], a)
		}
	}
	pool, scratch := kernels.NewPool(threads), make([]kernels.Scratch, threads)
	f := func(worker, _ int) {
		if ctx.Err() == nil {
			op.apply(isa, &scratch[worker], arrays[worker])
		}
	}
	return &task{func() { pool.Run(calls, f) }, pool}
}
