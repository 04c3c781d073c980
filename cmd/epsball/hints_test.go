package main

import (
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

// walls is a folder of what new users come with.
func walls(t *testing.T) string {
	dir := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
	}
	write("net.pt", "PK\x03\x04")
	write("net.pth", "\x80\x02")
	write("epoch9.ckpt", "PK\x03\x04")
	write("weights", "PK\x03\x04")
	write("net.keras", "PK\x03\x04")
	write("net.h5", "\x89HDF\r\n\x1a\n")
	write("net.tflite", "\x1c\x00\x00\x00TFL3")
	write("frozen.pb", "\x0a")
	write("saved/saved_model.pb", "\x08")
	write("nets/a.onnx", "")
	write("data.npz", "PK\x03\x04")
	write("words.txt", "these are words")
	write("torch.safetensors", "\x46\x00\x00\x00\x00\x00\x00\x00"+fmt.Sprintf("%-70s", `{"fc.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`)+"\x00\x00\x00\x00")
	write("empty/readme", "")
	write("bad.json", `{"name": "x", "input": [1, 6, 6`)
	return dir
}

// A new user's wrong turns: exit code 2 and one line that names the culprit and
// the cure, without words of Go's.
func TestWalls(t *testing.T) {
	f := newFiles(t)
	dir := walls(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	x := make([]float32, 4*36)
	writeNPZ(t, path("rgb.npz"), x, []int64{0}, []int{1, 4, 6, 6})
	writeNPZ(t, path("large.npz"), x, []int64{0}, []int{1, 1, 12, 12})

	attack := "attack --data " + f.data + " --model " + f.model
	certify := "certify --data " + f.data + " --model " + f.model
	train := "train --arch " + archFile(t, f.dir) + " --data " + f.data + " --out " + path("o.safetensors")
	torch := "torch.onnx.export(net.eval(), torch.zeros(1, C, H, W), "
	for _, c := range []struct{ line, want string }{
		// Commands.
		{"atack", `unknown command "atack"; did you mean attack?`},
		{"atack --model m --eps 0.1", `unknown command "atack"; did you mean attack?`},
		{"--threads 1 cetrify --eps 0.1", `unknown command "cetrify"; did you mean certify or verify?`},
		{"prove", `unknown command "prove"; did you mean certify?`},
		{"pgd", `unknown command "pgd"; did you mean attack?`},
		{"frob --model m", `unknown command "frob", want one of attack, bench, certify, check, completion, convert, data, eval, export, import, info, report, shard, smooth, supports, train`},
		{"help atack", `unknown command "atack"; did you mean attack?`},
		{"completion nonesuch", `unknown command "nonesuch", want one of bash, fish, powershell, zsh`},
		{"attack builtin:small", `attack: unexpected argument "builtin:small"; did you mean --model builtin:small?`},
		{"eval net.onnx", `did you mean --model net.onnx?`},
		// Flags.
		{"attack --modle m", "unknown flag --modle; did you mean --model?"},
		{"attack --step 3", "unknown flag --step; did you mean --step-size or --steps?"},
		{"attack --nonesuch", "unknown flag --nonesuch\n"},
		{"attack -model m", "unknown flag -model; did you mean --model?"},
		{"attack -m m", "unknown flag -m: flags have two dashes and whole names; did you mean --model?"},
		{attack + " --n 1.5", `--n: got "1.5", want a whole number` + "\n"},
		{attack + " --n 99999999999999999999", "want a whole number of fewer digits"},
		{attack + " --seed -1", `--seed: got "-1", want a whole number from 0 up`},
		{attack + " --targeted=maybe", `--targeted: got "maybe", want true or false`},
		{attack + " --threads 1e3", `--threads: got "1e3", want a whole number`},
		{attack + " --threads 9999", "--threads: got 9999, want 1 … 4096"},
		{attack + " --isa sse9", `--isa: got "sse9", want one of `},
		{train + " --lr fast", `--lr: got "fast", want a number such as 0.01`},
		{"bench --batch 1,,2", `--batch: got "1,,2", want whole numbers such as 1,16,128`},
		{"bench --time 5", `--time: got "5", want a time such as 500ms or 5s`},
		{"bench --filter (", `--filter: missing closing ) in "("`},
		{"bench --edge --peers nonesuch", "--peers: nonesuch: no such program"},
		{"import n.onnx --mean a --std 1", `--mean: got "a", want numbers such as`},
		{"certify --eps", "--eps: got "},
		// A flag given twice.
		{"attack --model builtin:small --model m", `--model: got it twice, "builtin:small" and "m", want it once`},
		{"certify --eps 0.1 --model builtin:small --eps=0.2", `--eps: got it twice, "0.1" and "0.2"`},
		{"--threads 1 info --threads 1", `--threads: got it twice, "1" and "1"`},
		{"attack --targeted --targeted=false", `--targeted: got it twice, "true" and "false"`},
		{"export builtin:small --out a.onnx --out b.onnx", "--out: got it twice"},
		// Models.
		{"attack", "--model: required: a file, or one of builtin:small; see epsball help models"},
		{"certify --eps 0.1", "--model: required: a file, or one of builtin:small"},
		{"attack --model small", "model: small: no such file or folder; did you mean builtin:small?"},
		{"attack --model none.onnx", "model: none.onnx: no such file or folder\n"},
		{"attack --model https://host/net.onnx", "want a file on this machine: download it first"},
		{"attack --model " + path("net.pt"), "net.pt: a PyTorch file, want a .safetensors or .onnx file: "},
		{"attack --model " + path("net.pt"), torch + `"net.onnx")`},
		{"eval --model " + path("net.pth"), torch + `"net.onnx")`},
		{"info " + path("epoch9.ckpt"), torch + `"epoch9.onnx")`},
		{"bench --model " + path("weights"), torch + `"weights.onnx")`},
		{"import " + path("net.pt") + " --out m.safetensors", torch},
		{"train --arch " + path("net.pt") + " --data " + f.data + " --out " + path("o.safetensors"), torch},
		{"attack --model " + path("net.keras"), "a Keras file, want a .safetensors or .onnx file: export it: python -m tf2onnx.convert --keras " + path("net.keras") + " --output net.onnx"},
		{"attack --model " + path("net.h5"), "tf2onnx.convert --keras " + path("net.h5") + " --output net.onnx"},
		{"attack --model " + path("net.tflite"), "tf2onnx.convert --tflite " + path("net.tflite") + " --output net.onnx"},
		{"attack --model " + path("frozen.pb"), "tf2onnx.convert --saved-model FOLDER --output frozen.onnx"},
		{"attack --model " + path("saved"), "a TensorFlow SavedModel"},
		{"attack --model " + path("saved"), "tf2onnx.convert --saved-model " + path("saved") + " --output saved.onnx"},
		{"attack --model " + path("nets"), "is a folder, want a file, such as a.onnx in it"},
		{"attack --model " + path("empty"), "is a folder, want a .safetensors or .onnx file"},
		{"attack --model " + path("data.npz"), "data.npz: data, not a network"},
		{"attack --model " + path("words.txt"), `words.txt: header length: got a file that starts with "these ar", expected a safetensors file`},
		{"attack --model " + path("torch.safetensors"), "weights alone, expected one of an epsball model"},
		{"train --arch " + path("bad.json") + " --data " + f.data + " --out " + path("o.safetensors"), "bad.json: model: architecture: got malformed JSON"},
		{"train --arch mnist-smal --data " + f.data + " --out " + path("o.safetensors"), "did you mean mnist-small?"},
		// Data.
		{attack + " --data=", "--data: required: builtin:mnist, a folder or a file; see epsball help data"},
		{attack + " --data https://host/x.npz", "want a file or a folder on this machine"},
		{attack + " --data builtin:mnist#train", "builtin:mnist is the MNIST test set, and a clone has training images in testdata/mnist#train"},
		{attack + " --data " + path("rgb.npz"), "images are 4x6x6, but model " + f.model + " takes 1x6x6: convert them to gray"},
		{attack + " --data " + path("large.npz"), "images are 1x12x12, but model " + f.model + " takes 1x6x6: resize them to 6×6, or use a model for their size"},
		{"train --arch mnist-small --out x", "--data: required: a folder or a file, such as testdata/mnist#train in a clone; see epsball help data"},
		{"train --data d --out x", "--arch: required: mnist-small, cifar-small, mnist-medium, cifar-large, or a .json, .safetensors or .onnx file"},
		// Balls.
		{certify, "--eps: required, such as --eps 0.1 or --eps 8/255; or --radius"},
		{certify + " --eps 0.1 --radius", "--eps and --radius: want one of the two"},
		{certify + " --eps 8", "--eps: got 8, want at most 1: pixels are in [0,1]; did you mean 8/255?"},
		{attack + " --eps 8", "did you mean 8/255?"},
		{"eval --data " + f.data + " --model " + f.model + " --eps 255", "did you mean 255/255?"},
		{train + " --eps 2", "did you mean 2/255?"},
		{train + " --train-eps 2", "--train-eps: got 2, want at most 1: pixels are in [0,1]; did you mean 2/255?"},
		{attack + " --eps 1.5", "--eps: got 1.5, want at most 1: pixels are in [0,1]\n"},
		{certify + " --eps 0,1", `--eps: got "0,1", want a decimal from 0 up such as 0.1 or a fraction such as 8/255; did you mean 0.1?`},
		{certify + " --norm l2 --eps 1e7", "--eps: got 1e7, want at most 1e6"},
		{certify + " --radius --max-radius 8", "--max-radius: got 8, want at most 1: pixels are in [0,1]; did you mean 8/255?"},
		{attack + " --norm l0", `--norm: got l0, but --attack pgd has linf or l2`},
		{certify + " --eps 0.1 --norm l0", `--norm: got "l0", want one of linf, l2, l1`},
		{certify + " --eps 0.1 --method CROWN", `--method: got "CROWN", want one of ibp, crown-ibp, crown, alpha-crown, bab`},
		// Training.
		{train + " --batch 101", "--batch: got 101, want at most the 100 images of the data"},
		{train + " --method pgd --pgd-step-size 3", "--pgd-step-size: got 3, want above 0, at most 2"},
		{train + " --epochs 0", "--epochs: got 0, want 1 … "},
		{train + " --resume --checkpoint " + path("words.txt"), "want a checkpoint of epsball train"},
	} {
		fields := override(c.line)
		if strings.Contains(c.want, "got it twice") {
			fields = strings.Fields(c.line)
		}
		r := run(fields...)
		assert.Equal(t, 2, r.code, c.line)
		assert.Empty(t, r.stdout, c.line)
		assert.Equal(t, 1, strings.Count(r.stderr, "\n"), "%s: one line, got %q", c.line, r.stderr)
		assert.True(t, strings.HasPrefix(r.stderr, "epsball: "), r.stderr)
		assert.Contains(t, r.stderr, c.want, c.line)
		for _, word := range []string{"strconv", "invalid syntax", "invalid argument", "open " + dir, "stat ", "read " + dir, "exec:", "<nil>", "%!", "[]", "parsing"} {
			assert.NotContains(t, r.stderr, word, c.line)
		}
	}
	assert.NoFileExists(t, path("o.safetensors"))
}

// Lists may be repeated, and so may what says the same again.
func TestTwiceAllowed(t *testing.T) {
	f := newFiles(t)
	assert.Zero(t, run(args("eval --model %s --model builtin:small --data %s --n 5", f.model, f.data)...).code)
	assert.Zero(t, run("info", "--json", "--json").code)
	assert.Zero(t, run("help", "certify").code)
}

// Images in a folder without labels, with a labels.csv and in numbered folders, as
// the error advises.
func TestLabelsOfFolders(t *testing.T) {
	f := newFiles(t)
	dir := filepath.Join(f.dir, "photos")
	pixels := make([]byte, 36)
	writePNG(t, filepath.Join(dir, "a.png"), pixels)
	writePNG(t, filepath.Join(dir, "b.png"), pixels)
	line := args("certify --model %s --data %s --eps 0.1", f.model, dir)
	for _, command := range []string{"certify --eps 0.1 --model " + f.model, "eval --model " + f.model, "train --arch " + f.model + " --out x.safetensors"} {
		r := run(strings.Fields(command + " --data " + dir)...)
		assert.Equal(t, 2, r.code, command)
		assert.Equal(t, "epsball: data "+dir+": image 0 has no label: give labels in a labels.csv beside the images, lines NAME,LABEL, "+
			"or by folders named 0, 1, 2, …; see epsball help data\n", r.stderr)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "labels.csv"), []byte("a.png,3\nb.png,4\n"), 0o666))
	assert.Zero(t, run(line...).code)

	dir = filepath.Join(f.dir, "numbered")
	writePNG(t, filepath.Join(dir, "0", "a.png"), pixels)
	writePNG(t, filepath.Join(dir, "7", "a.png"), pixels)
	assert.Zero(t, run(args("certify --model %s --data %s --eps 0.1", f.model, dir)...).code)
}

