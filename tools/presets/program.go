package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// program returns the absolute path of the program to measure: the value of --tidings, or a program that it builds.
// The caller must call remove when it no longer needs the program. remove is never nil.
func (o *options) program(ctx context.Context) (path string, remove func(), err error) {
	remove = func() {}
	if o.tidings != "" {
		path, err = filepath.Abs(o.tidings)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			err = usagef("--tidings: %v", err)
		}
		return path, remove, err
	}
	dir, err := os.MkdirTemp("", "tidings-presets-")
	if err != nil {
		return "", remove, err
	}
	remove = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, "tidings")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "tidings.dev/cmd/tidings")
	build.Stderr = o.stderr
	if err := build.Run(); err != nil {
		return "", remove, fmt.Errorf("go build tidings.dev/cmd/tidings: %w: run it in a directory of the module, or name a program with --tidings", err)
	}
	return path, remove, nil
}
