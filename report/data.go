package report

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/show"
)

// Data is the result of data: the sets that epsball knows.
type Data struct {
	Envelope
	Sets []dataset.KnownSet `json:"sets"`
}

// DataCheck is the result of data --verify: a folder beside a set.
type DataCheck struct {
	Envelope
	Set     string              `json:"set"`
	Files   []dataset.FileCheck `json:"files"`
	OK      int                 `json:"ok"`
	Missing int                 `json:"missing"`
	Differs int                 `json:"differs"`
	Unknown int                 `json:"unknown"`
	Seconds float64             `json:"seconds"`
}

func (*Data) kind() Kind      { return KindData }
func (*DataCheck) kind() Kind { return KindDataCheck }

// Text returns what is known of each set; the files of one alone.
func (r *Data) Text() string {
	out := ""
	for i := range r.Sets {
		k := &r.Sets[i]
		if i > 0 {
			out += "\n"
		}
		pairs := []string{
			k.Name, k.Title, "by", k.Authors, "images", k.Images, "from", k.Page, "licence", k.Licence,
		}
		if k.At != "" {
			pairs = append(pairs, "with epsball", k.At)
		}
		out += show.Facts(pairs...)
		if len(r.Sets) == 1 {
			out += knownFiles(k)
		}
	}
	return out
}

func knownFiles(k *dataset.KnownSet) string {
	pairs := []string{"classes", strings.Join(k.ClassNames, ", "), "", ""}
	if a := k.Archive; a != nil {
		pairs = append(pairs, a.Name, "", "  MD5", a.MD5)
	}
	for i := range k.Files {
		f := &k.Files[i]
		pairs = append(pairs, f.Name, fmt.Sprintf("%d bytes unpacked, %s", f.Bytes, f.Part))
		if f.MD5 != "" {
			pairs = append(pairs, "  MD5", f.MD5)
		}
		if f.SHA256 != "" {
			pairs = append(pairs, "  SHA-256", f.SHA256)
		}
		for _, s := range f.Starts {
			pairs = append(pairs, fmt.Sprintf("  SHA-256, first %d images", s.Images), s.SHA256)
		}
	}
	return show.Facts(pairs...)
}

// Text returns the state of each file, and how many there are of each.
func (r *DataCheck) Text() string {
	var pairs []string
	for _, f := range r.Files {
		text := string(f.State)
		if f.Detail != "" {
			text += ": " + f.Detail
		}
		pairs = append(pairs, f.File, text)
	}
	return show.Facts(pairs...) + fmt.Sprintf("%s against %s: %d ok, %d missing, %d differ, %d unknown; %s\n",
		r.Data, r.Set, r.OK, r.Missing, r.Differs, r.Unknown, show.Seconds(r.Seconds))
}
