package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/clitest"
)

// readAllLines returns the lines of an input up to the first that is wrong.
func readAllLines(t *testing.T, in io.Reader, subject string) []inputLine {
	return readLinesFrom(t, in, 1, subject)
}

// readLinesFrom returns the lines of an input from a line on, up to the first that is wrong.
func readLinesFrom(t *testing.T, in io.Reader, from int, subject string) (lines []inputLine) {
	for b := range readBlocks(t.Context(), in, from, parseSubject(subject)) {
		<-b.checked
		lines = append(lines, b.lines...)
		if n := len(lines); n > 0 && lines[n-1].err != nil {
			break
		}
	}
	return lines
}

// Case: lines of any length, shorter and longer than a block, with blank ones between, from readers that give much or little at a
// time. Each comes once, in its order, with its number.
func TestInputIsCutIntoItsLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var in strings.Builder
	want := map[int]string{}
	var numbers []int
	for number := 1; number <= 400; number++ {
		if number%7 != 0 {
			line := fmt.Sprintf(`{"n":%d,"text":"%s"}`, number, strings.Repeat("é", rng.IntN(100)*rng.IntN(100)/(1+number%5)))
			if number%100 == 50 {
				line = fmt.Sprintf("[%d%s]", number, strings.Repeat(", 1", blockBytes))
			}
			want[number] = line
			numbers = append(numbers, number)
			in.WriteString(" " + line + "\t")
		}
		if number < 400 {
			in.WriteString("\r\n")
		}
	}
	for name, r := range map[string]io.Reader{
		"whole":        strings.NewReader(in.String()),
		"halves":       iotest.HalfReader(strings.NewReader(in.String())),
		"EOF at once":  iotest.DataErrReader(strings.NewReader(in.String())),
		"byte by byte": iotest.OneByteReader(strings.NewReader(in.String())),
	} {
		lines := readAllLines(t, r, "s")
		if len(lines) != len(numbers) {
			t.Fatalf("%s: %d lines, want %d", name, len(lines), len(numbers))
		}
		for i, l := range lines {
			if l.number != numbers[i] || string(l.data) != want[l.number] || l.subject != "s" || l.err != nil {
				t.Fatalf("%s: line %d is number %d, want %d: %.40q %v", name, i, l.number, numbers[i], l.data, l.err)
			}
		}
	}
}

// Case: an input that ends badly. The last line says why, with its number; those before it are whole.
func TestInputThatEndsBadly(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		in    io.Reader
		last  int    // number of the last line
		fault string // of that
		whole int    // lines before it
	}{
		"no JSON":      {strings.NewReader("1\n\n[2,\n4\n"), 3, "column 4: unexpected end of JSON input", 1},
		"no field":     {strings.NewReader("{\"a\":1}\n{}\n"), 2, `field "a"`, 1},
		"cannot read":  {io.MultiReader(strings.NewReader("{\"a\":1}\n\n{\"a\":"), iotest.ErrReader(broken)), 3, "broken", 1},
		"too long":     {strings.NewReader("{\"a\":1}\n" + strings.Repeat(" ", maxLineBytes+1)), 2, "longer than 16 MiB", 1},
		"UTF-16":       {strings.NewReader("\xff\xfe1\x00\n\x00"), 1, "UTF-16", 0},
		"mark inside":  {strings.NewReader("\xef\xbb\xbf{\"a\":1}\n\xef\xbb\xbf1"), 2, "column 1", 1},
		"not UTF-8":    {strings.NewReader("{\"a\":1}\n  \"é\xe9\"\n"), 2, "column 5: byte 0xe9", 1},
		"nothing read": {iotest.ErrReader(broken), 1, "broken", 0},
	} {
		subject := "{a}"
		if name == "no JSON" {
			subject = ""
		}
		lines := readAllLines(t, c.in, subject)
		if len(lines) != c.whole+1 {
			t.Fatalf("%s: %d lines: %+v", name, len(lines), lines)
		}
		for _, l := range lines[:c.whole] {
			if l.err != nil {
				t.Errorf("%s: line %d: %v", name, l.number, l.err)
			}
		}
		if l := lines[c.whole]; l.number != c.last || l.err == nil || !strings.Contains(l.err.Error(), c.fault) {
			t.Errorf("%s: line %d: %v, want line %d: %s", name, l.number, l.err, c.last, c.fault)
		}
	}
}

