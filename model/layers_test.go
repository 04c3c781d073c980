package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// everything has a layer of each kind.
func everything() *Architecture {
	two, one := [2]int{2, 2}, [2]int{1, 1}
	return &Architecture{Name: "everything", Input: Shape{2, 8, 8}, Layers: []Layer{
		{Kind: Normalize, Mean: []float32{0.5, 0.25}, Std: []float32{0.25, 2}},
		{Kind: Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: one, Padding: [2]int{2, 2}, Dilation: two, Groups: 2},
		{Kind: BatchNorm, Eps: 1e-5},
		{Kind: LeakyReLU, Slope: []float32{0.1, -0.5, 1, 0}},
		{Kind: Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: one, Padding: one, Groups: 4},
		{Kind: BatchNorm},
		{Kind: Clip, Max: 6},
		{Kind: Concat, Inputs: []int{6, 3, 0}},
		{Kind: MaxPool, Kernel: [2]int{3, 3}, Stride: two, Padding: one},
		{Kind: Sigmoid},
		{Kind: Tanh, Inputs: []int{8}},
		{Kind: Add, Inputs: []int{9, 10}},
		{Kind: ReLU},
		{Kind: AvgPool, Kernel: [2]int{3, 3}, Stride: one, Padding: one, CountPadding: true},
		{Kind: AvgPool, Kernel: [2]int{4, 4}, Stride: one},
		{Kind: LeakyReLU, Slope: []float32{0.01}},
		{Kind: FC, Out: 3},
	}}
}

// everyModel is everything with random parameters and statistics.
func everyModel(t testing.TB) *Model {
	m, err := Random(everything(), 3)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(4, 5))
	for i := range m.Params {
		for c := range m.Params[i].Var {
			p := &m.Params[i]
			p.W[c], p.B[c], p.Mean[c], p.Var[c] = float32(r.NormFloat64()), r.Float32(), r.Float32(), 0.1+r.Float32()
		}
	}
	m.Card = map[string]string{"a": "b"}
	return m
}

const everyJSON = `{"name":"everything","input":[2,8,8],"layers":[{"type":"normalize","mean":[0.5,0.25],"std":[0.25,2]},` +
	`{"type":"conv","out":4,"kernel":[3,3],"stride":[1,1],"padding":[2,2],"dilation":[2,2],"groups":2},` +
	`{"type":"batchnorm","eps":1e-05},{"type":"leakyrelu","slope":[0.1,-0.5,1,0]},` +
	`{"type":"conv","out":4,"kernel":[3,3],"stride":[1,1],"padding":[1,1],"groups":4},` +
	`{"type":"batchnorm","eps":0},{"type":"clip","min":0,"max":6},{"type":"concat","inputs":[6,3,0]},` +
	`{"type":"maxpool","kernel":[3,3],"stride":[2,2],"padding":[1,1]},{"type":"sigmoid"},{"type":"tanh","inputs":[8]},` +
	`{"type":"add","inputs":[9,10]},{"type":"relu"},` +
	`{"type":"avgpool","kernel":[3,3],"stride":[1,1],"padding":[1,1],"count_padding":true},` +
	`{"type":"avgpool","kernel":[4,4],"stride":[1,1],"padding":[0,0]},{"type":"leakyrelu","slope":[0.01]},` +
	`{"type":"fc","out":3}]}`

