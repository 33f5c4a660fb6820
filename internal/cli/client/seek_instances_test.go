package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
)

const letterPartitions = 4

// letter is a fact on several partitions. To is whom it is for, its subject.
type letter struct {
	To string `json:"to"`
}

var letterSent = tidings.Define[letter]("home.letter.sent", tidings.In("letters", tidings.Partitions(letterPartitions)), tidings.Subject(func(l letter) string { return "person/" + l.To }))

// place is where a letter is in the log.
type place struct {
	id        string
	partition int32
	offset    int64
}

// deliveries is what all instances of the reaction postman have handled, together.
type deliveries struct {
	t       *testing.T
	takes   time.Duration // how long a handler runs
	refused sync.Map      // ids of letters that cannot be delivered

	mu      sync.Mutex
	handled map[place]int
}

func newDeliveries(t *testing.T) *deliveries { return &deliveries{t: t, handled: make(map[place]int)} }

// take returns what was handled since the last take, sorted, each as often as it was.
func (d *deliveries) take() (taken []place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p, n := range d.handled {
		for range n {
			taken = append(taken, p)
		}
	}
	clear(d.handled)
	slices.SortFunc(taken, byPlace)
	return taken
}

func byPlace(a, b place) int {
	return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
}

// count returns how many letters were handled since the last take.
func (d *deliveries) count() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, times := range d.handled {
		n += times
	}
	return n
}

func (d *deliveries) await(n int) {
	d.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); d.count() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("%d letters are handled, want %d", d.count(), n)
		}
	}
}

// postman is one instance of the reaction.
type postman struct {
	app  *tidings.App
	halt func()
}

// startPostman starts an instance, which ends with the test.
func (d *deliveries) startPostman(where tidings.Connection) *postman {
	d.t.Helper()
	app, err := tidings.Open("postman", where)
	if err != nil {
		d.t.Fatal(err)
	}
	tidings.React(app, letterSent, func(_ context.Context, e tidings.Event[letter]) error {
		if _, refused := d.refused.Load(e.ID); refused {
			return errJammed
		}
		time.Sleep(d.takes)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.handled[place{e.ID, e.Partition, e.Offset}]++
		return nil
	}, tidings.Retry(tidings.Backoff(50*time.Millisecond, 100*time.Millisecond)))
	ctx, stop := context.WithCancel(d.t.Context())
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	select {
	case <-app.Ready():
	case err := <-ran:
		d.t.Fatal(err)
	}
	p := &postman{app: app}
	p.halt = sync.OnceFunc(func() {
		stop()
		if err := <-ran; err != nil {
			d.t.Error(err)
		}
		if err := app.Close(); err != nil {
			d.t.Error(err)
		}
	})
	d.t.Cleanup(p.halt)
	return p
}

