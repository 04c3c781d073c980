package jobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
)

const program = "v1.2.3"

// bench is a small network with images, to plan jobs on.
type bench struct {
	m    *model.Model
	n    *net.Network
	pool *kernels.Pool
	x    []float32
	y    []int
}

const size = 9 // of an image

func newBench(t testing.TB, images int) *bench {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{
		{Kind: model.FC, Out: 8}, {Kind: model.ReLU}, {Kind: model.FC, Out: 4},
	}}, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	b := &bench{m: m, n: n, pool: kernels.NewPool(2), x: make([]float32, images*size), y: make([]int, images)}
	t.Cleanup(b.pool.Close)
	s := kernels.NewStream(3, 0, 0)
	for i := range b.x {
		b.x[i] = float32(int(256*s.Float32())) / 255 // of 8 bits, which smoothing wants
	}
	s = kernels.NewStream(4, 0, 0)
	for i := range b.y {
		b.y[i] = 3 // what this network says of most
		if s.Float32() < 0.2 {
			b.y[i] = 1
		}
	}
	return b
}

func (b *bench) images(from, to int) ([]float32, []int, error) {
	return b.x[from*size : to*size], b.y[from:to], nil
}

func (b *bench) manifest(t testing.TB, task Task, size int) *Manifest {
	m, err := NewManifest(program, task, Model{"m.safetensors", b.m.Hash()}, Data{Spec: "d.npz", Channels: "auto", Offset: 5, N: len(b.y)}, size, b.images)
	require.NoError(t, err)
	return m
}

// subject is the images of a shard; −1: all.
func (b *bench) subject(m *Manifest, shard int) *Subject {
	r := Range{m.Data.Offset, m.Data.N}
	if shard >= 0 {
		r = m.Range(shard)
	}
	from := r.First - m.Data.Offset
	return &Subject{
		Model: b.m.Hash(), Data: m.Data.Spec, First: r.First, Net: b.n, Pool: b.pool,
		X: b.x[from*size : (from+r.N)*size], Y: b.y[from : from+r.N],
	}
}

func (b *bench) work(t testing.TB, m *Manifest, shard int) Work {
	w, err := m.Task.Work(b.subject(m, shard))
	require.NoError(t, err)
	return w
}

// merged returns the records of a job.
func merged(t *testing.T, m *Manifest, s Store) []byte {
	var all []byte
	_, err := m.Merge(context.Background(), s, nil, func(r *Merged) error {
		all = append(all, r.Records...)
		for _, image := range r.Images {
			want := image.Index - m.Data.Offset
			require.Equal(t, want/m.Size, r.Shard)
		}
		return nil
	})
	require.NoError(t, err)
	return all
}

// someTasks are small ones of all kinds.
func someTasks() map[string]Task {
	return map[string]Task{
		"ibp":    &Certify{Method: "ibp", Norm: "linf", Eps: "0.01", Certificates: true},
		"alpha":  &Certify{Method: "alpha-crown", Ladder: true, Iterations: 3, Norm: "linf", Eps: "1/20", Certificates: true},
		"bab":    &Certify{Method: "bab", Ladder: true, Norm: "linf", Eps: "0.05", Seed: 1, Certificates: true},
		"plain":  &Certify{Method: "crown", Ladder: true, Norm: "l2", Eps: "0.05"},
		"radius": &Certify{Method: "crown", Ladder: true, Norm: "linf", Resolution: "0.01", MaxRadius: "0.1", AttackSteps: 3, Seed: 2, Certificates: true},
		"attack": &Attack{Method: "pgd:steps=3,seed=1", Norm: "linf", Eps: "0.1"},
		"smooth": &Smooth{Sigma: "0.01", Samples: 150, Select: 20, Alpha: 0.01, Seed: 3},
		"decide": &Smooth{Sigma: "0.01", Radius: "1/200", Samples: 2000, Select: 20, Alpha: 0.01, Seed: 3, Defence: "median"},
		"class":  &Smooth{Predict: true, Sigma: "0.01", Samples: 150, Alpha: 0.01},
	}
}

