package arch

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A decision is a record of docs/adr, as its head says or as the index does.
type decision struct {
	title, date, status string
}

var statusPattern = regexp.MustCompile(`^(proposed|accepted|(?:replaced|replaced in part) by (?:\[\d+\]\([^)]+\)(?:, | and )?)+)$`)

// Case: a decision has no date, is not in the index, or the index gives it another title or status than it has.
func TestDecisionsAreInTheIndex(t *testing.T) {
	row := regexp.MustCompile(`(?m)^\| (\d+) \| \[(.+)\]\(([^)]+)\) \| (\S+) \| (.+) \|$`)
	index := map[string]decision{}
	last := 0
	for _, m := range row.FindAllStringSubmatch(readDocument(t, "docs/adr/README.md"), -1) {
		number, _ := strconv.Atoi(m[1])
		if number <= last { // it may be higher than last+1: a branch that has not landed yet may have the numbers between
			t.Errorf("docs/adr/README.md: the row after that of %d has the number %d", last, number)
		}
		last = number
		index[m[3]] = decision{title: m[1] + ". " + m[2], date: m[4], status: m[5]}
	}

	head := regexp.MustCompile(`^# (\d+)\. (.+)\n\nDate: (\d{4}-\d\d-\d\d)(?:, [^.]+)?\. Status: ([^\n]+)\.\n`)
	records := 0
	for _, d := range readDocuments(t) {
		file, ok := strings.CutPrefix(d.name, "docs/adr/")
		if !ok || file == "README.md" {
			continue
		}
		records++
		m := head.FindStringSubmatch(d.text)
		if m == nil {
			t.Errorf("%s does not begin with `# N. Title`, an empty line, and `Date: YYYY-MM-DD. Status: ….`", d.name)
			continue
		}
		if number, _ := strconv.Atoi(m[1]); !strings.HasPrefix(file, fmt.Sprintf("%04d-", number)) {
			t.Errorf("%s has the number %s", d.name, m[1])
		}
		if !statusPattern.MatchString(m[4]) {
			t.Errorf("%s: status %q: want proposed, accepted, or replaced (in part) by [N](file)", d.name, m[4])
		}
		if have := (decision{title: m[1] + ". " + m[2], date: m[3], status: m[4]}); index[file] != have {
			t.Errorf("docs/adr/README.md has %q for %s, which says %q", index[file], file, have)
		}
		delete(index, file)
	}
	for file := range index {
		t.Errorf("docs/adr/README.md names %s, and there is no such record", file)
	}
	if records < 20 {
		t.Errorf("only %d records were found", records)
	}
}

// Case: a later decision replaces an earlier one, and the text of one of the two does not say so.
func TestDecisionsNameWhatTheyReplace(t *testing.T) {
	number := regexp.MustCompile(`\[(\d+)\]\(([^)]+)\)`)
	texts := map[string]string{}
	for _, d := range readDocuments(t) {
		if path.Dir(d.name) == "docs/adr" {
			texts[path.Base(d.name)] = d.text
		}
	}
	replaced := 0
	for file, text := range texts {
		_, status, _ := strings.Cut(text, "Status: ")
		status, _, _ = strings.Cut(status, "\n")
		if !strings.HasPrefix(status, "replaced") {
			continue
		}
		old, _ := strconv.Atoi(file[:4])
		for _, m := range number.FindAllStringSubmatch(status, -1) {
			replaced++
			if !strings.HasPrefix(m[2], "0") || !strings.Contains(texts[m[2]], fmt.Sprintf("ADR %d", old)) {
				t.Errorf("docs/adr/%s is replaced by %s, whose text does not name ADR %d", file, m[2], old)
			}
			if !strings.Contains(text, fmt.Sprintf("ADR %s has replaced ", m[1])) {
				t.Errorf("docs/adr/%s does not say which part “ADR %s has replaced”", file, m[1])
			}
		}
	}
	if replaced < 4 {
		t.Errorf("only %d records are replaced: does the pattern still match?", replaced)
	}
}
