package input

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/epsball/epsball/model"
)

// refit says how images of one shape come to fit a model of another.
func refit(got, want model.Shape) string {
	switch {
	case got.H == want.H && got.W == want.W && want.C == 1:
		return "convert them to gray"
	case got.H == want.H && got.W == want.W && want.C == 3:
		return "convert them to RGB"
	case got.C == want.H && got.H == want.W && got.W == want.C:
		return "store the channels first"
	}
	return fmt.Sprintf("resize them to %d×%d, or use a model for their size", want.H, want.W)
}

// labelling says how images that lack labels get them.
func labelling(spec string) string {
	path, _, _ := strings.Cut(strings.ToLower(spec), "#")
	switch filepath.Ext(path) {
	case ".npz":
		return "give the labels as array y of the .npz"
	case ".npy":
		return "give the labels in a file labels.npy beside it, or both as x and y of an .npz"
	}
	return "give labels in a labels.csv beside the images, lines NAME,LABEL, or by folders named 0, 1, 2, …"
}
