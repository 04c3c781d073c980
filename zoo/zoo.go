// Package zoo embeds the trained models that come with epsball. Importing the
// core never pulls them in.
package zoo

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/model"
)

// One variable a model: the linker leaves out those that a program does not name.
var (
	//go:embed mnist-small-standard.safetensors
	standard []byte
	//go:embed mnist-small-pgd-0.1.safetensors
	pgd []byte
	//go:embed mnist-small-ibp-0.1.safetensors
	ibp []byte
)

// Names lists the models in the order of a table: as they appeared in the
// field, standard, adversarial and certified training.
func Names() []string {
	return []string{"mnist-small-standard", "mnist-small-pgd-0.1", "mnist-small-ibp-0.1"}
}

// Load returns a model by name. Its Card tells how it was trained and what it
// reaches. The model is the caller's own. A program that calls Load carries all
// models; one that wants a single one calls its function.
func Load(name string) (*model.Model, error) {
	i := slices.Index(Names(), name)
	if i < 0 {
		return nil, fmt.Errorf("model %q: no such built-in model, want one of %s", name, strings.Join(Names(), ", "))
	}
	return model.Decode([][]byte{standard, pgd, ibp}[i], name+".safetensors")
}

// MNISTSmallStandard returns the model file of mnist-small-standard, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallStandard() []byte { return standard }

// MNISTSmallPGD returns the model file of mnist-small-pgd-0.1, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallPGD() []byte { return pgd }

// MNISTSmallIBP returns the model file of mnist-small-ibp-0.1, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallIBP() []byte { return ibp }
