package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/ranges"

	"github.com/epsball/epsball/jobs"
)

var _ jobs.Store = (*Bucket)(nil)

func TestOpen(t *testing.T) {
	for spec, want := range map[string]string{
		"s3://":        "want s3://BUCKET/PREFIX",
		"s3:///prefix": "want s3://BUCKET/PREFIX",
		"folder":       "want s3://BUCKET/PREFIX",
	} {
		_, err := Open(spec)
		require.ErrorContains(t, err, want)
	}
	for _, url := range []string{"ftp://x", "localhost:9000", "http://", "http://x/path", "%"} {
		t.Setenv("AWS_ENDPOINT_URL", url)
		_, err := Open("s3://bucket/prefix")
		require.ErrorContains(t, err, "$AWS_ENDPOINT_URL: got "+url)
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://localhost:1")
	b, err := Open("s3://bucket/some/prefix/")
	require.NoError(t, err)
	require.Equal(t, "s3://bucket/some/prefix", b.String())
	require.Equal(t, "some/prefix/", b.prefix)
	require.ErrorContains(t, b.Put(context.Background(), "a", maxObject+1, nil), "use smaller shards")
}

// TestServer is of a real server: $EPSBALL_S3 is a bucket such as s3://test, which
// internal/scale/s3.sh makes.
func TestServer(t *testing.T) {
	spec := os.Getenv("EPSBALL_S3")
	if spec == "" {
		t.Skip("EPSBALL_S3 names no bucket")
	}
	ctx := context.Background()
	b, err := Open(fmt.Sprintf("%s/test-%d", spec, time.Now().UnixNano()))
	require.NoError(t, err)
	_, err = b.Get(ctx, "manifest.json")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, b.List(ctx, "results", func(name string, _ int64) error { return errors.New(name) }))

	// Of many that put a name at once, one does.
	var wg sync.WaitGroup
	var done, refused atomic.Int32
	for i := range 16 {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte('a' + i)}, 100_000)
			switch err := b.Put(ctx, "results/0000001.jsonl", int64(len(data)), bytes.NewReader(data)); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, fs.ErrExist):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, done.Load())
	require.EqualValues(t, 15, refused.Load())
	r, err := b.Get(ctx, "results/0000001.jsonl")
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, strings.Repeat(string(data[:1]), 100_000), string(data))

	// What ends early is not there.
	require.Error(t, b.Put(ctx, "results/0000002.jsonl", 100, strings.NewReader("short")))
	gone, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, b.Put(gone, "results/0000002.jsonl", 5, strings.NewReader("short")), context.Canceled)
	for i := 10; i < 15; i++ {
		require.NoError(t, b.Put(ctx, fmt.Sprintf("results/%07d.jsonl", i), 0, strings.NewReader("")))
	}
	var names []string
	require.NoError(t, b.List(ctx, "results", func(name string, size int64) error {
		names = append(names, fmt.Sprint(name, " ", size))
		return nil
	}))
	require.Equal(t, "results/0000001.jsonl 100000", names[0])
	require.Len(t, names, 6)
	stop := errors.New("stop")
	require.ErrorIs(t, b.List(ctx, "results", func(string, int64) error { return stop }), stop)
}

// TestServerRange: of a data set in the bucket a shard reads its own images.
func TestServerRange(t *testing.T) {
	spec := os.Getenv("EPSBALL_S3")
	if spec == "" {
		t.Skip("EPSBALL_S3 names no bucket")
	}
	ctx := context.Background()
	b, err := Open(fmt.Sprintf("%s/test-%d", spec, time.Now().UnixNano()))
	require.NoError(t, err)
	const n = 5000
	pixels, labels := []byte{0, 0, 8, 3, 0, 0, n >> 8, n & 255, 0, 0, 0, 28, 0, 0, 0, 28}, []byte{0, 0, 8, 1, 0, 0, n >> 8, n & 255}
	for i := range n {
		pixels, labels = append(pixels, bytes.Repeat([]byte{byte(i)}, 784)...), append(labels, byte(i%10))
	}
	require.NoError(t, b.Put(ctx, "images-idx3-ubyte", int64(len(pixels)), bytes.NewReader(pixels)))
	require.NoError(t, b.Put(ctx, "labels-idx1-ubyte", int64(len(labels)), bytes.NewReader(labels)))
	d, err := ranges.Images(ctx, b, "images-idx3-ubyte", 4321, 20, t.TempDir())
	require.NoError(t, err)
	require.Less(t, d.Bytes, int64(25_000), "of 4 million")
	set, err := dataset.LoadWith(d.Path, dataset.Options{Offset: d.Offset, N: 20})
	require.NoError(t, err)
	for i, y := range set.Y {
		require.Equal(t, (4321+i)%10, y)
		require.Equal(t, float32(byte(4321+i))/255, set.X[i*784+783])
	}
	_, err = ranges.Images(ctx, b, "none", 0, 1, t.TempDir())
	require.ErrorIs(t, err, fs.ErrNotExist)
}