// TestOneMachine: whatever the shards, their order, kills, threads and repetitions, what is
// merged is what one process writes that does all images.
func TestOneMachine(t *testing.T) {
	b := newBench(t, 23)
	ctx := context.Background()
	for name, task := range someTasks() {
		t.Run(name, func(t *testing.T) {
			whole := Folder(t.TempDir())
			one := b.manifest(t, task, 23)
			_, err := one.Run(ctx, whole, 0, t.TempDir(), b.work(t, one, -1))
			require.NoError(t, err)
			want := merged(t, one, whole)

			m, s, scratch := b.manifest(t, task, 4), Folder(t.TempDir()), t.TempDir()
			require.NoError(t, Plan(ctx, s, m))
			require.Equal(t, 6, m.Shards())
			b.pool.Close()
			b.pool = kernels.NewPool(1)
			stopped := 0
			for _, i := range []int{3, 5, 0, 1, 4, 2} {
				for looks := int64(1); ; looks += 1 + looks/2 { // stopped again and again, and gone on with
					_, err := m.Run(countdown.New(looks), s, i, scratch, b.work(t, m, i))
					if err == nil {
						break
					}
					require.ErrorIs(t, err, context.Canceled)
					stopped++
					done, err := m.Published(ctx, s, i)
					require.NoError(t, err)
					require.False(t, done)
				}
				o, err := m.Run(ctx, s, i, scratch, b.work(t, m, i)) // once more
				require.NoError(t, err)
				require.Equal(t, Outcome{Seconds: o.Seconds, Bytes: o.Bytes, Late: true}, o)
			}
			require.Positive(t, stopped)
			require.True(t, bytes.Equal(want, merged(t, m, s)))
			left, err := os.ReadDir(scratch)
			require.NoError(t, err)
			require.Empty(t, left, "journals of shards that are published")

			w := b.work(t, m, -1) // which reads them back
			_, err = m.Merge(ctx, s, nil, func(r *Merged) error { return w.Read(bytes.NewReader(r.Records)) })
			require.NoError(t, err)
			switch w := w.(type) {
			case *CertifyWork:
				require.NotContains(t, w.Proving.Done, false)
				require.Contains(t, w.Proving.Proved, true)
			case *AttackWork:
				require.NotContains(t, w.Result.Done, false)
				require.Contains(t, w.Result.Success, true)
			case *SmoothWork:
				require.NotContains(t, w.Log.Done, false)
				require.True(t, slices.ContainsFunc(w.Log.Results, func(r smooth.Result) bool { return r.Class >= 0 }))
			}
			require.ErrorContains(t, w.Read(bytes.NewReader(want)), "is there already")
			one = b.manifest(t, task, 1)
			again, err := Redo(ctx, task, b.subject(one, 17))
			require.NoError(t, err)
			require.True(t, bytes.Contains(want, again))
		})
	}
}

// TestRace: of many processes that do one shard at once, one publishes it, and all see it.
func TestRace(t *testing.T) {
	b := newBench(t, 8)
	m, s, scratch := b.manifest(t, someTasks()["ibp"], 8), Folder(t.TempDir()), t.TempDir()
	var wg sync.WaitGroup
	var late, first int
	var mu sync.Mutex
	for range 6 {
		pool := kernels.NewPool(1)
		subject := b.subject(m, 0)
		subject.Pool = pool
		w, err := m.Task.Work(subject)
		require.NoError(t, err)
		wg.Go(func() {
			defer pool.Close()
			o, err := m.Run(context.Background(), s, 0, scratch, w)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil: // two that took the same journal at the same moment
				require.ErrorContains(t, err, "begun by two processes at once")
			case o.Late:
				late++
			default:
				first++
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, first, "late: %d", late)
	st, err := m.Status(context.Background(), s, 10)
	require.NoError(t, err)
	require.True(t, st.Complete())
	require.Zero(t, st.Leftover)
}

// TestMergeRefuses: pieces that are missing, twice, of another job or version, or damaged.
func TestMergeRefuses(t *testing.T) {
	b := newBench(t, 12)
	ctx := context.Background()
	task := someTasks()["ibp"]
	m, dir := b.manifest(t, task, 4), t.TempDir()
	s := Folder(dir)
	for i := range m.Shards() {
		_, err := m.Run(ctx, s, i, t.TempDir(), b.work(t, m, i))
		require.NoError(t, err)
	}
	name := func(i int) string { return filepath.Join(dir, resultName(i)) }
	read := func(i int) []byte {
		data, err := os.ReadFile(name(i))
		require.NoError(t, err)
		return data
	}
	good := read(1)
	merge := func() error {
		_, err := m.Merge(ctx, s, nil, func(*Merged) error { return nil })
		return err
	}
	require.NoError(t, merge())
	newer := *m
	newer.Program = "v9"
	_, err := newer.Encode()
	require.NoError(t, err)
	other := b.manifest(t, someTasks()["plain"], 4)
	otherDir := Folder(t.TempDir())
	_, err = other.Run(ctx, otherDir, 1, t.TempDir(), b.work(t, other, 1))
	require.NoError(t, err)
	foreign, err := os.ReadFile(filepath.Join(string(otherDir), resultName(1)))
	require.NoError(t, err)
	mid := bytes.IndexByte(good, '\n') + 40
	flipped := bytes.Clone(good)
	flipped[mid] ^= 1
	for want, data := range map[string][]byte{
		"sum":             bytes.Replace(good, []byte(`"shard":1`), []byte(`"shard":2`), 1),
		"shard: got 2":    read(2),
		"job: got":        foreign,
		"not what was":    flipped,
		"are missing":     good[:len(good)-9],
		"there are more":  append(bytes.Clone(good), '\n'),
		"header: want":    good[:20],
		"header: want a ": {},
	} {
		require.NoError(t, os.WriteFile(name(1), data, 0o666))
		err := merge()
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, resultName(1))
		if want == "job: got" || want == "shard: got 2" {
			_, err := m.Published(ctx, s, 1)
			require.ErrorContains(t, err, want)
		}
	}
	require.NoError(t, os.WriteFile(name(1), good, 0o666))
	require.NoError(t, os.WriteFile(name(9), good, 0o666))
	require.ErrorContains(t, merge(), "0000009.jsonl: not the result of a shard of this job")
	require.NoError(t, os.Remove(name(9)))
	_, err = newer.Merge(ctx, s, nil, func(*Merged) error { return nil })
	require.ErrorContains(t, err, "one version throughout")
	require.NoError(t, os.Remove(name(0)))
	require.NoError(t, os.Remove(name(2)))
	var gone *MissingError
	require.ErrorAs(t, merge(), &gone)
	require.Equal(t, []Span{{0, 0}, {2, 2}}, gone.Missing)
	require.ErrorContains(t, merge(), "2 of 3 shards are not published: 0, 2")

	// A shard that two processes did with different results.
	data, err := os.ReadFile(name(1))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name(1), data, 0o666))
	slow := *m
	slow.Task = &Certify{Method: "ibp", Norm: "linf", Eps: "0.02", Certificates: true}
	_, err = slow.Run(ctx, s, 1, t.TempDir(), b.work(t, &slow, 1))
	require.ErrorIs(t, err, ErrDiffers)
}

