package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/report"
)

// capability is one that the standard VNN-LIB 2.0 names.
type capability struct{ flag, usage string }

var capabilities = []capability{
	{"onnx-opset-versions", "first and last version of ONNX's operators"},
	{"onnx-element-types", "types of elements for which verdicts are sound"},
	{"onnx-operators", "operators, each under the conditions of docs/onnx.md"},
	{"vnnlib-versions", "first and last version of VNN-LIB"},
	{"hidden-node-theories", "theories of hidden nodes"},
	{"multiple-input-output-theories", "theories of several inputs and outputs"},
	{"multiple-network-theories", "theories of several networks"},
	{"multiple-node-comparison-theories", "theories of comparisons of several nodes"},
	{"arithmetic-complexity-theories", "theories of arithmetic"},
	{"optimised-disjunctive-reasoning", "whether disjunctions are more than brought into normal form"},
	{"serialise-assignments", "whether verify has --serialise-assignments"},
}

// values returns what verify has of a capability.
func (c capability) values() []string {
	s := vnnlib.Supported()
	switch c.flag {
	case "onnx-opset-versions":
		first, last := onnx.Opsets()
		return []string{strconv.Itoa(first), strconv.Itoa(last)}
	case "onnx-element-types":
		return query.Types()
	case "onnx-operators":
		list := onnx.Operators()
		for i, op := range list {
			if strings.HasSuffix(op, "Softmax") { // float32 says too little of its outputs
				list[i] += " real"
			}
		}
		return list
	case "vnnlib-versions":
		return []string{s.First.String(), s.Last.String()}
	case "hidden-node-theories":
		return s.HiddenNodes
	case "multiple-input-output-theories":
		return s.InputsOutputs
	case "multiple-network-theories":
		return s.Networks
	case "multiple-node-comparison-theories":
		return s.Comparisons
	case "arithmetic-complexity-theories":
		return s.Arithmetic
	}
	return []string{"false"} // see docs/vnnlib.md
}

func (a *app) supportsCommand() *cobra.Command {
	asked := make([]bool, len(capabilities))
	c := &cobra.Command{
		Use:   "supports [--CAPABILITY]",
		Short: "What queries and networks verify takes, as VNN-LIB 2.0 asks for it",
		Long: `Says what verify takes, in the words of the standard VNN-LIB 2.0 and in its form: a line
for each value. Without a capability, lists all of them. docs/vnnlib.md explains the
answers, and what is read beyond them.`,
		Example: `  epsball supports
  epsball supports --onnx-operators`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			r := &report.Supports{Envelope: a.envelope("supports")}
			all := !slices.Contains(asked, true)
			for i, c := range capabilities {
				if all || asked[i] {
					r.Capabilities = append(r.Capabilities, report.Capability{Name: c.flag, Values: c.values()})
				}
			}
			if !all && len(r.Capabilities) > 1 {
				return errors.New("supports: got several capabilities, want one, or none for all")
			}
			return a.report(r)
		},
	}
	for i, k := range capabilities {
		c.Flags().BoolVar(&asked[i], k.flag, false, k.usage)
		if k.flag == "multiple-input-output-theories" { // an example of the standard has another word
			const alias = "multiple-inputs-output-theories"
			c.Flags().BoolVar(&asked[i], alias, false, k.usage)
			_ = c.Flags().MarkHidden(alias)
		}
	}
	return c
}
