//go:build linux

package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// protocol is the transaction protocol: that of transaction.version 2 (KIP-890) or the one before.
type protocol struct {
	version  int16 // 2, or 1 for all earlier versions
	versions *kversion.Versions
}

// protocolOf returns the protocol that the cluster supports. limit is the highest transaction.version to use.
func protocolOf(ctx context.Context, client *kgo.Client, limit int16) (protocol, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "committerbet", "1"
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return protocol{}, err
	}
	if err := errorOf(resp.ErrorCode); err != nil {
		return protocol{}, fmt.Errorf("api versions: %w", err)
	}
	p := protocol{1, kversion.Stable()}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" && f.MaxVersionLevel >= 2 && limit >= 2 {
			p.version = 2
		}
	}
	// kgo limits the versions of its own transaction requests to the protocol in use, but not those of requests that
	// its caller sends. The limits set here hold for both, and make kgo choose the same protocol.
	if p.version == 2 {
		p.versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 5) // version 6 uses topic ids
	} else {
		p.versions.SetMaxKeyVersion(int16(kmsg.Produce), 11)
		p.versions.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
		p.versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	}
	return p, nil
}

func (p protocol) options() []kgo.Opt { return []kgo.Opt{kgo.MaxVersions(p.versions)} }