// Where intervals prove little, there is one line on stderr or, in the document,
// hints; not where they prove much, nor with the method that it names.
func TestHints(t *testing.T) {
	f := newFiles(t)
	certify := fmt.Sprintf("certify --model %s --data %s ", f.model, f.data)
	const want = "hint: interval bounds prove little of a network that was not trained for them; try --method crown, which proves more and takes longer\n"
	for line, stderr := range map[string]string{
		"--eps 0.1": want,
		"--eps 0.1 --method crown-ibp --ladder=false": want,
		"--eps 1e-6":               "",
		"--eps 0.1 --method crown": "",
		"--radius --resolution 0.01 --method crown": "",
	} {
		r := run(strings.Fields(certify + line)...)
		assert.Zero(t, r.code, r.stderr)
		assert.Equal(t, stderr, r.stderr, line)

		r = run(strings.Fields(certify + line + " --json")...)
		assert.Empty(t, r.stderr, "the document has it")
		hints := r.document(t)["hints"].([]any)
		if stderr == "" {
			assert.Empty(t, hints)
			continue
		}
		require.Len(t, hints, 1)
		assert.Equal(t, stderr, fmt.Sprintf("hint: %s\n", hints[0]))
	}

	r := run(args("eval --model %s --data %s --eps 0.1 --attack pgd:steps=2 --checks off", f.model, f.data)...)
	assert.Equal(t, "hint: m: interval bounds prove little of a network that was not trained for them; try epsball certify --method crown, which proves more and takes longer\n", r.stderr)
}

