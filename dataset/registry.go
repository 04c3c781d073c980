package dataset

import (
	"slices"
	"strings"
	"sync"
)

var builtins struct {
	sync.RWMutex
	load map[string]func() (*Set, error)
}

// Register makes load available to Load as "builtin:"+name. It is meant for the
// init function of a package that embeds data, so load should do its work only
// when called. Register panics when name is empty or taken. It and the functions
// that read the registry are safe for concurrent use; load must be too.
func Register(name string, load func() (*Set, error)) {
	builtins.Lock()
	defer builtins.Unlock()
	if name == "" || load == nil {
		panic("dataset: Register without a name or a function")
	}
	if _, taken := builtins.load[name]; taken {
		panic("dataset: Register called twice for " + name)
	}
	if builtins.load == nil {
		builtins.load = map[string]func() (*Set, error){}
	}
	builtins.load[name] = load
}

// Builtins returns the registered names, without "builtin:", sorted.
func Builtins() []string {
	builtins.RLock()
	defer builtins.RUnlock()
	names := make([]string, 0, len(builtins.load))
	for name := range builtins.load {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func loadBuiltin(name string) (*Set, error) {
	builtins.RLock()
	load := builtins.load[name]
	builtins.RUnlock()
	if load != nil {
		return load()
	}
	want := "a built-in set, of which this program has none"
	if known := Builtins(); len(known) > 0 {
		want = "one of builtin:" + strings.Join(known, ", builtin:")
	}
	return nil, &Error{File: "builtin:" + name, Field: "name", Want: want, Got: quote(name)}
}
