package story

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// publisherTest is a settlePublisher whose index and log the test controls, with the clock of synctest.
type publisherTest struct {
	t *testing.T
	*settlePublisher
	ix  *Index
	log *testLog

	marksErr   error         // what reading the ends of the topics of obligations fails with
	endsErr    error         // what reading the watermarks fails with
	asked      int           // how often they were read
	askedMarks int           // how often the ends of the topics of obligations were read
	removed    int           // how often passRemoved was called
	appended   []*kgo.Record // facts that were produced
	appendsErr error         // error of appends
	unread     int64         // facts that were appended and not read
}

// newPublisherTest returns a publisherTest with an empty index and log. It must be called in a bubble of synctest.
func newPublisherTest(t *testing.T) *publisherTest {
	p := &publisherTest{t: t, ix: openTest(t), log: newTestLog()}
	p.settlePublisher = &settlePublisher{
		ix: p.ix, log: slog.New(slog.DiscardHandler),
		passRemoved: func(context.Context) error { p.removed++; return nil },
		produce: func(_ context.Context, r *kgo.Record, done func(error)) error {
			p.appended = append(p.appended, r)
			if p.appendsErr == nil {
				r.Offset = p.log.ends[obligation.StoryTopic+"/0"] + p.unread
				p.unread++
			}
			go done(p.appendsErr)
			return nil
		},
	}
	p.marks.ends = func(context.Context) (targets, error) {
		p.askedMarks++
		return p.endOf(obligation.ReactionsTopic), p.marksErr
	}
	p.all.ends = func(context.Context) (targets, error) {
		p.asked++
		return p.endOf("orders"), p.endsErr
	}
	p.init()
	t.Cleanup(p.stop)
	return p
}

// endOf returns the end of the topic that has the name now, which has one partition.
func (p *publisherTest) endOf(topic string) targets {
	key := topicKey{name: topic}
	if n, ok := p.ix.topics[topic]; ok {
		key.id = p.ix.topicOf[n].id
	}
	return targets{key: {0: p.log.ends[topic+"/0"]}}
}

// place appends an event that belongs to a story which began elsewhere: only all of the log says whether there is more of it.
func (p *publisherTest) place(story string) {
	p.log.event("orders", story+"'", story, "", "", "placed", "order/"+story, epoch)
}

// run does what Indexer.Run does, until nothing can be done before the clock advances.
func (p *publisherTest) run() {
	for {
		p.step(p.t.Context())
		synctest.Wait()
		select {
		case a := <-p.answers:
			p.onAnswer(a)
		case <-p.timer.C:
		case <-p.appends.news:
			p.retryFailed()
		default:
			return
		}
	}
}

// after advances the clock by d and calls run.
func (p *publisherTest) after(d time.Duration) {
	time.Sleep(d)
	p.run()
}

// read appends facts to the log and applies all records that were not applied yet, as the indexer does with
// tidings.story.
func (p *publisherTest) read(facts ...*kgo.Record) {
	p.t.Helper()
	for _, r := range facts {
		p.log.append(r)
	}
	p.unread = 0
	apply(p.t, p.ix, p.log)
}