// send emits letters to people, with ids that count up from first.
func (d *deliveries) send(p *postman, first int, to ...string) (ids []string) {
	d.t.Helper()
	for i, name := range to {
		id := fmt.Sprint("letter-", first+i)
		if _, err := letterSent.Emit(p.app.Context(d.t.Context()), letter{name}, tidings.ID(id)); err != nil {
			d.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// people returns n names, of so many people in turn.
func people(n, of int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("p", i%of))
	}
	return names
}

// last returns the last n letters of each partition.
func last(all []place, n int) (of []place) {
	for p := range int32(letterPartitions) {
		there := slices.DeleteFunc(slices.Clone(all), func(l place) bool { return l.partition != p })
		of = append(of, there[max(0, len(there)-n):]...)
	}
	return of
}

func socket(dir string) tidings.Connection {
	return tidings.Socket(filepath.Join(dir, broker.SocketName))
}

// Case: two instances, and a thousand letters that are all handled. A seek back by five in each partition, of the reaction that
// runs, has just these handled again.
func TestASeekBackOfTwoInstancesIsExact(t *testing.T) {
	dir := clitest.Broker(t)
	s, d := program(t).On(dir), newDeliveries(t)
	one, _ := d.startPostman(socket(dir)), d.startPostman(socket(dir))
	untilShown(t, s, "postman\tStable\t2\t", "group", "ls")
	d.send(one, 0, people(1000, 60)...)
	d.await(1000)
	all := d.take()
	untilShown(t, s, "postman\tStable\t2\t0\t", "group", "ls")

	r := s.Want(s.Run("group", "seek", "postman", "--topic", "letters", "--by=-5", "--yes"), 0)
	if n := strings.Count(r.Stdout, "\tdone\t"); n != letterPartitions {
		t.Errorf("%d partitions are done:\n%s", n, r.Stdout)
	}
	d.await(5 * letterPartitions)
	d.send(one, 1000, people(60, 60)...)
	d.await(5*letterPartitions + 60)
	untilShown(t, s, "postman\tStable\t2\t0\t", "group", "ls")
	again := slices.DeleteFunc(d.take(), func(l place) bool { return len(l.id) == len("letter-1000") })
	if want := last(all, 5); !slices.Equal(again, want) {
		t.Errorf("handled again:\n%v\nwant\n%v", again, want)
	}
}

// Case: a subject is stuck while two instances run. An earlier letter of it is handled again, and no other; then the stuck one is
// jumped, and the later ones of the subject go on.
func TestSingleEventsOfAStuckSubject(t *testing.T) {
	dir := clitest.Broker(t)
	s, d := program(t).On(dir), newDeliveries(t)
	one, _ := d.startPostman(socket(dir)), d.startPostman(socket(dir))
	untilShown(t, s, "postman\tStable\t2\t", "group", "ls")
	d.refused.Store("letter-1", true)
	d.send(one, 0, "ann", "ann", "ann", "bob", "cid", "dan", "eve")
	d.await(5)
	untilShown(t, s, "postman\tStable\t2\t2\t", "group", "ls")
	d.take()
	s.Want(s.Run("group", "seek", "postman", "--topic", "letters", "--event", "letter-0", "--event", "letter-5", "--yes"), 0, "done")
	d.await(2)
	untilShown(t, s, "postman\tStable\t2\t2\t", "group", "ls")
	s.Want(s.Run("group", "seek", "postman", "--topic", "letters", "--event", "letter-1", "--jump", "--yes"), 0, "done")
	d.await(3)
	untilShown(t, s, "postman\tStable\t2\t0\t", "group", "ls")
	var ids []string
	for _, l := range d.take() {
		ids = append(ids, l.id)
	}
	if slices.Sort(ids); !slices.Equal(ids, []string{"letter-0", "letter-2", "letter-5"}) {
		t.Errorf("handled %v", ids)
	}
}

// Case: a poisoned letter is jumped while letters arrive and handlers run. Each of these is handled once, by whichever instance.
func TestASeekAheadWhileOthersRun(t *testing.T) {
	dir := clitest.Broker(t)
	s, d := program(t).On(dir), newDeliveries(t)
	d.takes = 10 * time.Millisecond
	one, _ := d.startPostman(socket(dir)), d.startPostman(socket(dir))
	untilShown(t, s, "postman\tStable\t2\t", "group", "ls")
	d.refused.Store("letter-0", true)
	d.send(one, 0, "p0")
	untilShown(t, s, "postman\tStable\t2\t1\t", "group", "ls")
	const others = 600
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i, name := range people(others, 60) {
			d.send(one, 1+i, name)
			time.Sleep(4 * time.Millisecond)
		}
	}()
	time.Sleep(200 * time.Millisecond)
	r := s.Want(s.Run("group", "seek", "postman", "--topic", "letters", "--event", "letter-0", "--jump", "--yes"), 0, "\tdone\t")
	<-sent
	d.await(others)
	untilShown(t, s, "postman\tStable\t2\t0\t", "group", "ls")
	handled := d.take()
	if len(slices.Compact(slices.Clone(handled))) != others || len(handled) != others {
		t.Errorf("%d are handled, %d of them different, want %d once\n%s", len(handled), len(slices.Compact(handled)), others, r.Stdout)
	}
	for _, l := range handled {
		if l.id == "letter-0" {
			t.Error("the poisoned letter is handled")
		}
	}
	// The position can go ahead over a letter, too, and back, while letters are on their way.
	d.refused.Store("letter-1000", true)
	d.send(one, 1000, "p0")
	untilShown(t, s, "postman\tStable\t2\t1\t", "group", "ls")
	d.send(one, 2000, people(100, 60)...)
	s.Want(s.Run("group", "seek", "postman", "--topic", "letters", "--by", "1", "--partition", fmt.Sprint(partitionOf(t, s, "letter-1000")), "--yes"), 0, "\tdone\t")
	untilShown(t, s, "postman\tStable\t2\t0\t", "group", "ls")
	handled = d.take()
	if len(slices.Compact(slices.Clone(handled))) != len(handled) || len(handled) != 100 {
		t.Errorf("%d are handled, %d of them different, want 100 once", len(handled), len(slices.Compact(handled)))
	}
}

