package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/faults"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
)

// workload is a set of clients of one engine, each of which notes the answers in the ledger. It ends when end is called or
// the engine returns errors, as it does after a power cut.
type workload struct {
	engine *Engine
	ledger *ledger
	round  int
	seed   uint64
	stop   chan struct{}
	wg     sync.WaitGroup
}

// start starts all clients on a topic of this round; the topic of two rounds before is deleted meanwhile.
func (w *workload) start() error {
	w.stop = make(chan struct{})
	topic, err := w.engine.CreateTopic(noWait, meta.TopicSpec{Name: fmt.Sprintf("main-%d", w.round), Partitions: 4}, false)
	if err != nil {
		return err
	}
	w.ledger.note(topicMade{topic})
	short, err := w.engine.CreateTopic(noWait, meta.TopicSpec{Name: fmt.Sprintf("short-%d", w.round), Partitions: 1,
		Configs: map[string]string{"retention.bytes": "8192", "segment.bytes": "2048"}}, false)
	if err != nil {
		return err
	}
	w.ledger.note(topicMade{short})
	for _, mode := range []meta.Durability{meta.Interval, meta.OS, meta.Memory} {
		lax, err := w.engine.CreateTopic(noWait, meta.TopicSpec{Name: fmt.Sprintf("%s-%d", mode, w.round), Partitions: 2,
			Configs: map[string]string{meta.DurabilityMode: string(mode), meta.DurabilityInterval: "1", "retention.bytes": "4096"}}, false)
		if err != nil {
			return err
		}
		w.ledger.note(topicMade{lax})
		w.wg.Go(func() { w.plain(string(mode)+"0", Partition{Topic: lax.ID, Index: 0}) })
		w.wg.Go(func() { w.idempotent(string(mode)+"1", Partition{Topic: lax.ID, Index: 1}) })
		w.wg.Go(func() { w.consume(Partition{Topic: lax.ID, Index: 0}) })
	}
	w.wg.Go(func() { w.idempotent("i0", Partition{Topic: topic.ID, Index: 0}) })
	w.wg.Go(func() { w.idempotent("i1", Partition{Topic: topic.ID, Index: 1}) })
	w.wg.Go(func() { w.plain("p0", Partition{Topic: topic.ID, Index: 1}) }) // shares its partition
	w.wg.Go(func() { w.plain("p1", Partition{Topic: topic.ID, Index: 2}) })
	w.wg.Go(func() { w.plain("p2", Partition{Topic: short.ID, Index: 0}) })
	w.wg.Go(func() { w.consume(Partition{Topic: topic.ID, Index: 1}) })
	w.wg.Go(func() { w.commit(fmt.Sprintf("group-%d", w.round), topic.Name) })
	w.wg.Go(func() { w.member(fmt.Sprintf("members-%d", w.round), topic.Name) })
	w.wg.Go(w.changeTopics)
	w.wg.Go(w.takeIDs)
	return nil
}

func (w *workload) end() {
	close(w.stop)
	w.wg.Wait()
}

func (w *workload) ended() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

func (w *workload) rng(who string) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, uint64(w.round)<<32|uint64(len(who))<<16|uint64(who[len(who)-1])))
}

func (w *workload) name(who string) string { return fmt.Sprintf("%s-%d", who, w.round) }

// idempotent keeps up to five batches under way, as Kafka's clients do.
func (w *workload) idempotent(who string, p Partition) {
	rng, name := w.rng(who), w.name(who)
	pid, _, err := w.engine.InitProducerID(noWait, -1, -1)
	if err != nil {
		return
	}
	w.ledger.note(producerMade{pid})
	w.produce(rng, name, p, pid, 5)
}

// plain sends without a producer id.
func (w *workload) plain(who string, p Partition) { w.produce(w.rng(who), w.name(who), p, -1, 3) }

func (w *workload) produce(rng *rand.Rand, name string, p Partition, pid int64, window int) {
	free := make(chan struct{}, window)
	failed := make(chan struct{})
	var once sync.Once
	for seq := 0; !w.ended(); {
		select {
		case free <- struct{}{}:
		case <-failed:
			return
		}
		var values []string
		for range 1 + rng.IntN(3) {
			values = append(values, faults.Payload(name, seq+len(values)))
		}
		b := newBatch(pid, int32(seq), values...)
		seq += len(values)
		w.append(rng, p, b, func(a Appended) {
			if a.Err != nil {
				once.Do(func() { close(failed) })
				return
			}
			w.ledger.note(batchAcked{sentBatch{p, a.BaseOffset, values}})
			<-free
		})
		if rng.IntN(8) == 0 {
			time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
		}
	}
}

// append appends in each of the ways there are.
func (w *workload) append(rng *rand.Rand, p Partition, b []byte, done func(Appended)) {
	switch rng.IntN(3) {
	case 0:
		w.engine.Append(p, b, done)
	case 1:
		w.engine.AppendDeferred(p, b, nil, done)
		w.engine.CommitSoon()
	case 2:
		w.engine.AppendDeferred(p, b, nil, done)
		w.engine.CommitInline()
	}
}

