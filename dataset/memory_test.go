package dataset

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reader may take 1.2 times the array it returns and 64 MB, all of its process
// counted. Each runs in a process of its own, which says what its peak was.

const childEnv = "EPSBALL_DATASET_CHILD"

// job is what the child is to read.
type job struct {
	Spec    string
	Options Options
	Kind    string // "": LoadWith; "arrays": ReadNPZ; "once": ReadCIFAR10 without seeking
}

type peak struct {
	Array, Peak int64 // bytes
	Err         string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		child(text)
		return
	}
	os.Exit(m.Run())
}

func child(text string) {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	var p peak
	var err error
	p.Array, err = j.read()
	if err != nil {
		p.Err = err.Error()
	}
	f, err := os.Open("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "VmHWM:") {
			_, err = fmt.Sscanf(s.Text(), "VmHWM: %d kB", &p.Peak)
		}
	}
	if err != nil {
		panic(err)
	}
	p.Peak <<= 10
	_ = json.NewEncoder(os.Stdout).Encode(p)
}

func (j *job) read() (bytes int64, err error) {
	var s *Set
	switch j.Kind {
	case "arrays":
		f, err := os.Open(j.Spec)
		if err != nil {
			return 0, err
		}
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		list, err := ReadNPZ(j.Spec, f, info.Size())
		for _, a := range list {
			_, n := describe(a.Data)
			bytes += int64(n) * map[bool]int64{true: 8, false: 4}[strings.Contains(fmt.Sprintf("%T", a.Data), "64")]
		}
		return bytes, err
	case "once":
		f, err := os.Open(j.Spec)
		if err != nil {
			return 0, err
		}
		if s, err = ReadCIFAR10(j.Spec, struct{ io.Reader }{f}); err != nil {
			return 0, err
		}
	default:
		if s, err = LoadWith(j.Spec, j.Options); err != nil {
			return 0, err
		}
	}
	return 4 * int64(len(s.X)), nil
}

func (j job) run(t *testing.T) peak {
	t.Helper()
	text, err := json.Marshal(j)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var p peak
	require.NoError(t, json.Unmarshal(out, &p))
	most := p.Array*6/5 + 64<<20
	require.LessOrEqual(t, p.Peak, most, "%d MB for %d MB", p.Peak>>20, p.Array>>20)
	t.Logf("%d MB for %d MB", p.Peak>>20, p.Array>>20)
	return p
}

// create writes a file by way of a function.
func create(t *testing.T, path string, write func(io.Writer)) string {
	f, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	write(w)
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
	return path
}

func writeZeros(t *testing.T, w io.Writer, n int64) {
	_, err := io.CopyN(w, zeros{}, n)
	require.NoError(t, err)
}

func gzipped(t *testing.T, write func(io.Writer)) func(io.Writer) {
	return func(w io.Writer) {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		require.NoError(t, err)
		write(z)
		require.NoError(t, z.Close())
	}
}

func npyZeros(t *testing.T, descr, fortran string, size int64, shape ...int64) func(io.Writer) {
	return func(w io.Writer) {
		text := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
		_, err := w.Write(npyFile(fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }", descr, fortran, text), 0))
		require.NoError(t, err)
		for _, d := range shape {
			size *= d
		}
		writeZeros(t, w, size)
	}
}

func npzOf(t *testing.T, method uint16, members map[string]func(io.Writer)) func(io.Writer) {
	return func(w io.Writer) {
		z := zip.NewWriter(w)
		for name, write := range members {
			m, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
			require.NoError(t, err)
			write(m)
		}
		require.NoError(t, z.Close())
	}
}

// blackPNG is a gray image of any size, whose pixels are never in memory.
func blackPNG(t *testing.T, h, w uint32) func(io.Writer) {
	return func(out io.Writer) {
		var data bytes.Buffer
		z, err := zlib.NewWriterLevel(&data, zlib.BestSpeed)
		require.NoError(t, err)
		writeZeros(t, z, int64(h)*(int64(w)+1))
		require.NoError(t, z.Close())
		head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
		b := pngChunk([]byte("\x89PNG\r\n\x1a\n"), "IHDR", append(head, 8, 0, 0, 0, 0))
		b = pngChunk(pngChunk(b, "IDAT", data.Bytes()), "IEND", nil)
		_, err = out.Write(b)
		require.NoError(t, err)
	}
}

func pngChunk(b []byte, kind string, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	body := append([]byte(kind), data...)
	return binary.BigEndian.AppendUint32(append(b, body...), crc32.ChecksumIEEE(body))
}

func onLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process is read from /proc")
	}
	if testing.Short() {
		t.Skip("fills some 100 MB a reader")
	}
}

