// Package examples has the test of the program in the README; the examples are the packages below it.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Case: the API has changed, and the first program that anybody tries does not compile or prints something else.
func TestFirstProgramOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindSubmatch(readme)
	if program == nil {
		t.Fatal("README.md has no program")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, program[1], 0o644); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "go", "run", file)
	run.Dir = ".."
	out, err := run.CombinedOutput()
	if want := "order/536365: thank you for £139.12\n"; err != nil || string(out) != want {
		t.Errorf("the program printed %q and ended with %v, want %q and nil", out, err, want)
	}
}
