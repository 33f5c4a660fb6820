//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// prober sends raw requests to the group coordinator to find out which it accepts. It uses partitions 0 and 1 of a
// source topic.
type prober struct {
	address string
	names   names
	client  *kgo.Client // sends the raw requests; is not transactional
	other   *kgo.Client // for the second member, because a broker answers the requests of a connection in order
}

// probe prints which commits of positions the coordinator accepts, and which it refuses.
func (r *referee) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	p := &prober{address: r.broker.address}
	for _, client := range []**kgo.Client{&p.client, &p.other} {
		made, err := kgo.NewClient(kgo.SeedBrokers(r.broker.address), kgo.RetryTimeout(20*time.Second))
		if err != nil {
			return err
		}
		defer made.Close()
		*client = made
	}
	fmt.Println()
	for at, do := range []func(context.Context) error{p.versions, p.classic, p.between, p.pending, p.consumerGroup} {
		p.names = namesOf(fmt.Sprint("probe", at))
		if err := p.names.create(ctx, r.broker.address); err != nil {
			return err
		}
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// found prints a request and whether it was accepted.
func found(what string, err error) {
	answer := "accepted"
	if err != nil {
		answer = reason(err)
	}
	fmt.Printf("    %-100s %s\n", what, answer)
}

// versions prints the highest versions of transaction requests that the broker and kgo support.
func (p *prober) versions(ctx context.Context) error {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "committerbet", "1"
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return err
	}
	for _, k := range resp.ApiKeys {
		switch kmsg.Key(k.ApiKey) {
		case kmsg.Produce, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.InitProducerID:
			known, _ := kversion.Stable().LookupMaxKeyVersion(k.ApiKey)
			fmt.Printf("    %s: the broker has up to %d, kgo %d\n", kmsg.NameForKey(k.ApiKey), k.MaxVersion, known)
		}
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			fmt.Printf("    transaction.version is %d\n", f.MaxVersionLevel)
		}
	}
	return nil
}

// transaction is a transaction with a producer of its own.
type transaction struct {
	id       string
	producer *kgo.Client
	prober   *prober
}

// begin begins a transaction and produces one record in it.
func (p *prober) begin(ctx context.Context, name string) (*transaction, error) {
	t := &transaction{id: p.names.group + name, prober: p}
	proto, err := protocolOf(ctx, p.client, 2)
	if err != nil {
		return nil, err
	}
	t.producer, err = kgo.NewClient(kgo.SeedBrokers(p.address), kgo.TransactionalID(t.id), kgo.TransactionTimeout(transactionTimeout),
		kgo.MaxVersions(proto.versions), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return t, errorsOf(reload(ctx, t.producer), t.producer.BeginTransaction(),
		produceAll(ctx, t.producer, []*kgo.Record{{Topic: p.names.derived, Value: []byte(name)}}))
}

// commit sends positions of partitions 0 and 1 in the transaction, on behalf of member m.
func (t *transaction) commit(ctx context.Context, m member) error {
	proto, err := protocolOf(ctx, t.prober.client, 2)
	if err != nil {
		return err
	}
	c := &transactional{names: t.prober.names, id: t.id, producer: t.producer, protocol: proto}
	return c.commitOffsets(ctx, m.round())
}

// end ends the transaction, aborts it if that fails, and closes the producer.
func (t *transaction) end(ctx context.Context, how kgo.TransactionEndTry) error {
	err := t.producer.EndTransaction(ctx, how)
	if err != nil {
		_ = t.producer.EndTransaction(ctx, kgo.TryAbort) // the result does not matter
	}
	t.producer.Close()
	return err
}

// plain commits positions of partitions 0 and 1 without a transaction.
func (p *prober) plain(ctx context.Context, m member) error {
	c := &atLeastOnce{names: p.names, group: p.client}
	for {
		codes, err := c.commitOffsets(ctx, m.round())
		if err != nil {
			return err
		}
		err = errors.Join(errorOf(codes[0]), errorOf(codes[1]))
		if !errors.Is(err, kerr.UnknownTopicOrPartition) { // the topic was created just before
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// inTransaction sends positions of partitions 0 and 1 in a transaction, and aborts it.
func (p *prober) inTransaction(ctx context.Context, name string, m member) error {
	t, err := p.begin(ctx, name)
	if err != nil {
		return err
	}
	err = t.commit(ctx, m)
	return errors.Join(err, t.end(ctx, kgo.TryAbort))
}

// round returns a round of the member with a position of partition 0 and of partition 1.
func (m member) round() round {
	r := round{member: m.id, generation: m.generation, owned: func(incarnation) bool { return true }}
	for number := range int32(2) {
		r.parts = append(r.parts, part{partition: number, after: newTracker()})
	}
	return r
}

// classic probes which members and generations may commit in a classic group, that is, one with JoinGroup and
// SyncGroup.
func (p *prober) classic(ctx context.Context) error {
	fmt.Println("  classic group: member one is assigned nothing, member two all")
	one, two, err := p.twoMembers(ctx)
	if err != nil {
		return err
	}
	found("OffsetCommit by the member that owns nothing, in the current generation", p.plain(ctx, one))
	found("TxnOffsetCommit by the member that owns nothing, in the current generation", p.inTransaction(ctx, "nothing", one))
	old := two
	old.generation--
	found("OffsetCommit of the generation before", p.plain(ctx, old))
	found("TxnOffsetCommit of the generation before", p.inTransaction(ctx, "before", old))
	stranger := two
	stranger.id = "nobody"
	found("TxnOffsetCommit by a member that is not in the group", p.inTransaction(ctx, "nobody", stranger))
	found("TxnOffsetCommit without member and generation (KIP-447 not used)", p.inTransaction(ctx, "none", member{"", -1}))
	return nil
}

// between probes which commits are accepted between JoinGroup and SyncGroup.
func (p *prober) between(ctx context.Context) error {
	fmt.Println("  classic group: members have joined a new generation, and its assignment is not known yet")
	one, _, err := p.twoJoined(ctx)
	if err != nil {
		return err
	}
	found("OffsetCommit of the new generation", p.plain(ctx, one))
	found("TxnOffsetCommit of the new generation", p.inTransaction(ctx, "new", one))
	return nil
}

// pending probes what the next owner of a partition sees of an open transaction, and whether that transaction can
// still be committed.
func (p *prober) pending(ctx context.Context) error {
	fmt.Println("  a position is sent in a transaction, then its member leaves the group")
	one, two, err := p.twoMembers(ctx)
	if err != nil {
		return err
	}
	t, err := p.begin(ctx, "pending")
	if err != nil {
		return err
	}
	found("TxnOffsetCommit", t.commit(ctx, one))
	if err := errorsOf(p.leave(ctx, one), p.leave(ctx, two)); err != nil {
		return err
	}
	_, err = committedOf(ctx, p.client, p.names, []int32{0}, true)
	found("OffsetFetch with require_stable, meanwhile", err)
	at, err := committedOf(ctx, p.client, p.names, []int32{0}, false)
	found(fmt.Sprintf("OffsetFetch without it, meanwhile, answers with %d positions and", len(at)), err)
	found("EndTxn with commit, after its member has left", t.end(ctx, kgo.TryCommit))
	at, err = committedOf(ctx, p.client, p.names, []int32{0}, true)
	for errors.Is(err, kerr.UnstableOffsetCommit) {
		time.Sleep(5 * time.Millisecond)
		at, err = committedOf(ctx, p.client, p.names, []int32{0}, true)
	}
	found(fmt.Sprintf("OffsetFetch with require_stable, then, answers with %d positions and", len(at)), err)
	return nil
}
