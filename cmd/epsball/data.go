package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/report"
)

// dataCommand is also the topic of help that says what --data takes.
func (a *app) dataCommand() *cobra.Command {
	var folder string
	c := &cobra.Command{
		Use:   "data [SET]",
		Short: "What --data takes; known data sets, where they are to be had, and a check of their files",
		Long: `Lists the data sets that epsball knows: who made them, where they are to be had, their
licences and, with the name of a SET, its files and their checksums. With --verify,
compares the files of a folder with those of a set: of SET, or of the one they belong
to. FOLDER#train and FOLDER#test look at a part.

Each file is ok, missing, differs or unknown: no checksum of it is known. Checksums are
those of the unpacked contents. Exit status: 0 if no file differs or is missing; 1 if
one does or is; 2 for a folder that holds no known set.

--data takes one of:

  builtin:mnist     the 10,000 MNIST test images, in the program
  a folder of IDX   train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…, or .gz
  CIFAR-10 batches  a folder of data_batch_1.bin … test_batch.bin, or one .bin file
  images            a folder of .png or .jpg files, or of folders of them, or one file
  NumPy arrays      an .npz with x, N×C×H×W, and y, N labels; or an .npy and its labels

FOLDER#train and FOLDER#test choose a part; a clone of the repository has MNIST's
60,000 training images as testdata/mnist#train.

Pixels are in [0,1]; bytes are divided by 255. Images are neither resized nor
converted: they have the model's height, width and channels.

Labels are numbers from 0 up, the index of the class in the model's outputs. IDX and
CIFAR-10 files have them; an .npz has them as y. Images in a folder get them from
  labels.csv in it: lines NAME,LABEL such as cat1.png,3; or else from
  sub-folders named by the label: 0/a.png, 0/b.png, 1/c.png.
attack also takes images without a label, and uses the class that the model predicts;
certify, eval and train need labels.

docs/data.md has all formats in detail.`,
		Example: `  epsball data
  epsball data fashion-mnist
  epsball data --verify fashion-mnist/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("data: got %d arguments, want at most one, the name of a set", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions(knownNames(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			set := ""
			if len(args) == 1 {
				set = args[0]
				if err := checkSet(set); err != nil {
					return err
				}
			}
			if c.Flags().Changed("verify") {
				return a.verifyData(folder, set)
			}
			return a.listData(set)
		},
	}
	c.Flags().StringVar(&folder, "verify", "", "`folder` to compare with a set, or FOLDER#train, FOLDER#test")
	return c
}

func knownNames() []string {
	var names []string
	for _, k := range dataset.KnownSets() {
		names = append(names, k.Name)
	}
	return names
}

func checkSet(name string) error {
	if names := knownNames(); !slices.Contains(names, name) {
		return fmt.Errorf("data: got %q, want one of %s%s", name, strings.Join(names, ", "), didYouMean(name, "", names))
	}
	return nil
}

func (a *app) listData(set string) error {
	r := &report.Data{Envelope: a.envelope("data"), Sets: dataset.KnownSets()}
	if set != "" {
		r.Sets = slices.DeleteFunc(r.Sets, func(k dataset.KnownSet) bool { return k.Name != set })
	}
	return a.report(r)
}

func (a *app) verifyData(folder, set string) error {
	if folder == "" {
		return errors.New("--verify: got nothing, want a folder with the files of a data set")
	}
	start := time.Now()
	set, files, err := dataset.Verify(folder, set)
	if err != nil {
		return err
	}
	r := &report.DataCheck{Envelope: a.envelope("data"), Set: set, Files: files}
	r.Data = folder
	for _, f := range files {
		switch f.State {
		case dataset.FileOK:
			r.OK++
		case dataset.FileMissing:
			r.Missing++
		case dataset.FileDiffers:
			r.Differs++
		case dataset.FileUnknown:
			r.Unknown++
		}
	}
	r.Seconds = time.Since(start).Seconds()
	var failure error
	if r.Differs+r.Missing > 0 {
		failure = undecided("%s: not %s as published; files that differ: %d, missing: %d", folder, set, r.Differs, r.Missing)
	}
	return errors.Join(a.report(r), failure)
}
