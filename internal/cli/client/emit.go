package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tidings.dev"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
)

func emitCommand(s *shell.Session) *cobra.Command {
	var e announcer
	c := &cobra.Command{
		Use: "emit TYPE [JSON]", Short: "Emit an event, or one for each line of stdin",
		Long: "Emits one event with the given data, or one for each line of stdin (JSON Lines), and prints where each is: id, topic,\n" +
			"partition and offset. It ends when all are durable. The topic must exist. --subject may take fields of the data:\n" +
			"--subject 'order/{no}'. Many lines are on their way at a time; those of one subject are in the log in their order. At the\n" +
			"first line that cannot be emitted no more are sent; what was on its way after it may be in the log, and is printed then.\n" +
			"Line N has the id PREFIX-N, with the PREFIX of --id or one that is made up. So the same lines can be emitted again with that\n" +
			"--id: a line that is in the log already is then a copy, and reactions handle it once. The message of an error has the --id\n" +
			"and the --from-line to go on with. That takes --subject: without one a copy may get into another partition, where it is an\n" +
			"event of its own. JSON is UTF-8; a byte order mark is left out. Exit code 1: a line is not JSON, or the log does not take it;\n" +
			"2: the argument is not JSON; 3: there is no such topic; 5: the log is unreachable, or has not answered for 30 seconds.",
		Example: "  tidings emit shop.order.noted '{\"no\":\"7\"}' --topic orders --subject order/7\n" +
			"  tidings emit shop.order.noted --topic orders --subject 'order/{no}' < notes.jsonl\n" +
			"  tidings emit shop.order.noted --topic orders --subject 'order/{no}' --id notes-17 --from-line 1201 < notes.jsonl",
		Args: shell.Arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer surviveClosedOutput()()
			e.eventType = args[0]
			if err := e.check(); err != nil {
				return err
			}
			if e.fromLine < 1 {
				return shell.Usagef("lines are counted from 1", "--from-line %d: there is no such line", e.fromLine)
			}
			if len(args) == 2 {
				if err := shell.RefuseWith(cmd, "with JSON", "from-line"); err != nil {
					return err
				}
				return emitArgument(cmd.Context(), s, &e, []byte(args[1]))
			}
			return emitInput(cmd.Context(), s, &e)
		},
	}
	c.Flags().StringVar(&e.topic, "topic", "", "the topic (default: the type up to its last dot)")
	c.Flags().StringVar(&e.subject, "subject", "", "what it is about, such as order/7; {field} stands for a field of the data")
	c.Flags().StringVar(&e.id, "id", "", "the event's id, or the `PREFIX` of those of lines (default: a new one); two events of one type and id are one to reactions")
	c.Flags().IntVar(&e.fromLine, "from-line", 1, "leave out the lines of stdin before line `N`; each line keeps its number")
	return shell.TakesLog(c)
}

// emitArgument emits the event whose data was given as an argument and prints its receipt.
func emitArgument(ctx context.Context, s *shell.Session, e *announcer, data []byte) error {
	data, err := cutByteOrderMark(data)
	if err == nil {
		err = asJSONError(checkJSON(data), 0)
	}
	if err != nil {
		return shell.Usagef("quote it for the shell: '{\"no\":\"7\"}'", "the data is not JSON: %v", err)
	}
	if err := e.open(ctx, s); err != nil {
		return err
	}
	defer e.app.Close()
	return e.emitted(ctx, s, bytes.TrimSpace(data))
}

// emitted emits one event and prints its receipt.
func (e *announcer) emitted(ctx context.Context, s *shell.Session, data []byte) error {
	r, err := e.emit(ctx, data)
	if why, ok := errors.AsType[*tidings.UnacknowledgedError](err); ok {
		f := unacknowledgedFault(why)
		f.Hint = fmt.Sprintf("emit it again with --id %q, so that it counts once", why.ID)
		return f
	}
	if err != nil {
		return err
	}
	err = s.Output().Value(r, func(w io.Writer) error {
		shell.WriteRow(w, r.cells())
		return nil
	})
	if err != nil {
		f := *shell.AsFault(err)
		f.Message = "the receipt cannot be written: " + err.Error()
		f.Hint = fmt.Sprintf("the event was emitted and is durable: %s at %s/%d offset %d", r.ID, r.Topic, r.Partition, r.Offset)
		return &f
	}
	return nil
}

