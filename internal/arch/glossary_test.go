package arch

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

const glossary = "docs/glossary.md"

var glossaryRow = regexp.MustCompile(`(?m)^\| (\*\*.+?\*\*) \| (.+) \|$`)

// Case: a word was added at the end of a table, a second time, or without a meaning.
func TestGlossaryIsSorted(t *testing.T) {
	seen := map[string]bool{}
	for _, section := range strings.Split(readDocument(t, glossary), "\n## ")[1:] {
		heading, _, _ := strings.Cut(section, "\n")
		var words []string
		for _, m := range glossaryRow.FindAllStringSubmatch(section, -1) {
			words = append(words, strings.ToLower(m[1]))
			if seen[words[len(words)-1]] {
				t.Errorf("%s has %s twice", glossary, m[1])
			}
			seen[words[len(words)-1]] = true
		}
		if len(words) == 0 {
			t.Errorf("%s: “%s” has no words", glossary, heading)
		}
		if !slices.IsSorted(words) {
			sorted := slices.Sorted(slices.Values(words))
			for i, w := range words {
				if w != sorted[i] {
					t.Errorf("%s: “%s” is not sorted: %s stands where %s belongs", glossary, heading, w, sorted[i])
					break
				}
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d words were found: does the pattern still match?", len(seen))
	}
}

// Case: a word went out of use and stays in the glossary.
func TestWordsOfTheGlossaryAreUsed(t *testing.T) {
	var tree strings.Builder
	walkFiles(t, func(name string) bool {
		return strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".md") && name != glossary
	}, func(_, text string) {
		tree.WriteString(text)
	})
	// A comment's line end is a blank.
	text := strings.ToLower(regexp.MustCompile(`\s*\n\s*(?://)?\s*`).ReplaceAllString(tree.String(), " "))
	for _, row := range glossaryRow.FindAllStringSubmatch(readDocument(t, glossary), -1) {
		for _, m := range regexp.MustCompile(`\*\*(.+?)\*\*`).FindAllStringSubmatch(row[1], -1) {
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(strings.ToLower(m[1])) + `(?:e?s)?\b`).MatchString(text) {
				t.Errorf("%s explains %q, which nothing uses", glossary, m[1])
			}
		}
	}
}