// partitionOf returns the partition that an event is in.
func partitionOf(t *testing.T, s clitest.Program, id string) int32 {
	t.Helper()
	var events []struct {
		Partition int32 `json:"partition"`
	}
	if err := json.Unmarshal([]byte(s.Want(s.Run("show", id, "-o", "json"), 0).Stdout), &events); err != nil {
		t.Fatal(err)
	}
	return events[0].Partition
}

// cutOff is a connection that can be cut: then nothing gets through, and no new connection is made.
type cutOff struct {
	dir string
	cut atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

var errCut = errors.New("the network is cut")

// Connect implements tidings.Connection.
func (c *cutOff) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := socket(c.dir).Connect(ctx)
	if err != nil {
		return nil, err
	}
	dial := link.Dial
	link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if c.cut.Load() {
			return nil, errCut
		}
		conn, err := dial(ctx, network, address)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.conns = append(c.conns, conn)
		}
		return conn, err
	}
	return link, nil
}

func (c *cutOff) sever() {
	c.cut.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
}

// Case: the only instance is cut off between the command and when it would carry it out. The command is pending, and the next
// instance carries it out when it gets the partitions. Then the first one is back.
func TestTheNextOwnerCarriesOutWhatIsPending(t *testing.T) {
	dir := clitest.Broker(t)
	s, d := program(t).On(dir), newDeliveries(t)
	network := &cutOff{dir: dir}
	one := d.startPostman(network)
	d.send(one, 0, people(200, 60)...)
	d.await(200)
	all := d.take()
	untilShown(t, s, "postman\tStable\t1\t0\t", "group", "ls")
	network.sever()
	args := []string{"group", "seek", "postman", "--topic", "letters", "--by=-3", "--id", "cut", "--yes", "--timeout", "1500ms", "--why", "a fire"}
	s.Want(s.Run(args...), 1, "\tpending\t", "has not taken it up", "the seek cut is pending on 4 partitions", "--id cut")
	s.Want(s.Run("group", "show", "postman"), 0, "pending: seek cut of letters/0 from ", "(a fire)", ", until ")

	// Case: ctrl-C.
	ctx, cancel := context.WithCancelCause(t.Context())
	waiting := s.Start(ctx, "", "group", "seek", "postman", "--id", "cut")
	time.AfterFunc(300*time.Millisecond, func() { cancel(shell.ErrInterrupted) })
	s.Want(waiting.Wait(), shell.ExitInterrupted, "interrupted: the seek cut stays pending on 4 partitions", "--id cut", "\tpending\t")

	two := d.startPostman(socket(dir))
	s.Want(s.Run("group", "seek", "postman", "--id", "cut"), 0, "letters\t0\tdone\t", "letters\t3\tdone\t")
	d.await(3 * letterPartitions)
	network.cut.Store(false)
	untilShown(t, s, "postman\tStable\t2\t0\t", "group", "ls")
	d.send(two, 1000, people(60, 60)...)
	d.await(3*letterPartitions + 60)
	again := slices.DeleteFunc(d.take(), func(l place) bool { return len(l.id) == len("letter-1000") })
	if want := last(all, 3); !slices.Equal(again, want) {
		t.Errorf("handled again:\n%v\nwant\n%v", again, want)
	}
	if r := s.Want(s.Run("group", "show", "postman"), 0); strings.Contains(r.Stdout, "pending") {
		t.Error(r.Stdout)
	}
}