// TestJournalOfTwo: where a file system has no locks, two processes may write one journal.
// What they leave is not published.
func TestJournalOfTwo(t *testing.T) {
	b := newBench(t, 8)
	m := b.manifest(t, someTasks()["ibp"], 8)
	scratch := t.TempDir()
	for want, spoil := range map[string]func(lines [][]byte) [][]byte{
		"image 5 is there twice": func(l [][]byte) [][]byte { return append(l, l[0], l[1]) },
		"image 12 is missing":    func(l [][]byte) [][]byte { return l[:len(l)-2] },
		"line 2: sum":            func(l [][]byte) [][]byte { return append([][]byte{l[0], l[1][4:]}, l[2:]...) },
		"unexpected EOF":         func(l [][]byte) [][]byte { return l[:len(l)-1] },
	} {
		path := filepath.Join(scratch, "j")
		w := b.work(t, m, 0)
		require.NoError(t, w.Run(context.Background(), path))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := bytes.SplitAfter(data, []byte("\n"))
		require.NoError(t, os.WriteFile(path, bytes.Join(spoil(lines[:16]), nil), 0o666))
		f, err := os.Open(path)
		require.NoError(t, err)
		s := Folder(t.TempDir())
		require.ErrorContains(t, m.publish(context.Background(), s, 0, f, &Outcome{}), want)
		require.NoError(t, f.Close())
		require.NoError(t, os.Remove(path))
		_, err = s.Get(context.Background(), resultName(0))
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// full is a writer's end of a disk that is full after some bytes.
type full struct{ left int }

func (f *full) Read(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

// TestPut: whole or not at all, and only once.
func TestPut(t *testing.T) {
	ctx, s := context.Background(), Folder(t.TempDir())
	require.ErrorContains(t, s.Put(ctx, "a/b", 1<<20, &full{70_000}), "no space left")
	require.ErrorContains(t, s.Put(ctx, "a/b", 3, strings.NewReader("four")), "want 3")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, s.Put(gone, "a/b", 4, strings.NewReader("four")), context.Canceled)
	require.NoError(t, s.List(ctx, "a", func(name string, _ int64) error { return errors.New(name + " is left") }))
	require.NoError(t, s.Put(ctx, "a/b", 4, strings.NewReader("four")))
	require.ErrorIs(t, s.Put(ctx, "a/b", 4, strings.NewReader("five")), fs.ErrExist)
	r, err := s.Get(ctx, "a/b")
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "four", string(data))
	require.NoError(t, r.Close())
	n := 0
	require.NoError(t, s.List(ctx, "a", func(string, int64) error { n++; return nil }))
	require.Equal(t, 1, n, "no temporary file is left")
	require.NoError(t, s.List(ctx, "none", func(name string, _ int64) error { return errors.New(name) }))
}
