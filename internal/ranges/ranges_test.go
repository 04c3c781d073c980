package ranges

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
)

// folder is a Source of files.
type folder string

func (f folder) Size(_ context.Context, key string) (int64, error) {
	info, err := os.Stat(filepath.Join(string(f), key))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f folder) Range(_ context.Context, key string, from, n int64) (io.ReadCloser, error) {
	file, err := os.Open(filepath.Join(string(f), key))
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, from, n), file}, nil
}

const images = 40

// sets writes a data set in many forms, and returns their keys; true: of which a part is read.
func sets(t *testing.T, dir string) map[string]bool {
	r := rand.New(rand.NewPCG(1, 2))
	pixels, labels := make([]byte, images*60*50), make([]byte, images)
	for i := range pixels {
		pixels[i] = byte(r.Uint32())
	}
	x, y, hot := make([]float32, len(pixels)), make([]int64, images), make([]float32, images*4)
	for i, p := range pixels {
		x[i] = float32(p) / 255
	}
	for i := range labels {
		labels[i] = byte(i % 4)
		y[i], hot[i*4+i%4] = int64(i%4), 1
	}
	put := func(name string, data []byte) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o666))
	}
	header := func(kind byte, dims ...uint32) (h []byte) {
		h = []byte{0, 0, 8, kind}
		for _, d := range dims {
			h = binary.BigEndian.AppendUint32(h, d)
		}
		return h
	}
	npy := func(a dataset.NamedArray) []byte {
		var b bytes.Buffer
		require.NoError(t, dataset.WriteNPY(&b, a))
		return b.Bytes()
	}
	packed := func(data []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(data)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return b.Bytes()
	}
	idx, idxLabels := append(header(3, images, 60, 50), pixels...), append(header(1, images), labels...)
	put("idx/test-images-idx3-ubyte", idx)
	put("idx/test-labels-idx1-ubyte", idxLabels)
	put("mixed/test-images-idx3-ubyte", idx)
	put("mixed/test-labels-idx1-ubyte.gz", packed(idxLabels))
	put("gz/test-images-idx3-ubyte.gz", packed(idx))
	put("gz/test-labels-idx1-ubyte.gz", packed(idxLabels))
	var batch []byte
	for i := range images {
		batch = append(batch, byte(i%10))
		for range 3072 {
			batch = append(batch, byte(r.Uint32()))
		}
	}
	put("cifar/test_batch.bin", batch)
	put("cifar/gz_batch.bin", packed(batch))
	shape := []int{images, 1, 60, 50}
	array := npy(dataset.NamedArray{Shape: shape, Data: x})
	put("npy/x_test.npy", array)
	put("npy/y_test.npy", npy(dataset.NamedArray{Shape: []int{images}, Data: y}))
	put("hot/x.npy", array)
	put("hot/labels.npy", npy(dataset.NamedArray{Shape: []int{images, 4}, Data: hot}))
	put("alone/x.npy", array)
	put("fortran/x.npy", bytes.Replace(array, []byte("'fortran_order': False"), []byte("'fortran_order': True "), 1))
	put("csv/x.npy", array)
	var csv strings.Builder
	for i := range images {
		fmt.Fprintf(&csv, "%d,%d\n", i, i%4)
	}
	put("csv/labels.csv", []byte(csv.String()))
	var z bytes.Buffer
	require.NoError(t, dataset.WriteNPZ(&z, []dataset.NamedArray{{Name: "x_test", Shape: shape, Data: x}, {Name: "y_test", Shape: []int{images}, Data: y}}))
	put("set.npz", z.Bytes())
	return map[string]bool{
		"idx/test-images-idx3-ubyte": true, "mixed/test-images-idx3-ubyte": false, "gz/test-images-idx3-ubyte.gz": false,
		"cifar/test_batch.bin": true, "cifar/gz_batch.bin": false, "npy/x_test.npy": true, "hot/x.npy": true, "alone/x.npy": true,
		"fortran/x.npy": false, "csv/x.npy": false, "set.npz#test": false,
	}
}

// TestImages: what is brought is what the whole data set has, whatever the format, in fewer bytes
// where it allows that.
func TestImages(t *testing.T) {
	dir := t.TempDir()
	for key, part := range sets(t, dir) {
		for _, r := range [][2]int{{0, 0}, {0, images}, {7, 3}, {39, 1}, {20, 0}} {
			want, err := dataset.LoadWith(filepath.Join(dir, key), dataset.Options{Offset: r[0], N: r[1]})
			require.NoError(t, err, key)
			d, err := Images(t.Context(), folder(dir), key, r[0], r[1], t.TempDir())
			require.NoError(t, err, key)
			got, err := dataset.LoadWith(d.Path, dataset.Options{Offset: d.Offset, N: r[1]})
			require.NoError(t, err, key)
			require.Equal(t, want.X, got.X, "%s %v", key, r)
			require.Equal(t, want.Y, got.Y, "%s %v", key, r)
			require.Equal(t, want.Shape(), got.Shape())
			file, _, _ := strings.Cut(key, "#")
			size, err := folder(dir).Size(t.Context(), file)
			require.NoError(t, err)
			if r[1] == 3 {
				require.Equal(t, part, d.Bytes < 2*maxHead+size/8, "%s: %d of %d bytes", key, d.Bytes, size)
				require.Equal(t, part, d.Offset == 0, key)
			}
		}
	}
}

// TestImagesMissing: what is not there, or not so long, is an error, of here or of dataset.Load.
func TestImagesMissing(t *testing.T) {
	dir := t.TempDir()
	sets(t, dir)
	ctx, s := t.Context(), folder(dir)
	_, err := Images(ctx, s, "idx/none-images-idx3-ubyte", 0, 1, t.TempDir())
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Images(ctx, s, "set.npz", -1, 1, t.TempDir())
	require.ErrorContains(t, err, "want no number below 0")
	for _, key := range []string{"idx/test-images-idx3-ubyte", "cifar/test_batch.bin", "npy/x_test.npy"} {
		load := func(first, n int) error {
			d, err := Images(ctx, s, key, first, n, t.TempDir())
			require.NoError(t, err)
			_, err = dataset.LoadWith(d.Path, dataset.Options{Offset: d.Offset, N: n})
			return err
		}
		require.ErrorContains(t, load(39, 2), "images from 39 on", key)
		require.ErrorContains(t, load(40, 0), "images from 40 on", key)
		path := filepath.Join(dir, key)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, data[:len(data)-1], 0o666))
		require.Error(t, load(39, 1), key)
	}
}
