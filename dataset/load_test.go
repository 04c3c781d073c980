package dataset

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// pair is an IDX pair of one image with the given label.
func pair(y byte) (images, labels []byte) {
	return idx(idxImages, []uint32{1, 1, 1}, []byte{y}), idx(idxLabels, []uint32{1}, []byte{y})
}

func TestLoadIDXFolder(t *testing.T) {
	testX, testY := pair(1)
	trainX, trainY := pair(2)
	dir := folder(t, map[string][]byte{
		"t10k-images-idx3-ubyte.gz": gz(t, testX), "t10k-labels-idx1-ubyte": testY,
		"train-images.idx3-ubyte": trainX, "train-images.idx3-ubyte.gz": []byte("the plain twin wins"),
		"train-labels.idx1-ubyte.gz": gz(t, trainY), "preview.png": rgbPNG(t), "a.bin": cifar(3),
	})
	base := filepath.Base(dir)
	for spec, want := range map[string]struct {
		y    int
		name string
	}{
		dir:                              {1, base},
		dir + "#test":                    {1, base + "#test"},
		dir + "#train":                   {2, base + "#train"},
		dir + "/":                        {1, base},
		dir + "/train-images.idx3-ubyte": {2, "train-images.idx3-ubyte"},
	} {
		s, err := Load(spec)
		require.NoError(t, err, spec)
		require.NoError(t, s.Validate())
		require.Equal(t, []int{want.y}, s.Y, spec)
		require.Equal(t, want.name, s.Name)
	}
}

func TestLoadIDXFolderBad(t *testing.T) {
	x, y := pair(1)
	dir := folder(t, map[string][]byte{"train-images-idx3-ubyte": x})
	_, err := Load(dir)
	e := requireError(t, err, "train-images-idx3-ubyte", "path")
	require.Contains(t, e.Want, "train-labels-idx1-ubyte")

	dir = folder(t, map[string][]byte{"train-images-idx3-ubyte": x, "train-labels-idx1-ubyte": y})
	_, err = Load(dir + "#test")
	requireError(t, err, dir, "#test")

	dir = folder(t, map[string][]byte{"a-test-images-idx3-ubyte": x, "b-test-images-idx3-ubyte": x})
	_, err = Load(dir)
	requireError(t, err, dir, "IDX images files")
}

func TestLoadCIFARFolder(t *testing.T) {
	dir := folder(t, map[string][]byte{
		"test_batch.bin": cifar(9), "test_batch.bin.gz": []byte("the plain twin wins"),
		"data_batch_2.bin.gz": gz(t, cifar(3, 4)), "data_batch_1.bin": cifar(1, 2), "latest.bin": cifar(8),
		"readme.html": nil, "batches.meta.txt": nil,
	})
	for spec, want := range map[string][]int{
		dir: {9}, dir + "#test": {9}, dir + "#train": {1, 2, 3, 4}, dir + "/data_batch_2.bin.gz": {3, 4},
	} {
		s, err := Load(spec)
		require.NoError(t, err, spec)
		require.Equal(t, want, s.Y, spec)
		require.NoError(t, s.Validate())
	}

	dir = folder(t, map[string][]byte{"train_a.bin": cifar(7)})
	s, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, []int{7}, s.Y)
	_, err = Load(dir + "#test")
	requireError(t, err, dir, "#test")

	s, err = Load(folder(t, map[string][]byte{"latest.bin": cifar(8), "any.bin": cifar(0)}))
	require.NoError(t, err)
	require.Equal(t, []int{0, 8}, s.Y)

	_, err = Load(folder(t, map[string][]byte{"data_batch_1.bin": cifar(1), "data_batch_2.bin": cifar(1)[:7]}))
	requireError(t, err, "data_batch_2.bin", "record 0")
}

func TestLoadOtherFiles(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.npz": npz(t, pixels(0, 1), labels[int64](7)), "1/a.png": grayPNG(t, 1)})
	s, err := Load(filepath.Join(dir, "a.npz"))
	require.NoError(t, err)
	require.Equal(t, "a.npz", s.Name)
	require.Equal(t, []int{7}, s.Y)
	s, err = Load(dir)
	require.NoError(t, err)
	require.Equal(t, []int{1}, s.Y)
	t.Chdir(dir)
	s, err = Load(".")
	require.NoError(t, err)
	require.Equal(t, filepath.Base(dir), s.Name)
}

func TestLoadBad(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.txt": nil, "a.npy": nil, "a.npz": nil, "b/a.png": grayPNG(t, 1)})
	for name, c := range map[string]struct{ spec, file, field string }{
		"empty":          {"", "", "path"},
		"missing":        {dir + "/none", "none", "path"},
		"kind":           {dir + "/a.txt", "a.txt", "name"},
		"empty npy":      {dir + "/a.npy", "a.npy", "magic string"},
		"part of a file": {dir + "/a.npy#train", "a.npy", "#train"},
		"part of PNGs":   {dir + "/b#train", "b", "#train"},
		"unknown part":   {dir + "#val", "#val", "path"},
		"empty npz":      {dir + "/a.npz", "a.npz", "archive"},
		"nothing there":  {t.TempDir(), "", "folder"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(c.spec)
			requireError(t, err, c.file, c.field)
		})
	}
	_, err := Load(dir + "/none")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// The registry is global, so the test puts back what it found.
func TestRegistry(t *testing.T) {
	old := builtins.load
	builtins.load = nil
	defer func() { builtins.load = old }()

	_, err := Load("builtin:mnist")
	e := requireError(t, err, "builtin:mnist", "name")
	require.Contains(t, e.Want, "none")

	broken := errors.New("broken")
	Register("b", func() (*Set, error) { return nil, broken })
	Register("a", func() (*Set, error) { return small(), nil })
	require.Equal(t, []string{"a", "b"}, Builtins())
	s, err := Load("builtin:a")
	require.NoError(t, err)
	require.Equal(t, small(), s)
	_, err = Load("builtin:b")
	require.ErrorIs(t, err, broken)
	_, err = Load("builtin:c")
	e = requireError(t, err, "builtin:c", "name")
	require.Contains(t, e.Want, "builtin:a, builtin:b")

	require.Panics(t, func() { Register("a", func() (*Set, error) { return nil, nil }) })
	require.Panics(t, func() { Register("", func() (*Set, error) { return nil, nil }) })
	require.Panics(t, func() { Register("d", nil) })
}

func TestErrorShowsLongTextShort(t *testing.T) {
	_, err := Load("builtin:" + string(ramp(255)) + "\n")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Less(t, len(e.Got), 400)
	require.NotContains(t, e.Got, "\n")
}
