package report

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/internal/show"
)

// Properties is the result of export --property: a folder of property files.
type Properties struct {
	Envelope
	Model         string   `json:"model"`
	Out           string   `json:"out"`
	Network       string   `json:"network"` // the ONNX file in the folder
	Copied        bool     `json:"copied"`  // it is the file that was given, not one made of the model
	Version       string   `json:"version"` // of VNN-LIB
	Norm          string   `json:"norm"`
	Eps           []string `json:"eps"` // each exactly
	Offset        int      `json:"offset"`
	N             int      `json:"n"`             // images looked at
	Misclassified int      `json:"misclassified"` // of them; these have no property
	Written       int      `json:"written"`       // properties, one for each other image and radius
	Timeout       int      `json:"timeout"`       // of an instance, in seconds
}

func (*Properties) kind() Kind { return KindProperties }

// Text lists what was written.
func (r *Properties) Text() string {
	network := r.Network
	if r.Copied {
		network += ", a copy"
	}
	return show.Facts(
		"written", r.Out, "network", network, "properties", fmt.Sprintf("%d, VNN-LIB %s", r.Written, r.Version),
		"ball", fmt.Sprintf("%s ε=%s", r.Norm, strings.Join(r.Eps, ", ")),
		"images", fmt.Sprintf("%d, without %d misclassified", r.N, r.Misclassified), "timeout", fmt.Sprintf("%d s", r.Timeout),
	)
}
