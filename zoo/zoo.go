// Package zoo embeds the trained models that come with epsball. Importing the
// core never pulls them in.
package zoo

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/epsball/epsball/model"
)

//go:embed *.safetensors
var files embed.FS

const suffix = ".safetensors"

// Names lists the models in the order of a table: as they appeared in the
// field, standard, adversarial and certified training.
func Names() []string {
	return []string{"mnist-small-standard", "mnist-small-pgd-0.1", "mnist-small-ibp-0.1"}
}

// Load returns a model by name. Its Card tells how it was trained and what it
// reaches. The model is the caller's own.
func Load(name string) (*model.Model, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("model %q: no such built-in model, want one of %s", name, strings.Join(Names(), ", "))
	}
	return model.LoadFS(files, path.Clean(name+suffix))
}
