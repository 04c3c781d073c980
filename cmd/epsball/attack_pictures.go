package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/pictures"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

// pictureFlags are those of attack that have to do with 8-bit images.
type pictureFlags struct {
	lattice int
	png     outfile.Folder
	sheet   outfile.Output
}

func (p *pictureFlags) addFlags(c *cobra.Command) {
	p.png = outfile.Folder{Flag: "png", Parts: []string{pictures.Originals, pictures.Adversarials}}
	p.sheet = outfile.Output{Flag: "sheet", Kind: outfile.Image}
	f := c.Flags()
	f.IntVar(&p.lattice, "lattice", 0, "8: search 8-bit images only (default any float32 images)")
	f.StringVar(&p.png.Path, "png", "", "`folder` for PNG files of the images that were fooled, with --lattice 8")
	f.StringVar(&p.sheet.Path, "sheet", "", "`file` for a contact sheet of the first of them (.png)")
}

// check looks at the flags; radii is the number of those of --eps.
func (p *pictureFlags) check(radii int) error {
	for _, o := range []struct{ flag, path string }{{"png", p.png.Path}, {"sheet", p.sheet.Path}} {
		if o.path != "" && radii > 1 {
			return fmt.Errorf("--%s: has one attack's images, want one --eps, got %d", o.flag, radii)
		}
	}
	switch {
	case p.lattice != 0 && p.lattice != 8:
		return fmt.Errorf("--lattice: got %d, want 8: the bits of a pixel in a picture", p.lattice)
	case p.png.Path != "" && p.lattice == 0:
		return errors.New("--png: want --lattice 8 with it: PNG files have 8 bits, and rounding loses adversarial examples")
	}
	return nil
}

// claimPictures claims the outputs.
func (a *app) claimPictures(p *pictureFlags, force bool, in []outfile.Input) (release func(), err error) {
	folder, err := p.png.Claim(force, in)
	if err != nil {
		return nil, err
	}
	sheet, err := a.claim(force, in, &p.sheet)
	if err != nil {
		folder()
		return nil, err
	}
	return func() { sheet(); folder() }, nil
}

// shape is that of the images as pictures: a model may take them as vectors.
func (d *data) shape() model.Shape { return model.Shape(d.Set.Shape()) }

// drawable refuses images that cannot be drawn, before they are attacked.
func (p *pictureFlags) drawable(d *data) error {
	for _, o := range []struct{ flag, path string }{{"png", p.png.Path}, {"sheet", p.sheet.Path}} {
		if o.path == "" {
			continue
		}
		if err := pictures.Check(d.shape()); err != nil {
			return fmt.Errorf("--%s: %w", o.flag, err)
		}
	}
	return nil
}

// drawPictures writes the pictures of what an attack found, and checks those of the folder.
func (a *app) drawPictures(ctx context.Context, f *attackFlags, s *input.Subject, cfg *attack.Config, res *attack.Result, r *report.AttackRun) error {
	p := &f.pictures
	if p.png.Path == "" && p.sheet.Path == "" {
		return nil
	}
	in, size := f.data.shape(), s.Net.Input().Size()
	var all []pictures.Example
	for i, ok := range res.Success {
		if ok {
			all = append(all, pictures.Example{
				Index: f.data.Offset + i, Original: s.X[i*size : (i+1)*size], Adversarial: res.Adv[i*size : (i+1)*size],
				Before: s.Y[i], After: res.Label[i],
			})
		}
	}
	if len(all) == 0 {
		a.logf("no picture is written: nothing was fooled")
		return nil
	}
	r.Pictures = &report.Pictures{SSIM: meanSSIM(all, in)}
	err := p.png.Write(func(dir string) error { return pictures.WriteFolder(dir, in, all) })
	if p.png.Written {
		r.Pictures.Folder, r.Pictures.Written = p.png.Path, len(all)
		r.Checks = append(r.Checks, checkPNG(ctx, s, cfg, filepath.Join(p.png.Path, pictures.Adversarials), all))
	}
	title := fmt.Sprintf("%s, %s, %s ε=%s", r.Model, r.Attack, r.Norm, r.EpsExact)
	if cfg.Lattice > 0 {
		title += fmt.Sprintf(", %d bits", cfg.Lattice)
	}
	err = errors.Join(err, p.sheet.Write(func(w io.Writer) error { return pictures.Sheet(w, in, title, all) }))
	if p.sheet.Written {
		r.Pictures.Sheet, r.Pictures.Shown = p.sheet.Path, min(len(all), pictures.MaxSheet)
	}
	return err
}

