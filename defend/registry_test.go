package defend

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Chain{
		"jpeg":                              {JPEG{}},
		" jpeg:quality=20 + bits:depth=4 ":  {JPEG{Quality: 20}, Bits{Depth: 4}},
		"noise:sigma=8/255":                 {Noise{Sigma: 8.0 / 255}},
		"tv:weight=0.2,steps=9":             {TV{Weight: 0.2, Steps: 9}},
		"resize-pad:least=0.5+median+noise": {ResizePad{Least: 0.5}, Median{}, Noise{}},
		"gaussian:sigma=1.5":                {Gaussian{Sigma: 1.5}},
	} {
		c, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, c)
		again, err := Parse(c.String())
		require.NoError(t, err)
		require.Equal(t, c.String(), again.String())
	}
	require.Equal(t, "bits:depth=3+median:size=3+gaussian:sigma=1+jpeg:quality=75+tv:weight=0.1,steps=20+resize-pad:least=0.8+noise:sigma=0.1",
		Chain{Bits{}, Median{}, Gaussian{}, JPEG{}, TV{}, ResizePad{}, Noise{}}.String())
	for _, k := range Builtin() {
		require.Equal(t, k.Name, k.New().Defence().Name())
		require.NotEmpty(t, k.About)
		for _, f := range k.New().Fields() {
			require.Contains(t, f.About, "(default")
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                     `defence "": want a name, or a name and options such as jpeg:quality=75`,
		"jpeg+":                `defence "": want a name`,
		"jpg":                  `defence "jpg": want one of bits, median, gaussian, jpeg, tv, resize-pad, noise`,
		"jpeg:quality=0":       "defence jpeg: quality: got 0, want 1 … 100",
		"jpeg:quality=101":     "defence jpeg: quality: got 101, want 1 … 100",
		"jpeg:quality=":        `option "quality=", want one such as quality=75`,
		"bits:quality=75":      "defence bits: quality: unknown option, want one of depth",
		"bits:depth=3+bits:x":  "defence bits: x: unknown option",
		"noise:sigma=0":        "defence noise: sigma: got 0, want a decimal such as 0.02",
		"resize-pad:least=2":   "defence resize-pad: least: got 2, want a number above 0, at most 1",
		"median:size=3,size=3": "option size is given twice",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

// FuzzParse: whatever is read is written so that it is read again as the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"jpeg:quality=3+bits", "tv:weight=1/3,steps=4", "noise:sigma=1e-3+resize-pad", "median:size=2+", "noise:sigma=1e7+jpeg"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(c.String())
		require.NoError(t, err)
		require.Equal(t, c.String(), again.String())
	})
}
