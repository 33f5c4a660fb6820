package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groupPartitions is the number of partitions of the topic that a group reads.
const groupPartitions = 6

// groupOf is a group whose members are processes of a client.
type groupOf struct {
	client  clientProgram
	address string
	topic   string // of the group, too
	log     *kgo.Client

	mu      sync.Mutex
	members []*groupMember    // that run
	read    map[[2]int64]bool // partition and offset of each record that a member has read
	changed chan struct{}     // closed and made anew when a member has printed something
}

// groupMember is one process. Its fields are protected by the group's mu.
type groupMember struct {
	cmd      *exec.Cmd
	stderr   bytes.Buffer
	assigned []int32       // what it has now
	moves    int           // how often that has changed
	done     chan struct{} // closed when it has ended
}

// grouped runs a case of groups, with a topic that nothing else uses.
func (c clientProgram) grouped(ctx context.Context, address, topic string, row clientCase) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	log, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer log.Close()
	admin := kadm.NewClient(log)
	if _, err := admin.CreateTopic(ctx, groupPartitions, 1, nil, topic); err != nil {
		return err
	}
	for { // Apache Kafka's broker may learn of it late, and a client that asks too early does not ask again for minutes
		listed, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		if len(listed[topic].Partitions) == groupPartitions {
			break
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	g := &groupOf{client: c, address: address, topic: topic, log: log, read: map[[2]int64]bool{}, changed: make(chan struct{})}
	defer func() {
		for len(g.members) > 0 {
			g.kill(g.members[0])
		}
	}()
	return row.group(ctx, g)
}

// rebalance starts, stops and kills members of a group. After each change it checks that every partition is assigned to one of the members
// that are left, and that they read the records that are written then.
func rebalance(ctx context.Context, g *groupOf) error {
	for n := 1; n <= 3; n++ {
		if _, err := g.join("classic", "-"); err != nil {
			return err
		}
		if err := g.works(ctx, n, "joined"); err != nil {
			return err
		}
	}
	if err := g.leave(ctx, g.members[0]); err != nil {
		return err
	}
	if err := g.works(ctx, 2, "after one has left"); err != nil {
		return err
	}
	g.kill(g.members[0])
	return g.works(ctx, 1, "after one was killed")
}

// staticMembers kills a static member and starts it again: it has the partitions that it had, and the other member has
// noticed nothing.
func staticMembers(ctx context.Context, g *groupOf) error {
	var other, killed *groupMember
	for i, m := range []**groupMember{&other, &killed} {
		var err error
		if *m, err = g.join("classic", fmt.Sprint("instance-", i)); err != nil {
			return err
		}
		if err := g.works(ctx, i+1, "joined"); err != nil {
			return err
		}
	}
	g.mu.Lock()
	had, moves := killed.assigned, other.moves
	g.mu.Unlock()
	g.kill(killed)
	if _, err := g.join("classic", "instance-1"); err != nil {
		return err
	}
	if err := g.works(ctx, 2, "after the static member has come back"); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if has := g.members[1].assigned; !slices.Equal(has, had) {
		return fmt.Errorf("the static member has %v, and had %v", has, had)
	}
	if other.moves != moves {
		return fmt.Errorf("the other member's partitions have changed while the static member was away")
	}
	return nil
}

// consumerProtocol checks that two members can join a group by the consumer protocol of KIP-848, and that one can leave it.
func consumerProtocol(ctx context.Context, g *groupOf) error {
	for n := 1; n <= 2; n++ {
		if _, err := g.join("consumer", "-"); err != nil {
			return err
		}
		if err := g.works(ctx, n, "joined"); err != nil {
			return err
		}
	}
	listed, err := kadm.NewClient(g.log).ListGroups(ctx)
	if err != nil {
		return err
	}
	if kind := listed[g.topic].GroupType; kind != "consumer" { // some clients fall back to the classic protocol
		return fmt.Errorf("the group's type is %q, want consumer", kind)
	}
	if err := g.leave(ctx, g.members[0]); err != nil {
		return err
	}
	return g.works(ctx, 1, "after one has left")
}

// join starts a member.
func (g *groupOf) join(protocol, instance string) (*groupMember, error) {
	m := &groupMember{done: make(chan struct{})}
	m.cmd = g.client.start(context.Background(), "member", g.address, g.topic, g.topic, protocol, instance)
	m.cmd.Stderr = &m.stderr
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.members = append(g.members, m)
	g.mu.Unlock()
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			g.told(m, lines.Bytes())
		}
		_ = m.cmd.Wait()
		close(m.done)
		g.told(m, nil)
	}()
	return m, nil
}

