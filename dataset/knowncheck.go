package dataset

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FileState says how a file of a folder compares with that of a KnownSet.
type FileState string

// The states of files.
const (
	FileOK      FileState = "ok"      // its bytes are those published
	FileMissing FileState = "missing" // the set has it, the folder does not
	FileDiffers FileState = "differs" // its bytes are others, or cannot be read
	FileUnknown FileState = "unknown" // no sum is known for it
)

// FileCheck is what Verify says of one file.
type FileCheck struct {
	File   string    `json:"file"`
	State  FileState `json:"state"`
	Detail string    `json:"detail,omitempty"`
}

// Verify compares the files of a folder, or FOLDER#train or FOLDER#test, with those of
// a known set, or of the set that most of them belong to if name is empty. It returns
// the name of the set and first the set's files in their order, each packed or not, then
// the others of the folder. Sums are those of unpacked contents. Files that are not as
// they should be are no error; a folder that cannot be read or told is an *Error.
func Verify(spec, name string) (set string, checks []FileCheck, err error) {
	dir, part := spec, ""
	for _, p := range []string{"train", "test"} {
		if cut, ok := strings.CutSuffix(spec, "#"+p); ok {
			dir, part = cut, p
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, pathError(dir, "a folder with the files of a data set", err)
	}
	found := map[string]*digest{}
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.Mode().IsRegular() {
			found[e.Name()] = nil
		}
	}
	known := KnownSets()
	for file := range found {
		if isData(known, file, part) {
			found[file] = read(filepath.Join(dir, file), known)
		}
	}
	k, err := choose(known, dir, name, part, found)
	if err != nil {
		return "", nil, err
	}
	return k.Name, k.compare(part, found), nil
}

// isData reports whether the contents of a file are looked at: those of the other part
// are not.
func isData(known []KnownSet, file, part string) bool {
	other := false
	for _, k := range known {
		if k.isArchive(file) {
			return true
		}
		for _, f := range k.Files {
			if f.Name == plainName(file) {
				if part == "" || f.Part == part {
					return true
				}
				other = true
			}
		}
	}
	return !other && strings.HasSuffix(plainName(file), ".bin")
}

// plainName is a file's name in a KnownSet. Some who unpack MNIST write .idx3 for -idx3.
func plainName(file string) string {
	return strings.Replace(strings.TrimSuffix(file, ".gz"), ".idx", "-idx", 1)
}

func (k *KnownSet) isArchive(file string) bool { return k.Archive != nil && k.Archive.Name == file }

// choose returns the set by its name, or the one that most of the files are of: by their
// contents, or else by their names.
func choose(known []KnownSet, dir, name, part string, found map[string]*digest) (*KnownSet, error) {
	var names []string
	best, most, tied := -1, 0, false
	for i := range known {
		k := &known[i]
		names = append(names, k.Name)
		if k.Name == name {
			return k, nil
		}
		points := 0
		for _, c := range k.compare(part, found) {
			switch {
			case c.State == FileOK:
				points += 100
			case c.State == FileDiffers, c.State == FileUnknown && c.Detail != "":
				points++
			}
		}
		if points > most {
			best, most, tied = i, points, false
		} else if points == most {
			tied = true
		}
	}
	all := strings.Join(names, ", ")
	switch {
	case name != "":
		return nil, &Error{File: dir, Field: "name of the data set", Want: "one of " + all, Got: quote(name)}
	case best < 0:
		return nil, &Error{File: dir, Field: "files", Want: "files of one of " + all, Got: "none with such a name"}
	case tied:
		return nil, &Error{File: dir, Field: "files", Want: "files of one set, or its name: " + all, Got: "files with the names of several, and the contents of none"}
	}
	return &known[best], nil
}

// compare says of each file of the set, and of each other one found, how it is.
func (k *KnownSet) compare(part string, found map[string]*digest) []FileCheck {
	var checks []FileCheck
	names := slices.Sorted(maps.Keys(found))
	if k.Archive != nil && found[k.Archive.Name] != nil {
		checks = append(checks, found[k.Archive.Name].compareArchive(k.Archive))
	}
	for i := range k.Files {
		f := &k.Files[i]
		if part != "" && f.Part != part {
			continue
		}
		here := false
		for _, name := range names {
			if plainName(name) == f.Name {
				here = true
				checks = append(checks, found[name].compare(name, f))
			}
		}
		if !here {
			checks = append(checks, FileCheck{File: f.Name, State: FileMissing})
		}
	}
	for _, name := range names {
		if k.isArchive(name) || slices.ContainsFunc(k.Files, func(f KnownFile) bool { return f.Name == plainName(name) }) {
			continue
		}
		c := FileCheck{File: name, State: FileUnknown}
		for i := range k.Files {
			if s := found[name].isStart(&k.Files[i]); s != nil {
				c.State, c.Detail = FileOK, fmt.Sprintf("the first %d images of %s", s.Images, k.Files[i].Name)
			}
		}
		checks = append(checks, c)
	}
	return checks
}

