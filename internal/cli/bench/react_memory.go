package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
)

// memory is the command `tidings bench react memory` with the values of its flags.
type memory struct {
	common
	events    int64
	reactions int
	settle    time.Duration
}

func memoryCommand(s *shell.Session) *cobra.Command {
	m := &memory{common: common{session: s}}
	c := newReactCommand("memory", "Measure the memory that reactions take while they wait",
		"  tidings bench react memory --reactions 200", &m.common, m)
	c.Long = `Starts many reactions of one app in a new process, has each handle the few events of a topic, and looks at the resident memory
of the process while they wait: what is more than before the first one, through their number. In turn it does the same with
as many consumer groups of a kgo client each. The broker must be reachable over TCP.`
	return c
}

func (m *memory) flags(f *pflag.FlagSet) {
	f.IntVar(&m.reactions, "reactions", 200, "of one app; as many groups of bare kgo")
	f.Int64Var(&m.events, "backlog", 100, "events that each handles before it waits")
	f.DurationVar(&m.settle, "settle", 5*time.Second, "before the memory is looked at")
}

func (m *memory) check() error {
	if m.reactions < 1 {
		return shell.Usagef("", "--reactions %d: want at least one", m.reactions)
	}
	if m.events < 1 {
		return shell.Usagef("", "--backlog %d: want at least one event", m.events)
	}
	return m.checkEventSize()
}

func (m *memory) contenders(ctx context.Context) ([]bench.Contender, []bench.Comparison, error) {
	topic, _, err := m.fillEvents(ctx, framework.Filling{Events: m.events, Size: int(m.load.Size), Subjects: int(m.events)})
	if err != nil {
		return nil, nil, err
	}
	return []bench.Contender{m.on(framework.Name, topic), m.on(framework.BareKgo, topic)},
		[]bench.Comparison{
			bench.Figure(framework.Name, framework.MBPerReaction),
			bench.Figure(framework.Name, framework.CollectedMBPerReaction),
			bench.FigureRatio(framework.Name, framework.MBPerReaction, framework.BareKgo),
			bench.FigureRatio(framework.Name, framework.CollectedMBPerReaction, framework.BareKgo),
		}, nil
}

// on returns the contender of one of the two sides, in a process of its own.
func (m *memory) on(side, topic string) bench.Contender {
	return bench.Contender{Name: side, Run: func(ctx context.Context) (measured bench.Measured, err error) {
		program, err := thisProgram()
		if err != nil {
			return measured, err
		}
		out, err := testbed.Run(ctx, m.session.Stderr, program, "bench", "react", membersName,
			"--brokers", strings.Join(m.env.broker.Endpoint().Seeds, ","), "--topic", topic, "--backlog", fmt.Sprint(m.events),
			"--side", side, "--reactions", fmt.Sprint(m.reactions), "--settle", m.settle.String())
		if err != nil {
			return measured, err
		}
		var r framework.Resident
		if err := json.Unmarshal(out, &r); err != nil {
			return measured, fmt.Errorf("the report of `bench react %s`: %w", membersName, err)
		}
		measured.Figures = r.Figures(m.reactions)
		return measured, nil
	}}
}
