package mutate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
	_ "github.com/epsball/epsball/onnx" // for formats.Load
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// seed is a valid file, which mutants are made of, with what it needs beside it.
type seed struct {
	name   string
	share  int               // of the mutants, compared with others
	target string            // the file that is damaged
	files  map[string][]byte // all of them
	mend   []mender

	// read reads the files in a folder and checks what it got. It returns the bytes
	// of the arrays it read.
	read func(dir string) (int64, error)

	// known reports whether an error is of the reader's own type and names the file.
	known func(err error, dir string) bool
}

// seeds are those of every reader of the project.
func seeds(t *testing.T) []seed {
	return slices.Concat(dataSeeds(t), modelSeeds(t), certificateSeeds(t), []seed{treeSeed(t)}, propertySeeds(t))
}

func dataSeeds(t *testing.T) (all []seed) {
	// Each is read whole, then for a model that takes its images, then the last of
	// its n images.
	add := func(name, target, spec string, n int, shape dataset.Shape, files map[string][]byte, mend ...mender) {
		for variant, o := range map[string]dataset.Options{
			"": {}, "-model": {Input: shape}, "-last": {Input: shape, Offset: n - 1, N: 1},
		} {
			if variant == "" && strings.HasSuffix(name, "-flat") {
				continue // nothing without the shape
			}
			all = append(all, seed{
				name + variant, 4, target, files, mend,
				func(dir string) (int64, error) { return readData(filepath.Join(dir, spec), o) },
				func(err error, dir string) bool {
					var e *dataset.Error
					return errors.As(err, &e) && strings.HasPrefix(e.File, dir)
				},
			})
		}
	}
	words := func(magic uint32, dims ...uint32) (b []byte) {
		for _, w := range append([]uint32{magic}, dims...) {
			b = binary.BigEndian.AppendUint32(b, w)
		}
		return b
	}
	const n, h, w = 4, 5, 6
	gray, small := dataset.Shape{C: 1, H: h, W: w}, dataset.Shape{C: 3, H: 5, W: 2}
	photo1, photo3 := dataset.Shape{C: 1, H: 5, W: 7}, dataset.Shape{C: 3, H: 5, W: 7}
	pixels := make([]byte, n*h*w)
	for i := range pixels {
		pixels[i] = byte(2 * i)
	}
	images, labels := append(words(0x803, n, h, w), pixels...), append(words(0x801, n), 3, 1, 4, 1)
	idx := map[string][]byte{"t10k-images-idx3-ubyte": images, "t10k-labels-idx1-ubyte": labels}
	add("idx", "t10k-images-idx3-ubyte", "", n, gray, idx)
	add("idx-labels", "t10k-labels-idx1-ubyte", "", n, gray, idx)
	packed := map[string][]byte{"t10k-images-idx3-ubyte.gz": gzipped(images), "t10k-labels-idx1-ubyte.gz": gzipped(labels)}
	add("idx.gz", "t10k-images-idx3-ubyte.gz", "", n, gray, packed, gzipInside)

	records := make([]byte, 2*(1+3*32*32))
	records[0], records[3073] = 7, 2
	add("cifar", "test_batch.bin", "", 2, dataset.Shape{C: 3, H: 32, W: 32}, map[string][]byte{"test_batch.bin": records})
	add("cifar.gz", "test_batch.bin.gz", "test_batch.bin.gz", 2, dataset.Shape{C: 3, H: 32, W: 32}, map[string][]byte{"test_batch.bin.gz": gzipped(records)}, gzipInside)

	floats := make([]float32, 2*5*2*3)
	for i := range floats {
		floats[i] = float32(i) / 64
	}
	x := dataset.NamedArray{Name: "x", Shape: []int{2, 5, 2, 3}, Data: floats}
	y := dataset.NamedArray{Name: "y", Shape: []int{2}, Data: []int64{3, 1}}
	hot := dataset.NamedArray{Name: "y", Shape: []int{2, 3}, Data: []float64{0, 0, 1, 1, 0, 0}}
	flat := dataset.NamedArray{Name: "x", Shape: []int{2, 30}, Data: pixels[:60]}
	npy := func(a dataset.NamedArray) []byte {
		var b bytes.Buffer
		require.NoError(t, dataset.WriteNPY(&b, a))
		return b.Bytes()
	}
	npz := func(arrays ...dataset.NamedArray) []byte {
		var b bytes.Buffer
		require.NoError(t, dataset.WriteNPZ(&b, arrays))
		return b.Bytes()
	}
	add("npz", "a.npz", "a.npz", 2, small, map[string][]byte{"a.npz": npz(x, y)}, zipInside, zipInside)
	add("npz-flat", "a.npz", "a.npz", 2, gray, map[string][]byte{"a.npz": npz(flat, hot, dataset.NamedArray{Name: "classes", Shape: []int{}, Data: []int64{3}})}, zipInside, zipInside)
	beside := map[string][]byte{"x.npy": npy(x), "y.npy": npy(hot)}
	add("npy", "x.npy", "x.npy", 2, small, beside, npyInside, npyInside)
	add("npy-labels", "y.npy", "x.npy", 2, small, beside, npyInside)

	rgb := image.NewRGBA(image.Rect(0, 0, 7, 5))
	mono := image.NewGray(rgb.Rect)
	for i := range mono.Pix {
		mono.Pix[i] = byte(7 * i)
		rgb.Set(i%7, i/7, color.RGBA{byte(3 * i), byte(5 * i), byte(7 * i), 255})
	}
	var png1, png3, jpg1, jpg3 bytes.Buffer
	require.NoError(t, png.Encode(&png1, mono))
	require.NoError(t, png.Encode(&png3, rgb))
	require.NoError(t, jpeg.Encode(&jpg1, mono, nil))
	require.NoError(t, jpeg.Encode(&jpg3, rgb, nil))
	add("png", "2/a.png", "", 2, photo1, map[string][]byte{"1/b.png": png1.Bytes(), "2/a.png": png1.Bytes()}, pngInside, pngInside, pngInside)
	add("png-rgb", "a.png", "a.png", 1, photo3, map[string][]byte{"a.png": png3.Bytes()}, pngInside, pngInside, pngInside)
	add("jpeg", "cat/a.jpg", "", 2, photo1, map[string][]byte{"cat/a.jpg": jpg1.Bytes(), "dog/a.jpg": jpg1.Bytes()}, jpegInside)
	add("jpeg-rgb", "a.jpeg", "a.jpeg", 1, photo3, map[string][]byte{"a.jpeg": jpg3.Bytes()}, jpegInside)
	add("csv", "labels.csv", "", 2, photo1, map[string][]byte{"a.png": png1.Bytes(), "b.png": png1.Bytes(), "labels.csv": []byte("name,label\na.png,3\n\"b.png\",-1\n")})
	return all
}