// surviveClosedOutput makes writing to a pipe that nobody reads an error, until restore is called: by default a signal ends the
// process, and nobody would know what it has emitted.
func surviveClosedOutput() (restore func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGPIPE)
	return func() { signal.Stop(signals) }
}

// emitInput emits one event for each line of stdin and prints the receipts.
func emitInput(ctx context.Context, s *shell.Session, e *announcer) error {
	if shell.IsTerminal(s.Stdin) {
		return shell.Usagef(fmt.Sprintf("for example: tidings emit %s '{}'", e.eventType), "nothing to emit: give the data as an argument or on stdin")
	}
	if e.id == "" {
		e.id = strings.ToLower(rand.Text()[:16])
	}
	if !idPrefixes.MatchString(e.id) {
		return shell.Usagef("1 to 400 of a-z, A-Z, 0-9 and ._:/~-", "%q cannot begin the ids of lines", e.id)
	}
	if err := e.open(ctx, s); err != nil {
		return err
	}
	defer e.app.Close()
	return e.lines(ctx, s)
}

// announcer emits events of one type, as the flags of the command emit ask for.
type announcer struct {
	eventType, topic, subject, id string // subject may contain fields in braces; id is the prefix of those of lines
	fromLine                      int    // the first line that is emitted

	app  *tidings.App
	fact *tidings.Fact[cloudevent.Encoded]
}

var (
	typeNames  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	idPrefixes = regexp.MustCompile(`^[A-Za-z0-9._:/~-]{1,400}$`) // no character that JSON escapes or a terminal cannot show
	topicNames = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
)

// check returns a usage fault if the event type or the topic has no valid name. If no topic was given, check sets it
// to the part of the type before the last dot.
func (e *announcer) check() error {
	if !typeNames.MatchString(e.eventType) {
		return shell.Usagef("words of a-z, 0-9, - and _ joined by dots, such as shop.order.placed", "%q is no name of an event's type", e.eventType)
	}
	if e.topic == "" {
		dot := strings.LastIndexByte(e.eventType, '.')
		if dot < 0 {
			return shell.Usagef("for example --topic orders", "--topic is missing: an event type without a dot names no topic")
		}
		e.topic = e.eventType[:dot]
	}
	if !topicNames.MatchString(e.topic) || e.topic == "." || e.topic == ".." {
		return shell.Usagef("1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'", "%q is no name of a topic", e.topic)
	}
	return nil
}

// open opens the app that emits the events; the caller must close it. open returns a fault if the topic does not
// exist, because the app would create it even if the name was mistyped. Its error says that nothing was emitted if it comes
// from an interrupt.
func (e *announcer) open(ctx context.Context, s *shell.Session) error {
	err := e.openTarget(ctx, s)
	if err != nil && ctx.Err() != nil {
		f := *shell.AsFault(context.Cause(ctx))
		f.Message += " before anything was emitted"
		return &f
	}
	return err
}

func (e *announcer) openTarget(ctx context.Context, s *shell.Session) error {
	t, err := s.Target(ctx)
	if err != nil {
		return err
	}
	conn, err := connectTo(ctx, t)
	if err != nil {
		return err
	}
	defer conn.close()
	if _, err := conn.topic(ctx, e.topic); err != nil {
		return err
	}
	return e.openOn(t, tidings.WithLogger(s.Logger()), tidings.ConnectTimeout(shell.ReachTimeout))
}

// openOn opens the app on a connection.
func (e *announcer) openOn(conn tidings.Connection, opts ...tidings.Option) (err error) {
	if e.app, err = tidings.Open("tidings-cli", conn, append(opts, tidings.DrainTimeout(interruptGrace))...); err != nil {
		return err
	}
	e.fact = tidings.Define[cloudevent.Encoded](e.eventType, tidings.In(e.topic), tidings.Subject(func(d cloudevent.Encoded) string { return d.Subject }))
	return nil
}

// receipt is what the command prints about an emitted event: its id and its place in the log.
type receipt struct {
	ID        string `json:"id"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (r receipt) cells() []string {
	return []string{r.ID, r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.Offset, 10)}
}

// emit emits one event with the given JSON data and returns when the event is durable.
func (e *announcer) emit(ctx context.Context, data []byte) (receipt, error) {
	subject, err := parseSubject(e.subject).fill(data)
	if err != nil {
		return receipt{}, err
	}
	r, err := e.fact.Emit(e.app.Context(ctx), cloudevent.Encoded{JSON: data, Subject: subject}, tidings.ID(e.id))
	return receipt{r.ID, r.Topic, r.Partition, r.Offset}, err
}
