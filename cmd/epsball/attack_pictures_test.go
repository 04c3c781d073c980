package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/pictures"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// runBuiltin is run with the built-in models of the program.
func runBuiltin(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	code := newApp(&out, &errs).run(ctx, args)
	return result{code, out.String(), errs.String()}
}

// TestAttackPictures: what --png and --sheet write is what --out has, on MNIST.
func TestAttackPictures(t *testing.T) {
	dir := t.TempDir()
	folder, sheet, out := filepath.Join(dir, "adv"), filepath.Join(dir, "sheet.png"), filepath.Join(dir, "adv.npz")
	const n = 40
	line := args("attack --model builtin:mnist-small-standard --eps 26/255 --steps 20 --offset 7 --n %d --lattice 8 --png %s --sheet %s --out %s", n, folder, sheet, out)
	r := runBuiltin(context.Background(), append(line, "--json")...)
	require.Zero(t, r.code, r.stderr)
	doc := r.document(t)
	lattice, drawn := doc["lattice"].(map[string]any), doc["pictures"].(map[string]any)
	assert.Equal(t, []string{"bits", "eps", "float", "grid"}, keys(lattice))
	assert.Equal(t, []string{"levels", "off", "out"}, keys(lattice["grid"]))
	float := lattice["float"].(map[string]any)
	assert.Equal(t, []string{"robust", "rounded", "seconds", "success"}, keys(float))
	rounded := float["rounded"].(map[string]any)
	assert.Equal(t, []string{"correct", "fooled", "kept", "outside"}, keys(rounded))
	assert.Equal(t, float["success"], rounded["fooled"])
	assert.LessOrEqual(t, rounded["kept"], rounded["fooled"])
	assert.EqualValues(t, 26, lattice["grid"].(map[string]any)["levels"])
	assert.Equal(t, "26/255", doc["eps_exact"])
	assert.Equal(t, []string{"folder", "sheet", "shown", "ssim", "written"}, keys(drawn))
	success := doc["success"].(float64)
	assert.Greater(t, success, 10.)
	assert.Equal(t, success, drawn["written"])
	assert.Equal(t, success, drawn["shown"])
	assert.Greater(t, drawn["ssim"], 0.3)
	assert.Less(t, drawn["ssim"], 1.)
	assert.InDelta(t, float["success"], success, 1)

	checks := doc["checks"].([]any)
	last := checks[len(checks)-1].(map[string]any)
	assert.Equal(t, "png", last["name"])
	assert.Contains(t, last["detail"], "read from PNG files are in the ball and misclassified")

	// The float attack is the one without --lattice.
	plain := runBuiltin(context.Background(), args("attack --model builtin:mnist-small-standard --eps 26/255 --steps 20 --offset 7 --n %d --json", n)...).document(t)
	assert.Equal(t, plain["success"], float["success"])
	assert.Equal(t, plain["robust"], float["robust"])
	assert.NotContains(t, plain, "lattice")

	// The files.
	a := readArrays(t, out)
	x, y := a.by["x"].([]float32), a.by["y"].([]int64)
	data, err := dataset.Load("builtin:mnist")
	require.NoError(t, err)
	adv, err := dataset.LoadImages(filepath.Join(folder, "adversarial"))
	require.NoError(t, err)
	original, err := dataset.LoadImages(filepath.Join(folder, "original"))
	require.NoError(t, err)
	ball, k := attack.LatticeBall(net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("26/255")}, 8), 0
	for i, ok := range a.by["success"].([]bool) {
		if !ok {
			continue
		}
		assert.Equal(t, x[i*784:(i+1)*784], adv.Image(k))
		assert.Equal(t, data.Image(7+i), original.Image(k))
		assert.EqualValues(t, y[i], adv.Y[k])
		assert.True(t, ball.Contains(original.Image(k), adv.Image(k)))
		k++
	}
	assert.Equal(t, k, adv.Len())
	img, err := png.Decode(bytes.NewReader(readFile(t, sheet)))
	require.NoError(t, err)
	assert.Greater(t, img.Bounds().Dx(), 600)
	again := runBuiltin(context.Background(), args("attack --model builtin:mnist-small-standard --data %s --attack fgsm --eps 0 --json", filepath.Join(folder, "adversarial"))...).document(t)
	assert.Zero(t, again["clean"], "all of them fool as they are read")

	// They are not replaced, unless that is asked for.
	first := readFile(t, sheet)
	for _, rest := range []string{folder, sheet} {
		require.NoError(t, os.Rename(rest, rest+".away"))
		r = runBuiltin(context.Background(), override(strings.Join(line, " ")+" --out "+filepath.Join(dir, "new.npz"))...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, " exists; name another f")
		require.NoError(t, os.Rename(rest+".away", rest))
	}
	r = runBuiltin(context.Background(), append(line, "--force")...)
	require.Zero(t, r.code, r.stderr)
	assert.Equal(t, first, readFile(t, sheet))
	for _, want := range []string{
		"float attack", "if only rounded", "mean SSIM", "pictures", "sheet", "checks", strconv.Itoa(int(success)) + " adversarial images",
	} {
		assert.Contains(t, r.stdout, want)
	}
}

