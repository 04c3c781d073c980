package dataset

import "fmt"

// labels reads the labels of images lo to hi−1 of n: whole numbers below most, −1
// standing for Unknown, as N or N×1; or N×K, each row of zeros and a one. It
// returns K, or 0 for numbers.
func (a *npyArray) labels(lo, hi, n, most int) (y []int, k int, err error) {
	want := fmt.Sprintf("%d, one label for each image, or %d×K, one-hot", n, n)
	k = 1
	switch d := a.shape; {
	case len(d) == 2 && d[0] == int64(n) && d[1] >= 1 && d[1] <= int64(most):
		k = int(d[1])
	case len(d) == 2 && d[1] > int64(most):
		want = fmt.Sprintf("at most %d columns", most)
		fallthrough
	case len(d) != 1 || d[0] != int64(n):
		return nil, 0, &Error{File: a.file, Field: "shape", Want: want, Got: times(d)}
	}
	if k > 1 {
		y, err = a.oneHot(lo, hi, n, k)
	} else {
		k = 0
		y, err = a.numbers(lo, hi, n, most)
	}
	if err != nil {
		return nil, 0, err
	}
	return y, k, a.end()
}

func (a *npyArray) numbers(lo, hi, n, most int) (y []int, err error) {
	if !a.dtype.integers() {
		return nil, &Error{File: a.file, Field: "dtype", Want: "whole numbers: save y.astype('int64')", Got: quote(a.dtype.text)}
	}
	i := 0
	err = a.each(int64(n), func(v []float64) error {
		for _, e := range v {
			if i >= lo && i < hi {
				if e < Unknown || e >= float64(most) {
					return badLabel(a.file, i, e, most)
				}
				y = append(room(y, 1, hi-lo), int(e))
			}
			i++
		}
		return nil
	})
	return y, err
}

func (a *npyArray) oneHot(lo, hi, n, k int) (y []int, err error) {
	const none = Unknown - 1
	set := func(i, class int, e float64) error {
		for len(y) <= i-lo {
			y = append(room(y, 1, hi-lo), none)
		}
		switch {
		case e == 0:
			return nil
		case e == 1 && y[i-lo] == none:
			y[i-lo] = class
			return nil
		}
		return &Error{
			File: a.file, Field: fmt.Sprintf("label of image %d", i), Want: "one-hot: a single 1 in a row of zeros",
			Got: fmt.Sprintf("%v in column %d", e, class),
		}
	}
	at := int64(0)
	err = a.each(int64(n)*int64(k), func(v []float64) error {
		for _, e := range v {
			i, class := int(at/int64(k)), int(at%int64(k))
			if a.fortran {
				i, class = int(at%int64(n)), int(at/int64(n))
			}
			at++
			if i < lo || i >= hi {
				continue
			}
			if err := set(i, class, e); err != nil {
				return err
			}
		}
		return nil
	})
	for i, c := range y {
		if err == nil && c == none {
			err = &Error{File: a.file, Field: fmt.Sprintf("label of image %d", lo+i), Want: "one-hot: a single 1 in a row of zeros", Got: "zeros"}
		}
	}
	return y, err
}
