package dataset

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sharedData returns a folder of the public data sets kept beside the
// repository, or skips the test where there is none.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "data", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no real data: %s is absent", dir)
	}
	return dir
}

func count(s *Set) map[int]int {
	n := map[int]int{}
	for _, y := range s.Y {
		n[y]++
	}
	return n
}

func TestFashionMNIST(t *testing.T) {
	dir := sharedData(t, "fashion-mnist")
	for part, n := range map[string]int{"": 1000, "#train": 6000} {
		if part != "" && testing.Short() {
			continue
		}
		s, err := Load(dir + part)
		require.NoError(t, err)
		require.NoError(t, s.Validate())
		require.Equal(t, []int{10 * n, 1, 28, 28, 10}, []int{s.Len(), s.C, s.H, s.W, s.Classes})
		for y, k := range count(s) {
			require.Equal(t, n, k, "class %d", y)
		}
		require.Equal(t, "fashion-mnist"+part, s.Name)
	}
}

func TestCIFAR10Data(t *testing.T) {
	dir := sharedData(t, "cifar10")
	s, err := Load(dir)
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, []int{100, 3, 32, 32, 10}, []int{s.Len(), s.C, s.H, s.W, s.Classes})
	require.Equal(t, []int{3, 8, 8, 0, 6, 6, 1, 6, 3, 1}, s.Y[:10], "cat, ship, ship, airplane, frog …")

	s, err = Load(dir + "#train")
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, 4000, s.Len())
	require.Equal(t, []int{6, 9, 9, 4, 1}, s.Y[:5], "frog, truck, truck, deer, automobile")
}
