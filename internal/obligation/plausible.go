package obligation

// maxStep is the largest step by which a number that counts records may grow from one record to the next. Such numbers
// grow by one, but readers may have missed records that retention has removed. A record whose number has grown by more
// was not written by this package, and is ignored: any program can write anything to a topic, and a single record with
// a number near the largest of all would otherwise make every later record of its partition, key or story count for
// nothing.
const maxStep = 1 << 20

// maxFirstRevision is the highest revision of a subscription of which no earlier record was read; compaction removes
// all records of a key but the last.
const maxFirstRevision = 1 << 40

// follows reports whether next may be the number of a record that comes after one with the number last.
func follows(last, next int64) bool { return next > last && next-max(last, 0) <= maxStep }

// Follows reports whether the seek counts after a seek of the given epoch; 0 stands for no seek.
func (s *Seek) Follows(epoch int64) bool { return s.Epoch > 0 && follows(epoch, s.Epoch) }

// EpisodeFollows reports whether a fact of a story may have this episode after a fact with the episode last; 0 stands
// for no fact. The same episode may come again: that fact was written twice, possibly by another indexer.
func EpisodeFollows(last, episode int) bool {
	return episode > 0 && (episode == last || follows(int64(last), int64(episode)))
}

// Plausible reports whether the revision of s may follow that of have, the subscription that counts so far; have may
// be nil.
func (s *Subscription) Plausible(have *Subscription) bool {
	if have == nil {
		return 0 <= s.Revision && s.Revision <= maxFirstRevision
	}
	return 0 <= s.Revision && (s.Revision <= have.Revision || follows(have.Revision, s.Revision))
}
