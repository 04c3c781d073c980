package net

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// littleEndian: the machine reads weights as a file has them.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func storages() (list []model.Storage) {
	for _, t := range []model.DType{model.F32, model.BF16, model.F16} {
		list = append(list, model.Storage{Type: t}, model.Storage{Type: t, Tiles: true})
	}
	return list[1:]
}

func storedAs(t testing.TB, m *model.Model, s model.Storage) *model.Model {
	t.Helper()
	out, err := m.Store(func(int) model.Storage { return s })
	require.NoError(t, err)
	return out
}

// TestStoredBits: however weights are stored, and whatever a network is compiled
// for, logits and gradients are those of the plain network with the same weights,
// bit for bit.
func TestStoredBits(t *testing.T) {
	const most = 9
	nets := append(smallNets(), &model.Architecture{Name: "wide-fc", Input: model.Shape{C: 3, H: 3, W: 5}, Layers: []model.Layer{
		fc(40), relu, fc(33), relu, fc(9), relu, fc(1), relu, fc(17),
	}})
	for _, a := range nets {
		t.Run(a.Name, func(t *testing.T) {
			m := randomModel(t, a, 7)
			size := a.Input.Size()
			x := randomImages(rand.New(rand.NewPCG(5, 6)), most, size)
			for _, s := range storages() {
				stored := storedAs(t, m, s)
				plain := storedAs(t, stored, model.Storage{})
				same := compile(t, plain, kernels.Available()[0].Name())
				z, g := alone(same, x, most, crossEntropy(same.Classes()))
				for _, isa := range kernels.Available() {
					for _, b := range []Batches{AllBatches, SmallBatches, LargeBatches} {
						if b == AllBatches && isa.Name() == "generic" {
							continue // both paths have been
						}
						n, err := Compile(stored, Options{ISA: isa.Name(), Backward: true, Batches: b})
						require.NoError(t, err)
						for i, l := range n.Layers() {
							requireBits(t, same.Layers()[i].Weights(), l.Weights(), "weights of ", l.Name)
						}
						for workers := 1; workers <= 2; workers++ {
							pool := kernels.NewPool(workers)
							run := n.NewRunner(pool)
							for _, count := range []int{1, 2, 3, 6, most} {
								have := make([]float32, count*n.Classes())
								require.NoError(t, run.Logits(context.Background(), have, x[:count*size], count))
								requireBits(t, z[:len(have)], have, isa.Name(), s, count, " images, ", workers, " workers")
							}
							pool.Close()
						}
						if b != LargeBatches {
							pool := kernels.NewPool(1)
							w := n.NewSmallWorkspace(4, pool)
							for _, count := range []int{1, 4} {
								zn, gn := smallPass(w, x[:count*size], count, crossEntropy(n.Classes()))
								requireBits(t, z[:len(zn)], zn, "logits of ", count)
								requireBits(t, g[:len(gn)], gn, "gradients of ", count)
							}
							pool.Close()
						}
					}
				}
			}
		})
	}
}

// TestInPlace: tiles of a type that has kernels are not copied, mapped ones
// included; everything else is, and works.
func TestInPlace(t *testing.T) {
	m := randomModel(t, smallNets()[3], 3) // conv, conv, fc, fc
	path := filepath.Join(t.TempDir(), "m.safetensors")
	for _, s := range append(storages(), model.Storage{}) {
		stored := storedAs(t, m, s)
		require.NoError(t, stored.Save(path))
		f, err := model.Map(path)
		require.NoError(t, err)
		for _, isa := range kernels.Available() {
			in := []*model.Model{stored, f.Model}
			var plain *Network
			for _, m := range in {
				n, err := Compile(m, Options{ISA: isa.Name(), Batches: SmallBatches})
				require.NoError(t, err)
				want := 0
				for i, l := range stored.Arch.Layers {
					if littleEndian && l.HasParams() && s.Tiles && (s.Type == model.F32 || l.Kind == model.FC) {
						want += len(stored.Params[i].Stored.Data()) &^ 63
					}
				}
				require.InDelta(t, want, n.InPlace(), 4*64, "%v", s)
				require.Equal(t, want > 0, n.InPlace() > 0)
				if plain == nil {
					plain, err = Compile(storedAs(t, m, model.Storage{}), Options{ISA: isa.Name(), Batches: SmallBatches})
					require.NoError(t, err)
				}
				require.LessOrEqual(t, n.Bytes()+n.InPlace(), plain.Bytes())
				x := ramp(3 * m.Arch.Input.Size())
				require.Equal(t, logitsOf(t, plain, x, 3), logitsOf(t, n, x, 3))
				for i := range n.ReloadTasks() {
					n.Reload(i) // nothing to write to
				}
				require.Equal(t, logitsOf(t, plain, x, 3), logitsOf(t, n, x, 3))
			}
		}
		require.NoError(t, f.Close())
	}
}

// TestStoredAllocatesNothing: in steady state.
func TestStoredAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, s := range storages() {
		n, err := Compile(storedAs(t, randomModel(t, smallNets()[3], 3), s), Options{Batches: SmallBatches})
		require.NoError(t, err)
		for workers := 1; workers <= 2; workers++ {
			pool := kernels.NewPool(workers)
			run, x, z := n.NewRunner(pool), ramp(n.Input().Size()), make([]float32, n.Classes())
			require.Zero(t, testing.AllocsPerRun(20, func() {
				if run.Logits(context.Background(), z, x, 1) != nil {
					t.Fatal("failed")
				}
			}), "%v", s)
			pool.Close()
		}
	}
}