func TestAStoryIsPublishedWhenTheIndexHasPassedTheWatermarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisherTest(t)
		p.run()
		if p.asked != 0 {
			t.Error("the brokers were asked, and no story was due")
		}
		// Case: the index has read a, and not yet b, which is in the log. There is no verdict, because b could be in
		// the same story.
		p.place("a")
		apply(t, p.ix, p.log)
		p.place("b")
		p.run()
		if p.asked != 1 || len(p.appended) != 0 {
			t.Fatalf("asked %d times, %d facts", p.asked, len(p.appended))
		}
		// Case: the index has passed the watermarks. a settles; b was read after the freeze and waits for the next
		// round.
		apply(t, p.ix, p.log)
		p.run()
		if len(p.appended) != 1 || string(p.appended[0].Key) != "a" {
			t.Fatalf("%d facts", len(p.appended))
		}
		p.after(freezeEvery)
		if p.asked != 2 || len(p.appended) != 2 || string(p.appended[1].Key) != "b" {
			t.Fatalf("asked %d times, %d facts", p.asked, len(p.appended))
		}
		// Case: the index has not read the facts yet. No fact is published twice.
		p.after(time.Minute)
		if len(p.appended) != 2 {
			t.Errorf("%d facts", len(p.appended))
		}
		// Case: the index has read the facts. All stories have settled, and the watermarks are not read any more.
		p.read(p.appended...)
		p.after(time.Minute)
		if s := p.ix.Stats(); s.Settled != 2 || s.Open != 0 || p.asked != 2 {
			t.Errorf("%+v, asked %d times", s, p.asked)
		}
	})
}

func TestRoundsHaveABoundedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisherTest(t)
		// Case: an event every millisecond for a second. One round judges many stories.
		for range 1000 {
			p.place(time.Now().String())
			apply(t, p.ix, p.log)
			p.after(time.Millisecond)
		}
		if most := int(time.Second/freezeEvery) + 1; p.asked > most || p.asked < most/2 {
			t.Errorf("%d rounds in a second, of at most %d", p.asked, most)
		}
		p.after(freezeEvery)
		if len(p.appended) != 1000 {
			t.Errorf("%d facts of 1000", len(p.appended))
		}
	})
}

func TestAVerdictIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisherTest(t)
		p.place("a")
		apply(t, p.ix, p.log)

		// Case: the watermarks cannot be read. The next round begins by itself after a pause.
		p.endsErr = errors.New("no leader")
		p.run()
		p.after(roundRetry - time.Millisecond)
		if p.asked != 1 {
			t.Errorf("asked %d times within the pause", p.asked)
		}
		p.endsErr = nil
		p.appendsErr = errors.New("refused")
		// Case: the append fails. Each next round judges the story anew, and appends the same fact under the same id.
		for range 4 {
			p.after(freezeEvery)
		}
		if len(p.appended) < 2 {
			t.Fatalf("%d facts", len(p.appended))
		}
		first, second := cloudevent.FromRecord(p.appended[0]), cloudevent.FromRecord(p.appended[1])
		if first.ID != second.ID || first.Type != obligation.TypeSettled {
			t.Errorf("%+v, then %+v", first, second)
		}
		// Case: the append succeeds late, when the story has another event. The first fact may be in the log already,
		// so the same fact is appended again, and a fact of the next episode only when the first was read.
		p.place("grown")
		p.log.records[0].Headers = append([]kgo.RecordHeader{{Key: cloudevent.HeaderCorrelation, Value: []byte("a")}}, p.log.records[0].Headers...)
		apply(t, p.ix, p.log)
		p.appendsErr = nil
		p.after(freezeEvery)
		p.after(freezeEvery)
		third := p.appended[len(p.appended)-1]
		if e := cloudevent.FromRecord(third); e.ID != first.ID || !bytes.Equal(third.Value, p.appended[0].Value) {
			t.Errorf("one episode stands for two facts: %s, %s", p.appended[0].Value, third.Value)
		}
		p.read(p.appended[0], third) // both have reached the log
		p.after(freezeEvery)
		last := p.appended[len(p.appended)-1]
		f, err := obligation.Decode(last.Value)
		if s, ok := f.(*obligation.Settled); err != nil || !ok || s.Events != 2 || s.Episode != 2 {
			t.Errorf("%+v, %v", f, err)
		}
		p.read(last)
		if s := p.ix.Stats(); s.Settled != 1 || s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestThePublisherBeginsAnewWithALogThatHasGoneBack has the log go back to where the index has read it, so that the index fits: a
