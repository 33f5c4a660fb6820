package kafka

// layouts holds the form of every request that kmsg decodes, as the message definitions of Apache Kafka 4.2 give it
// (clients/src/main/resources/common/message). Produce, Fetch, ApiVersions and the SASL requests are decoded by hand.
// The test walks random requests of kmsg at every version through these, so that the two cannot part unnoticed.
var layouts = map[Key]*layout{
	keyListOffsets: request(6,
		i32,          // replica
		since(2, i8), // isolation level
		array(str, array( // topics: name, partitions
			i32,           // partition
			since(4, i32), // leader epoch
			i64,           // timestamp
		)),
		since(10, i32), // timeout
	),
	keyMetadata: request(9,
		array(since(10, uuid), since(10, nstr), between(0, 9, str)),
		since(4, i8),       // allow auto-creation
		between(8, 10, i8), // cluster operations
		since(8, i8),       // topic operations
	),
	keyOffsetCommit: request(8,
		str, i32, str, since(7, nstr), // group, generation, member, instance
		between(2, 4, i64), // retention
		array(between(0, 9, str), since(10, uuid), array(
			i32, i64, // partition, offset
			since(6, i32), // leader epoch
			nstr,          // metadata
		)),
	),
	keyOffsetFetch: request(6,
		between(0, 7, str),                    // group
		between(0, 7, array(str, plain(i32))), // topics: name, partitions
		since(8, array(
			str, since(9, nstr), since(9, i32), // group, member, epoch
			array(between(8, 9, str), since(10, uuid), plain(i32)),
		)),
		since(7, i8), // require stable
	),
	keyFindCoordinator: request(3, between(0, 3, str), since(1, i8), since(4, plain(str))),
	keyJoinGroup: request(6,
		str, i32, since(1, i32), // group, session timeout, rebalance timeout
		str, since(5, nstr), str, // member, instance, protocol type
		array(str, byts), // protocols
		since(8, nstr),   // reason
	),
	keyHeartbeat: request(4, str, i32, str, since(3, nstr)),
	keyLeaveGroup: request(4,
		str, between(0, 2, str), // group, member
		since(3, array(str, nstr, since(5, nstr))), // members: id, instance, reason
	),
	keySyncGroup: request(4,
		str, i32, str, since(3, nstr), // group, generation, member, instance
		since(5, nstr), since(5, nstr), // protocol type and name
		array(str, byts), // assignments
	),
	keyDescribeGroups: request(5, plain(str), since(3, i8)),
	keyListGroups:     request(3, since(4, plain(str)), since(5, plain(str))),
	keyCreateTopics: request(5,
		array(str, i32, i16, // name, partitions, replication
			array(i32, plain(i32)), // assignments
			array(str, nstr)),      // configs
		i32, i8, // timeout, validate only
	),
	keyDeleteTopics: request(4,
		between(0, 5, plain(str)),
		since(6, array(nstr, uuid)),
		i32, // timeout
	),
	keyDeleteRecords:        request(2, array(str, array(i32, i64)), i32), // topics: name, partitions; timeout
	keyInitProducerID:       request(2, nstr, i32, since(3, i64), since(3, i16)),
	keyOffsetForLeaderEpoch: request(4, since(3, i32), array(str, array(i32, i32, i32))),
	keyDescribeConfigs:      request(4, array(i8, str, plain(str)), i8, since(3, i8)),
	keyAlterConfigs:         request(2, array(i8, str, array(str, nstr)), i8),
	keyCreatePartitions: request(2,
		array(str, i32, array(plain(i32))), // name, count, assignments
		i32, i8,                            // timeout, validate only
	),
	keyDeleteGroups:       request(2, plain(str)),
	keyIncrementalConfigs: request(1, array(i8, str, array(str, i8, nstr)), i8),
	keyOffsetDelete:       request(never, str, array(str, array(i32))),
	keyDescribeCluster:    request(0, i8, since(1, i8), since(2, i8)),
}

func request(flexible int16, fields ...field) *layout {
	return &layout{structure: *structured(fields), flexible: flexible}
}