// TestLatticeOff: images between levels are attacked where the ball reaches a level, and
// counted where it does not.
func TestLatticeOff(t *testing.T) {
	f := newFiles(t) // random float32 pixels
	doc := document(t, 0, args("attack --model %s --data %s --eps 0.001 --lattice 8", f.model, f.data)...)
	grid := doc["lattice"].(map[string]any)["grid"].(map[string]any)
	assert.EqualValues(t, f.n, grid["off"])
	assert.EqualValues(t, f.n, grid["out"])
	assert.Zero(t, doc["success"])
	doc = document(t, 0, args("attack --model %s --data %s --eps 0.2 --lattice 8 --norm l2", f.model, f.data)...)
	grid = doc["lattice"].(map[string]any)["grid"].(map[string]any)
	assert.EqualValues(t, f.n, grid["off"])
	assert.Zero(t, grid["out"])
	assert.Positive(t, doc["success"])
	r := run(args("attack --model %s --data %s --eps 0.01,0.02 --lattice 8", f.model, f.data)...)
	assert.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stdout, "float robust  float fooled  still if rounded")
	r = run(args("attack --model %s --data %s --eps 0.001 --lattice 8", f.model, f.data)...)
	assert.Contains(t, r.stdout, "100 images, around 100 of which the ball has no 8-bit image")
}

// TestNoPictures: nothing is written if nothing is fooled.
func TestNoPictures(t *testing.T) {
	f := newFiles(t)
	folder, sheet := filepath.Join(f.dir, "adv"), filepath.Join(f.dir, "sheet.png")
	r := run(args("attack --model %s --data %s --eps 0 --lattice 8 --png %s --sheet %s", f.model, f.data, folder, sheet)...)
	assert.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stderr, "no picture is written: nothing was fooled")
	assert.NoFileExists(t, sheet)
	assert.NoDirExists(t, folder)
	r = run(args("attack --model %s --data %s --eps 0.3 --sheet %s --json", f.model, f.data, sheet)...)
	assert.Zero(t, r.code, r.stderr)
	drawn := r.document(t)["pictures"].(map[string]any)
	assert.Nil(t, drawn["ssim"], "6x6 images have no window")
	assert.FileExists(t, sheet)
}

// TestLatticeInterrupted: ^C while the float attack runs leaves the result of the attack.
func TestLatticeInterrupted(t *testing.T) {
	f := newFiles(t)
	seen := false
	for looks := int64(1); looks < 3000 && !seen; looks += 1 + looks/10 {
		r := runWith(countdown.New(looks), args("attack --model %s --data %s --eps 0.02 --steps 10 --threads 1 --lattice 8 --json", f.model, f.data)...)
		if r.code == 0 {
			break
		}
		if !strings.HasPrefix(r.stdout, "{") {
			continue // before there were labels
		}
		doc := r.document(t)
		seen = doc["interrupted"] == nil && strings.Contains(r.stderr, "the float attack that it is compared with is not")
		if seen {
			assert.Equal(t, 1, r.code)
			assert.NotNil(t, doc["robust"])
			assert.Nil(t, doc["lattice"].(map[string]any)["float"])
		}
	}
	assert.True(t, seen)
}

// TestBadPictureFlags: exit code 2 and one line that names the flag.
func TestBadPictureFlags(t *testing.T) {
	f := newFiles(t)
	path := filepath.Join(f.dir, "p")
	x := make([]float32, 8)
	writeNPZ(t, path+".npz", x, []int64{0, 1}, []int{2, 1, 2, 2})
	for extra, want := range map[string]string{
		"--lattice 7":                                "--lattice: got 7, want 8: the bits of a pixel in a picture",
		"--lattice x":                                "--lattice",
		"--png " + path:                              "--png: want --lattice 8 with it",
		"--lattice 8 --png " + f.model:               "is a file, want a folder",
		"--lattice 8 --png " + f.dir:                 "--png: " + f.dir + " has what --data reads, want another folder",
		"--lattice 8 --png " + path + " --eps .1,.2": "--png: has one attack's images, want one --eps, got 2",
		"--sheet a.png --eps .1,.2":                  "--sheet: has one attack's images, want one --eps, got 2",
		"--sheet a.jpg":                              "--sheet: a.jpg: what is written is a PNG picture, want a name that ends in .png",
		"--lattice 8 --png " + path + "/a/b":         "there is no folder " + path,
	} {
		r := run(append(args("attack --model %s --data %s", f.model, f.data), strings.Fields(extra)...)...)
		assert.Equal(t, 2, r.code, extra)
		assert.Contains(t, r.stderr, want, extra)
		assert.Empty(t, r.stdout)
	}
}

