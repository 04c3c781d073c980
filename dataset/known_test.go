package dataset

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mnistFiles are the packed files of MNIST, of which a clone has all.
func mnistFiles(t *testing.T) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range []string{
		"../testdata/mnist/train-images-idx3-ubyte.gz", "../testdata/mnist/train-labels-idx1-ubyte.gz",
		"mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
	} {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		files[filepath.Base(f)] = b
	}
	return files
}

func unpacked(t *testing.T, path string) []byte {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	r, err := gunzip(path, f)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return b
}

// states maps files to what Verify says of them.
func states(t *testing.T, spec, name, want string) map[string]FileState {
	t.Helper()
	set, checks, err := Verify(spec, name)
	require.NoError(t, err)
	require.Equal(t, want, set)
	m := map[string]FileState{}
	for _, c := range checks {
		require.NotContains(t, m, c.File)
		m[c.File] = c.State
	}
	return m
}

func TestVerifyMNIST(t *testing.T) {
	const trainX, trainY, testX, testY = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
	files := mnistFiles(t)
	dir := folder(t, files)
	assert.Equal(t, map[string]FileState{trainX + ".gz": FileOK, trainY + ".gz": FileOK, testX + ".gz": FileOK, testY + ".gz": FileOK}, states(t, dir, "", "mnist"))

	// Unpacked, under another name, damaged in each way; and what is not of the set.
	put := func(name string, b []byte) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o666)) }
	images, labels := unpacked(t, "mnist/t10k-images-idx3-ubyte.gz"), unpacked(t, "mnist/t10k-labels-idx1-ubyte.gz")
	put(testX, images)
	put("t10k-labels.idx1-ubyte", labels)
	put("readme.txt", nil)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o777))
	got := states(t, dir+"#test", "", "mnist")
	assert.Equal(t, map[string]FileState{testX: FileOK, testX + ".gz": FileOK, "t10k-labels.idx1-ubyte": FileOK, testY + ".gz": FileOK, "readme.txt": FileUnknown}, got)

	labels[5000]++
	damaged := append([]byte{}, files[testX+".gz"]...)
	damaged[len(damaged)/2]++
	for name, b := range map[string][]byte{
		testY: labels, testX: append(images, 0), testX + ".gz": damaged, trainY + ".gz": files[trainY+".gz"][:20000], testY + ".gz": {0x1f, 0x8b, 0},
	} {
		put(name, b)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, trainX+".gz")))
	got = states(t, dir, "", "mnist")
	assert.Equal(t, map[string]FileState{
		trainX: FileMissing, trainY + ".gz": FileDiffers, testX: FileDiffers, testX + ".gz": FileDiffers,
		testY: FileDiffers, testY + ".gz": FileDiffers, "t10k-labels.idx1-ubyte": FileOK, "readme.txt": FileUnknown,
	}, got)

	// By name and not by contents.
	got = states(t, dir+"#train", "fashion-mnist", "fashion-mnist")
	assert.Equal(t, map[string]FileState{trainX: FileMissing, trainY + ".gz": FileDiffers, "readme.txt": FileUnknown}, got)
	got = states(t, dir, "cifar10", "cifar10")
	assert.Equal(t, FileMissing, got["test_batch.bin"])
}

func TestVerifyCIFAR10(t *testing.T) {
	whole := make([]byte, 10_000*cifarRecord)
	dir := folder(t, map[string][]byte{
		"data_batch_1.bin": whole, "data_batch_2.bin": whole, "data_batch_3.bin": whole[1:], "data_batch_4.bin.gz": gz(t, whole),
		"test_batch.bin": cifar(3, 8, 8), "mine.bin": cifar(1), "cifar-10-binary.tar.gz": gz(t, whole[:10]),
	})
	assert.Equal(t, map[string]FileState{
		"cifar-10-binary.tar.gz": FileDiffers, "data_batch_1.bin": FileDiffers, "data_batch_2.bin": FileUnknown, "data_batch_3.bin": FileDiffers,
		"data_batch_4.bin.gz": FileUnknown, "data_batch_5.bin": FileMissing, "test_batch.bin": FileDiffers, "mine.bin": FileUnknown,
	}, states(t, dir, "", "cifar10"))
}

func TestVerifyErrors(t *testing.T) {
	_, _, err := Verify(filepath.Join(t.TempDir(), "none"), "")
	requireError(t, err, "none", "path")
	_, _, err = Verify(folder(t, map[string][]byte{"x.png": nil}), "")
	requireError(t, err, "", "files")
	dir := folder(t, map[string][]byte{"t10k-labels-idx1-ubyte": {1}})
	_, _, err = Verify(dir, "")
	require.Contains(t, requireError(t, err, dir, "files").Got, "several")
	_, _, err = Verify(dir, "emnist")
	requireError(t, err, dir, "name of the data set")
}

// TestKnownSums: the sums are those of the files kept beside the repository.
func TestKnownSums(t *testing.T) {
	got := states(t, sharedData(t, "fashion-mnist"), "", "fashion-mnist")
	for _, f := range []string{"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"} {
		assert.Equal(t, FileOK, got[f], f)
	}
	got = states(t, sharedData(t, "cifar10"), "", "cifar10")
	for _, f := range []string{"train_exact_4000.bin.gz", "test_exact_100.bin.gz"} {
		assert.Equal(t, FileOK, got[f], f)
	}
}

// TestKnownMD5: the published sums are of the same files.
func TestKnownMD5(t *testing.T) {
	for _, k := range KnownSets() {
		dir := ""
		switch k.Name {
		case "mnist":
			dir = folder(t, mnistFiles(t))
		case "fashion-mnist":
			dir = filepath.Join("..", "..", "shared", "data", k.Name)
		}
		for _, f := range k.Files {
			path := filepath.Join(dir, f.Name+".gz")
			if _, err := os.Stat(path); f.MD5 == "" || err != nil {
				continue
			}
			b := unpacked(t, path)
			assert.EqualValues(t, f.Bytes, len(b), f.Name)
			assert.Equal(t, f.MD5, md5Of(b), f.Name)
		}
	}
}

func md5Of(b []byte) string {
	h := md5.Sum(b)
	return hex.EncodeToString(h[:])
}
