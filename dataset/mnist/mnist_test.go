package mnist

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
)

const trainFolder = "../../testdata/mnist"

// The sums published for the original, unpacked files.
func TestRawMD5(t *testing.T) {
	trainX, err := os.ReadFile(trainFolder + "/train-images-idx3-ubyte.gz")
	require.NoError(t, err)
	trainY, err := os.ReadFile(trainFolder + "/train-labels-idx1-ubyte.gz")
	require.NoError(t, err)
	for want, packed := range map[string][]byte{
		"2646ac647ad5339dbf082846283269ea": images,
		"27ae3e4e09519cfbb04c329615203637": labels,
		"6bbc9ace898e44ae57da46a324031adb": trainX,
		"a25bea736e30d166cdddb491f175f624": trainY,
	} {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		require.NoError(t, err)
		h := md5.New()
		_, err = io.Copy(h, z)
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(h.Sum(nil)))
	}
}

func TestTest(t *testing.T) {
	require.Contains(t, dataset.Builtins(), "mnist")
	var wg sync.WaitGroup
	sets := make([]*dataset.Set, 4)
	for i := range sets {
		wg.Go(func() { sets[i], _ = dataset.Load("builtin:mnist") })
	}
	wg.Wait()
	for _, s := range sets {
		require.NotNil(t, s)
		require.Same(t, &sets[0].X[0], &s.X[0], "decoded once")
	}

	s, err := Test()
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, []int{10000, 1, 28, 28, 10}, []int{s.Len(), s.C, s.H, s.W, s.Classes})
	require.Equal(t, []int{7, 2, 1, 0, 4, 1, 4, 9, 5, 9}, s.Y[:10])
	require.Equal(t, "mnist", s.Name)

	s.Name, s.Classes = "mine", 3 // must not reach other callers
	again, err := Test()
	require.NoError(t, err)
	require.Equal(t, "mnist", again.Name)
	require.Equal(t, 10, again.Classes)
}

func TestTrainingSet(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes 60,000 images")
	}
	s, err := dataset.Load(trainFolder) // no test pair there, so the training pair
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, []int{60000, 1, 28, 28, 10}, []int{s.Len(), s.C, s.H, s.W, s.Classes})
	require.Equal(t, []int{5, 0, 4, 1, 9, 2, 1, 3, 1, 4}, s.Y[:10])
}
