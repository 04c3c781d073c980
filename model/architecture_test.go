package model

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPresets(t *testing.T) {
	want := map[string]struct {
		macs, params int64
		last         Shape // the input of the first fc
	}{
		"mnist-small":  {1_183_464, 329_606, Shape{32, 10, 10}},
		"mnist-medium": {6_237_312, 893_418, Shape{64, 4, 4}},
		"cifar-small":  {1_814_248, 470_918, Shape{32, 12, 12}},
		"cifar-large":  {150_672_384, 17_190_602, Shape{128, 16, 16}},
	}
	assert.Equal(t, []string{"mnist-small", "cifar-small", "mnist-medium", "cifar-large"}, Presets())
	for _, name := range Presets() {
		a, err := Preset(name)
		require.NoError(t, err)
		require.NoError(t, a.Validate())
		assert.Equal(t, name, a.Name)
		assert.Equal(t, want[name].macs, a.MACs())
		assert.Equal(t, want[name].params, a.Parameters())
		assert.Equal(t, 10, a.Classes())
		shapes, err := a.Shapes()
		require.NoError(t, err)
		for i, l := range a.Layers {
			if l.Kind == FC {
				assert.Equal(t, want[name].last, shapes[i])
				break
			}
		}
		a.Layers[0].Out = 1
		again, err := Preset(name)
		require.NoError(t, err)
		assert.NotEqual(t, 1, again.Layers[0].Out, "presets are not shared")
	}
	_, err := Preset("mnist")
	checkErr(t, err, "preset", `got "mnist", expected one of mnist-small, cifar-small, mnist-medium, cifar-large`)
}

func TestShapes(t *testing.T) {
	shapes, err := testArch().Shapes()
	require.NoError(t, err)
	assert.Equal(t, []Shape{{2, 7, 6}, {2, 7, 6}, {3, 4, 5}, {3, 4, 5}, {5, 1, 1}, {4, 1, 1}}, shapes)
	assert.Equal(t, int64(3*2*3*2*4*5+60*5+5*4), testArch().MACs())
	assert.Equal(t, int64(3*2*3*2+3+60*5+5+5*4+4), testArch().Parameters())
	assert.Equal(t, 4, testArch().Classes())
	assert.Equal(t, "1x28x28", Shape{1, 28, 28}.String())
	assert.Equal(t, 24, Shape{2, 3, 4}.Size())

	var none Architecture
	assert.Zero(t, none.Classes())
	assert.Zero(t, none.MACs())
	assert.Zero(t, none.Parameters())
	_, err = none.Shapes()
	assert.Error(t, err)
}

