package main

import (
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/zoo"
)

var builtinModels = input.Library{Names: zoo.Names, Overview: zoo.Overview, Read: zoo.Load}