// A journal of an attack on the lattice is not gone on with by one without.
func TestLatticeResume(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	line := args("attack --model %s --data %s --eps 0.02 --steps 10 --threads 1 --restarts 20 --out %s", f.model, f.data, out)
	require.Equal(t, 1, runWith(countdown.New(300), append(line, "--lattice", "8")...).code)
	r := run(append(line, "--resume")...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, `ε 0.02, 8 bits", but this run has "pgd`)
	r = run(append(line, "--resume", "--lattice", "8")...)
	assert.Zero(t, r.code, r.stderr)
}

// TestCIFARPictures: colour images of CIFAR-10 and a ResNet survive as PNG files, where
// rounding a float attack's points to 8 bits loses most.
func TestCIFARPictures(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "shared", "data")
	onnx := filepath.Join(shared, "vnncomp", "cifar10_resnet_2021", "onnx", "resnet_2b.onnx.gz")
	images := filepath.Join(shared, "cifar10", "test_exact_100.bin.gz")
	for _, path := range []string{onnx, images} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("no real data: %s is absent", path)
		}
	}
	dir := t.TempDir()
	f, err := os.Open(images)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	data, err := io.ReadAll(z)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "test_batch.bin"), data, 0o666))
	m := filepath.Join(dir, "m.safetensors")
	r := run("import", onnx, "--mean", "0.4914,0.4822,0.4465", "--std", "0.2471,0.2435,0.2616", "--out", m)
	require.Zero(t, r.code, r.stderr)
	folder := filepath.Join(dir, "adv")
	doc := document(t, 0, args("attack --model %s --data %s --norm l2 --eps 0.5 --steps 10 --n 40 --lattice 8 --png %s --sheet %s", m, dir, folder, filepath.Join(dir, "sheet.png"))...)
	success, float := doc["success"].(float64), doc["lattice"].(map[string]any)["float"].(map[string]any)
	assert.Greater(t, success, 10.)
	assert.InDelta(t, float["success"], success, 2)
	assert.Less(t, float["rounded"].(map[string]any)["kept"], success/2)
	set, err := dataset.LoadImages(filepath.Join(folder, "adversarial"))
	require.NoError(t, err)
	assert.Equal(t, dataset.Shape{C: 3, H: 32, W: 32}, set.Shape())
	assert.EqualValues(t, success, set.Len())
}

// TestPNGCheckFails: the check of PNG files finds one that does not fool, one outside the
// ball and one that is missing.
func TestPNGCheckFails(t *testing.T) {
	f := newScene(t)
	m, err := model.Load(f.model)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	s := &input.Subject{Net: n, Pool: kernels.NewPool(1)}
	x := make([]float32, len(f.x))
	for i, v := range f.x {
		x[i] = float32(v) / 255
	}
	in := model.Shape{C: 1, H: 6, W: 6}
	of := func(i int) []float32 { return x[i*36 : (i+1)*36] }
	other := slices.IndexFunc(f.y, func(y byte) bool { return y != f.y[0] })
	good := pictures.Example{Index: 0, Original: of(0), Adversarial: of(other), Before: int(f.y[0]), After: int(f.y[other])}
	same := pictures.Example{Index: 1, Original: of(0), Adversarial: of(0), Before: int(f.y[0]), After: int(f.y[0])}
	check := func(eps string, all ...pictures.Example) audit.Finding {
		dir := t.TempDir()
		require.NoError(t, pictures.WriteFolder(dir, in, all))
		cfg := &attack.Config{Ball: net.Ball{Eps: net.MustEpsilon(eps)}}
		return checkPNG(context.Background(), s, cfg, filepath.Join(dir, pictures.Adversarials), all)
	}
	assert.Equal(t, audit.OK, check("1", good).Verdict)
	for _, bad := range []audit.Finding{check("1", good, same), check("0.9", good)} {
		assert.Equal(t, audit.Fail, bad.Verdict)
		assert.Contains(t, bad.Detail, "read from PNG files are in the ball and misclassified")
	}
	none := checkPNG(context.Background(), s, &attack.Config{}, t.TempDir(), []pictures.Example{good})
	assert.Equal(t, audit.Fail, none.Verdict)
}
