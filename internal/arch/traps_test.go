package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const trapsFile = "docs/kafka-traps.md"

var (
	trapHeading  = regexp.MustCompile(`(?m)^## (\d+)\. `)
	trapCitation = regexp.MustCompile(`(?i)\btraps?\s+(?://\s*)?(\d+)\b`) // also where a comment's line ends between the two
	trapOpen     = regexp.MustCompile(`(?m)^\*\*Open:\*\*`)
)

// Case: a comment cites a trap that docs/kafka-traps.md does not have, or the document has one that no code cites and that is
// not marked as open.
func TestTrapsAreThereAndCited(t *testing.T) {
	root := moduleRoot(t)
	text, err := os.ReadFile(filepath.Join(root, trapsFile))
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{} // by number
	headings := trapHeading.FindAllSubmatchIndex(text, -1)
	for i, h := range headings {
		number, end := string(text[h[2]:h[3]]), len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		if _, twice := open[number]; twice {
			t.Errorf("%s has trap %s twice", trapsFile, number)
		}
		open[number] = trapOpen.Match(text[h[0]:end])
	}

	cited := map[string]string{} // by number: a Go file
	for file, text := range textFiles(t, root) {
		for _, m := range trapCitation.FindAllStringSubmatch(text, -1) {
			if _, ok := open[m[1]]; !ok {
				t.Errorf("%s cites trap %s, which %s does not have", file, m[1], trapsFile)
			}
			if strings.HasSuffix(file, ".go") {
				cited[m[1]] = file
			}
		}
	}
	for number, isOpen := range open {
		switch file := cited[number]; {
		case file == "" && !isOpen:
			t.Errorf("no code cites trap %s of %s: cite it, or say under **Open:** why nothing meets it", number, trapsFile)
		case file != "" && isOpen:
			t.Errorf("%s cites trap %s, which %s calls open", file, number, trapsFile)
		}
	}
}

// textFiles returns the Go files and the documents of the repository, nested modules too, by their paths below root.
func textFiles(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".md") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); rel == trapsFile || rel == "internal/arch/traps_test.go" {
			return nil
		}
		text, err := os.ReadFile(file)
		files[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
