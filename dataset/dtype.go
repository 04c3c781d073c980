package dataset

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/half"
)

// dtype is a type of NumPy's numbers. Size 0 stands for one that is not read.
type dtype struct {
	text string // as in a header, such as "<f4"
	kind byte   // f, i, u or b: floats, signed and unsigned integers, bools
	size int    // bytes
	big  bool   // big-endian
}

// parseDType reads a descr. Bytes have no order, which numpy writes as "|".
func parseDType(descr string) dtype {
	kinds := [...]string{"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
	if len(descr) != 3 || !strings.Contains("<>|", descr[:1]) || !slices.Contains(kinds[:], descr[1:]) {
		return dtype{}
	}
	t := dtype{descr, descr[1], int(descr[2] - '0'), descr[0] == '>'}
	if descr[0] == '|' && t.size > 1 {
		return dtype{}
	}
	return t
}

// integers reports whether all values are whole numbers.
func (t dtype) integers() bool { return t.kind == 'i' || t.kind == 'u' }

// decode returns the elements of b, of which dst has as many: exact but for
// integers beyond 2^53, which are rounded.
func (t dtype) decode(dst []float64, b []byte) {
	var order binary.ByteOrder = binary.LittleEndian
	if t.big {
		order = binary.BigEndian
	}
	for i := range dst {
		switch e := b[i*t.size:]; t.size {
		case 1:
			dst[i] = float64(e[0])
			if t.kind == 'i' {
				dst[i] = float64(int8(e[0]))
			}
		case 2:
			switch v := order.Uint16(e); t.kind {
			case 'f':
				dst[i] = float64(half.FromF16(v))
			case 'i':
				dst[i] = float64(int16(v))
			default:
				dst[i] = float64(v)
			}
		case 4:
			switch v := order.Uint32(e); t.kind {
			case 'f':
				dst[i] = float64(math.Float32frombits(v))
			case 'i':
				dst[i] = float64(int32(v))
			default:
				dst[i] = float64(v)
			}
		case 8:
			switch v := order.Uint64(e); t.kind {
			case 'f':
				dst[i] = math.Float64frombits(v)
			case 'i':
				dst[i] = float64(int64(v))
			default:
				dst[i] = float64(v)
			}
		}
	}
}