// consume reads by long polls and notes what it is shown.
func (w *workload) consume(p Partition) {
	var dst []Fetched
	for next := int64(0); !w.ended(); {
		dst = w.engine.Fetch(noWait, FetchRequest{MaxBytes: 1 << 20, MaxWait: 5 * time.Millisecond,
			Partitions: []FetchPartition{{Partition: p, Offset: next, MaxBytes: 1 << 20, LeaderEpoch: -1}}}, dst)
		if errors.Is(dst[0].Err, ErrOffsetOutOfRange) { // retention, or the ring, was faster
			listed, err := w.engine.OffsetFor(p, Earliest)
			if err != nil {
				return
			}
			next = listed.Offset
			continue
		}
		if dst[0].Err != nil {
			return
		}
		for _, run := range dst[0].Records {
			for v := range batch.Split(run) {
				for r := range batch.Records(v, 1<<20) {
					w.ledger.note(recordShown{recordAt{p, r.Offset, string(r.Value)}})
				}
				next = v.NextOffset()
			}
		}
	}
}

// commit moves a group's positions forward, without members.
func (w *workload) commit(name, topic string) {
	w.commits(name, topic, "", -1)
}

// member joins, syncs, and commits as a member.
func (w *workload) member(name, topic string) {
	join := group.JoinRequest{Group: name, ProtocolType: "consumer", Protocols: []group.Protocol{{Name: "range"}},
		SessionTimeout: 30 * time.Second, RebalanceTimeout: 30 * time.Second}
	joined := w.engine.Join(noWait, join)
	if joined.Err != nil {
		return
	}
	synced := w.engine.Sync(noWait, group.SyncRequest{Group: name, Member: joined.Member, Generation: joined.Generation,
		Assignments: map[group.MemberID][]byte{joined.Member: []byte("all")}})
	if synced.Err != nil {
		return
	}
	w.commits(name, topic, joined.Member, joined.Generation)
}

func (w *workload) commits(name, topic string, member group.MemberID, generation group.Generation) {
	rng := w.rng(name)
	for offset := int64(1); !w.ended(); offset++ {
		offsets := map[group.TopicPartition]group.Committed{}
		var keys []groupKey
		for i := range int32(2) {
			tp := group.TopicPartition{Topic: topic, Partition: i}
			offsets[tp] = group.Committed{Offset: offset, LeaderEpoch: -1, Metadata: "m"}
			keys = append(keys, groupKey{name, tp, offset})
			w.ledger.note(offsetAsked{keys[i]})
		}
		errs := w.engine.Commit(noWait, group.CommitRequest{Group: name, Member: member, Generation: generation, Offsets: offsets})
		for _, k := range keys {
			if errs[k.tp] != nil {
				return
			}
			w.ledger.note(offsetAcked{k})
		}
		time.Sleep(time.Duration(rng.IntN(500)) * time.Microsecond)
	}
}

// changeTopics makes and deletes topics, and appends to those it made. It deletes the topics of two rounds ago too.
func (w *workload) changeTopics() {
	rng := w.rng("topics")
	for _, prefix := range []string{"main", "short", "interval", "os", "memory"} {
		if old, ok := w.engine.Topic(fmt.Sprintf("%s-%d", prefix, w.round-2)); ok && w.drop(old.ID) != nil {
			return
		}
	}
	for i := 0; !w.ended(); i++ {
		name := fmt.Sprintf("short-lived-%d", rng.IntN(2)) // names come back, with new identities
		if old, ok := w.engine.Topic(name); ok {
			if w.drop(old.ID) != nil {
				return
			}
		}
		topic, err := w.engine.CreateTopic(noWait, meta.TopicSpec{Name: name, Partitions: 1}, false)
		if err != nil {
			return
		}
		w.ledger.note(topicMade{topic})
		p := Partition{Topic: topic.ID, Index: 0}
		values := []string{faults.Payload(name, i)}
		b := newBatch(-1, -1, values...)
		answered := make(chan struct{})
		w.engine.Append(p, b, func(a Appended) {
			if a.Err == nil { // noted here, so that the ledger has appends in the order of the journal
				w.ledger.note(batchAcked{sentBatch{p, a.BaseOffset, values}})
			}
			close(answered)
		})
		<-answered
		if rng.IntN(2) == 0 {
			if err := w.engine.CreatePartitions(noWait, name, 3, false); err != nil {
				return
			}
			topic.Partitions = 3
			w.ledger.note(topicMade{topic})
		}
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
	}
}

func (w *workload) drop(id meta.TopicID) error {
	w.ledger.note(topicGoing{id})
	if err := w.engine.DeleteTopic(noWait, id); err != nil {
		return err
	}
	w.ledger.note(topicGone{id})
	return nil
}

func (w *workload) takeIDs() {
	for !w.ended() {
		id, _, err := w.engine.InitProducerID(noWait, -1, -1)
		if err != nil {
			return
		}
		w.ledger.note(producerMade{id})
		time.Sleep(200 * time.Microsecond)
	}
}