// Case: an emission that goes on after lines that are longer than a line may be, or are not JSON, or not text. They are left out.
func TestLinesBeforeTheFirstMayBeAnything(t *testing.T) {
	long := strings.Repeat("x", 2*maxLineBytes+1)
	for name, c := range map[string]struct {
		in   string
		from int
		want []string // number, data and error of each line
	}{
		"a long line before":        {"1\n" + long + "\n3\n4", 3, []string{"3 3", "4 4"}},
		"a long line is the first":  {"1\n" + long + "\n3\n4", 2, []string{"2 longer than 16 MiB"}},
		"a long line after":         {"1\n2\n" + long, 2, []string{"2 2", "3 longer than 16 MiB"}},
		"no JSON before":            {"{\n\xff\n\n4", 3, []string{"4 4"}},
		"the input ends before":     {"1\n2\n", 4, nil},
		"the input ends just there": {"1\n2\n", 3, nil},
		"it ends in a long line":    {"1\n" + long, 3, nil},
		"UTF-16":                    {"\xff\xfe1\x00\n\x002\x00", 2, []string{"1 UTF-16"}},
		"a mark at the beginning":   {"\xef\xbb\xbf1\n2", 2, []string{"2 2"}},
		"a mark in the first line":  {"1\n\xef\xbb\xbf2", 2, []string{"2 column 1"}},
	} {
		for kind, in := range map[string]io.Reader{"whole": strings.NewReader(c.in), "halves": iotest.HalfReader(strings.NewReader(c.in))} {
			lines := readLinesFrom(t, in, c.from, "s")
			if len(lines) != len(c.want) {
				t.Errorf("%s, %s: %d lines, want %d", name, kind, len(lines), len(c.want))
				continue
			}
			for i, l := range lines {
				got := fmt.Sprintf("%d %s", l.number, l.data)
				if l.err != nil {
					got = fmt.Sprintf("%d %v", l.number, l.err)
				}
				number, text, _ := strings.Cut(c.want[i], " ")
				if !strings.HasPrefix(got, number+" ") || !strings.Contains(got, text) {
					t.Errorf("%s, %s: line %.80s, want %s", name, kind, got, c.want[i])
				}
			}
		}
	}
	lines := readLinesFrom(t, io.MultiReader(strings.NewReader("1\n2"), iotest.ErrReader(errors.New("broken"))), 3, "s")
	if len(lines) != 1 || lines[0].number != 2 || lines[0].err == nil || lines[0].err.Error() != "broken" {
		t.Errorf("an input that breaks before the first line: %+v", lines)
	}
}

// Lines that are left out take no memory, however long they are.
func TestLinesThatAreLeftOutTakeNoMemory(t *testing.T) {
	in := bufio.NewReaderSize(io.MultiReader(io.LimitReader(zeros{}, 64<<20), strings.NewReader("\n2\n")), blockBytes)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	number, err := skipLines(t.Context(), in, 2)
	runtime.ReadMemStats(&after)
	if rest, _ := io.ReadAll(in); number != 2 || err != nil || string(rest) != "2\n" {
		t.Errorf("line %d, %v: %.20q", number, err, rest)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

// zeros is an input of zero bytes without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Case: data with blanks and characters that an encoder would escape. The value of the record has the bytes of the line.
func TestEmitKeepsTheBytesOfTheData(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	s.Want(s.Run("topic", "create", "doors", "-p", "1"), 0)
	data := []string{`{ "a" : "<b> & \u003c" ,  "n": 1.0 }`, "[1,\u00a02]", "\"\u2028\"", `{"no": 7}`}
	s.Want(s.Pipe("  "+data[0]+" \r\n"+strings.Join(data[2:3], "\n"), "emit", "door.opened", "--topic", "doors"), 0)
	s.Want(s.Run("emit", "door.opened", "\n "+data[3]+"\n", "--topic", "doors", "--subject", "door/{no}"), 0)
	client := kafkaClient(t, dir, kgo.ConsumeTopics("doors"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < 3 {
		for _, r := range client.PollFetches(t.Context()).Records() {
			got = append(got, string(r.Value))
		}
	}
	if want := []string{data[0], data[2], data[3]}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.Want(s.Pipe(data[1], "emit", "door.opened", "--topic", "doors"), 1, "line 1, column 4") // a blank that JSON does not know
}
