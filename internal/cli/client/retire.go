package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
)

// retirement is what `group retire` does with one subscription.
type retirement struct {
	Topic   string   `json:"topic"`
	Retired []string `json:"retired"` // the types that the reaction no longer handles
	Left    []string `json:"left"`    // the types that it still handles
	Running int      `json:"running"` // number of members that the group has now
	next    *obligation.Subscription
}

func groupRetireCommand(s *shell.Session) *cobra.Command {
	var topics, types []string
	yes := false
	c := &cobra.Command{
		Use: "retire REACTION [--topic TOPIC]... [--type TYPE]...", Short: "End what a reaction is subscribed to",
		Long: "Ends the subscriptions of a reaction that is gone from the code, for good: it owes nothing any more, its stories settle\n" +
			"without it, and its name is free. With --topic or --type it ends only these; the rest stays. It prints what it would\n" +
			"do, and does it with --yes; without --yes the exit code is 2. Exit code 3: there is no such reaction or subscription.\n\n" +
			"A program that runs and handles a type of the reaction goes on doing so, and one that starts subscribes to its types again:\n" +
			"take the handler out of the code first.",
		Example: "  tidings group retire loyalty --yes\n  tidings group retire payment --type shop.payment.refunded --yes",
		Args:    shell.Arguments(1, 1),
		RunE: connected(s, func(ctx context.Context, conn connection, args []string) error {
			plan, err := conn.planRetirement(ctx, args[0], topics, types)
			if err != nil {
				return err
			}
			err = shell.List(s.Output(), []string{"TOPIC", "RETIRED", "LEFT", "RUNNING"}, plan, func(r retirement) []string {
				return []string{r.Topic, strings.Join(r.Retired, " "), strings.Join(r.Left, " "), strconv.Itoa(r.Running)}
			})
			if err != nil {
				return err
			}
			if !yes {
				return shell.NeedsYes()
			}
			var records []*kgo.Record
			for _, r := range plan {
				records = append(records, &kgo.Record{Topic: r.next.RecordTopic(), Key: []byte(r.next.Key()), Value: obligation.Encode(r.next)})
			}
			findings, err := conn.tombstonesOf(ctx, args[0], plan)
			if err != nil {
				return err
			}
			if err := conn.log.ProduceSync(ctx, append(records, findings...)...); err != nil {
				return fmt.Errorf("retire: %w", err)
			}
			return nil
		}),
	}
	c.Flags().StringArrayVar(&topics, "topic", nil, "only what it is subscribed to on this topic; may be repeated")
	c.Flags().StringArrayVar(&types, "type", nil, "only this event type; may be repeated")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return shell.TakesLog(c)
}

// planRetirement returns what retiring would do with the subscriptions of a reaction. Empty topics mean all topics,
// and empty types all types. It returns a not-found fault if there is no such subscription.
func (c connection) planRetirement(ctx context.Context, reaction string, topics, types []string) ([]retirement, error) {
	subs, err := c.subscriptionsOf(ctx, reaction)
	if err != nil {
		return nil, err
	}
	running := 0
	if group, err := c.group(ctx, reaction); err == nil {
		running = len(group.Members)
	}
	plan := []retirement{}
	known := []string{}
	var names []string
	for _, s := range subs {
		names = append(names, s.Now.Topic)
	}
	_, ends, err := c.boundsOfExisting(ctx, names...)
	if err != nil {
		return nil, err
	}
	for _, s := range subs {
		if s.Now.Retired {
			continue
		}
		known = append(known, fmt.Sprintf("%s: %s", s.Now.Topic, strings.Join(s.Now.Types, " ")))
		if len(topics) > 0 && !slices.Contains(topics, s.Now.Topic) {
			continue
		}
		r := retirement{Topic: s.Now.Topic, Retired: s.Now.Types, Left: []string{}, Running: running, next: s.Next()}
		r.next.Retired, r.next.At = true, time.Now().UTC()
		if len(types) > 0 {
			r.next = s.Next().WithoutTypes(types...)
			if r.Retired = slices.DeleteFunc(slices.Clone(s.Now.Types), func(t string) bool { return !slices.Contains(types, t) }); len(r.Retired) == 0 {
				continue
			}
			if !r.next.Retired {
				r.Left = r.next.Types
				r.next.SetEnded(ends[s.Now.Topic], time.Now().UTC())
			}
		}
		plan = append(plan, r)
	}
	slices.SortFunc(plan, func(a, b retirement) int { return strings.Compare(a.Topic, b.Topic) })
	switch {
	case len(known) == 0:
		return nil, shell.NotFoundf("`tidings group ls` lists the groups; those that are no reactions are not subscribed to anything", "no reaction %q is subscribed to anything", reaction)
	case len(plan) == 0:
		slices.Sort(known)
		return nil, shell.NotFoundf("it is subscribed to "+strings.Join(known, "; "), "reaction %s is not subscribed to that", reaction)
	}
	return plan, nil
}

// tombstonesOf returns tombstones for what a reaction has found in events of the subscriptions that a plan retires.
func (c connection) tombstonesOf(ctx context.Context, reaction string, plan []retirement) ([]*kgo.Record, error) {
	keys := make(map[string]bool)
	for r, err := range c.log.ReadAll(ctx, obligation.SubscriptionsTopic, 0) {
		if err != nil {
			return nil, fmt.Errorf("read what the reaction has recorded: %w", err)
		}
		delete(keys, string(r.Key))
		of, topic, typ := "", "", ""
		switch f, _ := obligation.Decode(r.Value); f := f.(type) {
		case *obligation.Mismatch:
			of, topic, typ = f.Reaction, f.Topic, f.Type
		case *obligation.NotUnderstood:
			of, topic = f.Reaction, f.Topic
		}
		for _, p := range plan {
			if of == reaction && topic == p.Topic && (p.next.Retired || slices.Contains(p.Retired, typ)) {
				keys[string(r.Key)] = true
			}
		}
	}
	var tombstones []*kgo.Record
	for key := range keys {
		tombstones = append(tombstones, &kgo.Record{Topic: obligation.SubscriptionsTopic, Key: []byte(key)})
	}
	return tombstones, nil
}

// subscriptionsOf returns the subscriptions of a reaction, including retired ones, by subscription key.
func (c connection) subscriptionsOf(ctx context.Context, reaction string) (obligation.Subscriptions, error) {
	subs := make(obligation.Subscriptions)
	topics, err := c.adm.ListTopicsWithInternal(ctx, obligation.SubscriptionsTopic)
	if err != nil || !topics.Has(obligation.SubscriptionsTopic) {
		return subs, err
	}
	starts, ends, err := c.bounds(ctx, obligation.SubscriptionsTopic)
	if err != nil {
		return nil, err
	}
	for r, err := range c.log.Read(ctx, starts, ends) {
		if err != nil {
			return nil, fmt.Errorf("read the subscriptions: %w", err)
		}
		if strings.HasPrefix(string(r.Key), reaction+"/") {
			subs.Add(string(r.Key), r.Value, nil)
		}
	}
	return subs, nil
}
