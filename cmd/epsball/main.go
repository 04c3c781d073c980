// Command epsball attacks, bounds and certifies image classifiers on the CPU.
//
// Results go to stdout, as a table or, with --json, as one JSON document;
// progress and errors go to stderr. Exit status 0: done; 1: the thing checked
// does not hold or was not decided; 2: bad usage or bad input.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C ends the program at once
	os.Exit(newApp(os.Stdout, os.Stderr).run(ctx, os.Args[1:]))
}