func TestPeakMemory(t *testing.T) {
	onLinux(t)
	dir := t.TempDir()
	const n, side = 15000, 40 // 96 MB
	path := func(name string) string { return filepath.Join(dir, name) }
	head := idx(idxImages, []uint32{n, side, side}, nil)
	images := func(w io.Writer) {
		_, err := w.Write(head)
		require.NoError(t, err)
		writeZeros(t, w, n*side*side)
	}
	labels := func(w io.Writer) {
		_, err := w.Write(idx(idxLabels, []uint32{n}, make([]byte, n)))
		require.NoError(t, err)
	}
	create(t, path("l-labels-idx1-ubyte"), labels)
	create(t, path("p-labels-idx1-ubyte.gz"), gzipped(t, labels))
	batch := func(w io.Writer) { writeZeros(t, w, 8000*cifarRecord) }
	wide := func(descr, fortran string, size int64) func(io.Writer) {
		return npyZeros(t, descr, fortran, size, n/3, side, side, 3)
	}
	flat := npyZeros(t, "<f8", "True", 8, n, side*side)
	hot := func(w io.Writer) { // one-hot, all class 0
		_, err := w.Write(npyFile(fmt.Sprintf("{'descr': '<f8', 'fortran_order': False, 'shape': (%d, 10), }", n), 0))
		require.NoError(t, err)
		row := make([]byte, 80)
		binary.LittleEndian.PutUint64(row, 0x3ff0000000000000)
		for range n {
			_, err := w.Write(row)
			require.NoError(t, err)
		}
	}
	x := npyZeros(t, "<f4", "False", 4, n, 1, side, side)
	square := Options{Input: Shape{1, side, side}}
	part := Options{Offset: n - 10, N: 10}
	for name, j := range map[string]job{
		"idx":            {Spec: create(t, path("l-images-idx3-ubyte"), images)},
		"idx.gz":         {Spec: create(t, path("p-images-idx3-ubyte.gz"), gzipped(t, images))},
		"idx.gz part":    {Spec: path("p-images-idx3-ubyte.gz"), Options: part},
		"cifar":          {Spec: create(t, path("a.bin"), batch)},
		"cifar.gz":       {Spec: create(t, path("b.bin.gz"), gzipped(t, batch))},
		"cifar once":     {Spec: path("a.bin"), Kind: "once"},
		"cifar part":     {Spec: path("b.bin.gz"), Options: Options{Offset: 5, N: 10}},
		"npy half":       {Spec: create(t, path("h.npy"), npyZeros(t, "<f2", "False", 2, n, side, side))},
		"npy last":       {Spec: create(t, path("last.npy"), wide("|u1", "False", 1)), Options: Options{Input: Shape{3, side, side}}},
		"npy flat":       {Spec: create(t, path("flat.npy"), flat), Options: square},
		"npy flat part":  {Spec: path("flat.npy"), Options: Options{Input: square.Input, Offset: 7, N: 3}},
		"npz stored":     {Spec: create(t, path("s.npz"), npzOf(t, zip.Store, map[string]func(io.Writer){"x": x, "y": hot}))},
		"npz deflated":   {Spec: create(t, path("d.npz"), npzOf(t, zip.Deflate, map[string]func(io.Writer){"x": npyZeros(t, "<f8", "False", 8, n, 1, side, side)}))},
		"npz part":       {Spec: path("d.npz"), Options: part},
		"npz arrays":     {Spec: path("s.npz"), Kind: "arrays"},
		"npz one member": {Spec: path("d.npz"), Kind: "arrays"},
	} {
		t.Run(name, func(t *testing.T) {
			p := j.run(t)
			require.Empty(t, p.Err)
			require.Positive(t, p.Array)
			if j.Options.N > 0 {
				require.Less(t, p.Array, int64(1<<20))
			}
		})
	}
}

func TestPeakMemoryOfImages(t *testing.T) {
	onLinux(t)
	dir := t.TempDir()
	folder := func(name string, n int, b []byte, ext string) string {
		at := filepath.Join(dir, name)
		require.NoError(t, os.Mkdir(at, 0o777))
		for i := range n {
			require.NoError(t, os.WriteFile(filepath.Join(at, fmt.Sprintf("%05d%s", i, ext)), b, 0o666))
		}
		return at
	}
	hd := image.NewRGBA(image.Rect(0, 0, 1920, 1080))
	for i := range hd.Pix {
		hd.Pix[i] = 255
	}
	var photo bytes.Buffer
	require.NoError(t, jpeg.Encode(&photo, hd, nil))
	for name, spec := range map[string]string{
		"png":       folder("png", 10, encode(t, hd), ".png"),
		"jpeg":      folder("jpeg", 10, photo.Bytes(), ".jpg"),
		"small png": folder("small", 5000, encode(t, image.NewGray(image.Rect(0, 0, 28, 28))), ".png"),
	} {
		t.Run(name, func(t *testing.T) {
			p := job{Spec: spec}.run(t)
			require.Empty(t, p.Err)
			require.Positive(t, p.Array)
		})
	}
}

