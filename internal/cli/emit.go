package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tidings.dev"
)

// maxLineBytes bounds one line of input. The log refuses records long before that.
const maxLineBytes = 16 << 20

func (s *session) emitCommand() *cobra.Command {
	var e emitting
	c := &cobra.Command{
		Use: "emit TYPE [JSON]", Short: "Emit an event, or one for each line of stdin",
		Long: "Emits one event with the given data, or one for each line of stdin (JSON Lines). It ends when all are durable.\n" +
			"--subject may take fields of the data: --subject 'order/{no}'.",
		Example: "  tidings emit shop.order.noted '{\"no\":\"7\"}' --topic orders --subject order/7\n" +
			"  tidings emit shop.order.noted --topic orders --subject 'order/{no}' < notes.jsonl",
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			e.typ = args[0]
			if err := e.check(); err != nil {
				return err
			}
			var lines io.Reader
			if len(args) == 1 {
				if file, ok := s.stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
					return usagef(fmt.Sprintf("for example: tidings emit %s '{}'", e.typ), "nothing to emit: give the data as an argument or on stdin")
				}
				lines = s.stdin
			} else if !json.Valid([]byte(args[1])) {
				return usagef("quote it for the shell: '{\"no\":\"7\"}'", "the data is not JSON: %v", jsonFault([]byte(args[1])))
			}
			close, err := s.openEmitter(ctx, &e)
			if err != nil {
				return err
			}
			defer close()
			if lines == nil {
				return e.one(ctx, []byte(args[1]), s.output())
			}
			if e.id != "" {
				return usagef("leave --id out for lines of stdin", "--id names one event")
			}
			return e.lines(ctx, lines, s.output())
		},
	}
	c.Flags().StringVar(&e.topic, "topic", "", "the topic (default: the type up to its last dot)")
	c.Flags().StringVar(&e.subject, "subject", "", "what it is about, such as order/7; {field} stands for a field of the data")
	c.Flags().StringVar(&e.id, "id", "", "the event's id (default: a new one); the same id twice is one event to reactions")
	return c
}

// emitting emits events of one type.
type emitting struct {
	typ, topic, subject, id string

	app  *tidings.App
	fact *tidings.Fact[subjected]
}

// subjected is data whose subject was worked out.
type subjected struct {
	json.RawMessage
	subject string
}

var (
	typeNames  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	topicNames = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
	inBraces   = regexp.MustCompile(`\{[^{}]*\}`)
)

func (e *emitting) check() error {
	if !typeNames.MatchString(e.typ) {
		return usagef("words of a-z, 0-9, - and _ joined by dots, such as shop.order.placed", "%q is no name of an event's type", e.typ)
	}
	if e.topic == "" {
		dot := strings.LastIndexByte(e.typ, '.')
		if dot < 0 {
			return usagef("for example --topic orders", "say on which topic with --topic")
		}
		e.topic = e.typ[:dot]
	}
	if !topicNames.MatchString(e.topic) || e.topic == "." || e.topic == ".." {
		return usagef("1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'", "%q is no name of a topic", e.topic)
	}
	return nil
}

// openEmitter opens an app for the emissions, on a topic that is there: a mistyped name must not make one.
func (s *session) openEmitter(ctx context.Context, e *emitting) (closeApp func(), err error) {
	t, err := s.target(ctx)
	if err != nil {
		return nil, err
	}
	adm, err := s.adminOf(ctx, t)
	if err != nil {
		return nil, err
	}
	defer adm.Close()
	if _, err := findTopic(ctx, adm, e.topic); err != nil {
		return nil, err
	}
	if e.app, err = tidings.Open("tidings-cli", t, tidings.WithLogger(s.logger()), tidings.ConnectTimeout(reachTimeout)); err != nil {
		return nil, err
	}
	e.fact = tidings.Define[subjected](e.typ, tidings.In(e.topic), tidings.Subject(func(d subjected) string { return d.subject }))
	return func() { e.app.Close() }, nil
}

