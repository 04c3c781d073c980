// A module of its own, so that the main module's zip leaves these files out.
module github.com/epsball/epsball/zoo/more

go 1.26
