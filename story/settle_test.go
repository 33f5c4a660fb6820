package story

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// play makes a world and an indexer take steps in random order. An error describes the first false verdict, or a story
// that does not settle in the end.
func play(choose func(int, string) int, steps int, how sabotage) error {
	w := newWorld(choose)
	w.remakes = !how.steady && choose(3, "remakes") == 2
	w.restores, w.restoresOften = how.restoring || !how.steady && choose(3, "restores") == 2, how.restoring
	w.removes = how.removing || !how.steady && !w.remakes && !w.restores && choose(3, "removes") == 2
	w.forgets = how.forgetting || w.removes && choose(2, "forgets") == 1
	w.markFirst = how.markFirst
	x := newModelIndexer(w, how)
	for range steps {
		if choose(2, "who") == 0 {
			w.step()
		} else if err := x.step(); err != nil {
			return err
		}
	}
	if how.markFirst || how.ignoreEpochs {
		return nil // these may leave stories open for ever
	}
	return x.finish()
}

// TestNothingMakesTheJudgeSettleFalsely takes 250 steps of producers, reactions, seeks, rebalances, joins, crashes and topics made again,
// in an order that rapid chooses, and shortens when a verdict is false.
func TestNothingMakesTheJudgeSettleFalsely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		if err := play(choose, 250, sabotage{}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNothingMakesTheJudgeSettleFalselyInLongRuns does the same for a thousand longer runs.
func TestNothingMakesTheJudgeSettleFalselyInLongRuns(t *testing.T) {
	seed := rand.Uint64()
	games := 1000
	if testing.Short() {
		games = 200
	}
	for i := range games {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		if err := play(func(n int, _ string) int { return r.IntN(n) }, 100+i%900, sabotage{}); err != nil {
			t.Fatalf("seed %d, game %d: %v", seed, i, err)
		}
	}
}

// TestTheModelFindsAWrongJudge makes the judge wrong in one point at a time. The model must find each wrong judge;
// otherwise the tests above prove nothing.
func TestTheModelFindsAWrongJudge(t *testing.T) {
	for name, how := range map[string]sabotage{
		"judges without waiting for watermarks":         {onlyAll: true, noBarrier: true},
		"reads watermarks before it freezes":            {onlyAll: true, earlyBarrier: true},
		"leaves the subscriptions out of the barrier":   {onlyAll: true, without: []topicNum{worldSubscriptions}},
		"leaves the reactions out of the barrier":       {onlyAll: true, steady: true, without: []topicNum{worldReactions}},
		"leaves events out of the barrier":              {onlyAll: true, without: []topicNum{1, 2, 3}},
		"leaves topics out that it does not know yet":   {onlyAll: true, knownOnly: true},
		"believes marks of before a seek":               {onlyAll: true, steady: true, ignoreEpochs: true},
		"keeps a candidate whose story has changed":     {onlyAll: true, keepCandidate: true},
		"does not see what was done before it was owed": {onlyAll: true, steady: true, noUnfreeze: true},
		"is told of marks before emissions are in log":  {onlyAll: true, markFirst: true},
		"does not look for topics made again":           {onlyAll: true, noDiscovery: true},
		"settles what has lost events":                  {onlyAll: true, settleLosses: true},

		"judges by marks without waiting for any":             {marksAtOnce: true},
		"leaves the subscriptions out of rounds of the marks": {marksWithout: []topicNum{worldSubscriptions}},
		"leaves the reactions out of rounds of the marks":     {marksWithout: []topicNum{worldReactions}},
		"does not wait for what marks have led to":            {noReach: true},
		"takes marks of earlier versions for marks of naught": {emittedNone: true},
		"takes every story for one that nobody joins":         {anybody: true},
		"believes marks of before a seek, judging by marks":   {ignoreEpochs: true},
		"is told by marks of emissions that are not in log":   {markFirst: true},
		"counts marks for the topic of the name":              {marksByName: true},
		"looks for emissions in the topic of the name":        {throughByName: true},
		"settles what has lost events, judging by marks":      {settleLosses: true},
		"takes what was removed unread for read":              {steady: true, removing: true, missNothing: true},
		"does not miss the event that a story began with":     {onlyAll: true, steady: true, removing: true, anybody: true},
		"takes a position for what was handled of a loss":     {steady: true, forgetting: true, ignoreSpans: true},
		"forgets who is subscribed to a topic made again":     {noRenewal: true},

		"does not notice that the log has gone back":          {restoring: true, neverCompare: true},
		"goes on with the rounds of before the log went back": {restoring: true, keepRounds: true},
		"keeps as deleted what a restore has brought back":    {restoring: true, ignoreReturned: true},
		"does not compare the last record":                    {restoring: true, ignoreLast: true},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 5000 {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				if err := play(func(n int, _ string) int { return r.IntN(n) }, 400, how); err != nil {
					t.Logf("game %d: %v", i, err)
					return
				}
			}
			t.Error("5000 games, and nothing found")
		})
	}
}
