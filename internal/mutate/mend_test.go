package mutate

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"

	"github.com/epsball/epsball/verify/check"
)

// A mender damages the inside of a file and makes the outside fit again. It
// returns nil for a file that it cannot take apart.
type mender func(r *rand.Rand, b []byte) []byte

// gzipInside damages what was compressed.
func gzipInside(r *rand.Rand, b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	inside, err := io.ReadAll(z)
	if err != nil {
		return nil
	}
	return gzipped(damage(r, inside))
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // into memory, which does not fail
	_ = z.Close()
	return out.Bytes()
}

// zipInside damages a member, its name or what the archive says of its size, with
// checksums that fit what there is.
func zipInside(r *rand.Rand, b []byte) []byte {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(z.File) == 0 {
		return nil
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	at := r.IntN(len(z.File))
	for i, f := range z.File {
		m, err := f.Open()
		if err != nil {
			return nil
		}
		data, err := io.ReadAll(m)
		if err != nil {
			return nil
		}
		h := zip.FileHeader{Name: f.Name, Method: f.Method}
		if i == at {
			switch r.IntN(8) {
			case 0:
				h.Name = string(damage(r, []byte(h.Name)))
			case 1:
				h.Method = 8 - h.Method
			default:
				data = npyInside(r, data)
			}
		}
		packed := data
		if h.Method == zip.Deflate {
			var p bytes.Buffer
			fw, _ := flate.NewWriter(&p, r.IntN(10))
			_, _ = fw.Write(data)
			_ = fw.Close()
			packed = p.Bytes()
		}
		h.CRC32, h.UncompressedSize64, h.CompressedSize64 = crc32.ChecksumIEEE(data), uint64(len(data)), uint64(len(packed))
		if i == at && r.IntN(6) == 0 {
			h.UncompressedSize64 = number(r)
		}
		raw, err := w.CreateRaw(&h)
		if err != nil {
			return nil
		}
		_, _ = raw.Write(packed)
	}
	if w.Close() != nil {
		return nil
	}
	return out.Bytes()
}

// npyInside damages the header of an .npy, whose length then fits, or its data.
func npyInside(r *rand.Rand, b []byte) []byte {
	const before = 10
	if len(b) < before {
		return damage(r, b)
	}
	n := int(binary.LittleEndian.Uint16(b[8:]))
	if len(b) < before+n {
		return damage(r, b)
	}
	head, data := bytes.Clone(b[before:before+n]), bytes.Clone(b[before+n:])
	switch r.IntN(6) {
	case 0:
		data = damage(r, data)
	case 1:
		head = bytes.Replace(head, []byte("False"), []byte("True"), 1)
	case 2:
		types := []string{"<f2", "<f4", "<f8", ">f4", "|u1", "<i8", "<u2", "|b1", "|i1", "<c8", "|O"}
		if at := bytes.Index(head, []byte("'descr': '")) + len("'descr': '"); at+3 <= len(head) {
			head = append(head[:at:at], append([]byte(types[r.IntN(len(types))]), head[at+3:]...)...)
		}
	case 3, 4:
		head = text(r, head)
	default:
		head = damage(r, head)
	}
	out := binary.LittleEndian.AppendUint16(bytes.Clone(b[:8]), uint16(len(head)))
	return append(append(out, head...), data...)
}

// pngInside damages chunks, IHDR's numbers or the rows within IDAT; lengths and
// checksums fit again.
func pngInside(r *rand.Rand, b []byte) []byte {
	type chunk struct {
		kind string
		data []byte
	}
	var chunks []chunk
	const head = 8
	for rest := b[min(head, len(b)):]; len(rest) >= 12; {
		n := binary.BigEndian.Uint32(rest)
		if uint64(n)+12 > uint64(len(rest)) {
			return nil
		}
		chunks = append(chunks, chunk{string(rest[4:8]), bytes.Clone(rest[8 : 8+n])})
		rest = rest[12+n:]
	}
	if len(chunks) < 3 {
		return nil
	}
	at := r.IntN(len(chunks))
	switch r.IntN(8) {
	case 0: // again, or elsewhere
		to := r.IntN(len(chunks))
		chunks[at], chunks[to] = chunks[to], chunks[at]
	case 1:
		chunks = append(chunks[:at:at], chunks[min(at+r.IntN(2), len(chunks)):]...)
	case 2:
		kinds := []string{"tRNS", "PLTE", "IDAT", "IEND", "IHDR", "tEXt", "zzzz", "gAMA"}
		extra := chunk{kinds[r.IntN(len(kinds))], damage(r, make([]byte, r.IntN(20)))}
		chunks = append(chunks[:at:at], append([]chunk{extra}, chunks[at:]...)...)
	case 3:
		chunks[at].data = damage(r, chunks[at].data)
	case 4, 5: // width, height; depth, colour, compression, filter, interlace
		if h := chunks[0].data; len(h) == 13 {
			if r.IntN(2) == 0 {
				binary.BigEndian.PutUint32(h[4*r.IntN(2):], uint32(number(r)))
			} else {
				h[8+r.IntN(5)] = byte(r.IntN(9))
			}
		}
	default:
		for i := range chunks {
			if chunks[i].kind != "IDAT" {
				continue
			}
			z, err := zlib.NewReader(bytes.NewReader(chunks[i].data))
			if err != nil {
				break
			}
			rows, err := io.ReadAll(z)
			if err != nil {
				break
			}
			rows = damage(r, rows)
			if r.IntN(4) == 0 {
				rows = append(rows, make([]byte, r.IntN(1<<20))...)
			}
			var out bytes.Buffer
			w := zlib.NewWriter(&out)
			_, _ = w.Write(rows)
			_ = w.Close()
			chunks[i].data = out.Bytes()
		}
	}
	out := bytes.Clone(b[:head])
	for _, c := range chunks {
		out = binary.BigEndian.AppendUint32(out, uint32(len(c.data)))
		body := append([]byte(c.kind), c.data...)
		out = binary.BigEndian.AppendUint32(append(out, body...), crc32.ChecksumIEEE(body))
	}
	return out
}

// jpegInside damages the contents of a segment, whose length then fits: tables,
// frame header, scan header. What follows the scan header has no checksum.
func jpegInside(r *rand.Rand, b []byte) []byte {
	type segment struct{ from, to int }
	var segments []segment
	for i := 2; i+4 <= len(b) && b[i] == 0xff && b[i+1] != 0xd9; {
		n := int(binary.BigEndian.Uint16(b[i+2:]))
		if n < 2 || i+2+n > len(b) {
			break
		}
		segments = append(segments, segment{i + 4, i + 2 + n})
		if b[i+1] == 0xda {
			break
		}
		i += 2 + n
	}
	if len(segments) == 0 {
		return nil
	}
	s := segments[r.IntN(len(segments))]
	body := damage(r, b[s.from:s.to])
	if len(body) > 1<<16-3 {
		return nil
	}
	out := binary.BigEndian.AppendUint16(bytes.Clone(b[:s.from-2]), uint16(len(body)+2))
	return append(append(out, body...), b[s.to:]...)
}

// safetensorsInside damages the header, whose length then fits.
func safetensorsInside(r *rand.Rand, b []byte) []byte {
	if len(b) < 8 {
		return nil
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(len(b)-8) {
		return nil
	}
	head := damage(r, b[8:8+n])
	if r.IntN(2) == 0 {
		head = text(r, bytes.Clone(b[8:8+n]))
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	return append(append(out, head...), b[8+n:]...)
}

// certificateInside damages what the sum is over, and sums it anew.
func certificateInside(r *rand.Rand, b []byte) []byte {
	body, _, ok := bytes.Cut(b, []byte(`,"sum":`))
	if !ok {
		return nil
	}
	body = damage(r, body)
	return append(bytes.Clone(body), `,"sum":"`+check.Seal(body)+"\"}\n"...)
}