func meanSSIM(all []pictures.Example, in model.Shape) *float64 {
	sum := 0.0
	for _, e := range all {
		s, ok := pictures.SSIM(e.Original, e.Adversarial, in)
		if !ok {
			return nil
		}
		sum += s / float64(len(all))
	}
	return &sum
}

// checkPNG reads a folder of adversarial images as any command reads data: each must lie
// in the ball and be misclassified.
func checkPNG(ctx context.Context, s *input.Subject, cfg *attack.Config, dir string, all []pictures.Example) audit.Finding {
	bad := func(err error) audit.Finding { return audit.NewFinding("png", audit.Fail, nil, err.Error()) }
	set, err := dataset.LoadImages(dir)
	if err != nil {
		return bad(err)
	}
	if set.Len() != len(all) {
		return bad(fmt.Errorf("%d images in %s, want %d", set.Len(), dir, len(all)))
	}
	index := make([]int, len(all))
	for i := range all {
		index[i] = all[i].Index
	}
	pred, err := s.PredictAt(ctx, set.X, index)
	if ctx.Err() != nil {
		return audit.NewFinding("png", audit.Stopped, nil, "stopped before the forward pass was done")
	}
	if err != nil {
		return bad(err)
	}
	verdict, lost := audit.OK, []int(nil)
	for i := range all {
		e := &all[i]
		if !(cfg.Ball.Contains(e.Original, set.Image(i)) && pred[i] != e.Before && pred[i] == e.After && set.Y[i] == e.Before) {
			verdict, lost = audit.Fail, append(lost, e.Index)
		}
	}
	return audit.NewFinding("png", verdict, lost, fmt.Sprintf("%d of %s read from PNG files are in the ball and misclassified", len(all)-len(lost), show.Count(len(all), "image")))
}

// compareLattice runs an attack on the lattice once more without it.
func (a *app) compareLattice(ctx context.Context, f *attackFlags, s *input.Subject, cfg attack.Config, r *report.AttackRun, bar *show.Bar) error {
	if cfg.Lattice == 0 {
		return nil
	}
	bits, ball := cfg.Lattice, cfg.Ball
	cfg.Lattice, cfg.Ball.Eps = 0, f.eps.v
	r.Lattice = &report.Lattice{Bits: bits, Eps: ball.Eps.String(), Grid: audit.NewGrid(ball, bits, s.X, len(s.Y))}
	if r.Interrupted != nil {
		return nil
	}
	cfg.Progress = func(done int) { bar.Show("float "+cfg.Method.Name(), done, f.data.N) }
	front, err := f.defence.front(s)
	if err != nil {
		return err
	}
	attacker, err := attack.New(front.attacked, cfg, s.Pool)
	if err != nil {
		return err
	}
	start := time.Now()
	b, res := attack.Batch{X: s.X, Y: s.Y, First: f.data.Offset}, new(attack.Result)
	err = attacker.Run(ctx, b, res)
	spent := time.Since(start).Seconds()
	if err == nil {
		err = front.judged(ctx, s, b, res)
	}
	var rounded audit.Rounding
	if err == nil {
		rounded, err = audit.Round(ctx, s.Target(), s.Pool, ball, b, res, bits)
	}
	if errors.Is(err, context.Canceled) {
		return interrupted("the attack is done, the float attack that it is compared with is not")
	}
	if err != nil {
		return err
	}
	_, _, robust := res.Count()
	r.Lattice.Float = &report.FloatAttack{Success: rounded.Fooled, Robust: show.Fraction(robust, len(s.Y)), Rounded: rounded, Seconds: spent}
	return nil
}
