//go:build linux

package main

import (
	"context"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// judgeOwners reads the group's own log (__consumer_offsets), which has the generations with their assignments and
// the committed positions in one order. It checks that each position was committed by the member to which the
// partition was last assigned, in the current generation, and that positions do not decrease and rounds increase.
func (f *findings) judgeOwners(ctx context.Context, address string, n names) error {
	records, err := readAll(ctx, address, "__consumer_offsets", kgo.ReadCommitted())
	if err != nil {
		return err
	}
	owners := make(map[int32]string)
	generation := int32(-1)
	type commit struct{ position, round int64 }
	last := make(map[int32]commit)
	for _, r := range records {
		if len(r.Key) < 2 || r.Value == nil {
			continue
		}
		switch binary.BigEndian.Uint16(r.Key) {
		case 0, 1:
			key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
			if key.ReadFrom(r.Key) != nil || key.Group != n.group || value.ReadFrom(r.Value) != nil {
				continue
			}
			f.commits++
			m, ok := parseMetadata(&value.Metadata)
			if !ok {
				f.isWrong("a commit of %d without metadata", key.Partition)
				continue
			}
			if owners[key.Partition] != m.Member {
				f.isWrong("%s commits %d of partition %d, which was given to %s", m.Member, value.Offset, key.Partition, owners[key.Partition])
			}
			if m.Generation != generation {
				f.isWrong("a commit of generation %d in generation %d", m.Generation, generation)
			}
			if before := last[key.Partition]; value.Offset < before.position || m.Round <= before.round {
				f.isWrong("partition %d goes from %v to position %d in round %d", key.Partition, before, value.Offset, m.Round)
			}
			last[key.Partition] = commit{value.Offset, m.Round}
		case 2:
			key, value := kmsg.NewGroupMetadataKey(), kmsg.NewGroupMetadataValue()
			if key.ReadFrom(r.Key) != nil || key.Group != n.group || value.ReadFrom(r.Value) != nil {
				continue
			}
			generation = value.Generation
			for _, member := range value.Members {
				a := kmsg.NewConsumerMemberAssignment()
				if a.ReadFrom(member.Assignment) != nil {
					continue
				}
				for _, t := range a.Topics {
					for _, p := range t.Partitions {
						owners[p] = member.MemberID
					}
				}
			}
		}
	}
	return nil
}