// Two files that took 8.9 and 6.7 GB: half a megabyte of a black image, two of an
// array of zeros.
func TestBombs(t *testing.T) {
	onLinux(t)
	dir := t.TempDir()
	black := create(t, filepath.Join(dir, "black.png"), blackPNG(t, 23000, 23000))
	info, err := os.Stat(black)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(3<<20))
	p := job{Spec: black}.run(t)
	require.Contains(t, p.Err, "IHDR: got 23000×23000")

	zeros := npzOf(t, zip.Deflate, map[string]func(io.Writer){"x": npyZeros(t, "<f8", "False", 8, 1<<15, 1, 32, 32)})
	bomb := create(t, filepath.Join(dir, "zeros.npz"), zeros)
	p = job{Spec: bomb, Options: Options{Input: Shape{1, 28, 28}}}.run(t)
	require.Contains(t, p.Err, "shape: got images of 1x32x32, want 1x28x28")
	p = job{Spec: bomb}.run(t)
	require.Empty(t, p.Err)
	require.EqualValues(t, 4<<25, p.Array)
}

// Files that make the libraries underneath hold much: a list of members, a field of
// CSV without end, an interlaced image, whose passes are images of their own, a
// progressive one, whose coefficients are.
func TestPeakMemoryOfHostileFiles(t *testing.T) {
	onLinux(t)
	dir := t.TempDir()
	path := func(name string) string {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		return filepath.Join(dir, name)
	}
	list := create(t, path("list.npz"), func(w io.Writer) {
		z := zip.NewWriter(w)
		for i := range 60000 {
			_, err := z.Create(fmt.Sprintf("%d.npy", i))
			require.NoError(t, err)
		}
		require.NoError(t, z.Close())
	})
	require.NoError(t, os.WriteFile(path("csv/a.png"), grayPNG(t, 1), 0o666))
	create(t, path("csv/labels.csv"), func(w io.Writer) {
		_, err := w.Write(append([]byte{'"'}, bytes.Repeat([]byte("a\n"), 10<<20)...))
		require.NoError(t, err)
	})
	for spec, want := range map[string]string{list: "too many members", filepath.Join(dir, "csv"): "labels.csv: size"} {
		require.Contains(t, job{Spec: spec}.run(t).Err, want)
	}

	const side = 1448
	adam7 := create(t, path("adam7.png"), func(w io.Writer) {
		rows := int64(0)
		for _, p := range [][4]int64{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
			rows += (side - p[1] + p[3] - 1) / p[3] * (1 + 3*((side-p[0]+p[2]-1)/p[2]))
		}
		var data bytes.Buffer
		z := zlib.NewWriter(&data)
		writeZeros(t, z, rows)
		require.NoError(t, z.Close())
		head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, side), side)
		b := pngChunk([]byte("\x89PNG\r\n\x1a\n"), "IHDR", append(head, 8, 2, 0, 0, 1))
		_, err := w.Write(pngChunk(pngChunk(b, "IDAT", data.Bytes()), "IEND", nil))
		require.NoError(t, err)
	})
	progressive := create(t, path("progressive.jpg"), func(w io.Writer) {
		b := append([]byte{0xff, 0xd8, 0xff, 0xdb, 0, 67, 0}, bytes.Repeat([]byte{1}, 64)...)
		b = append(b, 0xff, 0xc2, 0, 17, 8, side>>8, side&0xff, side>>8, side&0xff, 3)
		b = append(b, 'R', 0x11, 0, 'G', 0x11, 0, 'B', 0x11, 0)
		// One Huffman code, the bit 0, for one symbol, 0: no change of the mean of a block.
		b = append(append(append(b, 0xff, 0xc4, 0, 20, 0, 1), make([]byte, 15)...), 0)
		b = append(b, 0xff, 0xda, 0, 12, 3, 'R', 0, 'G', 0, 'B', 0, 0, 0, 0)
		const blocks = 3 * (side / 8) * (side / 8)
		_, err := w.Write(append(append(b, make([]byte, (blocks+7)/8)...), 0xff, 0xd9))
		require.NoError(t, err)
	})
	for _, spec := range []string{adam7, progressive} {
		p := job{Spec: spec}.run(t)
		require.Empty(t, p.Err)
		require.EqualValues(t, 4*3*side*side, p.Array)
	}
}
