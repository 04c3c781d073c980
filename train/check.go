package train

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/model"
)

// checkData refuses data that does not fit the model, or is too little.
func checkData(m *model.Model, d *dataset.Set, c *Config) error {
	if d == nil || d.Len() == 0 {
		return fieldErr("data", "no images", "at least one")
	}
	in := m.Arch.Input
	if d.C != in.C || d.H != in.H || d.W != in.W {
		return fieldErr("data", fmt.Sprintf("images of %dx%dx%d", d.C, d.H, d.W), "%v, the model's input", in)
	}
	if err := d.Validate(); err != nil {
		return err
	}
	if d.Len() > math.MaxInt32 {
		return fieldErr("data", fmt.Sprintf("%d images", d.Len()), "at most %d", math.MaxInt32)
	}
	if err := c.checkValidation(d.Len()); err != nil {
		return err
	}
	if c.Shift >= min(in.H, in.W) && c.Shift > 0 {
		return fieldErr("shift", c.Shift, "less than the sides of images of %dx%d", in.H, in.W)
	}
	classes := m.Arch.Classes()
	for i, y := range d.Y {
		if y < 0 || y >= classes {
			return fieldErr(fmt.Sprintf("data.label[%d]", i), y, "0 … %d, a class of the model", classes-1)
		}
	}
	return nil
}

// checkModel refuses models that the method cannot train.
func checkModel(m *model.Model, c *Config) error {
	if n := m.Arch.Classes(); n < 2 {
		return fieldErr("model", fmt.Sprintf("%d output", n), "at least 2 classes")
	}
	if o := objectiveOf(c.Method); o.accepts != nil {
		if err := o.accepts(m); err != nil {
			return err
		}
	}
	if err := c.checkNorm(objectiveOf(c.Method), m.Arch.Input.Size()); err != nil {
		return err
	}
	return checkBatchNorms(m, c)
}