// TestEverything: all kinds have the documented shapes, JSON and file.
func TestEverything(t *testing.T) {
	a := everything()
	shapes, err := a.Shapes()
	require.NoError(t, err)
	assert.Equal(t, Shape{4, 8, 8}, shapes[2])
	assert.Equal(t, Shape{10, 8, 8}, shapes[8])
	assert.Equal(t, Shape{10, 4, 4}, shapes[9])
	assert.Equal(t, Shape{10, 1, 1}, shapes[15])
	assert.Equal(t, int64(4*9+4+8+4*9+4+8+30+3), a.Parameters())
	assert.Equal(t, int64(64*(4*9+4+4*9+4)+30), a.MACs())
	assert.Equal(t, everyJSON, string(a.CanonicalJSON()))
	back, err := ParseArchitecture([]byte(everyJSON))
	require.NoError(t, err)
	assert.Equal(t, a, back)
	// Defaults, spelt out or left out, mean the same.
	spelt := strings.NewReplacer(`"kernel":[3,3],"stride":[1,1],"padding":[1,1],"groups":4`, `"groups":4,"dilation":1,"kernel":3,"padding":1`,
		`"stride":[1,1],"padding":[0,0]}`, `"count_padding":true}`, `"fc"`, `"fc","inputs":[15]`).Replace(everyJSON)
	back, err = ParseArchitecture([]byte(spelt))
	require.NoError(t, err)
	assert.Equal(t, a, back)
	c := a.Clone()
	c.Layers[3].Slope[0] = 7
	assert.Equal(t, everything(), a, "clones share nothing")

	m := everyModel(t)
	require.NoError(t, m.Validate())
	data, err := m.Encode()
	require.NoError(t, err)
	section := data[8+binary.LittleEndian.Uint64(data):]
	sum := sha256.Sum256(append(a.CanonicalJSON(), section...))
	assert.Equal(t, hex.EncodeToString(sum[:]), m.Hash(), "as the format says")
	for _, m := range []*Model{m, storedAs(t, m, Storage{F16, true}), storedAs(t, m, Storage{BF16, false})} {
		data, err := m.Encode()
		require.NoError(t, err)
		assert.Contains(t, string(data[:60]), `"version":"4"`)
		back, err := Decode(data, "all")
		require.NoError(t, err)
		assert.Equal(t, m, back)
		view, err := View(data, "all")
		require.NoError(t, err)
		assert.Equal(t, m.Hash(), view.Hash())
		assert.Equal(t, m.Params[2], view.Params[2], "statistics are copied")
		read, err := LoadFS(fstest.MapFS{"all": {Data: data}}, "all")
		require.NoError(t, err)
		assert.Equal(t, m, read)
		checkDecode(t, data)
		for n := 0; n < len(data); n += 7 {
			_, err := Decode(data[:n], "cut")
			require.Error(t, err)
		}
	}
	m.Params[5].Var[1]++
	assert.NotEqual(t, everyModel(t).Hash(), m.Hash(), "statistics count")
}

// TestVersionFour: what older readers do not know has the version they refuse.
func TestVersionFour(t *testing.T) {
	conv := Layer{Kind: Conv, Out: 2, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}}
	relu := Layer{Kind: ReLU}
	grouped, dilated := conv, conv
	grouped.Groups, dilated.Dilation = 2, [2]int{1, 2}
	for want, lists := range map[string][][]Layer{
		"2": {{conv, relu}, {conv, conv, {Kind: Add, Inputs: []int{0, 1}}, relu}},
		"4": {
			{relu, conv},
			{conv, relu, relu},
			{conv, relu, {Kind: Add, Inputs: []int{0, 1}}},
			{{Kind: Normalize, Mean: []float32{0, 0}, Std: []float32{1, 1}}, relu},
			{grouped},
			{dilated},
			{{Kind: Add, Inputs: []int{-1, -1}}},
			{conv, {Kind: Tanh}},
		},
	} {
		for _, l := range lists {
			m, err := Random(&Architecture{Input: Shape{2, 3, 3}, Layers: l}, 1)
			require.NoError(t, err)
			data, err := m.Encode()
			require.NoError(t, err)
			assert.Contains(t, string(data[:60]), `"version":"`+want+`"`, "%v", l)
			back, err := Decode(data, "f")
			require.NoError(t, err)
			assert.Equal(t, m, back)
			if want == "4" {
				_, err := Decode([]byte(strings.Replace(string(data), `"version":"4"`, `"version":"3"`, 1)), "f")
				checkErr(t, err, "__metadata__.version", `got "3", expected "4"`)
			}
		}
	}
}

