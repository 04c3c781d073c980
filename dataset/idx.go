package dataset

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

const (
	idxImages = 0x00000803 // uint8, 3 dimensions: count, rows, columns
	idxLabels = 0x00000801 // uint8, 1 dimension: count
)

// ReadIDX reads a pair of IDX streams, each plain or gzip: images of uint8
// N×H×W and labels of uint8 N, giving a set with C = 1 and without a name. The
// names are those used in errors, which are *Error. Both streams must end where
// their headers say, agree on N ≥ 1 and stay within MaxBytes and MaxImages.
func ReadIDX(imagesName string, images io.Reader, labelsName string, labels io.Reader) (*Set, error) {
	return readIDX(imagesName, images, labelsName, labels, &Options{})
}

func readIDX(imagesName string, images io.Reader, labelsName string, labels io.Reader, o *Options) (*Set, error) {
	dims, images, err := openIDX(imagesName, images, idxImages)
	if err != nil {
		return nil, err
	}
	count, labels, err := openIDX(labelsName, labels, idxLabels)
	if err != nil {
		return nil, err
	}
	n := dims[0]
	if count[0] != n {
		return nil, &Error{
			File: labelsName, Field: "number of labels", Got: strconv.FormatInt(count[0], 10),
			Want: fmt.Sprintf("%d, the number of images in %s", n, imagesName),
		}
	}
	if _, ok := product(maxPixels, dims[1:]...); !ok {
		return nil, &Error{
			File: imagesName, Field: "dimensions 1 and 2", Got: fmt.Sprintf("%d×%d", dims[1], dims[2]),
			Want: fmt.Sprintf("at most %d pixels", maxPixels),
		}
	}
	s := &Set{C: 1, H: int(dims[1]), W: int(dims[2])}
	lo, hi, err := o.plan(imagesName, n, s.Shape())
	if err != nil {
		return nil, err
	}
	err = readBytes(labelsName, labels, lo, hi, int(n), 1, func(b []byte) {
		s.Y = room(s.Y, len(b), hi-lo)
		for _, y := range b {
			s.Y = append(s.Y, int(y))
		}
	})
	if err != nil {
		return nil, err
	}
	err = readBytes(imagesName, images, lo, hi, int(n), s.size(), func(b []byte) {
		s.X = appendScaled(room(s.X, len(b), (hi-lo)*s.size()), b)
	})
	if err != nil {
		return nil, err
	}
	s.inferClasses()
	return s, nil
}

// readBytes reads elements lo to hi−1 of n, each of size bytes, and if they are
// the last makes sure that r ends.
func readBytes(file string, r io.Reader, lo, hi, n, size int, use func([]byte)) error {
	if err := skip(file, "data", r, int64(lo)*int64(size)); err != nil {
		return err
	}
	err := readPieces(file, "data", r, int64(hi-lo)*int64(size), func(b []byte) error {
		use(b)
		return nil
	})
	if err != nil || hi < n {
		return err
	}
	return readEnd(file, "data", r, int64(n)*int64(size))
}

// openIDX reads the header of an IDX stream of the given kind: its dimensions,
// all ≥ 1. What it returns goes on with the data.
func openIDX(file string, r io.Reader, magic uint32) (dims []int64, data io.Reader, err error) {
	if r, err = gunzip(file, r); err != nil {
		return nil, nil, err
	}
	var word [4]byte
	if err := readHead(file, "magic number", r, word[:]); err != nil {
		return nil, nil, err
	}
	if got := binary.BigEndian.Uint32(word[:]); got != magic {
		return nil, nil, &Error{
			File: file, Field: "magic number",
			Want: fmt.Sprintf("%#08x (uint8 with %d dimensions)", magic, magic&0xff), Got: fmt.Sprintf("%#08x", got),
		}
	}
	for d := range int(magic & 0xff) {
		field := "dimension " + strconv.Itoa(d)
		if err := readHead(file, field, r, word[:]); err != nil {
			return nil, nil, err
		}
		n := int64(binary.BigEndian.Uint32(word[:]))
		if most := []int64{MaxImages, maxPixels, maxPixels}[d]; n < 1 || n > most {
			return nil, nil, &Error{File: file, Field: field, Got: strconv.FormatInt(n, 10), Want: fmt.Sprintf("1 to %d", most)}
		}
		dims = append(dims, n)
	}
	return dims, r, nil
}
