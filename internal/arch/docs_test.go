package arch

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A document is a Markdown file of the repository.
type document struct {
	name string // below the module's root, with slashes
	text string
}

// isRecord reports whether d says what was so when it was written, and is not rewritten when that changes.
func (d document) isRecord() bool {
	return d.name == "CHANGELOG.md" || strings.HasPrefix(d.name, "docs/adr/0")
}

// Case: a document or a heading was moved, and a link to it leads nowhere.
func TestLinksBetweenDocumentsResolve(t *testing.T) {
	root := moduleRoot(t)
	link := regexp.MustCompile(`\]\(([^)#"\s]*)(?:#([^)]*))?\)`)
	documents := readDocuments(t)
	anchors := map[string][]string{}
	for _, d := range documents {
		anchors[d.name] = anchorsOf(d.text)
	}
	links := 0
	for _, d := range documents {
		for _, m := range link.FindAllStringSubmatch(d.text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			target := d.name
			if m[1] != "" {
				target = path.Join(path.Dir(d.name), m[1])
			}
			if !exists(filepath.Join(root, filepath.FromSlash(target))) {
				t.Errorf("%s links to %s, which does not exist", d.name, m[1])
			} else if m[2] != "" && !slices.Contains(anchors[target], m[2]) {
				t.Errorf("%s links to #%s of %s, which has no such heading", d.name, m[2], target)
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found: does the pattern still match?", links)
	}
}

// anchorsOf returns the fragments by which the headings of a document are linked to, as GitHub makes them.
func anchorsOf(text string) (anchors []string) {
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		anchors = append(anchors, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return anchors
}

// Case: a test was renamed or removed, and a document still calls it as a witness. Records are held to this too: their
// decisions stay, their pointers follow the code.
func TestTestsThatDocumentsNameExist(t *testing.T) {
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	walkFiles(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") }, func(_ string, text string) {
		for _, m := range function.FindAllStringSubmatch(text, -1) {
			tests[m[1]] = true
		}
	})
	named := regexp.MustCompile(`\b((?:Test|Fuzz|Benchmark)[A-Z]\w*)`)
	found := 0
	for _, d := range readDocuments(t) {
		for _, m := range named.FindAllStringSubmatch(d.text, -1) {
			found++
			if !tests[m[1]] {
				t.Errorf("%s names %s, and there is no such test", d.name, m[1])
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d tests were found in documents: does the pattern still match?", found)
	}
}

// Case: a file was moved, and a document sends its reader to the old place.
func TestFilesThatDocumentsNameExist(t *testing.T) {
	root := moduleRoot(t)
	base := map[string]bool{}
	walkFiles(t, func(name string) bool { return strings.HasSuffix(name, ".go") }, func(name, _ string) {
		base[path.Base(name)] = true
	})
	code := regexp.MustCompile("`([a-zA-Z0-9_./-]+)`")
	found := 0
	for _, d := range readDocuments(t) {
		for _, m := range code.FindAllStringSubmatch(d.text, -1) {
			name := strings.TrimSuffix(m[1], "/...")
			switch {
			case hasFirstElement(name, "internal", "docs", "tools", "cmd", "examples", "conformance"):
				found++
				if !exists(filepath.Join(root, filepath.FromSlash(name))) && !exists(filepath.Join(root, filepath.FromSlash(path.Dir(d.name)), filepath.FromSlash(name))) {
					t.Errorf("%s names %s, which does not exist", d.name, name)
				}
			case strings.HasSuffix(name, ".go") && !strings.Contains(name, "/"):
				found++
				if !base[name] {
					t.Errorf("%s names the file %s, which does not exist", d.name, name)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d names of files were found: does the pattern still match?", found)
	}
}

func hasFirstElement(name string, elements ...string) bool {
	first, _, ok := strings.Cut(name, "/")
	return ok && slices.Contains(elements, first)
}

// readDocuments returns every Markdown file of the repository.
func readDocuments(t *testing.T) (documents []document) {
	t.Helper()
	walkFiles(t, func(name string) bool { return strings.HasSuffix(name, ".md") }, func(name, text string) {
		documents = append(documents, document{name: name, text: text})
	})
	if len(documents) < 20 {
		t.Fatalf("only %d documents were found", len(documents))
	}
	return documents
}

// walkFiles calls do with the name, below the module's root, and the text of each file that want accepts. Modules within
// the module are part of it; directories that other programs make are not.
func walkFiles(t *testing.T, want func(name string) bool, do func(name, text string)) {
	t.Helper()
	root := moduleRoot(t)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); d.IsDir() {
			if d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "target" {
				return filepath.SkipDir
			}
			return nil
		}
		if !want(name) {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		do(name, string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