// TestEveryKindRefuses: values and fields that a kind does not take.
func TestEveryKindRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		field, msg string
		change     func(l []Layer)
	}{
		{"layers[1].groups", "got 3, expected a common divisor of the channels 2 and 4", func(l []Layer) { l[1].Groups = 3 }},
		{"layers[1].groups", "got -2", func(l []Layer) { l[1].Groups = -2 }},
		{"layers[1].groups", "got 1", func(l []Layer) { l[1].Groups = 1 }},
		{"layers[4].groups", "4 and 6", func(l []Layer) { l[4].Out = 6 }},
		{"layers[1].dilation", "got [0 2]", func(l []Layer) { l[1].Dilation[0] = 0 }},
		{"layers[1].dilation", "got [1 1]", func(l []Layer) { l[1].Dilation = [2]int{1, 1} }},
		{"layers[1].dilation", "got [2 5000]", func(l []Layer) { l[1].Dilation[1] = 5000 }},
		{"layers[1].dilation", "over 8193, expected at most 4096", func(l []Layer) { l[1].Dilation[1] = 4096 }},
		{"layers[1].padding", "less than the kernel, here 5", func(l []Layer) { l[1].Padding[1] = 5 }},
		{"layers[1].kernel", "padded input, here 12", func(l []Layer) { l[1].Dilation[0] = 6 }},
		{"layers[2].eps", "got NaN", func(l []Layer) { l[2].Eps = nan }},
		{"layers[2].eps", "got -1", func(l []Layer) { l[2].Eps = -1 }},
		{"layers[3].slope", "got 3 values, expected 4, one for each channel, or 1", func(l []Layer) { l[3].Slope = l[3].Slope[:3] }},
		{"layers[3].slope", "got 0 values", func(l []Layer) { l[3].Slope = nil }},
		{"layers[3].slope[2]", "got +Inf", func(l []Layer) { l[3].Slope[2] = inf }},
		{"layers[6].min", "got NaN and max 6", func(l []Layer) { l[6].Min = nan }},
		{"layers[6].min", "got 0 and max +Inf", func(l []Layer) { l[6].Max = inf }},
		{"layers[6].min", "got 6 and max 6", func(l []Layer) { l[6].Min = 6 }},
		{"layers[7].inputs", "got 1, expected 2 to 1024", func(l []Layer) { l[7].Inputs = []int{6} }},
		{"layers[7].inputs", "got 2000, expected 2 to 1024", func(l []Layer) { l[7].Inputs = make([]int, 2000) }},
		{"layers[7].inputs", "expected a layer before", func(l []Layer) { l[7].Inputs = []int{6, 7} }},
		{"layers[9].inputs", `got 2, expected at most 1 for "sigmoid"`, func(l []Layer) { l[9].Inputs = []int{8, 7} }},
		{"layers[14].inputs", "one height and one width", func(l []Layer) { l[14] = Layer{Kind: Concat, Inputs: []int{6, 13}} }},
		{"layers[8].kernel", "got [0 3]", func(l []Layer) { l[8].Kernel[0] = 0 }},
		{"layers[8].stride", "got [0 0]", func(l []Layer) { l[8].Stride = [2]int{} }},
		{"layers[8].padding", "got [3 1]", func(l []Layer) { l[8].Padding[0] = 3 }},
		{"layers[14].kernel", "got [5 4], expected each at most the padded input", func(l []Layer) { l[14].Kernel[0] = 5 }},

		{"layers[8].out", "expected none", func(l []Layer) { l[8].Out = 10 }},
		{"layers[8].dilation", "none", func(l []Layer) { l[8].Dilation = [2]int{2, 2} }},
		{"layers[8].count_padding", `expected none for "maxpool"`, func(l []Layer) { l[8].CountPadding = true }},
		{"layers[14].count_padding", "expected none", func(l []Layer) { l[14].CountPadding = true }},
		{"layers[12].slope", "none", func(l []Layer) { l[12].Slope = []float32{1} }},
		{"layers[12].min", "none", func(l []Layer) { l[12].Min = 1 }},
		{"layers[12].max", "none", func(l []Layer) { l[12].Max = 1 }},
		{"layers[16].eps", "none", func(l []Layer) { l[16].Eps = 1 }},
		{"layers[16].groups", "none", func(l []Layer) { l[16].Groups = 2 }},
		{"layers[9].kernel", "none", func(l []Layer) { l[9].Kernel = [2]int{1, 1} }},
	} {
		a := everything()
		c.change(a.Layers)
		checkErr(t, a.Validate(), c.field, c.msg)
	}

	const bad = `"slope":[0.01]`
	for _, c := range []struct{ old, new, field, msg string }{
		{`"eps":1e-05`, `"eps":[1]`, "layers[2].eps", "expected a number within float32"},
		{`,"eps":1e-05`, ``, "layers[2]", `no key "eps"`},
		{bad, `"slope":0.01`, "layers[15].slope", "expected a JSON array"},
		{bad, `"slope":[0.01],"max":1`, "layers[15].max", `"leakyrelu" does not have`},
		{`"min":0,`, ``, "layers[6]", `no key "min"`},
		{`"min":0`, `"min":-1e39`, "layers[6].min", "within float32"},
		{`"count_padding":true`, `"count_padding":1`, "layers[13].count_padding", "expected true or false"},
		{`{"type":"sigmoid"}`, `{"type":"sigmoid","kernel":2}`, "layers[9].kernel", `"sigmoid" does not have`},
		{`{"type":"sigmoid"}`, `{"type":"sigmoid","count_padding":false}`, "layers[9].count_padding", `"sigmoid" does not have`},
		{`,"kernel":[4,4]`, ``, "layers[14]", `no key "kernel"`},
		{`"groups":4`, `"groups":4.0`, "layers[4].groups", "expected an integer"},
		{`"type":"fc"`, `"type":"dense"`, "layers[16].type", `got "dense", expected one of normalize, conv, fc, batchnorm, relu, leakyrelu, sigmoid, tanh, clip, maxpool, avgpool, add, concat`},
	} {
		_, err := ParseArchitecture([]byte(strings.Replace(everyJSON, c.old, c.new, 1)))
		checkErr(t, err, c.field, c.msg)
	}
}

func TestBatchNormRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		field, msg string
		change     func(p []Param)
	}{
		{"layers.2.running_var[1]", "got -1", func(p []Param) { p[2].Var[1] = -1 }},
		{"layers.5.running_var[3]", "got 0 with eps 0", func(p []Param) { p[5].Var[3] = 0 }},
		{"layers.2.running_mean[0]", "got NaN", func(p []Param) { p[2].Mean[0] = nan }},
		{"layers.2.running_var[0]", "got NaN", func(p []Param) { p[2].Var[0] = nan }},
		{"layers.2.weight", "got 3 values, expected 4", func(p []Param) { p[2].W = p[2].W[:3] }},
		{"layers.2.bias", "got 0 values", func(p []Param) { p[2].B = nil }},
		{"layers.2.running_mean", "got 5 values", func(p []Param) { p[2].Mean = make([]float32, 5) }},
		{"layers.2.running_var", "got 0 values", func(p []Param) { p[2].Var = nil }},
		{"layers.1.running_mean", "got 1 values, expected 0", func(p []Param) { p[1].Mean = make([]float32, 1) }},
		{"layers.5.running_var[0]", "weight 1e+38, expected numbers ≥ 0", func(p []Param) { p[5].W[0], p[5].Var[0] = 1e38, 1e-9 }},
		{"layers.2.weight", "expected none", func(p []Param) { p[2].Stored = p[1].Stored }},
	} {
		m := storedAs(t, everyModel(t), Storage{F32, true})
		c.change(m.Params)
		checkErr(t, m.Validate(), c.field, c.msg)
	}
	data, err := everyModel(t).Encode()
	require.NoError(t, err)
	for _, c := range []struct{ old, new, field, msg string }{
		{`"layers.2.running_mean":{"dtype":"F32","shape":[4]`, `"layers.2.running_mean":{"dtype":"F16","shape":[4]`, "layers.2.running_mean.dtype", `expected "F32"`},
		{`"layers.2.weight":{"dtype":"F32"`, `"layers.2.weight":{"dtype":"F16"`, "layers.2.weight.dtype", `got "F16", expected "F32"`},
		{`"layers.2.running_var"`, `"layers.2.running_vas"`, "layers.2.running_var", "no such tensor"},
	} {
		require.Contains(t, string(data), c.old)
		_, err := Decode([]byte(strings.Replace(string(data), c.old, c.new, 1)), "f")
		checkErr(t, err, c.field, c.msg)
	}
}

