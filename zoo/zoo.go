// Package zoo embeds small trained models that come with epsball; larger ones are files in
// zoo/more of a clone. Importing the core never pulls them in.
package zoo

import (
	_ "embed"
	"fmt"
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
	//go:embed mnist-small-mtl-ibp-0.1.safetensors
	mtlIBP []byte
	//go:embed mnist-small-trades-0.1.safetensors
	trades []byte
	//go:embed mnist-small-pgd-0.3.safetensors
	pgd03 []byte
	//go:embed mnist-small-trades-0.3.safetensors
	trades03 []byte
	//go:embed mnist-small-ibp-0.3.safetensors
	ibp03 []byte
	//go:embed fashion-small-standard.safetensors
	fashionStandard []byte
	//go:embed fashion-small-pgd-0.1.safetensors
	fashionPGD []byte
	//go:embed fashion-small-mtl-ibp-0.1.safetensors
	fashionMTLIBP []byte
)

// Overview lists three models that show what training methods gain, in the order in which
// they appeared in the field: standard, adversarial and certified training.
func Overview() []string {
	return []string{"mnist-small-standard", "mnist-small-pgd-0.1", "mnist-small-ibp-0.1"}
}

// Names lists all embedded models, those of Overview first.
func Names() []string {
	return append(Overview(),
		"mnist-small-trades-0.1", "mnist-small-mtl-ibp-0.1",
		"mnist-small-pgd-0.3", "mnist-small-trades-0.3", "mnist-small-ibp-0.3",
		"fashion-small-standard", "fashion-small-pgd-0.1", "fashion-small-mtl-ibp-0.1")
}

// Load returns a model by name. Its Card tells how it was trained and what it
// reaches. The model is the caller's own. A program that calls Load carries all
// models; one that wants a single one calls its function.
func Load(name string) (*model.Model, error) {
	var file []byte
	switch name {
	case "mnist-small-standard":
		file = standard
	case "mnist-small-pgd-0.1":
		file = pgd
	case "mnist-small-ibp-0.1":
		file = ibp
	case "mnist-small-mtl-ibp-0.1":
		file = mtlIBP
	case "mnist-small-trades-0.1":
		file = trades
	case "mnist-small-pgd-0.3":
		file = pgd03
	case "mnist-small-trades-0.3":
		file = trades03
	case "mnist-small-ibp-0.3":
		file = ibp03
	case "fashion-small-standard":
		file = fashionStandard
	case "fashion-small-pgd-0.1":
		file = fashionPGD
	case "fashion-small-mtl-ibp-0.1":
		file = fashionMTLIBP
	default:
		return nil, fmt.Errorf("model %q: no such built-in model, want one of %s", name, strings.Join(Names(), ", "))
	}
	return model.Decode(file, name+".safetensors")
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

// MNISTSmallMTLIBP returns the model file of mnist-small-mtl-ibp-0.1, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallMTLIBP() []byte { return mtlIBP }

// MNISTSmallPGD03 returns the model file of mnist-small-pgd-0.3, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallPGD03() []byte { return pgd03 }

// MNISTSmallTRADES returns the model file of mnist-small-trades-0.1, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallTRADES() []byte { return trades }

// MNISTSmallTRADES03 returns the model file of mnist-small-trades-0.3, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallTRADES03() []byte { return trades03 }

// MNISTSmallIBP03 returns the model file of mnist-small-ibp-0.3, for
// epsball.LoadBytes. It is not to be changed.
func MNISTSmallIBP03() []byte { return ibp03 }

// FashionSmallStandard returns the model file of fashion-small-standard, for
// epsball.LoadBytes. It is not to be changed.
func FashionSmallStandard() []byte { return fashionStandard }

// FashionSmallPGD returns the model file of fashion-small-pgd-0.1, for
// epsball.LoadBytes. It is not to be changed.
func FashionSmallPGD() []byte { return fashionPGD }

// FashionSmallMTLIBP returns the model file of fashion-small-mtl-ibp-0.1, for
// epsball.LoadBytes. It is not to be changed.
func FashionSmallMTLIBP() []byte { return fashionMTLIBP }
