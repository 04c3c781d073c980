package model

import (
	"slices"
	"strings"
)

// presets are built anew on each call: a caller may change what it gets.
var presets = []struct {
	name  string
	build func() *Architecture
}{
	{"mnist-small", mnistSmall},
	{"cifar-small", cifarSmall},
	{"mnist-medium", mnistMedium},
	{"cifar-large", cifarLarge},
}

// Presets returns the names that Preset knows, smallest network first.
func Presets() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// Preset returns a built-in architecture by name, or a *FormatError that lists
// the known names. The caller owns the result.
func Preset(name string) (*Architecture, error) {
	for _, p := range presets {
		if p.name == name {
			a := p.build()
			a.Name = name
			return a, nil
		}
	}
	return nil, fieldErr("preset", "got %s, expected one of %s", quote(name), strings.Join(Presets(), ", "))
}

// mnistSmall has 1.183 M multiply-accumulates.
func mnistSmall() *Architecture {
	return &Architecture{Input: Shape{1, 28, 28}, Layers: join(
		convReLU(16, 4, 2, 0), convReLU(32, 4, 1, 0),
		fcReLU(100), fc(10))}
}

// mnistMedium has 6.237 M multiply-accumulates.
func mnistMedium() *Architecture {
	return &Architecture{Input: Shape{1, 28, 28}, Layers: join(
		convReLU(32, 3, 1, 0), convReLU(32, 4, 2, 0),
		convReLU(64, 3, 1, 0), convReLU(64, 4, 2, 0),
		fcReLU(512), fcReLU(512), fc(10))}
}

// cifarSmall has 1.814 M multiply-accumulates: mnistSmall on images of CIFAR-10.
func cifarSmall() *Architecture {
	return &Architecture{Input: Shape{3, 32, 32}, Layers: join(
		convReLU(16, 4, 2, 0), convReLU(32, 4, 1, 0),
		fcReLU(100), fc(10))}
}

// cifarLarge has 150.67 M multiply-accumulates.
func cifarLarge() *Architecture {
	return &Architecture{Input: Shape{3, 32, 32}, Layers: join(
		convReLU(64, 3, 1, 1), convReLU(64, 3, 1, 1),
		convReLU(128, 3, 2, 1), convReLU(128, 3, 1, 1), convReLU(128, 3, 1, 1),
		fcReLU(512), fc(10))}
}

func join(parts ...[]Layer) []Layer { return slices.Concat(parts...) }

func convReLU(out, kernel, stride, padding int) []Layer {
	return []Layer{{
		Kind: Conv, Out: out,
		Kernel: [2]int{kernel, kernel}, Stride: [2]int{stride, stride}, Padding: [2]int{padding, padding},
	}, {Kind: ReLU}}
}

func fcReLU(out int) []Layer { return []Layer{{Kind: FC, Out: out}, {Kind: ReLU}} }

func fc(out int) []Layer { return []Layer{{Kind: FC, Out: out}} }