// TestManyEntries: lists and work that only their sum makes too large.
func TestManyEntries(t *testing.T) {
	a := &Architecture{Input: Shape{4096, 1, 1}}
	for range 64 {
		a.Layers = append(a.Layers, Layer{Kind: LeakyReLU, Slope: make([]float32, 4096)})
	}
	require.NoError(t, a.Validate())
	a.Layers = append(a.Layers, Layer{Kind: LeakyReLU, Slope: []float32{1}})
	checkErr(t, a.Validate(), "layers[64].slope", "got 262145 values up to here")

	a = &Architecture{Input: Shape{1, 1, 1}}
	for i := range 65 {
		a.Layers = append(a.Layers, Layer{Kind: Concat, Inputs: make([]int, 1024)}, Layer{Kind: FC, Out: 1})
		for k := range 1024 {
			a.Layers[2*i].Inputs[k] = 2*i - 1
		}
	}
	checkErr(t, a.Validate(), "layers[128].inputs", "got 66560 inputs")
	a.Layers = a.Layers[:128]
	require.NoError(t, a.Validate())

	pool := Layer{Kind: MaxPool, Kernel: [2]int{4095, 4095}, Stride: [2]int{1, 1}, Padding: [2]int{2047, 2047}}
	a = &Architecture{Input: Shape{16, 4096, 4096}}
	for range 1024 {
		a.Layers = append(a.Layers, pool)
	}
	checkErr(t, a.Validate(), "layers[16].kernel", "multiply-accumulates")
	a.Layers = a.Layers[:16]
	require.NoError(t, a.Validate())
	assert.Zero(t, a.MACs())

	m := Layer{Kind: Concat, Inputs: make([]int, 1024)}
	for k := range m.Inputs {
		m.Inputs[k] = -1
	}
	a = &Architecture{Input: Shape{4096, 256, 256}, Layers: []Layer{m}}
	checkErr(t, a.Validate(), "layers[0].inputs", "got an output of 8192x256x256")
}

// TestFold: batchnorms go where a conv or fc that nothing else reads can take them
// in, with each weight rounded once; the others stay.
func TestFold(t *testing.T) {
	a := &Architecture{Name: "fold", Input: Shape{2, 4, 4}, Layers: []Layer{
		{Kind: BatchNorm, Eps: 1e-3},
		{Kind: Conv, Out: 2, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}, Groups: 2},
		{Kind: BatchNorm, Eps: 1e-5},
		{Kind: ReLU},
		{Kind: Conv, Out: 2, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}},
		{Kind: BatchNorm, Eps: 1e-5}, // its input is read by the add as well
		{Kind: Add, Inputs: []int{5, 4}},
		{Kind: Add, Inputs: []int{6, 0}},
		{Kind: FC, Out: 3},
		{Kind: BatchNorm, Eps: 1e-5},
	}}
	m, err := Random(a, 5)
	require.NoError(t, err)
	for i := range a.Layers {
		for c := range m.Params[i].Var {
			m.Params[i].Var[c], m.Params[i].Mean[c], m.Params[i].B[c] = 0.3+float32(c), 0.2, -0.7
		}
	}
	before := m.Hash()
	c, folded, err := m.Fold()
	require.NoError(t, err)
	assert.Equal(t, []int{2, 9}, folded)
	assert.Equal(t, before, m.Hash(), "the model is not changed")
	assert.NotEqual(t, before, c.Hash())
	var kinds []string
	for i := range c.Arch.Layers {
		kinds = append(kinds, string(c.Arch.Layers[i].Kind))
	}
	assert.Equal(t, "batchnorm conv relu conv batchnorm add add fc", strings.Join(kinds, " "))
	assert.Equal(t, []int{4, 3}, c.Arch.Layers[5].Inputs)
	assert.Equal(t, []int{5, 0}, c.Arch.Layers[6].Inputs)
	p, norm := m.Params[1], m.Params[2]
	for o := range 2 {
		scale := float64(norm.W[o]) / math.Sqrt(float64(norm.Var[o])+float64(a.Layers[2].Eps))
		for k := range 9 {
			assert.Equal(t, float32(float64(p.W[o*9+k])*scale), c.Params[1].W[o*9+k])
		}
		shift := float64(norm.B[o]) - float64(float64(norm.Mean[o])*scale)
		assert.Equal(t, float32(float64(float64(p.B[o])*scale)+shift), c.Params[1].B[o])
	}
	again, none, err := c.Fold()
	require.NoError(t, err)
	assert.Empty(t, none)
	assert.Equal(t, c, again)

	m.Params[2].W[1], m.Params[2].Var[1], m.Params[1].W[9] = 1e30, 1, 1e30
	_, _, err = m.Fold()
	checkErr(t, err, "layers.1.weight[9]", "got +Inf")
	m.Params[2].Var[1] = -1
	_, _, err = m.Fold()
	checkErr(t, err, "layers.2.running_var[1]", "got -1")
}
