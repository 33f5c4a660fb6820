// Package sabotage runs tests on a program of which some honest lines were made dishonest, and asks that they fail. A
// test that passes all the same does not test what it says. The lists of mutants stand beside the tests that catch them,
// under the build tag sabotage; docs/faults.md names them all.
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

// Mutant is a source file with dishonest lines, and the test that must fail of it. Paths begin at the module's root.
type Mutant struct {
	Name  string
	In    string   // the package of the test
	By    string   // the test
	Args  []string // of the test; none is no more than its name
	File  string
	Edits []string // old, new, old, new…; each old stands in the file once
}

// Caught runs each mutant's test, in a copy of the program, and fails t for those that pass. It compiles the test once
// for each and blocks until all have run; one takes two minutes at most.
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
			switch said := string(out); {
			case err == nil:
				t.Errorf("survived:\n%s", said)
			case !strings.Contains(said, "--- FAIL: "+m.By) && !strings.Contains(said, "panic: "):
				t.Fatalf("it did not run:\n%s", said)
			default:
				t.Logf("caught: %.300s", said)
			}
		})
	}
}

// write puts the mutated file into dir, beside the overlay that has the go command take it for the real one, and gives
// the overlay's name.
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