// told notes a line that a member has printed, and wakes who waits for it.
func (g *groupOf) told(m *groupMember, line []byte) {
	var said struct {
		Assigned *[]int32
		Read     *[2]int64
	}
	_ = json.Unmarshal(line, &said) // other lines are the client's own
	g.mu.Lock()
	defer g.mu.Unlock()
	if said.Assigned != nil {
		if has := slices.Sorted(slices.Values(*said.Assigned)); !slices.Equal(has, m.assigned) {
			m.assigned, m.moves = has, m.moves+1
		}
	}
	if said.Read != nil {
		g.read[*said.Read] = true
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// works waits until n members have all partitions, each its own, and have read a record that is then written to each.
func (g *groupOf) works(ctx context.Context, n int, when string) error {
	if err := g.await(ctx, func() bool { return len(g.members) == n && g.dealtOut() }); err != nil {
		return fmt.Errorf("%s: the partitions are not dealt out among %d members: %w", when, n, err)
	}
	var records []*kgo.Record
	for p := range int32(groupPartitions) {
		records = append(records, &kgo.Record{Partition: p, Value: []byte(when)})
	}
	if err := g.log.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	if err := g.await(ctx, func() bool {
		return !slices.ContainsFunc(records, func(r *kgo.Record) bool { return !g.read[[2]int64{int64(r.Partition), r.Offset}] })
	}); err != nil {
		return fmt.Errorf("%s: records were not read: %w", when, err)
	}
	return nil
}

// dealtOut reports whether each partition is assigned to one member, and none has nothing. g.mu must be held.
func (g *groupOf) dealtOut() bool {
	var all []int32
	for _, m := range g.members {
		if len(m.assigned) == 0 {
			return false
		}
		all = append(all, m.assigned...)
	}
	slices.Sort(all)
	return len(all) == groupPartitions && len(slices.Compact(all)) == groupPartitions
}

// await waits until holds returns true. It is asked with g.mu held, whenever a member has printed something.
func (g *groupOf) await(ctx context.Context, holds func() bool) error {
	for {
		g.mu.Lock()
		ok, changed := holds(), g.changed
		said := g.state()
		g.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", ctx.Err(), said)
		}
	}
}

// state returns a text with the partitions of each member, and the errors of members that have ended. g.mu must be held.
func (g *groupOf) state() string {
	var b bytes.Buffer
	for _, m := range g.members {
		fmt.Fprintf(&b, "%v ", m.assigned)
		select {
		case <-m.done:
			fmt.Fprintf(&b, "ended: %s", tail(m.stderr.Bytes()))
		default:
		}
	}
	return b.String()
}

// leave ends a member with SIGTERM, at which it leaves the group.
func (g *groupOf) leave(ctx context.Context, m *groupMember) error {
	g.forget(m)
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		_ = m.cmd.Process.Kill()
		<-m.done
		return fmt.Errorf("a member does not leave: %s", tail(m.stderr.Bytes()))
	}
}

// kill ends a member with SIGKILL.
func (g *groupOf) kill(m *groupMember) {
	g.forget(m)
	_ = m.cmd.Process.Kill()
	<-m.done
}

// forget removes a member from those that run.
func (g *groupOf) forget(m *groupMember) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = slices.DeleteFunc(g.members, func(o *groupMember) bool { return o == m })
}