// readData loads a set and checks what the package promises of it.
func readData(spec string, o dataset.Options) (int64, error) {
	s, err := dataset.LoadWith(spec, o)
	if err != nil {
		return 0, err
	}
	if err := s.Validate(); err != nil {
		return 0, fmt.Errorf("not valid: %v", err) // without its type
	}
	if s.Len() == 0 || o.N > 0 && s.Len() != o.N || o.Input != (dataset.Shape{}) && !o.Input.Takes(s.Shape()) {
		return 0, fmt.Errorf("%d images of %v", s.Len(), s.Shape())
	}
	return 4 * int64(len(s.X)), nil
}

func modelSeeds(t *testing.T) (all []seed) {
	add := func(name string, share int, file string, b []byte, mend ...mender) {
		all = append(all, seed{
			name, share, file,
			map[string][]byte{file: b},
			mend,
			func(dir string) (int64, error) { return readModel(filepath.Join(dir, file)) },
			func(err error, dir string) bool {
				var e *model.FormatError
				return errors.As(err, &e) && e.File == filepath.Join(dir, file)
			},
		})
	}
	file := func(path ...string) []byte {
		b, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "testdata"}, path...)...))
		require.NoError(t, err)
		return b
	}
	list := file("model", "tiny.safetensors")
	add("model-list", 4, "m.safetensors", list, safetensorsInside, safetensorsInside)
	graph := file("golden", "residual.safetensors")
	add("model-graph", 4, "m.safetensors", graph, safetensorsInside, safetensorsInside)
	for _, s := range []model.Storage{{Type: model.BF16}, {Type: model.F16, Tiles: true}, {Tiles: true}} {
		m, err := model.Decode(graph, "")
		require.NoError(t, err)
		m, err = m.Store(func(int) model.Storage { return s })
		require.NoError(t, err)
		b, err := m.Encode()
		require.NoError(t, err)
		add("model-"+strings.ReplaceAll(s.String(), " ", "-"), 4, "m.safetensors", b, safetensorsInside)
	}
	networks, err := filepath.Glob(filepath.Join("..", "..", "testdata", "golden", "onnx", "*.onnx"))
	require.NoError(t, err)
	require.NotEmpty(t, networks)
	for _, path := range networks {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if len(b) > 8<<10 {
			continue // damage would hardly ever hit more than weights
		}
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		add("onnx-"+name, 1, "n.onnx", b)
		if beside, err := os.ReadFile(path + ".data"); err == nil {
			all[len(all)-1].files[filepath.Base(path)+".data"] = beside
		}
	}
	add("onnx.gz", 4, "n.onnx.gz", gzipped(file("golden", "onnx", "matmul_add.onnx")), gzipInside)
	return all
}

