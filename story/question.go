package story

import (
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	bolt "go.etcd.io/bbolt"

	"tidings.dev/internal/obligation"
)

// forgetQuestion is how long an unanswered question is kept. The receipt that asked repeats the question sooner than
// that.
const forgetQuestion = time.Minute

// answerer answers questions in tidings.questions while the indexer is elected. A receipt asks whether its story has
// settled if the story.settled may have been appended before the receipt began to read tidings.story. A story that
// has settled is answered at once. For any other story, the answer waits until the index has read all facts below
// Question.StoryEnd, which the receipt does not read itself. An answerer belongs to the goroutine of Indexer.Run.
type answerer struct {
	ix     *Index
	log    *slog.Logger
	append func(r *kgo.Record, done func(error)) error

	waiting []*obligation.Question // not answered, because the index has not read far enough
	// since is when each waiting question arrived.
	since map[*obligation.Question]time.Time
}

// ask adds questions. The caller must call step afterwards.
func (a *answerer) ask(questions []*obligation.Question) {
	if a.since == nil {
		a.since = make(map[*obligation.Question]time.Time)
	}
	for _, q := range questions {
		a.waiting = append(a.waiting, q)
		a.since[q] = time.Now()
	}
}

// forget drops all questions. It is called when the indexer is no longer elected.
func (a *answerer) forget() { a.waiting, a.since = nil, nil }

// step answers the questions that the index can answer now, and drops those that are older than forgetQuestion.
func (a *answerer) step() {
	if len(a.waiting) == 0 {
		return
	}
	answers, err := a.ix.answer(a.waiting)
	if err != nil {
		return // the index has failed; Run finds the error
	}
	left := a.waiting[:0]
	for i, q := range a.waiting {
		switch {
		case answers[i] != nil:
			a.send(answers[i])
		case time.Since(a.since[q]) < forgetQuestion:
			left = append(left, q)
			continue
		}
		delete(a.since, q)
	}
	clear(a.waiting[len(left):])
	a.waiting = left
}

// send appends an answer. If the append fails, it only logs: the receipt repeats its question.
func (a *answerer) send(answer *obligation.Answer) {
	r := &kgo.Record{Topic: answer.RecordTopic(), Key: []byte(answer.Key()), Value: obligation.Encode(answer)}
	err := a.append(r, func(err error) {
		if err != nil {
			a.log.Debug("story: answering", "err", err)
		}
	})
	if err != nil {
		a.log.Debug("story: answering", "err", err)
	}
}

// answer returns one answer per question, in the same order; an answer is nil if the index has not read far enough.
func (ix *Index) answer(questions []*obligation.Question) ([]*obligation.Answer, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.failed != nil {
		return nil, ix.failed
	}
	answers := make([]*obligation.Answer, len(questions))
	end := ix.positions[partition{topic: ix.topics[obligation.StoryTopic]}]
	err := ix.db.View(func(tx *bolt.Tx) error {
		for i, q := range questions {
			n, ok := ix.storyNumbered(tx, q.Correlation)
			var s *storyRow
			if ok {
				if s = ix.stories[n]; s == nil {
					var err error
					if s, err = decodeStory(tx.Bucket(bucketStories).Get(storyKey(n))); err != nil {
						return err
					}
				}
			}
			a := &obligation.Answer{Correlation: q.Correlation, StoryEnd: end, At: time.Now().UTC()}
			switch {
			case s != nil && s.class() == classSettled:
				a.Settled, a.Through = true, ix.through(s)
			case end < q.StoryEnd:
				continue
			case s == nil:
				a.Through = ix.forgottenThrough()
				a.Settled = len(a.Through) > 0
			}
			answers[i] = a
		}
		return nil
	})
	return answers, err
}

// forgottenThrough returns the positions below which every event that is not in the index was forgotten: nobody owed it, and
// its story had settled. ix.mu must be held.
func (ix *Index) forgottenThrough() (through []obligation.Position) {
	for p, offset := range ix.forgotten {
		if t, m := ix.topicOf[p.topic], ix.missed[p]; !t.gone && m.Lo == m.Hi {
			through = append(through, obligation.Position{Topic: t.name, TopicID: t.id, Partition: p.partition, Offset: offset})
		}
	}
	return through
}

// storyNumbered returns the number of the story with a correlation, and whether there is one. ix.mu must be held.
func (ix *Index) storyNumbered(tx *bolt.Tx, correlation string) (storyNum, bool) {
	if n, ok := ix.byCorrelation[correlation]; ok {
		return n, true
	}
	hash := ix.seed.text(hashCorrelation, correlation)
	places := ix.hashReader(tx).find(nil, hash, hash)
	store := &fileReader{ix: ix, tx: tx}
	n, ok := storyAt(places, correlation, store.story)
	return n, ok && store.err == nil
}