// receipt is where an event is.
type receipt struct {
	ID        string `json:"id"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (r receipt) cells() []string {
	return []string{r.ID, r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.Offset, 10)}
}

func (e *emitting) emit(ctx context.Context, data []byte) (receipt, error) {
	subject, err := fillSubject(e.subject, data)
	if err != nil {
		return receipt{}, err
	}
	var opts []tidings.EmitOption
	if e.id != "" {
		opts = append(opts, tidings.ID(e.id))
	}
	r, err := e.fact.Emit(e.app.Context(ctx), subjected{data, subject}, opts...)
	return receipt{r.ID, r.Topic, r.Partition, r.Offset}, err
}

func (e *emitting) one(ctx context.Context, data []byte, out *output) error {
	r, err := e.emit(ctx, data)
	if err != nil {
		return err
	}
	return out.thing(r, func(w io.Writer) error {
		writeTabbed(w, r.cells())
		return nil
	})
}

// lines emits one event for each line, in their sequence. It stops at the first bad line; what came before is durable.
func (e *emitting) lines(ctx context.Context, in io.Reader, out *output) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	emitted := 0
	for number := 1; ; number++ {
		line, err := readLine(ctx, lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return atLine(err, number, emitted)
		}
		last := err != nil
		if data := bytes.TrimSpace(line); len(data) > 0 {
			r, err := e.line(ctx, data, bytes.Index(line, data))
			if err != nil {
				return atLine(err, number, emitted)
			}
			emitted++
			if out.format.machine() {
				err = out.jsonLine(r)
			} else {
				writeTabbed(out.w, r.cells())
			}
			if err != nil {
				return err
			}
		}
		if last {
			break
		}
	}
	if emitted == 0 {
		return usagef("one JSON value on each line", "nothing to emit: stdin is empty")
	}
	return nil
}

// line emits the data of one line, which begins so many bytes into it.
func (e *emitting) line(ctx context.Context, data []byte, indent int) (receipt, error) {
	if !json.Valid(data) {
		fault := jsonFault(data)
		fault.column += indent
		return receipt{}, fault
	}
	return e.emit(ctx, data)
}

// readLine reads a line of at most maxLineBytes; the last one comes with io.EOF. It gives up when ctx ends.
func readLine(ctx context.Context, r *bufio.Reader) ([]byte, error) {
	type result struct {
		line []byte
		err  error
	}
	read := make(chan result, 1) // stdin cannot be interrupted: the goroutine ends with its line, or the process
	go func() {
		var line []byte
		for {
			part, err := r.ReadSlice('\n')
			line = append(line, part...)
			if len(line) > maxLineBytes {
				read <- result{nil, fmt.Errorf("longer than %d MiB", maxLineBytes>>20)}
				return
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				read <- result{line, err}
				return
			}
		}
	}()
	select {
	case got := <-read:
		return got.line, got.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// atLine says which line stopped the input, and how to go on.
func atLine(err error, number, emitted int) error {
	f := *asFault(err)
	if f.Exit == ExitFailed {
		f.Code = "bad_input"
	}
	f.Err = err
	f.Message = fmt.Sprintf("stdin, line %d: %s", number, f.Message)
	if bad, ok := errors.AsType[*jsonError](err); ok {
		f.Message = fmt.Sprintf("stdin, line %d, column %d: %v", number, bad.column, bad.err)
	}
	f.Hint = fmt.Sprintf("%s emitted and durable; go on with the rest: tail -n +%d FILE | tidings emit …", wasOrWere(emitted, "event"), number)
	return &f
}

func wasOrWere(n int, word string) string {
	if n == 1 {
		return "1 " + word + " was"
	}
	return plural(n, word) + " were"
}

// jsonError says where JSON is broken; columns count characters from 1.
type jsonError struct {
	column int
	err    error
}

func (e *jsonError) Error() string { return fmt.Sprintf("column %d: %v", e.column, e.err) }
func (e *jsonError) Unwrap() error { return e.err }

func jsonFault(data []byte) *jsonError {
	var any json.RawMessage
	err := json.Unmarshal(data, &any)
	fault := &jsonError{column: 1, err: err}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := data[:min(max(int(syntax.Offset)-1, 0), len(data))]
		fault.column = utf8.RuneCount(before) + 1
		if int(syntax.Offset) >= len(data) && strings.Contains(syntax.Error(), "unexpected end") {
			fault.column = utf8.RuneCount(data) + 1
		}
	}
	return fault
}

// fillSubject puts fields of the data in place of {field}.
func fillSubject(subject string, data []byte) (string, error) {
	if !strings.Contains(subject, "{") {
		return subject, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return "", errors.New("--subject asks for a field, but the data is no JSON object")
	}
	var missing error
	filled := inBraces.ReplaceAllStringFunc(subject, func(braced string) string {
		name := braced[1 : len(braced)-1]
		raw, ok := fields[name]
		var text string
		if ok && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
			return text
		}
		if !ok || raw[0] == '{' || raw[0] == '[' || string(raw) == "null" {
			missing = fmt.Errorf("--subject asks for field %q, which the data has no text or number of", name)
		}
		return string(raw)
	})
	return filled, missing
}