func TestArchitectureValidate(t *testing.T) {
	conv := func(out, k, s, p int) Layer {
		return Layer{Kind: Conv, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
	}
	type layers = []Layer
	huge, nan := math.MaxInt, float32(math.NaN())
	for _, c := range []struct {
		name, field, msg string
		change           func(a *Architecture)
	}{
		{"long name", "name", "got 257 bytes", func(a *Architecture) { a.Name = strings.Repeat("x", 257) }},
		{"name UTF-8", "name", "UTF-8", func(a *Architecture) { a.Name = "\xff" }},
		{"name control", "name", "control", func(a *Architecture) { a.Name = "a\nb" }},
		{"no channels", "input[0]", "got 0, expected 1 to 4096", func(a *Architecture) { a.Input.C = 0 }},
		{"negative height", "input[1]", "got -1", func(a *Architecture) { a.Input.H = -1 }},
		{"wide", "input[2]", "got 4097", func(a *Architecture) { a.Input.W = 4097 }},
		{"large input", "input", "got 4096x4096x4096", func(a *Architecture) { a.Input = Shape{4096, 4096, 4096} }},
		{"no layers", "layers", "got 0 layers", func(a *Architecture) { a.Layers = nil }},
		{"many layers", "layers", "got 1025 layers", func(a *Architecture) { a.Layers = make(layers, 1025) }},
		{"unknown kind", "layers[2].type", `got "pool"`, func(a *Architecture) { a.Layers[2].Kind = "pool" }},
		{"late normalize", "layers[2].type", "only as the first", func(a *Architecture) { a.Layers[2] = a.Layers[0] }},
		{"large conv after fc", "layers[4].kernel", "padded input, here 1", func(a *Architecture) { a.Layers[4] = conv(1, 2, 1, 0) }},
		{"normalize alone", "layers[0].type", `got "normalize" as the last layer`, func(a *Architecture) { a.Layers = a.Layers[:1] }},

		{"input ahead", "layers[3].inputs", "got 3, expected a layer before, 0 to 2", func(a *Architecture) { a.Layers[3].Inputs = []int{3} }},
		{"input below", "layers[3].inputs", "got -2, expected a layer before", func(a *Architecture) { a.Layers[3].Inputs = []int{-2} }},
		{"huge input", "layers[3].inputs", "expected a layer before", func(a *Architecture) { a.Layers[3].Inputs = []int{huge} }},
		{"two inputs", "layers[3].inputs", `got 2, expected at most 1 for "fc"`, func(a *Architecture) { a.Layers[3].Inputs = []int{1, 2} }},
		{"input of normalize", "layers[0].inputs", "expected none", func(a *Architecture) { a.Layers[0].Inputs = []int{-1} }},
		{"add of none", "layers[3].inputs", "got 0, expected 2", func(a *Architecture) { a.Layers[3] = Layer{Kind: Add} }},
		{"add of one", "layers[3].inputs", "got 1, expected 2", func(a *Architecture) { a.Layers[3] = Layer{Kind: Add, Inputs: []int{2}} }},
		{"past normalize", "layers[3].inputs", "expected 0, the same normalized", func(a *Architecture) { a.Layers[3].Inputs = []int{-1} }},
		{"not read", "layers[2]", "got an output that no layer reads", func(a *Architecture) { a.Layers[3].Inputs = []int{0} }},
		{"shapes of add", "layers[5].inputs", "got outputs of 5x1x1 and 4x1x1", func(a *Architecture) {
			a.Layers = append(a.Layers, Layer{Kind: Add, Inputs: []int{3, 4}})
		}},
		{"short mean", "layers[0].mean", "got 1 values, expected 2", func(a *Architecture) { a.Layers[0].Mean = []float32{0} }},
		{"long std", "layers[0].std", "got 3 values, expected 2", func(a *Architecture) { a.Layers[0].Std = []float32{1, 1, 1} }},
		{"NaN mean", "layers[0].mean[1]", "got NaN", func(a *Architecture) { a.Layers[0].Mean[1] = nan }},
		{"NaN std", "layers[0].std[0]", "got NaN", func(a *Architecture) { a.Layers[0].Std[0] = nan }},
		{"infinite std", "layers[0].std[0]", "got +Inf", func(a *Architecture) { a.Layers[0].Std[0] = float32(math.Inf(1)) }},
		{"zero std", "layers[0].std[0]", "got 0", func(a *Architecture) { a.Layers[0].Std[0] = 0 }},
		{"negative std", "layers[0].std[1]", "got -1", func(a *Architecture) { a.Layers[0].Std[1] = -1 }},
		{"subnormal std", "layers[0].std[1]", "got 1e-45", func(a *Architecture) { a.Layers[0].Std[1] = math.SmallestNonzeroFloat32 }},

		{"no output", "layers[1].out", "got 0, expected 1", func(a *Architecture) { a.Layers[1].Out = 0 }},
		{"fc no output", "layers[3].out", "got -3", func(a *Architecture) { a.Layers[3].Out = -3 }},
		{"huge output", "layers[3].out", "expected 1 to", func(a *Architecture) { a.Layers[3].Out = huge }},
		{"no kernel", "layers[1].kernel", "got [0 2]", func(a *Architecture) { a.Layers[1].Kernel[0] = 0 }},
		{"huge kernel", "layers[1].kernel", "expected each 1 to 4096", func(a *Architecture) { a.Layers[1].Kernel[1] = huge }},
		{"large kernel", "layers[1].kernel", "got [3 7], expected each at most the padded input, here 6", func(a *Architecture) { a.Layers[1].Kernel[1] = 7 }},
		{"no stride", "layers[1].stride", "got [2 0]", func(a *Architecture) { a.Layers[1].Stride[1] = 0 }},
		{"huge stride", "layers[1].stride", "expected each 1 to 4096", func(a *Architecture) { a.Layers[1].Stride[0] = huge }},
		{"negative padding", "layers[1].padding", "got [-1 0]", func(a *Architecture) { a.Layers[1].Padding[0] = -1 }},
		{"padding of kernel size", "layers[1].padding", "got [1 2]", func(a *Architecture) { a.Layers[1].Padding[1] = 2 }},
		{"large activation", "layers[1].out", "got an output of", func(a *Architecture) { a.Layers[1].Out = maxActivation }},
		{"large weight", "layers[1].out", "got a weight of shape", func(a *Architecture) {
			a.Input, a.Layers = Shape{4096, 1, 1}, layers{{Kind: FC, Out: 10}, {Kind: FC, Out: maxActivation}}
		}},
		{"many MACs", "layers[4].out", "multiply-accumulates", func(a *Architecture) {
			// Just under 2⁵⁴ for each layer.
			a.Input = Shape{4, 4096, 4096}
			a.Layers = layers{}
			for range 3 {
				a.Layers = append(a.Layers, conv(16, 4095, 1, 2047), conv(4, 4095, 1, 2047))
			}
			a.Layers = append(a.Layers, Layer{Kind: FC, Out: 2})
		}},

		{"mean of relu", "layers[2].mean", "expected none", func(a *Architecture) { a.Layers[2].Mean = []float32{1} }},
		{"std of fc", "layers[3].std", "expected none", func(a *Architecture) { a.Layers[3].Std = []float32{1} }},
		{"out of relu", "layers[2].out", "expected none", func(a *Architecture) { a.Layers[2].Out = 3 }},
		{"kernel of fc", "layers[3].kernel", "expected none", func(a *Architecture) { a.Layers[3].Kernel[0] = 1 }},
		{"stride of fc", "layers[3].stride", "expected none", func(a *Architecture) { a.Layers[3].Stride[0] = 1 }},
		{"padding of relu", "layers[2].padding", "expected none", func(a *Architecture) { a.Layers[2].Padding[0] = 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := testArch()
			require.NoError(t, a.Validate())
			c.change(a)
			checkErr(t, a.Validate(), c.field, c.msg)
			assert.Zero(t, a.MACs())
		})
	}
}

// residual has a block with its input as the shortcut, one with a projection,
// and ends in a map.
func residual() *Architecture {
	conv := func(out, k, s, p int, in ...int) Layer {
		return Layer{Kind: Conv, Inputs: in, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
	}
	add := func(p, q int) Layer { return Layer{Kind: Add, Inputs: []int{p, q}} }
	return &Architecture{Name: "residual", Input: Shape{2, 6, 5}, Layers: []Layer{
		conv(3, 3, 1, 1),
		{Kind: ReLU},
		conv(3, 3, 1, 1), add(2, 1),
		{Kind: ReLU},
		conv(4, 3, 2, 1),
		{Kind: ReLU},
		conv(4, 3, 1, 1), conv(4, 1, 2, 0, 4), add(7, 8),
		conv(4, 1, 1, 0, 9), add(9, 10),
		{Kind: ReLU},
	}}
}

func TestResidual(t *testing.T) {
	a := residual()
	require.NoError(t, a.Validate())
	assert.Equal(t, 4*3*3, a.Classes())
	assert.False(t, a.Sequential())
	assert.True(t, testArch().Sequential())
	shapes, err := a.Shapes()
	require.NoError(t, err)
	assert.Equal(t, Shape{3, 6, 5}, a.InputShape(8, shapes))
	assert.Equal(t, Shape{4, 3, 3}, shapes[9])
	assert.Equal(t, []int{4}, a.InputsOf(8))
	assert.Equal(t, []int{9}, a.InputsOf(10))
	assert.Equal(t, []int{-1}, a.InputsOf(0))
	assert.Equal(t, int64(3*2*9*30+3*3*9*30+4*3*9*9+4*4*9*9+4*3*9+4*4*9), a.MACs())
	for _, c := range [][3]int{{3, 2, 1}, {9, 8, 7}, {11, 10, 9}} {
		branch, skip, ok := a.Residual(c[0])
		assert.True(t, ok)
		assert.Equal(t, c[1:], []int{branch, skip})
	}
	c := a.Clone()
	c.Layers[3].Inputs[0] = 0
	assert.Equal(t, residual(), a, "clones share nothing")

	const spelt = `{"type":"add","inputs":[7,8]},{"type":"conv","out":4,"kernel":[1,1],"stride":[1,1],"padding":[0,0]},` +
		`{"type":"add","inputs":[9,10]},{"type":"relu"}]}`
	text := string(a.CanonicalJSON())
	assert.Contains(t, text, spelt)
	assert.Contains(t, text, `{"type":"conv","inputs":[4],"out":4,`)
	back, err := ParseArchitecture([]byte(text))
	require.NoError(t, err)
	a.Layers[10].Inputs = nil // 9 is the layer before
	assert.Equal(t, a, back)
	assert.Equal(t, text, string(back.CanonicalJSON()))
	back, err = ParseArchitecture([]byte(strings.Replace(text, `{"type":"relu"}]`, `{"inputs":[11],"type":"relu"}]`, 1)))
	require.NoError(t, err)
	assert.Equal(t, a, back)
	for _, c := range []struct{ old, new, field, msg string }{
		{`"inputs":[7,8]`, `"inputs":[7,8,6]`, "layers[9].inputs", `got 3, expected 2 for "add"`},
		{`"inputs":[7,8]`, `"inputs":[]`, "layers[9].inputs", "got no numbers"},
		{`"inputs":[7,8]`, `"inputs":8`, "layers[9].inputs", "expected a JSON array"},
		{`,"inputs":[7,8]`, ``, "layers[9]", `no key "inputs"`},
		{`"inputs":[7,8]`, `"inputs":[7,8],"out":4`, "layers[9].out", `"add" does not have`},
		{`"inputs":[7,8]`, `"inputs":[7,9]`, "layers[9].inputs", "got 9, expected a layer before"},
	} {
		_, err := ParseArchitecture([]byte(strings.Replace(text, c.old, c.new, 1)))
		checkErr(t, err, c.field, c.msg)
	}
}

// TestOutputs: a network may end in anything but normalize.
func TestOutputs(t *testing.T) {
	conv := Layer{Kind: Conv, Out: 3, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}}
	for want, layers := range map[int][]Layer{
		1:  {{Kind: FC, Out: 1}},
		7:  {{Kind: FC, Out: 7}, {Kind: ReLU}},
		12: {conv},
		3:  {{Kind: FC, Out: 2}, conv, {Kind: FC, Out: 3}},
		2:  {{Kind: FC, Out: 2}, {Kind: FC, Out: 2}, {Kind: Add, Inputs: []int{0, 1}}},
	} {
		a := &Architecture{Input: Shape{1, 2, 2}, Layers: layers}
		require.NoError(t, a.Validate())
		assert.Equal(t, want, a.Classes())
	}
}

// TestArchitectureTotals covers sums that a 32-bit int would not hold.
func TestArchitectureTotals(t *testing.T) {
	a := &Architecture{Input: Shape{4096, 256, 256}, Layers: []Layer{{Kind: FC, Out: 4}}}
	for range 7 {
		a.Layers = append([]Layer{{Kind: Conv, Out: 4096, Kernel: [2]int{7, 7}, Stride: [2]int{1, 1}, Padding: [2]int{3, 3}}}, a.Layers...)
	}
	require.NoError(t, a.Validate())
	conv, fc := int64(4096*4096*49), int64(4*4096)*256*256
	assert.Equal(t, 7*conv*256*256+fc, a.MACs())
	assert.Equal(t, 7*(conv+4096)+fc+4, a.Parameters())
}

func TestCanonicalJSON(t *testing.T) {
	a := testArch()
	const want = `{"name":"test <ε>","input":[2,7,6],"layers":[` +
		`{"type":"normalize","mean":[0.1,-2],"std":[0.3,1e-07]},` +
		`{"type":"conv","out":3,"kernel":[3,2],"stride":[2,1],"padding":[1,0]},` +
		`{"type":"relu"},{"type":"fc","out":5},{"type":"fc","out":4}]}`
	assert.Equal(t, want, string(a.CanonicalJSON()))
	back, err := ParseArchitecture([]byte(want))
	require.NoError(t, err)
	assert.Equal(t, a, back)
	for _, name := range Presets() {
		a, err := Preset(name)
		require.NoError(t, err)
		back, err := ParseArchitecture(a.CanonicalJSON())
		require.NoError(t, err)
		assert.Equal(t, a, back)
	}
}

func TestParseArchitecture(t *testing.T) {
	const short = ` { "layers" : [ {"kernel":2,"out":3,"type":"conv"}, {"type":"conv","out":1,"kernel":[1,2],"stride":3,"padding":[0,1]},
		{"out":2,"type":"fc"} ], "input":[1, 9, 9] , "name":"\u03b5" } `
	a, err := ParseArchitecture([]byte(short))
	require.NoError(t, err)
	assert.Equal(t, &Architecture{Name: "ε", Input: Shape{1, 9, 9}, Layers: []Layer{
		{Kind: Conv, Out: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		{Kind: Conv, Out: 1, Kernel: [2]int{1, 2}, Stride: [2]int{3, 3}, Padding: [2]int{0, 1}},
		{Kind: FC, Out: 2},
	}}, a)
}

func TestParseArchitectureRefuses(t *testing.T) {
	// layer puts the text between a good first layer's braces and the end.
	layer := func(l string) string {
		return `{"name":"x","input":[1,9,9],"layers":[` + l + `,{"type":"fc","out":2}]}`
	}
	_, err := ParseArchitecture([]byte(layer(`{"type":"conv","out":1,"kernel":1}`)))
	require.NoError(t, err)
	for _, c := range []struct{ text, field, msg string }{
		{``, "architecture", "malformed JSON: unexpected end"},
		{`null`, "architecture", "expected a JSON object"},
		{`[]`, "architecture", "expected a JSON object"},
		{"\xff", "architecture", "UTF-8"},
		{`{"name":"x"`, "architecture", "malformed"},
		{`{"name":"x",}`, "architecture", "malformed"},
		{`{"name" "x"}`, "architecture", "malformed"},
		{`{3:1}`, "architecture", "malformed"},
		{`{]`, "architecture", "malformed"},
		{`{} {}`, "architecture", "malformed"},
		{`{"name":"x","input":[1,9,9]}`, "architecture", `no key "layers"`},
		{`{"Name":"x"}`, "architecture", `unknown key "Name"`},
		{`{"name":"x","name":"y"}`, "architecture", `key "name" twice`},
		{`{"name":null}`, "name", "got \"null\", expected a string"},
		{`{"name":3}`, "name", "expected a string"},
		{`{"input":9}`, "input", "expected a JSON array"},
		{`{"input":[1,9]}`, "input", "got 2 numbers, expected 3"},
		{`{"input":[1,9,9,9]}`, "input", "more than 3"},
		{`{"input":[1,9,null]}`, "input", "got \"null\", expected an integer"},
		{`{"input":[1,9,9.0]}`, "input", "got \"9.0\", expected an integer"},
		{`{"input":[1,9,1e1]}`, "input", "expected an integer"},
		{`{"input":[1,9,4294967296]}`, "input", "of at most 32 bits"},
		{`{"input":[1,9,]}`, "architecture", "malformed"},
		{`{"layers":{}}`, "layers", "expected a JSON array"},
		{`{"layers":[3]}`, "layers[0]", "expected a JSON object"},
		{`{"layers":[` + strings.Repeat(`{"type":"relu"},`, 1024) + `{}]}`, "layers", "more than 1024"},
		{layer(`{}`), "layers[0]", `no key "type"`},
		{layer(`{"type":"pool"}`), "layers[0].type", `got "pool"`},
		{layer(`{"type":"ReLU"}`), "layers[0].type", `got "ReLU"`},
		{layer(`{"type":1}`), "layers[0].type", "expected a string"},
		{layer(`{"type":"conv","out":1,"kernel":1,"group":1}`), "layers[0]", `unknown key "group"`},
		{layer(`{"type":"conv","kernel":1}`), "layers[0]", `no key "out"`},
		{layer(`{"type":"conv","out":1}`), "layers[0]", `no key "kernel"`},
		{layer(`{"type":"conv","out":1,"kernel":[1]}`), "layers[0].kernel", "got 1 numbers, expected 2"},
		{layer(`{"type":"conv","out":1,"kernel":[1,1,1]}`), "layers[0].kernel", "more than 2"},
		{layer(`{"type":"conv","out":1,"kernel":null}`), "layers[0].kernel", "expected an integer"},
		{layer(`{"type":"conv","out":1,"kernel":1,"stride":0}`), "layers[0].stride", "got [0 0]"},
		{layer(`{"type":"conv","out":1,"kernel":1,"padding":1}`), "layers[0].padding", "got [1 1]"},
		{layer(`{"type":"fc"}`), "layers[0]", `no key "out"`},
		{layer(`{"type":"fc","out":2,"stride":1}`), "layers[0].stride", `"fc" does not have`},
		{layer(`{"type":"relu","out":2}`), "layers[0].out", `"relu" does not have`},
		{layer(`{"type":"normalize","std":[1]}`), "layers[0]", `no key "mean"`},
		{layer(`{"type":"normalize","mean":[0],"std":[1e39]}`), "layers[0].std[0]", "within float32"},
		{layer(`{"type":"normalize","mean":[null],"std":[1]}`), "layers[0].mean[0]", "expected a number"},
		{layer(`{"type":"normalize","mean":["1"],"std":[1]}`), "layers[0].mean[0]", "expected a number"},
		{layer(`{"type":"normalize","mean":0,"std":[1]}`), "layers[0].mean", "expected a JSON array"},
		{layer(`{"type":"normalize","mean":[0,0],"std":[1]}`), "layers[0].mean", "got 2 values, expected 1"},
	} {
		a, err := ParseArchitecture([]byte(c.text))
		assert.Nil(t, a)
		checkErr(t, err, c.field, c.msg)
	}
}
