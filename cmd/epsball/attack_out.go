package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/jobs"
)

// claimAttack claims the outputs, including the journal, which exists only meanwhile.
func (a *app) claimAttack(f *attackFlags) (func(), error) {
	f.log = outfile.Output{Flag: "out", Path: f.out.Path + ".journal", Appended: true, Resumable: true, Resume: f.resume}
	f.out.Resume = f.resume
	f.out.Resumable = f.out.Path != "" && f.log.Exists()
	if f.resume && !f.out.Resumable && f.out.Exists() {
		return nil, fmt.Errorf("--resume: %s is there, but no %s to go on from, so that attack is complete; replace it by --force", f.out.Path, f.log.Path)
	}
	in := inputs(f.data.Spec, []string{f.model})
	release, err := a.claim(f.force, in, &f.out, &f.plot)
	if err != nil {
		return nil, err
	}
	drawn, err := a.claimPictures(&f.pictures, f.force || f.resume, in) // made anew by a run that goes on
	if err != nil {
		release()
		return nil, err
	}
	if !f.out.IsFile() {
		return func() { drawn(); release() }, nil
	}
	more, err := a.claim(f.force, in, &f.log)
	if err != nil {
		drawn()
		release()
		return nil, err
	}
	return func() { more(); drawn(); release() }, nil
}

// openLog opens the journal of --out, if that is a regular file, and returns the
// number of images that it has.
func (a *app) openLog(f *attackFlags, s *input.Subject, c *attack.Config) (log *runlog.Log, known int, err error) {
	if !f.log.IsFile() {
		return nil, 0, nil
	}
	log = runlog.NewLog(f.log.File, runlog.Of{Model: s.Model.Hash(), Data: f.data.Spec, Run: jobs.RunText(c) + f.defence.run(), First: f.data.Offset}, s.X, s.Y)
	if !f.log.Exists() {
		return log, 0, nil // made when there is something to write
	}
	if !f.resume {
		return log, 0, log.Replace()
	}
	if known, err = log.Resume(); err == nil {
		a.logf("%s: %d of %s are there", f.log.Path, known, count(len(s.Y), "image"))
	}
	return log, known, err
}

// save writes the images of --out. The journal goes once they are there, all of
// them, and stays for --resume if not.
func (f *attackFlags) save(s *input.Subject, res *attack.Result, log *runlog.Log, whole bool) error {
	begun := countTrue(res.Begun) > 0
	var err error
	if begun {
		err = f.out.Write(func(w io.Writer) error { return runlog.WriteAttack(w, s.Net.Input(), s.Y, f.data.Offset, res) })
	}
	switch {
	case log == nil:
	case !begun, whole && err == nil:
		log.Discard()
	default:
		err = errors.Join(err, log.Keep())
	}
	return err
}
