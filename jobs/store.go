package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/epsball/epsball/internal/atomicfile"
)

// Store holds the files of a job: its manifest and the results of its shards, under names
// such as results/0000012.jsonl. It is safe for concurrent use, by many processes.
type Store interface {
	// Put stores size bytes of r under a name, whole and durable, or not at all. If the name
	// is taken, that file stays and the error wraps fs.ErrExist: of all that put a name at
	// once, one succeeds.
	Put(ctx context.Context, name string, size int64, r io.Reader) error

	// Get opens a file. There being none is an error that wraps fs.ErrNotExist.
	Get(ctx context.Context, name string) (io.ReadCloser, error)

	// List calls yield with the names that begin with folder + "/", in any order, until it
	// returns an error. There may be files that Put never made.
	List(ctx context.Context, folder string, yield func(name string, size int64) error) error

	// String is the store's name, as the user gave it.
	String() string
}

// Folder is a Store in a folder of a POSIX file system, which may be shared over a network
// if it has hard links.
type Folder string

// String returns the folder's path.
func (f Folder) String() string { return string(f) }

func (f Folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }

// Put stores a file by way of a temporary one beside it, which is synced and then linked.
func (f Folder) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Create(path, func(w io.Writer) error {
		n, err := io.Copy(w, contextReader{ctx, r})
		if err == nil && n != size {
			err = fmt.Errorf("%s: got %d bytes, want %d", path, n, size)
		}
		return err
	})
}

// contextReader reads until the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// Get opens a file.
func (f Folder) Get(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(f.path(name))
}

// List lists the files of a folder, not those below it. One that is not there is empty.
func (f Folder) List(ctx context.Context, folder string, yield func(name string, size int64) error) error {
	d, err := os.Open(f.path(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for ctx.Err() == nil {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was a temporary file
			}
			if err != nil {
				return err
			}
			if err := yield(folder+"/"+e.Name(), info.Size()); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Plan puts a manifest into a store that has none. It also finds out whether the store lets a
// name be taken only once, which some servers that speak the protocol of S3 do not.
func Plan(ctx context.Context, s Store, m *Manifest) error {
	line, err := m.Encode()
	if err != nil {
		return err
	}
	err = s.Put(ctx, ManifestName, int64(len(line)), bytes.NewReader(line))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: there is a job already; name another folder: %w", s, err)
	}
	if err != nil {
		return err
	}
	switch err = s.Put(ctx, ManifestName, int64(len(line)), bytes.NewReader(line)); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err == nil:
		return fmt.Errorf("%s: writes a name a second time instead of refusing it, so that shards could be published twice", s)
	}
	return err
}

// ReadManifest reads the manifest of a job.
func ReadManifest(ctx context.Context, s Store) (*Manifest, error) {
	r, err := s.Get(ctx, ManifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no %s there, want the folder of a job that shard plan has made: %w", s, ManifestName, err)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	m, err := DecodeManifest(r)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", s, ManifestName, err)
	}
	return m, nil
}
