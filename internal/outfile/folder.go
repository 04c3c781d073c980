package outfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/epsball/epsball/internal/filelock"
)

// Folder is a folder that a flag asks a command to make: whole, or not at all.
type Folder struct {
	Flag    string   // its name
	Path    string   // "": none is to be made
	Parts   []string // the folders that are made in it; --force replaces them
	Files   []string // files, likewise
	Written bool     // set by Write

	force bool
}

// Claim refuses a folder that could not be made or has anything in it, before work is
// spent. With force, the Parts and Files of one that is there are replaced, if it has nothing
// else. What it returns must be called when the command is done.
func (f *Folder) Claim(force bool, inputs []Input) (release func(), err error) {
	release = func() {}
	if f.Path == "" {
		return release, nil
	}
	f.force = force
	if err := f.check(inputs); err != nil {
		return nil, fmt.Errorf("--%s: %w", f.Flag, err)
	}
	r, err := filelock.Reserve(filepath.Clean(f.Path))
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%s: nothing can be created in folder %s: %w", f.Path, filepath.Dir(filepath.Clean(f.Path)), failed.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", f.Flag, err)
	}
	return r.Release, nil
}

func (f *Folder) check(inputs []Input) error {
	if _, ok := Descriptor(f.Path); ok {
		return fmt.Errorf("got %s, want a folder", f.Path)
	}
	info, err := os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := filepath.Dir(filepath.Clean(f.Path))
		if dir, err := os.Stat(parent); err != nil || !dir.IsDir() {
			return fmt.Errorf("%s: there is no folder %s", f.Path, parent)
		}
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is a file, want a folder", f.Path)
	}
	for _, in := range inputs {
		if path, read := in.file(); read != nil && (os.SameFile(info, read) || inside(f.Path, path)) {
			return fmt.Errorf("%s has what %s reads, want another folder", f.Path, in)
		}
	}
	return f.vacant()
}

// vacant returns an error if the folder has what must not be replaced.
func (f *Folder) vacant() error {
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case !(e.IsDir() && slices.Contains(f.Parts, e.Name()) || e.Type().IsRegular() && slices.Contains(f.Files, e.Name())):
			return fmt.Errorf("%s has files in it, such as %s; name another folder", f.Path, e.Name())
		case !f.force:
			return fmt.Errorf("%s exists; name another folder, or replace what is in it by --force", f.Path)
		}
	}
	return nil
}

// Write makes the folder, if one is wanted: fill makes the Parts and Files in dir, which is
// beside it and then takes its name.
func (f *Folder) Write(fill func(dir string) error) error {
	if f.Path == "" {
		return nil
	}
	if err := f.write(fill); err != nil {
		return fmt.Errorf("--%s: %w", f.Flag, err)
	}
	f.Written = true
	return nil
}

func (f *Folder) write(fill func(dir string) error) error {
	path := filepath.Clean(f.Path)
	dir := fmt.Sprintf("%s.%08x.tmp", path, rand.Uint32())
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	if err := fill(dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return os.Rename(dir, path)
	}
	if err := f.vacant(); err != nil { // it has come since the command started
		return fmt.Errorf("%w; the result is in %s", err, dir)
	}
	for _, part := range slices.Concat(f.Parts, f.Files) {
		if err := os.RemoveAll(filepath.Join(path, part)); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, part), filepath.Join(path, part)); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}