// A model that guesses has perhaps the wrong pixels or labels.
func TestChanceHint(t *testing.T) {
	for _, c := range []struct {
		clean      float64
		n, classes int
		want       bool
	}{
		{0.1, 1000, 10, true},
		{0.11, 1000, 10, true},
		{0.2, 1000, 10, false},
		{0, 1000, 10, false}, // such as images of an attack
		{0.5, 100, 2, true},
		{0.75, 100, 2, false},
		{0.1, 20, 10, false},
	} {
		assert.Equal(t, c.want, len(report.ChanceHint(c.clean, c.n, c.classes)) == 1, "%+v", c)
	}
	f := newFiles(t)
	x := make([]float32, 100*36)
	y := make([]int64, 100)
	for i := range y {
		y[i] = int64(i % 10)
	}
	guess := filepath.Join(f.dir, "guess.npz")
	writeNPZ(t, guess, x, y, []int{100, 1, 6, 6})
	for _, line := range []string{"attack --steps 1", "certify --eps 0", "eval --steps 1"} {
		r := run(strings.Fields(line + " --model " + f.model + " --data " + guess)...)
		assert.Contains(t, r.stderr, "right about 10.00% of the images, as if it guessed", line)
		assert.Contains(t, r.stderr, "epsball import --mean", line)
	}
}