func readModel(path string) (int64, error) {
	m, err := formats.Load(path)
	if err != nil {
		return 0, err
	}
	if err := m.Validate(); err != nil {
		return 0, fmt.Errorf("not valid: %v", err) // without its type
	}
	return int64(m.Bytes()), nil
}

func certificateSeeds(t *testing.T) (all []seed) {
	m, err := model.Load(filepath.Join("..", "..", "testdata", "golden", "residual.safetensors"))
	require.NoError(t, err)
	checker, err := check.New(m)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 1))
	x := make([]float32, m.Arch.Input.Size())
	for i := range x {
		x[i] = r.Float32()
	}
	rows := make([]float64, m.Arch.Classes())
	rows[0] = 0.5
	for name, c := range map[string]*check.Certificate{
		"ibp":  {Norm: "linf", Eps: "1/255", Method: check.IBP},
		"rows": {Norm: "l2", Eps: "0.001", Method: check.CROWN, Label: -1, Rows: [][]float64{rows}, Offsets: []float64{100}},
		"slopes": {
			Norm: "l1", Eps: "1e-3", Method: check.AlphaCROWN, Margin: 1e-9,
			Slopes: []check.Slopes{{For: check.ForAll, ReLU: firstReLU(m), Alpha: "adaptive"}},
		},
	} {
		c.Model, c.Level, c.Data, c.Input, c.Run, c.Certified = m.Hash(), check.Executed, "test", check.InputHash(x), "test", true
		b, err := cert.Append(nil, c)
		require.NoError(t, err)
		all = append(all, seed{
			"certificate-" + name, 8, "c.jsonl",
			map[string][]byte{"c.jsonl": b},
			[]mender{certificateInside, certificateInside},
			func(dir string) (int64, error) { return readCertificates(filepath.Join(dir, "c.jsonl"), checker, x) },
			func(err error, _ string) bool { return err.Error() != "" }, // the command adds the file and the line
		})
	}
	return all
}

func propertySeeds(t *testing.T) (all []seed) {
	for _, name := range []string{"disjuncts", "nest", "linearise"} {
		b, err := os.ReadFile(filepath.Join("..", "vnnlib", "testdata", name+".vnnlib"))
		require.NoError(t, err)
		add := func(name, target string, b []byte, mend ...mender) {
			all = append(all, seed{
				name, 4, target,
				map[string][]byte{target: b},
				mend,
				func(dir string) (int64, error) { return readProperty(filepath.Join(dir, target)) },
				func(err error, dir string) bool {
					var e *vnnlib.Error
					return errors.As(err, &e) && strings.HasPrefix(e.File, dir)
				},
			})
		}
		add("vnnlib-"+name, "p.vnnlib", b)
		if name == "disjuncts" {
			add("vnnlib.gz", "p.vnnlib.gz", gzipped(b), gzipInside)
		}
	}
	return all
}

func readProperty(path string) (int64, error) {
	q, err := vnnlib.Load(path)
	if err != nil {
		return 0, err
	}
	if err := q.Validate(); err != nil {
		return 0, fmt.Errorf("not valid: %v", err) // without its type
	}
	return 0, nil // of arrays
}

func firstReLU(m *model.Model) int {
	for i := range m.Arch.Layers {
		if m.Arch.Layers[i].Kind == model.ReLU {
			return i
		}
	}
	return -1
}

// readCertificates reads a file as the command does, and checks what it can.
func readCertificates(path string, checker *check.Checker, x []float32) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := check.NewLines(f)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		c, err := check.Parse(line)
		if err != nil {
			return 0, err
		}
		if _, err := checker.Check(context.Background(), c, x, check.Unknown); err != nil {
			return 0, err
		}
	}
}
