package net

import "github.com/epsball/epsball/model"

func conv(out, kh, kw, sh, sw, ph, pw int) model.Layer {
	return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{kh, kw}, Stride: [2]int{sh, sw}, Padding: [2]int{ph, pw}}
}

func fc(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }

var relu = model.Layer{Kind: model.ReLU}

func add(p, q int) model.Layer { return model.Layer{Kind: model.Add, Inputs: []int{p, q}} }

// from is l with its input.
func from(k int, l model.Layer) model.Layer {
	l.Inputs = []int{k}
	return l
}

// smallNets cover every layer kind in every neighbourhood: with and without
// ReLU between, FC on an image and on a vector, asymmetric geometry, strides
// beyond the kernel, odd channel counts.
func smallNets() []*model.Architecture {
	norm := func(c int) model.Layer {
		l := model.Layer{Kind: model.Normalize}
		for i := range c {
			l.Mean = append(l.Mean, 0.4+0.07*float32(i))
			l.Std = append(l.Std, 0.3-0.05*float32(i))
		}
		return l
	}
	return []*model.Architecture{
		{Name: "linear", Input: model.Shape{C: 2, H: 3, W: 3}, Layers: []model.Layer{fc(4)}},
		{Name: "deep-fc", Input: model.Shape{C: 3, H: 1, W: 5}, Layers: []model.Layer{fc(11), relu, fc(6), fc(7), relu, fc(5)}},
		{Name: "normalized-fc", Input: model.Shape{C: 3, H: 2, W: 4}, Layers: []model.Layer{norm(3), fc(9), relu, fc(4)}},
		{Name: "strided", Input: model.Shape{C: 1, H: 9, W: 9}, Layers: []model.Layer{
			conv(5, 4, 4, 2, 2, 0, 0), relu, conv(3, 2, 2, 1, 1, 0, 0), relu, fc(8), relu, fc(10),
		}},
		{Name: "padded", Input: model.Shape{C: 3, H: 6, W: 5}, Layers: []model.Layer{
			norm(3), conv(6, 3, 3, 1, 1, 1, 1), relu, conv(7, 3, 3, 2, 2, 1, 1), relu, fc(4),
		}},
		{Name: "asymmetric", Input: model.Shape{C: 2, H: 7, W: 6}, Layers: []model.Layer{
			norm(2), conv(4, 2, 3, 1, 2, 0, 1), conv(5, 3, 1, 2, 1, 2, 0), relu, conv(2, 1, 1, 1, 1, 0, 0), fc(6), relu, fc(5),
		}},
		{Name: "skipping", Input: model.Shape{C: 2, H: 8, W: 7}, Layers: []model.Layer{
			conv(3, 2, 2, 3, 3, 0, 0), relu, fc(4),
		}}, // some pixels have no influence
		{Name: "residual", Input: model.Shape{C: 3, H: 7, W: 6}, Layers: []model.Layer{
			norm(3), conv(4, 3, 3, 1, 1, 1, 1), relu, // 2
			conv(4, 3, 3, 1, 1, 1, 1), relu, conv(4, 3, 3, 1, 1, 1, 1), add(5, 2), relu, // 7
			conv(5, 3, 3, 2, 2, 1, 1), relu, conv(5, 3, 3, 1, 1, 1, 1), from(7, conv(5, 1, 1, 2, 2, 0, 0)), add(10, 11), relu, // 13
			fc(6), relu, fc(4),
		}},
		{Name: "residual-ends-in-map", Input: model.Shape{C: 2, H: 4, W: 3}, Layers: []model.Layer{
			conv(2, 3, 3, 1, 1, 1, 1), add(-1, 0), conv(3, 2, 2, 2, 2, 0, 1), // the input is the shortcut
			from(1, conv(3, 2, 2, 2, 2, 0, 1)), relu, add(2, 4), // 4 is added and nothing else
		}},
		{Name: "ends-in-relu", Input: model.Shape{C: 2, H: 4, W: 4}, Layers: []model.Layer{
			conv(6, 2, 2, 1, 1, 0, 0), relu, conv(3, 3, 2, 2, 1, 1, 0), relu,
		}},
		{Name: "densely-skipping", Input: model.Shape{C: 1, H: 3, W: 4}, Layers: []model.Layer{
			fc(7), relu, // 1
			fc(7), add(2, 1), relu, // 4
			from(1, fc(7)), add(5, 4), // 6: read by 7, 8 and 10
			fc(7), from(6, fc(7)), add(7, 8), relu, // 10
			from(6, fc(7)), relu, from(10, fc(7)), add(12, 13), from(6, fc(7)), add(15, 14),
			fc(3),
			{Kind: model.Conv, Out: 4, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}},
			relu, fc(5), relu,
		}},
		{Name: "wide-fork", Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{
			fc(5), relu, fc(40), relu, fc(30), relu, fc(5), add(6, 1), relu, from(1, fc(5)), add(8, 9), fc(4),
		}},
	}
}
