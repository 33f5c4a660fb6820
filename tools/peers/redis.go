//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"tidings.dev/internal/bench"
)

const (
	// These were the fastest of 1 to 16 pipelines of 32 to 2,048 commands. The comparison favours Redis: the order of
	// records is kept only within a pipeline, and a single pipeline reaches only a third of this rate.
	redisPipeline  = 512 // number of commands in a pipeline
	redisPipelines = 16  // number of pipelines in flight, each on a connection of its own

	// These were the fastest of reads of 100 to 8,192 records and of buffers of 32 KiB to 1 MiB.
	redisRead        = 2048 // number of records in one read
	redisBufferBytes = 256 << 10
)

// redisClient uses go-redis: XADD in pipelines, and XREAD of many records at a time.
type redisClient struct {
	server *process
	rdb    *redis.Client
}

// startRedis starts redis-server, which it installs with apt if necessary.
func startRedis(ctx context.Context, s *setup, p peer) (*contender, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Geteuid() != 0 {
			return nil, fmt.Errorf("%w: no redis-server, and only root may install it (apt-get install redis-server)", errAbsent)
		}
		say("install redis-server by apt")
		err := command(ctx, "", "apt-get", "update", "-qq")
		if err == nil {
			err = command(ctx, "", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "redis-server")
		}
		if err != nil {
			return nil, absent(err)
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, p.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	server, err := startProcess(ctx, address, "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "")
	if err != nil {
		return nil, err
	}
	version := ""
	for field := range strings.FieldsSeq(output("redis-server", "--version")) {
		if after, ok := strings.CutPrefix(field, "v="); ok {
			version = after
		}
	}
	c := &redisClient{server: server, rdb: redis.NewClient(&redis.Options{Addr: address, ReadTimeout: time.Minute, WriteTimeout: time.Minute, ReadBufferSize: redisBufferBytes})}
	return &contender{peer: p, version: version, server: server, client: c}, nil
}

// pipelines sends records to a stream, through several pipelines at once, until next returns false. next returns the
// number of the next record. acked is increased for each pipeline that was acknowledged.
func (c *redisClient) pipelines(ctx context.Context, stream string, v values, next func() (int64, bool), acked *atomic.Int64) error {
	g, ctx := errgroup.WithContext(ctx)
	for range redisPipelines {
		g.Go(func() error {
			for {
				pipe := c.rdb.Pipeline()
				for pipe.Len() < redisPipeline {
					n, ok := next()
					if !ok {
						break
					}
					pipe.XAdd(ctx, add(stream, v.value(n)))
				}
				count := int64(pipe.Len())
				if count == 0 {
					return nil
				}
				if _, err := pipe.Exec(ctx); err != nil {
					return err
				}
				acked.Add(count)
			}
		})
	}
	return g.Wait()
}

func add(stream string, value []byte) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: stream, Values: []any{"v", value}}
}

func (c *redisClient) fill(ctx context.Context, p plan) error {
	var given, acked atomic.Int64
	return c.pipelines(ctx, replayed, newValues(p.recordBytes), func() (int64, bool) {
		n := given.Add(1) - 1
		return n, n < p.replayRecords()
	}, &acked)
}

func (c *redisClient) produce(ctx context.Context, p plan) (bench.Measured, error) {
	name := newStream()
	var given, acked atomic.Int64
	m, err := counted(ctx, c.server, p, acked.Load, func(sending context.Context) error {
		return c.pipelines(ctx, name, newValues(p.recordBytes), func() (int64, bool) { return given.Add(1) - 1, sending.Err() == nil }, &acked)
	})
	return m, errors.Join(err, c.rdb.Unlink(context.WithoutCancel(ctx), name).Err())
}

func (c *redisClient) one(ctx context.Context, p plan) (bench.Measured, error) {
	name := newStream()
	v := newValues(p.recordBytes)
	m, err := oneByOne(ctx, c.server, p, func(n int64) error { return c.rdb.XAdd(ctx, add(name, v.value(n))).Err() })
	return m, errors.Join(err, c.rdb.Unlink(context.WithoutCancel(ctx), name).Err())
}

func (c *redisClient) replay(ctx context.Context, p plan) (bench.Measured, error) {
	return meter(c.server, func() (int64, error) {
		var got int64
		for last := "0"; got < p.replayRecords(); {
			streams, err := c.rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{replayed, last}, Count: redisRead, Block: -1}).Result()
			if err != nil {
				return got, fmt.Errorf("after %d records: %w", got, err)
			}
			messages := streams[0].Messages
			got += int64(len(messages))
			last = messages[len(messages)-1].ID
		}
		return got, nil
	}, p.recordBytes)
}