// round must not wait for offsets that the log had before, nor a story for a fact that the log has lost.
func TestThePublisherBeginsAnewWithALogThatHasGoneBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisherTest(t)
		p.place("a")
		p.place("b")
		apply(t, p.ix, p.log)
		p.after(freezeEvery)
		p.read(p.appended[0])
		kept, lost := p.appended[0], p.appended[1]
		p.place("c")
		apply(t, p.ix, p.log)
		p.place("d") // is not read
		p.log.records = nil
		p.run()
		// Case: nothing has gone back, though the fact was not read yet, or the end of the topic cannot be read.
		asked := p.asked
		end := int64(2)
		endOf := func(context.Context) (int64, error) { return end, nil }
		must(t, p.begunAnew(t.Context(), endOf))
		if err := p.begunAnew(t.Context(), func(context.Context) (int64, error) { return 0, errors.New("no leader") }); err == nil {
			t.Error("it has begun anew, not knowing what is lost")
		}
		p.after(time.Minute)
		if len(p.appended) != 2 || p.asked != asked+1 {
			t.Errorf("%d facts, asked %d times", len(p.appended), p.asked-asked)
		}
		// Case: the log has lost the event d, and a fact.
		p.log.ends["orders/0"]--
		end, p.unread = 1, 0
		must(t, p.begunAnew(t.Context(), endOf))
		for range 3 {
			p.after(freezeEvery)
		}
		if len(p.appended) != 4 {
			t.Fatalf("%d facts", len(p.appended))
		}
		if again := p.appended[2]; string(again.Key) != string(lost.Key) || !bytes.Equal(again.Value, lost.Value) || string(p.appended[3].Key) != "c" {
			t.Errorf("%s, %s", p.appended[2].Value, p.appended[3].Value)
		}
		// Case: another fact is read where one was.
		p.read(kept)
		p.after(freezeEvery)
		if len(p.appended) != 5 || !bytes.Equal(p.appended[4].Value, lost.Value) {
			t.Errorf("%d facts", len(p.appended))
		}
		p.read(p.appended[3:]...)
		p.after(time.Minute)
		if s := p.ix.Stats(); s.Settled != 3 || s.Open != 0 || len(p.appended) != 5 {
			t.Errorf("%+v, %d facts", s, len(p.appended))
		}
	})
}

// TestAPublisherThatIsStuckLooksForWhatWasRemoved has retention remove records that the index waits for. The publisher
// must call passRemoved about once a second, so that the index moves past them.
func TestAPublisherThatIsStuckLooksForWhatWasRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisherTest(t)
		p.place("a")
		apply(t, p.ix, p.log)
		p.place("removed")
		p.run()
		for range 30 {
			p.after(stuckAfter / 10)
		}
		if p.removed < 1 || p.removed > 3 {
			t.Errorf("the starts of the log were read %d times in 3 s", p.removed)
		}
		removed := logclient.Offsets{"orders": {0: p.log.ends["orders/0"]}}
		must(t, p.ix.advance(removed, removed))
		p.run()
		if len(p.appended) != 1 {
			t.Errorf("%d facts", len(p.appended))
		}
	})
}

// TestARoundDoesNotWaitForATopicThatWasDeleted deletes a topic, and makes it again, while a round waits for its end. No record of
// the new topic is at the offsets of the old one. The story must settle nevertheless.
func TestARoundDoesNotWaitForATopicThatWasDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisherTest(t)
		name := func(id byte) {
			must(t, p.ix.setTopics([]logclient.Topic{{Name: "orders", ID: [16]byte{id}, Partitions: 1}}))
		}
		name(1)
		p.place("a")
		apply(t, p.ix, p.log)
		p.place("b") // is not read
		p.log.records = nil
		p.run()
		name(2)
		p.log.ends["orders/0"] = 0
		for range 30 {
			p.after(stuckAfter / 10)
		}
		if len(p.appended) != 1 {
			t.Errorf("%d facts after %d rounds, in place of one", len(p.appended), p.asked)
		}
	})
}