// digest is what was read of a file.
type digest struct {
	bytes int64  // unpacked
	sum   string // SHA-256, but MD5 of an archive
	sums  map[int64]string
	more  bool  // than any known file
	err   error // that ended the reading
}

// read reads a file: an archive as it is, others unpacked, and no further than the
// longest of the known files.
func read(path string, known []KnownSet) *digest {
	d := &digest{sums: map[int64]string{}}
	f, err := os.Open(path)
	if err != nil {
		d.err = err
		return d
	}
	defer f.Close()
	var stops []int64 // where a known file or a start of one may end
	for i := range known {
		if known[i].isArchive(filepath.Base(path)) {
			h := md5.New()
			d.bytes, d.err = io.Copy(h, f)
			d.sum = hex.EncodeToString(h.Sum(nil))
			return d
		}
		for _, f := range known[i].Files {
			stops = append(stops, f.Bytes)
			for _, s := range f.Starts {
				stops = append(stops, s.Bytes)
			}
		}
	}
	slices.Sort(stops)
	r, err := gunzip(filepath.Base(path), f)
	if err != nil {
		d.err = err
		return d
	}
	h := sha256.New()
	for _, stop := range stops {
		n, err := io.CopyN(h, r, stop-d.bytes)
		d.bytes += n
		d.sum = hex.EncodeToString(h.Sum(nil))
		switch {
		case errors.Is(err, io.EOF):
			return d
		case err != nil:
			d.err = err
			return d
		}
		d.sums[stop] = d.sum
	}
	n, err := io.CopyN(io.Discard, r, 1) // which makes gzip compare its checksum
	if d.more = n > 0; err != nil && !errors.Is(err, io.EOF) {
		d.err = err
	}
	return d
}

func (d *digest) compare(name string, f *KnownFile) FileCheck {
	c := FileCheck{File: name, State: FileDiffers}
	switch {
	case d.err != nil:
		c.Detail = "cannot be read: " + d.err.Error()
	case d.more:
		c.Detail = fmt.Sprintf("more than %d bytes, want %d", d.bytes, f.Bytes)
	case d.bytes != f.Bytes:
		c.Detail = fmt.Sprintf("%d bytes, want %d", d.bytes, f.Bytes)
		if s := d.isStart(f); s != nil {
			c.Detail += fmt.Sprintf("; it holds the first %d images", s.Images)
		}
	case f.SHA256 != "" && d.sum == f.SHA256:
		c.State = FileOK
	case f.SHA256 != "":
		c.Detail = fmt.Sprintf("SHA-256 %s, want %s", d.sum, f.SHA256)
	default:
		c.State, c.Detail = FileUnknown, "its size is right; no checksum of it is known"
		for _, s := range f.Starts {
			if d.sums[s.Bytes] != s.SHA256 {
				c.State, c.Detail = FileDiffers, fmt.Sprintf("the first %d images are others", s.Images)
				break
			}
			c.Detail = fmt.Sprintf("its size and its first %d images are right; no checksum of the others is known", s.Images)
		}
	}
	return c
}

func (d *digest) compareArchive(f *KnownFile) FileCheck {
	switch {
	case d.err != nil:
		return FileCheck{File: f.Name, State: FileDiffers, Detail: "cannot be read: " + d.err.Error()}
	case d.sum != f.MD5:
		return FileCheck{File: f.Name, State: FileDiffers, Detail: fmt.Sprintf("MD5 %s, want %s", d.sum, f.MD5)}
	}
	return FileCheck{File: f.Name, State: FileOK}
}

// isStart returns the known start of f that the whole file is, or nil.
func (d *digest) isStart(f *KnownFile) *KnownStart {
	if d == nil || d.err != nil {
		return nil
	}
	for i, s := range f.Starts {
		if d.bytes == s.Bytes && d.sum == s.SHA256 {
			return &f.Starts[i]
		}
	}
	return nil
}
