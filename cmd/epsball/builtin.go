package main

import "github.com/epsball/epsball/zoo"

var builtinModels = library{zoo.Names, zoo.Load}
