package onnx

import (
	"encoding/binary"
)

// Protocol buffers' wire format (protobuf.dev/programming-guides/encoding): sixty
// lines of it. The library for it reads the running program's file before main.
// It stays the yardstick of the tests.

// number is a field's number, wireType how its value is written.
type (
	number   int32
	wireType int8
)

const (
	varintType  wireType = 0
	fixed64Type wireType = 1
	bytesType   wireType = 2
	groupType   wireType = 3
	groupEnd    wireType = 4
	fixed32Type wireType = 5

	maxNumber = 1<<31 - 1
	maxGroups = 100 // inside of each other
)

// The consume functions return a value and the bytes it takes, which are negative
// if it is malformed or cut short.

func consumeVarint(b []byte) (uint64, int) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, -1
	}
	return v, n
}

func consumeTag(b []byte) (number, wireType, int) {
	v, n := consumeVarint(b)
	if n < 0 || v>>3 < 1 || v>>3 > maxNumber {
		return 0, 0, -1
	}
	return number(v >> 3), wireType(v & 7), n
}

func consumeFixed32(b []byte) (uint32, int) {
	if len(b) < 4 {
		return 0, -1
	}
	return binary.LittleEndian.Uint32(b), 4
}

func consumeFixed64(b []byte) (uint64, int) {
	if len(b) < 8 {
		return 0, -1
	}
	return binary.LittleEndian.Uint64(b), 8
}

func consumeBytes(b []byte) ([]byte, int) {
	v, n := consumeVarint(b)
	if n < 0 || v > uint64(len(b)-n) {
		return nil, -1
	}
	end := n + int(v)
	return b[n:end], end
}

// skipGroup returns the length of what is left of a group, its end included.
func skipGroup(num number, b []byte, depth int) int {
	if depth == maxGroups {
		return -1
	}
	for at := 0; ; {
		inner, typ, n := consumeTag(b[at:])
		if n < 0 {
			return -1
		}
		at += n
		switch typ {
		case varintType:
			_, n = consumeVarint(b[at:])
		case fixed32Type:
			_, n = consumeFixed32(b[at:])
		case fixed64Type:
			_, n = consumeFixed64(b[at:])
		case bytesType:
			_, n = consumeBytes(b[at:])
		case groupType:
			n = skipGroup(inner, b[at:], depth+1)
		case groupEnd:
			if inner != num {
				return -1
			}
			return at
		default:
			return -1
		}
		if n < 0 {
			return -1
		}
		at += n
	}
}

func appendTag(b []byte, num number, typ wireType) []byte {
	return appendVarint(b, uint64(num)<<3|uint64(typ))
}

func appendVarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendBytes[T []byte | string](b []byte, v T) []byte {
	return append(appendVarint(b, uint64(len(v))), v...)
}
