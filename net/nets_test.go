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
		{Name: "lenet", Input: model.Shape{C: 2, H: 9, W: 8}, Layers: []model.Layer{
			norm(2), conv(5, 3, 3, 1, 1, 1, 1), batchNorm, relu, pool(model.MaxPool, 2, 2, 2, 2, 0, 0),
			conv(9, 2, 3, 1, 1, 0, 1), batchNorm, relu, pool(model.MaxPool, 3, 2, 1, 2, 1, 1), fc(7), relu, fc(5),
		}},
		{Name: "smooth", Input: model.Shape{C: 1, H: 7, W: 7}, Layers: []model.Layer{
			conv(4, 3, 3, 2, 2, 0, 0), {Kind: model.Sigmoid}, pool(model.AvgPool, 2, 2, 1, 1, 0, 0), {Kind: model.Tanh}, fc(6), {Kind: model.Tanh}, fc(4),
		}},
		{Name: "mobile", Input: model.Shape{C: 3, H: 8, W: 7}, Layers: []model.Layer{
			conv(8, 3, 3, 2, 2, 1, 1),
			{Kind: model.Clip, Max: 0.6},
			grouped(8, 8, 3, 3, 1, 1, 1, 1), batchNorm,
			{Kind: model.Clip, Min: -0.5, Max: 1},
			conv(10, 1, 1, 1, 1, 0, 0), batchNorm, relu, grouped(10, 10, 3, 2, 2, 1, 1, 1), relu, pool(model.AvgPool, 2, 5, 1, 1, 0, 0), fc(4),
		}},
		{Name: "grouped", Input: model.Shape{C: 4, H: 6, W: 5}, Layers: []model.Layer{
			grouped(6, 2, 3, 3, 1, 1, 1, 1),
			{Kind: model.LeakyReLU, Slope: []float32{0.1}},
			grouped(9, 3, 2, 1, 2, 1, 0, 0),
			{Kind: model.LeakyReLU, Slope: []float32{0.2, -0.5, 1.5, 0, 1, 0.25, 0.3, 0.7, 2}},
			dilated(grouped(9, 9, 2, 2, 1, 1, 1, 1), 2, 2), fc(5),
		}},
		{Name: "dilated", Input: model.Shape{C: 2, H: 9, W: 8}, Layers: []model.Layer{
			dilated(conv(5, 3, 2, 1, 1, 2, 1), 2, 3), relu, dilated(grouped(10, 5, 2, 2, 2, 1, 1, 0), 3, 1), relu, fc(4),
		}},
		{Name: "average-padded", Input: model.Shape{C: 3, H: 6, W: 7}, Layers: []model.Layer{
			{Kind: model.AvgPool, Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Padding: [2]int{1, 1}},
			{Kind: model.AvgPool, Kernel: [2]int{2, 3}, Stride: [2]int{1, 2}, Padding: [2]int{1, 1}, CountPadding: true},
			fc(4),
		}},
		{Name: "joined", Input: model.Shape{C: 2, H: 6, W: 6}, Layers: []model.Layer{
			conv(3, 3, 3, 1, 1, 1, 1), relu, pool(model.MaxPool, 3, 3, 1, 1, 1, 1), // 2
			add(2, 1), relu, // 4: a sum of its own
			from(4, conv(2, 1, 1, 1, 1, 0, 0)), {Kind: model.Concat, Inputs: []int{5, 4, -1, 2}}, // 6: ten channels
			from(6, pool(model.AvgPool, 2, 2, 2, 2, 0, 0)), from(7, relu), {Kind: model.Concat, Inputs: []int{7, 8, 8}}, // 9
			conv(4, 2, 2, 1, 1, 0, 0), add(10, 10), {Kind: model.Sigmoid}, fc(5), {Kind: model.Concat, Inputs: []int{13, 13}}, fc(4),
		}},
		{Name: "normalized-and-activated", Input: model.Shape{C: 3, H: 3, W: 3}, Layers: []model.Layer{
			norm(3), relu, from(0, batchNorm), add(1, 2), from(2, relu), add(3, 4), relu, pool(model.MaxPool, 1, 1, 1, 1, 0, 0),
		}},
	}
}

var batchNorm = model.Layer{Kind: model.BatchNorm, Eps: 1e-3}

func pool(k model.Kind, kh, kw, sh, sw, ph, pw int) model.Layer {
	l := conv(0, kh, kw, sh, sw, ph, pw)
	l.Kind = k
	return l
}

func grouped(out, groups, kh, kw, sh, sw, ph, pw int) model.Layer {
	l := conv(out, kh, kw, sh, sw, ph, pw)
	l.Groups = groups
	return l
}

func dilated(l model.Layer, h, w int) model.Layer {
	l.Dilation = [2]int{h, w}
	return l
}