// Case: an instance has died after it had recorded a seek, of which not all marks are there, and before it committed. The next
// one carries it to its end, though the command has expired since. Other commands that have expired, or do not fit, change
// nothing.
func TestASeekThatHasDiedHalfwayIsCarriedToItsEnd(t *testing.T) {
	s, dir := stuckPorter(t)
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	write := func(facts ...obligation.Fact) {
		t.Helper()
		for _, f := range facts {
			if err := conn.log.ProduceSync(t.Context(), &kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	one := &seek{connection: conn, group: "porter", topic: "doors", id: "half"}
	plan, err := one.plan(t.Context(), seekGoal{events: []string{"a"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	half := one.commandOf(plan[0])
	half.Valid = 1
	facts, err := one.facts(plan[0])
	if err != nil {
		t.Fatal(err)
	}
	late, stale, foreign, unknown := *half, *half, *half, *half
	late.ID, stale.ID, foreign.ID, unknown.ID = "late", "stale", "foreign", "unknown"
	stale.Valid, foreign.Valid, unknown.Valid = time.Hour.Milliseconds(), time.Hour.Milliseconds(), time.Hour.Milliseconds()
	foreign.TopicID = obligation.TopicID{1}
	unknown.Action = "dance"
	write(half, &late, &stale, &foreign, &unknown, facts[0])
	time.Sleep(20 * time.Millisecond)

	p := startPorter(t, dir)
	defer p.halt()
	p.await("a c")
	for id, want := range map[string]string{
		"half": "\tdone\t3\t0", "late": "\texpired\t", "stale": "\tstale\t", "foreign": "\tstale\t", "unknown": "\trefused\t",
	} {
		code := 1
		if id == "half" {
			code = 0
		}
		s.Want(s.Run("group", "seek", "porter", "--id", id), code, want)
	}
	p.open("last")
	p.await("a c last")
	untilShown(t, s, "porter\tStable\t1\t0\t0", "group", "ls")
	if p.ids() != "a c last" {
		t.Errorf("handled %q", p.ids())
	}
	if seeks := seeksOf(t, conn, "porter"); len(seeks) != 1 {
		t.Errorf("%d seeks are recorded, want 1: %+v", len(seeks), seeks)
	}
}

// Case: a command to jump over an event is pending when an instance starts, which could handle the event. It does not.
func TestAPendingJumpIsDoneBeforeAnythingIsHandled(t *testing.T) {
	s, dir := stuckPorter(t)
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	jump := &seek{connection: conn, group: "porter", topic: "doors", id: "over"}
	plan, err := jump.plan(t.Context(), seekGoal{events: []string{"c"}, jump: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := jump.commandOf(plan[0])
	c.Valid = time.Hour.Milliseconds()
	if err := conn.log.ProduceSync(t.Context(), &kgo.Record{Topic: c.RecordTopic(), Key: []byte(c.Key()), Value: obligation.Encode(c)}); err != nil {
		t.Fatal(err)
	}
	p := startPorter(t, dir)
	defer p.halt()
	p.open("last")
	p.await("last")
	untilShown(t, s, "porter\tStable\t1\t0\t0", "group", "ls")
	s.Want(s.Run("group", "seek", "porter", "--id", "over"), 0, "\tdone\t")
	if p.ids() != "last" {
		t.Errorf("handled %q", p.ids())
	}
}

// seeksOf returns the seeks of a reaction that are recorded.
func seeksOf(t *testing.T, conn connection, reaction string) (seeks []*obligation.Seek) {
	t.Helper()
	for r, err := range conn.log.ReadAll(t.Context(), obligation.ReactionsTopic, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if f, err := obligation.Decode(r.Value); err == nil {
			if s, ok := f.(*obligation.Seek); ok && s.Reaction == reaction {
				seeks = append(seeks, s)
			}
		}
	}
	return seeks
}

// Case: the members of the group are of a version that knows no commands. The seek says so, and when it has expired it changes
// nothing any more. A group that is no reaction must be stopped.
func TestMembersThatKnowNoCommands(t *testing.T) {
	s, dir := stuckPorter(t)
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	member := func(group string) *kgo.Client {
		t.Helper()
		cl, err := kgo.NewClient(conn.log.Kgo(kgo.ConsumerGroup(group), kgo.ConsumeTopics("doors"), kgo.DisableAutoCommit())...)
		if err != nil {
			t.Fatal(err)
		}
		untilShown(t, s, group+"\tStable\t1\t", "group", "ls")
		return cl
	}
	old := member("porter")
	s.Want(s.Run("group", "seek", "porter", "--topic", "doors", "--by=-2", "--id", "old", "--yes", "--timeout", "1s", "--expires-after", "1s"), 1,
		"\tpending\t3\t0\t", "is it of a version that knows no commands?", "the seek old is pending on 1 partition")
	reader := member("reader")
	s.Want(s.Run("group", "seek", "reader", "--topic", "doors", "--to", "earliest", "--yes"), 1, "no reaction to topic doors, and has 1 member", "stop them first")
	reader.Close()
	time.Sleep(1100 * time.Millisecond)
	old.Close()
	p := startPorter(t, dir)
	p.await("c")
	s.Want(s.Run("group", "seek", "porter", "--id", "old"), 1, "\texpired\t", "the seek old was not done on 1 partition")
	p.open("last")
	p.await("c last")
	p.halt()

	// Case: nobody has ever made the topic of commands.
	s.Want(s.Run("topic", "rm", obligation.ControlTopic, "--yes"), 0)
	old = member("porter")
	defer old.Close()
	s.Want(s.Run("group", "seek", "porter", "--topic", "doors", "--by=-2", "--yes"), 1, "a version that cannot be told to move while it runs")
}

// Case: a plan is made, and before it is carried out the rest of it is handled, or somebody else has moved the position.
func TestAPlanThatDoesNotFitAnyMoreIsStale(t *testing.T) {
	s, p, _ := runningPorter(t)
	defer p.halt()
	conn, err := connect(t.Context(), &shell.Session{Data: p.dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	plans := make(map[string]*obligation.Command)
	for id, goal := range map[string]seekGoal{"over": {by: 1}, "jump": {events: []string{"c"}, jump: true}, "back": {by: -1}} {
		k := &seek{connection: conn, group: "porter", topic: "doors", id: id}
		plan, err := k.plan(t.Context(), goal, nil)
		if err != nil {
			t.Fatal(err)
		}
		plans[id] = k.commandOf(plan[0])
		plans[id].Valid = time.Hour.Milliseconds()
	}
	p.unjam()
	p.await("a b c d e")
	p.open("f")
	p.await("a b c d e f")
	untilShown(t, s, "porter\tStable\t1\t0\t0", "group", "ls")
	carryOut := func(id string, code int, want string) {
		t.Helper()
		c := plans[id]
		if err := conn.log.ProduceSync(t.Context(), &kgo.Record{Topic: c.RecordTopic(), Key: []byte(c.Key()), Value: obligation.Encode(c)}); err != nil {
			t.Fatal(err)
		}
		s.Want(s.Run("group", "seek", "porter", "--id", id), code, want)
	}
	carryOut("over", 1, "handled meanwhile")
	carryOut("jump", 1, "handled meanwhile")
	// What was done since the plan stays done: c and f.
	carryOut("back", 0, "\tdone\t8\t2")
	p.await("a b b c d d e e f")
	later := *plans["back"]
	later.ID = "later"
	plans["later"] = &later
	carryOut("later", 1, "the position was moved since, by ")
	p.open("last")
	p.await("a b b c d d e e f last")
}
