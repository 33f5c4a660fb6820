// Package sabotage checks tests by mutation: it changes single lines of the program to wrong ones and requires that a
// given test fails. A test that passes all the same does not check what it claims to check. The lists of mutants are
// beside the tests that must fail, in files with the build tag sabotage. docs/faults.md lists all mutants.
package sabotage

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mutant describes wrong lines in a source file, and the test that must fail because of them. Paths are relative to the
// root of the module.
type Mutant struct {
	Name  string
	In    string   // package of the test
	By    string   // name of the test
	Args  []string // additional arguments of go test
	File  string
	Edits []string // pairs of old and new text; each old text must be in File exactly once
}

// Caught runs the test of each mutant and fails t for each test that passes or does not run. It changes no source
// files: go test -overlay uses the mutant in the place of the file. It compiles each test again and blocks until all
// tests have run, which takes at most two minutes for each.
func Caught(t *testing.T, mutants []Mutant) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.Name, func(t *testing.T) {
			overlay, err := m.write(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			run := exec.Command("go", append([]string{"test", "-overlay", overlay, "-count=1", "-timeout=120s",
				"-run=^" + m.By + "$", "./" + m.In}, m.Args...)...)
			run.Dir = root
			out, err := run.CombinedOutput()
			switch output := string(out); {
			case err == nil:
				t.Errorf("survived:\n%s", output)
			case !strings.Contains(output, "--- FAIL: "+m.By) && !strings.Contains(output, "panic: "):
				t.Fatalf("it did not run:\n%s", output)
			default:
				t.Logf("caught: %.300s", output)
			}
		})
	}
}

// write writes the changed file to dir, with an overlay file for the go command, whose name it returns. It returns an
// error if a text that should be replaced is not in the file exactly once, or if it cannot write.
func (m *Mutant) write(root, dir string) (overlay string, err error) {
	path := filepath.Join(root, m.File)
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := string(source)
	for i := 0; i < len(m.Edits); i += 2 {
		if n := strings.Count(text, m.Edits[i]); n != 1 {
			return "", fmt.Errorf("%s has %q %d times: the mutant must be rewritten", m.File, m.Edits[i], n)
		}
		text = strings.Replace(text, m.Edits[i], m.Edits[i+1], 1)
	}
	mutated, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(mutated, []byte(text), 0o600); err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, replace, 0o600)
}

// moduleRoot returns the directory of the go.mod file above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the test")
		}
		dir = parent
	}
}
