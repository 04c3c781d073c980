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
// their headers say, agree on N ≥ 1 and stay within MaxBytes.
func ReadIDX(imagesName string, images io.Reader, labelsName string, labels io.Reader) (*Set, error) {
	dims, pixels, err := readIDX(imagesName, images, idxImages)
	if err != nil {
		return nil, err
	}
	count, y, err := readIDX(labelsName, labels, idxLabels)
	if err != nil {
		return nil, err
	}
	if count[0] != dims[0] {
		return nil, &Error{
			File: labelsName, Field: "number of labels", Got: strconv.Itoa(count[0]),
			Want: fmt.Sprintf("%d, the number of images in %s", dims[0], imagesName),
		}
	}
	s := &Set{C: 1, H: dims[1], W: dims[2], X: appendScaled(make([]float32, 0, len(pixels)), pixels), Y: make([]int, len(y))}
	for i, b := range y {
		s.Y[i] = int(b)
	}
	s.inferClasses()
	return s, nil
}

// readIDX reads one IDX stream of the given kind: its dimensions, all ≥ 1, and
// its bytes.
func readIDX(file string, r io.Reader, magic uint32) (dims []int, data []byte, err error) {
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
	total := int64(1)
	for d := range int(magic & 0xff) {
		field := "dimension " + strconv.Itoa(d)
		if err := readHead(file, field, r, word[:]); err != nil {
			return nil, nil, err
		}
		n := int64(binary.BigEndian.Uint32(word[:]))
		var ok bool
		if total, ok = product(maxPixels, total, n); !ok || n == 0 {
			return nil, nil, &Error{
				File: file, Field: field, Got: strconv.FormatInt(n, 10),
				Want: fmt.Sprintf("at least 1, and at most %d values in all", maxPixels),
			}
		}
		dims = append(dims, int(n))
	}
	data, err = readRest(file, "data", r, total)
	return dims, data, err
}