func TestTrainWarns(t *testing.T) {
	dir := t.TempDir()
	arch := filepath.Join(dir, "tiny.json")
	require.NoError(t, os.WriteFile(arch, (&model.Architecture{
		Name: "tiny", Input: model.Shape{C: 1, H: 28, W: 28}, Layers: []model.Layer{{Kind: model.FC, Out: 10}},
	}).CanonicalJSON(), 0o666))
	line := fmt.Sprintf("train --arch %s --method standard --epochs 1 --batch 50 --test-n 20 --out %s ", arch, filepath.Join(dir, "m.safetensors"))
	r := run(strings.Fields(line + "--data builtin:mnist --n 100")...)
	require.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stderr, "warning: builtin:mnist is the MNIST test set: ")
	assert.Contains(t, r.stderr, "testdata/mnist#train")

	f := newFiles(t)
	line = fmt.Sprintf("train --arch %s --method standard --epochs 1 --batch 10 --data %s --n 60 --out %s/", f.model, f.data, dir)
	r = run(strings.Fields(line + "a.safetensors --test-data " + f.data)...)
	require.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stderr, "warning: --test-data "+f.data+" has images that the model is trained on")
	r = run(strings.Fields(line + "b.safetensors --test-data none")...)
	require.Zero(t, r.code, r.stderr)
	assert.NotContains(t, r.stderr, "warning")
}

func TestHelpTopics(t *testing.T) {
	for line, want := range map[string]string{
		"help data":                         "lines NAME,LABEL",
		"data":                              "licence        MIT",
		"data mnist":                        "2646ac647ad5339dbf082846283269ea",
		"help models":                       "torch.onnx.export(",
		"help certify":                      "--method",
		"help":                              "Additional help topics",
		"completion bash":                   "__start_epsball",
		"completion zsh":                    "#compdef epsball",
		"completion fish":                   "complete -c epsball",
		"completion powershell":             "Register-ArgumentCompleter",
		"__complete at":                     "attack",
		"__complete info b":                 "builtin:small",
		"__complete help da":                "data",
		"__complete info --isa ":            "generic",
		"__complete certify --method a":     "alpha-crown",
		"__complete certify --model b":      "builtin:small",
		"__complete train --arch mnist":     "mnist-medium",
		"__complete attack --data builtin:": "builtin:mnist",
	} {
		fields := strings.Fields(line)
		if strings.HasSuffix(line, " ") {
			fields = append(fields, "")
		}
		r := run(fields...)
		assert.Zero(t, r.code, line)
		assert.Contains(t, r.stdout, want, line)
	}
}

func writePNG(t *testing.T, path string, pixels []byte) {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	file, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(file, &image.Gray{Pix: pixels, Stride: 6, Rect: image.Rect(0, 0, 6, 6)}))
	require.NoError(t, file.Close())
}
