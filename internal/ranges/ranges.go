// Package ranges brings some images of a data set in a bucket to a folder: where their format
// allows it, little more than the bytes that these images have.
package ranges

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/epsball/epsball/dataset"
)

// Source is where objects are. It is safe for concurrent use.
type Source interface {
	// Size returns the bytes of an object. There being none is an error that wraps
	// fs.ErrNotExist.
	Size(ctx context.Context, key string) (int64, error)

	// Range opens n ≥ 1 bytes of an object from a byte on.
	Range(ctx context.Context, key string, from, n int64) (io.ReadCloser, error)
}

// Data is what Images has brought.
type Data struct {
	Path   string // of the images, in the folder; what dataset.Load wants
	Offset int    // index there of the first image that was asked for
	Bytes  int64  // read from the source
}

// Images brings images first … first+n−1 of the data set at key, n = 0: all from first on, to
// folder dir, with their labels. Of IDX files, CIFAR-10 batches and NumPy arrays in C order, none
// of them compressed, it reads the headers and these images; of other files all. What is wrong
// with what it has read, dataset.Load says.
func Images(ctx context.Context, s Source, key string, first, n int, dir string) (*Data, error) {
	if first < 0 || n < 0 {
		return nil, fmt.Errorf("%s: images from %d on, %d of them, want no number below 0", key, first, n)
	}
	b := &bringing{ctx: ctx, s: s, dir: dir, first: first, n: n}
	key, part, hasPart := strings.Cut(key, "#")
	labels, err := b.labels(key)
	if err != nil {
		return nil, err
	}
	files := []*file{{key: key}}
	if labels != "" {
		files = append(files, &file{key: labels})
	}
	cut := !hasPart && !strings.HasSuffix(labels, ".csv") // which goes by the index in all of the set
	for _, f := range files {
		if f.size, err = s.Size(ctx, f.key); err != nil {
			return nil, err
		}
		if cut {
			if err := b.layout(f); err != nil {
				return nil, err
			}
			cut = f.row > 0 && f.count == files[0].count
		}
	}
	for _, f := range files {
		if err := b.bring(f, cut); err != nil {
			return nil, err
		}
	}
	d := &Data{Path: filepath.Join(dir, path.Base(key)), Bytes: b.bytes}
	if !cut {
		d.Offset = first
	}
	if hasPart {
		d.Path += "#" + part
	}
	return d, nil
}

// bringing is a call of Images.
type bringing struct {
	ctx      context.Context
	s        Source
	dir      string
	first, n int
	bytes    int64
}

// file is one of images or of labels.
type file struct {
	key  string
	size int64

	// Where images, or labels, are: count of them from a byte on, of row bytes each; a row of 0
	// says that the file must be read whole. A file of those that are wanted begins with head.
	head             []byte
	from, row, count int64
}

// labels returns the key of the labels beside images; "": there are none, or in the same file.
func (b *bringing) labels(key string) (string, error) {
	folder, base := path.Split(key)
	for _, name := range dataset.LabelFiles(base) {
		switch _, err := b.s.Size(b.ctx, folder+name); {
		case err == nil:
			return folder + name, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	return "", nil
}

// bring brings a file, or what is wanted of it.
func (b *bringing) bring(f *file, cut bool) error {
	out, err := os.Create(filepath.Join(b.dir, path.Base(f.key)))
	if err != nil {
		return err
	}
	if !cut {
		err = b.copy(out, f.key, 0, f.size)
	} else if _, err = out.Write(f.head); err == nil {
		err = b.copy(out, f.key, f.from+int64(b.first)*f.row, b.wanted(f.count)*f.row)
	}
	return errors.Join(err, out.Close())
}

func (b *bringing) copy(w io.Writer, key string, from, n int64) error {
	if n == 0 {
		return nil
	}
	r, err := b.s.Range(b.ctx, key, from, n)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.Copy(w, r)
	b.bytes += got
	if err == nil && got != n {
		err = fmt.Errorf("%s: got %d bytes from byte %d on, want %d: the object was changed, or the server failed", key, got, from, n)
	}
	return err
}

// maxHead is enough of a file for its header.
const maxHead = 4096

// layout finds out where images, or labels, are.
func (b *bringing) layout(f *file) error {
	var buf bytes.Buffer
	if err := b.copy(&buf, f.key, 0, min(maxHead, f.size)); err != nil {
		return err
	}
	h, name := buf.Bytes(), strings.ToLower(path.Base(f.key))
	switch {
	case len(h) > 1 && h[0] == 0x1f && h[1] == 0x8b: // gzip
	case strings.HasSuffix(name, ".bin"):
		const record = 1 + 3*32*32 // of CIFAR-10
		f.row, f.count = record, f.size/record
	case strings.HasSuffix(name, ".npy"):
		f.numpy(h, b)
	default:
		f.idx(h, b)
	}
	// Of anything else that is wrong dataset.Load has words.
	if last := int64(b.first) + int64(max(1, b.n)); last > f.count || f.from+f.count*f.row != f.size {
		f.row = 0
	}
	return nil
}

// idx is the layout of an IDX file of bytes.
func (f *file) idx(h []byte, b *bringing) {
	if len(h) < 4 || h[0] != 0 || h[1] != 0 || h[2] != 8 || h[3] < 1 || h[3] > 3 || len(h) < 4+4*int(h[3]) {
		return
	}
	f.from = 4 + 4*int64(h[3])
	f.count = int64(binary.BigEndian.Uint32(h[4:]))
	row := int64(1)
	for at := int64(8); at < f.from; at += 4 {
		if row *= int64(binary.BigEndian.Uint32(h[at:])); row > math.MaxInt32 {
			return
		}
	}
	f.row, f.head = row, bytes.Clone(h[:f.from])
	binary.BigEndian.PutUint32(f.head[4:], uint32(b.wanted(f.count)))
}

// wanted is how many of so many images are.
func (b *bringing) wanted(count int64) int64 {
	if b.n > 0 {
		return int64(b.n)
	}
	return max(0, count-int64(b.first))
}

// numpy is the layout of a NumPy array as NumPy itself writes it.
func (f *file) numpy(h []byte, b *bringing) {
	if len(h) < 12 || string(h[:6]) != "\x93NUMPY" {
		return
	}
	at, length := 10, int(binary.LittleEndian.Uint16(h[8:]))
	if h[6] > 1 {
		at, length = 12, int(min(maxHead, binary.LittleEndian.Uint32(h[8:])))
	}
	if at+length > len(h) {
		return
	}
	text := string(h[at : at+length])
	m := shapeText.FindStringSubmatchIndex(text)
	if m == nil || !strings.Contains(text, "'fortran_order': False") || !strings.HasSuffix(text, "\n") {
		return
	}
	count, err := strconv.ParseInt(text[m[2]:m[3]], 10, 48)
	from := int64(at + length)
	if err != nil || count < 1 || (f.size-from)%count != 0 {
		return
	}
	changed := text[:m[2]] + strconv.FormatInt(b.wanted(count), 10) + text[m[3]:len(text)-1]
	if len(changed) >= length {
		return
	}
	f.from, f.count, f.row = from, count, (f.size-from)/count
	f.head = append(h[:at:at], changed+strings.Repeat(" ", length-1-len(changed))+"\n"...)
}

var shapeText = regexp.MustCompile(`'shape': \(([0-9]+),`)
